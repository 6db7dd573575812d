#!/bin/sh
# Every site of every fixture by --device cuda's kernels on the host; `make test` takes a few of them.  Some minutes.
. "$(dirname "$0")/../lib.sh"
NAMES='' sh "$TESTS/cuda-accuracy.t"
