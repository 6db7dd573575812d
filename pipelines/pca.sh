#!/bin/sh
# The two directions in which samples differ most, at every layer: components, a scree plot and a scatter plot.
#
#	pca.sh MODEL PROMPTS.jsonl LAYER DIR
#
# reads	PROMPTS.jsonl	lines with id, label and text
#	LAYER		the one in the pictures
# writes	DIR/pca.tms	components of the last token's rows, at every layer; tcat --npy makes arrays of them
#	DIR/coordinates.tms	every sample's coordinates on them
#	DIR/scree.tsv	component, share of the variance
#	DIR/scatter.tsv	coordinates 0 and 1, in blocks of one label
#	DIR/scree.png, DIR/scatter.png	where there is gnuplot; and the scatter plot to standard output

test $# -eq 4 || {
	echo "usage: pca.sh MODEL PROMPTS.jsonl LAYER DIR" >&2
	exit 2
}
layer=$3 dir=$4
here=$(dirname "$0")
mkdir -p "$dir" || exit
tok -m "$1" "$2" | embed -m "$1" | layer-run -m "$1" -n --tap resid_post/last="$dir/acts.tms" || exit
pca -k 10 -o "$dir/pca.tms" "$dir/acts.tms" || exit
pca --transform "$dir/pca.tms" -o "$dir/coordinates.tms" "$dir/acts.tms" || exit

tcat --tsv --select "resid_post@$layer" "$dir/pca.tms" | awk -F '\t' '
	BEGIN { OFS = FS; print "component", "share" }
	$1 == "explained_variance_ratio_" { for (i = 8; i <= NF; i++) print i - 8, $i }' >"$dir/scree.tsv"
tcat --tsv --select "resid_post@$layer" "$dir/coordinates.tms" | awk -F '\t' '
	NR > 1 {
		if (!($2 in points))
			order[n++] = $2
		points[$2] = points[$2] $8 FS $9 "\n"
	}
	END { for (i = 0; i < n; i++) printf "%s%s\n%s", i ? "\n\n" : "", order[i], points[order[i]] }' >"$dir/scatter.tsv"
if command -v gnuplot >/dev/null
then
	gnuplot -c "$here/plot.gp" scree "$dir/scree.tsv" "$dir/scree.png" "Components after layer $layer" || exit
	gnuplot -c "$here/plot.gp" scatter "$dir/scatter.tsv" "$dir/scatter.png" "Last tokens after layer $layer" || exit
	gnuplot -c "$here/plot.gp" scatter "$dir/scatter.tsv"
else
	cat "$dir/scree.tsv"
	echo "pca.sh: no gnuplot, so no pictures" >&2
fi
