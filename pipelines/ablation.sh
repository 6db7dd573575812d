#!/bin/sh
# What a direction is worth: it is taken out of the stream after one layer, at several strengths in one pass, and each
# run is compared with the one that nobody touched.
#
#	ablation.sh MODEL TEXT DIRECTION LAYER ALPHAS DIR [MODE]
#
# reads	TEXT		what tok reads
#	DIRECTION	a vector of diffmean or pca, a .npy file and so on
#	ALPHAS		strengths, as 0,0.5,1; at 1 nothing of it is left
#	MODE		of steer: ablate (the default), add, ...
# writes	DIR/kl.tsv	strength, KL and reverse KL in nats a token, share of tokens where the most likely next one is the
#	same, ratio of perplexities; DIR/kl.png where there is gnuplot

test $# -ge 6 || {
	echo "usage: ablation.sh MODEL TEXT DIRECTION LAYER ALPHAS DIR [MODE]" >&2
	exit 2
}
model=$1 text=$2 direction=$3 layer=$4 alphas=$5 dir=$6 mode=${7:-ablate}
here=$(dirname "$0")
mkdir -p "$dir" || exit
tok -m "$model" "$text" | embed -m "$model" | layer-run -m "$model" --to $((layer + 1)) -o "$dir/before.tms" || exit
layer-run -m "$model" -o "$dir/whole.tms" "$dir/before.tms" || exit
steer --vector "$direction" --mode "$mode" --alpha "$alphas" "$dir/before.tms" | layer-run -m "$model" |
	unembed -m "$model" --against "$dir/whole.tms" --json |
	jq -rn '["alpha", "kl", "reverse_kl", "top1", "ppl_ratio"], (inputs | select(.total) |
		[(.variant // "" | ltrimstr("alpha=")), .kl, .reverse_kl, .top1, (.ppl / .ppl_reference)]) | @tsv' >"$dir/kl.tsv" || exit
rm -f "$dir/before.tms" "$dir/whole.tms"
cat "$dir/kl.tsv"
if command -v gnuplot >/dev/null
then
	gnuplot -c "$here/plot.gp" kl "$dir/kl.tsv" "$dir/kl.png" "$mode after layer $layer" || exit
	gnuplot -c "$here/plot.gp" kl "$dir/kl.tsv"
else
	echo "ablation.sh: no gnuplot, so no picture" >&2
fi
