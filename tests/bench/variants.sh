#!/bin/sh
# What K variants of one pass cost: --sweep of K patches on N samples, against K times the samples without a patch.
#
#   MODEL=tests/mood SAMPLES=16 TOKENS=64 K=30 REPEAT=5 tests/bench/variants.sh
set -e
root=$(cd "$(dirname "$0")/../.." && pwd)
BIN=${BIN:-$root/bin}
MODEL=${MODEL:-$root/tests/mood}
K=${K:-30}
SAMPLES=${SAMPLES:-16}
TOKENS=${TOKENS:-64}
REPEAT=${REPEAT:-5}
PATH=$BIN:$PATH
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

# ids TIMES: the samples, each so many times
ids()
{
	awk -v n="$SAMPLES" -v len="$TOKENS" -v times="$1" 'BEGIN {
		for (t = 0; t < times; t++)
			for (i = 0; i < n; i++) {
				printf "{\"id\":\"%d.%d\",\"input_ids\":[", t, i
				for (j = 0; j < len; j++)
					printf "%s%d", j ? "," : "", (i * 7919 + j * 37 + j * j) % 190
				print "]}"
			}
	}' | tok -f ids | embed -m "$MODEL"
}
ids 1 >one.tms
ids "$K" >plain.tms
layer-run -m "$MODEL" -n --tap mlp_out=taps.tms one.tms
layer-run -m "$MODEL" --profile one.json -o /dev/null one.tms
layers=$(tail -1 one.json | sed 's/^{"total":\[[0-9]*,\([0-9]*\).*/\1/')
awk -v k="$K" -v layers="$layers" -v len="$TOKENS" 'BEGIN {
	print "variant\tsite\tlayers\tpos\tfile"
	for (i = 0; i < k; i++)
		printf "%d\tmlp_out\t%d\t%d\ttaps.tms\n", i, i % layers, i % len
}' >sweep.tsv

# took PROFILE: seconds of the whole run
took()
{
	tail -1 "$1" | sed 's/.*"seconds":\([0-9.e-]*\).*/\1/'
}

# What else the machine does moves both: they take turns, and the least of each counts.
i=0
while test "$i" -lt "$REPEAT"
do
	layer-run -m "$MODEL" -o /dev/null --profile plain.json plain.tms
	layer-run -m "$MODEL" -o /dev/null --sweep sweep.tsv --profile variants.json one.tms
	echo "$(took plain.json) $(took variants.json)"
	i=$((i + 1))
done | awk -v k="$K" -v rows="$((SAMPLES * TOKENS))" '
	NR == 1 || $1 < plain { plain = $1 }
	NR == 1 || $2 < variants { variants = $2 }
	END { printf "%d variants of %d rows: %.3f s; as many plain rows: %.3f s; ratio %.3f\n", k, rows, variants, plain, variants / plain }'
