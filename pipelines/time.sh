#!/bin/sh
# Where the time of a run went, layer by layer.
#
#	time.sh PROFILE.json [PNG]
#
# reads	PROFILE.json	of layer-run --profile
# writes	a table to standard output, then a picture where there is gnuplot; PNG too if it is named

test $# -ge 1 || {
	echo "usage: time.sh PROFILE.json [PNG]" >&2
	exit 2
}
here=$(dirname "$0")
test -r "$1" || {
	echo "time.sh: $1: can't be read; layer-run --profile writes it" >&2
	exit 2
}
jq -nr -f "$here/profile.jq" "$1" | expand -t 11 || exit
command -v gnuplot >/dev/null || {
	echo "time.sh: no gnuplot, so no picture" >&2
	exit 0
}
table=$(mktemp) || exit
trap 'rm -f "$table"' EXIT
jq -rn '["layer", "compute", "stall", "rest"], (inputs | select(.layers) |
	[.layers[0], .compute, .stall, ([.seconds - .compute - .stall, 0] | max)]) | @tsv' "$1" >"$table" || exit
test -z "$2" || gnuplot -c "$here/plot.gp" time "$table" "$2" 'Time by layer' || exit
gnuplot -c "$here/plot.gp" time "$table"
