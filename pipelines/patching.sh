#!/bin/sh
# Activation patching: a corrupt prompt is run with one place of the clean one's run put into it, for every layer and
# position (or head), and each time it is asked how much of the clean answer comes back.  All places are variants of
# one pass over the weights.
#
#	patching.sh MODEL PAIRS.jsonl DIR [SITE [pos | head]]
#
# reads	MODEL		a directory, whose config.json tells how many layers there are
#	PAIRS.jsonl	lines with id, clean, corrupt (two texts of as many tokens), target and foil (tokens whose
#			logits are compared)
#	SITE		resid_pre (the default), attn_out, mlp_out, attn_ctx, ...
#	head		heads of SITE instead of positions, at all positions: attn_ctx has them
# writes	DIR/recovery.tsv	what is patched, layer, recovery, its name: 0 is the corrupt run, 1 the clean one; mean over
#			the pairs, each weighing as much as its two runs differ
#	DIR/recovery.png	where there is gnuplot; and a picture to standard output

test $# -ge 3 || {
	echo "usage: patching.sh MODEL PAIRS.jsonl DIR [SITE [pos | head]]" >&2
	exit 2
}
model=$1 pairs=$2 dir=$3 site=${4:-resid_pre} axis=${5:-pos}
here=$(dirname "$0")
mkdir -p "$dir" || exit
for run in clean corrupt
do
	jq -c "{ id, text: .$run, target, foil }" "$pairs" | tok -m "$model" -f jsonl -o "$dir/$run.tokens.tms" || exit
done
uneven=$(for run in clean corrupt
	do
		tcat --json "$dir/$run.tokens.tms" | jq -r '"\(.id): \(.input_ids | length)"'
	done | sort | uniq -u | head -n 1)
test -z "$uneven" || {
	echo "patching.sh: $pairs: ${uneven% *} the two texts differ in their number of tokens" >&2
	exit 2
}

embed -m "$model" "$dir/clean.tokens.tms" |
	layer-run -m "$model" --tap "$site=$dir/clean.tms" -o "$dir/clean.out.tms" || exit
embed -m "$model" "$dir/corrupt.tokens.tms" -o "$dir/corrupt.in.tms" || exit
layer-run -m "$model" -o "$dir/corrupt.out.tms" "$dir/corrupt.in.tms" || exit

# Every place is a line of the table, and a variant.
layers=$(jq '.num_hidden_layers // .n_layer' "$model/config.json")
case $axis in
head) places=$(jq '.num_attention_heads // .n_head' "$model/config.json") ;;
*) places=$(tcat --json "$dir/clean.tokens.tms" | jq -s 'map(.input_ids | length) | max') ;;
esac
awk -v layers="$layers" -v places="$places" -v site="$site" -v axis="$axis" -v file="$dir/clean.tms" 'BEGIN {
	OFS = "\t"
	print "variant", "site", "layers", axis, "file"
	for (l = 0; l < layers; l++)
		for (p = 0; p < places; p++)
			print l ":" p, site, l, p, file
}' >"$dir/sweep.tsv"
layer-run -m "$model" --sweep "$dir/sweep.tsv" -o "$dir/swept.tms" "$dir/corrupt.in.tms" || exit

for run in clean.out corrupt.out swept
do
	unembed -m "$model" --diff @ --json "$dir/$run.tms" |
		jq -r --arg run "$run" '[$run, .id, .variant // "", .diff] | @tsv' || exit
done >"$dir/diff.tsv"

# What a position is called: its token in the first pair, and the corrupt one's where it is another.
for run in clean corrupt
do
	unembed -m "$model" --top 1 --pos all --json "$dir/$run.out.tms" |
		jq -rs --arg run "$run" '.[0].id as $id | .[] | select(.id == $id) |
			[$run, .pos, .text] | @tsv' || exit
done >"$dir/names.tsv"
awk -F '\t' -v axis="$axis" '
	BEGIN { OFS = FS; print axis, "layer", "recovery", "name" }
	FILENAME ~ /names/ {
		if ($1 == "clean")
			name[$2] = $3
		else if ($3 != name[$2])
			name[$2] = name[$2] " |" $3
		next
	}
	$1 == "clean.out" { clean[$2] = $4; next }
	$1 == "corrupt.out" { corrupt[$2] = $4; next }
	!($3 in all) { order[n++] = $3 }
	{
		all[$3] += clean[$2] > corrupt[$2] ? $4 - corrupt[$2] : corrupt[$2] - $4
		way[$3] += clean[$2] > corrupt[$2] ? clean[$2] - corrupt[$2] : corrupt[$2] - clean[$2]
	}
	END {
		for (i = 0; i < n; i++) {
			split(order[i], at, ":")
			printf "%d\t%d\t%.4f\t%s\n", at[2], at[1], way[order[i]] ? all[order[i]] / way[order[i]] : 0,
				axis == "head" ? "head " at[2] : at[2] " " name[at[2]]
		}
	}' "$dir/names.tsv" "$dir/diff.tsv" >"$dir/recovery.tsv" || exit
rm -f "$dir"/*.tokens.tms "$dir"/c*.tms "$dir/swept.tms" "$dir/names.tsv" "$dir/diff.tsv"

awk -F '\t' -f "$here/heatmap.awk" "$dir/recovery.tsv"
if command -v gnuplot >/dev/null
then
	gnuplot -c "$here/plot.gp" recovery "$dir/recovery.tsv" "$dir/recovery.png" "$site of the clean run in the corrupt one"
else
	echo "patching.sh: no gnuplot, so no recovery.png" >&2
fi
