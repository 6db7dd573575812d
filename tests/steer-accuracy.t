#!/bin/sh
# Steering between layers against double precision, beside Hugging Face's own error with forward hooks.
. "$(dirname "$0")/lib.sh"
need_python
PYTHONDONTWRITEBYTECODE=1 "$PYTHON" "$TESTS/steer-accuracy.py"
