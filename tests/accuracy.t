#!/bin/sh
# Every site of every family against double precision, beside Hugging Face's own error.
. "$(dirname "$0")/lib.sh"
need_python
PYTHONDONTWRITEBYTECODE=1 "$PYTHON" "$TESTS/accuracy.py"
