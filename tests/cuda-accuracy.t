#!/bin/sh
# As accuracy.t, of --device cuda's kernels on the host: small fixtures that have every oddity between them, as fibres are slow,
# and slower under sanitizers.  NAMES= takes all of them, in some minutes.
. "$(dirname "$0")/lib.sh"
need_python
few='llama-f16 gemma2-f32 neox-f32 gpt2-f32 olmo2-bf16 cohere-bf16 qwen2-moe-bf16'
test -z "$SANITIZED" || few='llama-f16 qwen2-moe-bf16'
names=${NAMES-$few}
# shellcheck disable=SC2086 # a list
ONELAYER_CUDA_MODULE=$BUILD/cuda-host/onelayer-cuda.so PYTHONDONTWRITEBYTECODE=1 "$PYTHON" "$TESTS/accuracy.py" --device=cuda $names
