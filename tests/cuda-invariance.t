#!/bin/sh
# As invariance.t, of --device cuda's kernels on the host, in so little memory that the repeated data set is several batches.
. "$(dirname "$0")/lib.sh"
need_python
test -z "$SANITIZED" || skip_all "fibres are slow under sanitizers; cuda.t runs every kernel under them"
ONELAYER_CUDA_MODULE=$BUILD/cuda-host/onelayer-cuda.so ONELAYER_FAKE_GPU=shuffled,seed=5,memory=192 DEVICE=cuda \
	MODELS='llama-bf16 qwen2-moe-bf16' LENGTHS='1 70 2 33 0 128 5 61 17 1 40' AGAIN=12 "$TESTS/invariance.t"
