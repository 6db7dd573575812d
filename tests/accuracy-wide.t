#!/bin/sh
# As accuracy.t, with sums over 2048 and 8192; the checkpoints (240 MB each) are made in $TMPDIR.
. "$(dirname "$0")/lib.sh"
need_python
PYTHONDONTWRITEBYTECODE=1 "$PYTHON" "$TESTS/accuracy.py" wide-f32 wide-bf16 wide-gpt2-f32
