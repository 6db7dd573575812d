#!/bin/sh
# Where in the model two labels part: effect size of the difference of means, layer by layer.
#
#	effect.sh MODEL PROMPTS.jsonl POS NEG DIR
#
# reads	PROMPTS.jsonl	lines with id, label and text
# writes	DIR/acts.tms	the last token's row after each layer
#	DIR/direction.tms	diffmean's result, for steer
#	DIR/effect.tsv	layer, Cohen's d, length of the direction; and DIR/effect.png where there is gnuplot

test $# -eq 5 || {
	echo "usage: effect.sh MODEL PROMPTS.jsonl POS NEG DIR" >&2
	exit 2
}
here=$(dirname "$0")
mkdir -p "$5" || exit
tok -m "$1" "$2" | embed -m "$1" | layer-run -m "$1" -n --tap resid_post/last="$5/acts.tms" || exit
diffmean --pos "$3" --neg "$4" -o "$5/direction.tms" "$5/acts.tms" || exit
tcat --tsv "$5/direction.tms" | awk -F '\t' '
	BEGIN { OFS = FS; print "layer", "cohens_d", "norm" }
	$1 == "norm" { norm[$5] = $8 }
	$1 == "cohens_d" { print $5, $8, norm[$5] }' >"$5/effect.tsv"
cat "$5/effect.tsv"
if command -v gnuplot >/dev/null
then
	gnuplot -c "$here/plot.gp" effect "$5/effect.tsv" "$5/effect.png" "$3 less $4: effect size after each layer" || exit
	gnuplot -c "$here/plot.gp" effect "$5/effect.tsv"
else
	echo "effect.sh: no gnuplot, so no picture" >&2
fi
