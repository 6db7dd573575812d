#!/bin/sh
# Matrix products of the cpu back end beside oneDNN's, the machine's limits, and the roofline as a picture; see products.c.
# TABLE=FILE keeps the table, PNG=FILE the picture; RUNS_TABLE=FILE: layer-run.sh's, whose points are drawn too.
BUILD=${BUILD:-build}
table=${TABLE:-$(mktemp)} || exit
test -n "$TABLE" || trap 'rm -f "$table"' EXIT
"$BUILD/bench/products" "$@" | tee "$table"
command -v gnuplot >/dev/null || {
	echo "products.sh: no gnuplot, so no picture" >&2
	exit 0
}
gnuplot -c "$(dirname "$0")/roofline.gp" "$table" "$PNG" "$RUNS_TABLE"
