#!/bin/sh
# As accuracy.t, of --device cuda's kernels on the host.
. "$(dirname "$0")/lib.sh"
need_python
ONELAYER_CUDA_MODULE=$BUILD/cuda-host/onelayer-cuda.so PYTHONDONTWRITEBYTECODE=1 "$PYTHON" "$TESTS/accuracy.py" --device=cuda
