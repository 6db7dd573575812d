#!/bin/sh
# The cpu back end's operations on rows beside a plain copy (rows.c), and its attention beside its products (attend.c).
BUILD=${BUILD:-build}
"$BUILD/bench/rows" && "$BUILD/bench/attend"
