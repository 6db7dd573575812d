#!/bin/sh
# Filters and patches against forward hooks on Hugging Face's models.
. "$(dirname "$0")/lib.sh"
need_python
PYTHONDONTWRITEBYTECODE=1 "$PYTHON" "$TESTS/intervention.py"
