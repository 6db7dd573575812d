#!/bin/sh
# A direction, and the model steered with it: found on the first half of the prompts, tried on the other half, all
# strengths in one pass over the weights.
#
#	steering.sh MODEL PROMPTS.jsonl LAYER POS NEG ALPHAS WORDS-POS WORDS-NEG DIR
#
# reads	PROMPTS.jsonl	lines with id, label and text, cut before the word that matters
#	LAYER		after which the direction is found and added
#	POS, NEG	the labels that it goes to and comes from
#	ALPHAS		strengths, as -1,-0.5,0,0.5,1; at least 0
#	WORDS-...	tokens of each kind, as ' happy, glad'
# writes	DIR/direction.tms	diffmean's result
#	DIR/top.txt	what comes next, for the first prompt of each label at each strength
#	DIR/words.tsv	label, strength, probability of either kind of words, mean over the prompts
#	DIR/nll.tsv	strength, perplexity of the prompts' own tokens
#	DIR/words.png	where there is gnuplot

test $# -eq 9 || {
	echo "usage: steering.sh MODEL PROMPTS.jsonl LAYER POS NEG ALPHAS WORDS-POS WORDS-NEG DIR" >&2
	exit 2
}
model=$1 prompts=$2 layer=$3 pos=$4 neg=$5 alphas=$6 words_pos=$7 words_neg=$8 dir=$9
here=$(dirname "$0")
mkdir -p "$dir" || exit
half=$(($(wc -l <"$prompts") / 2))
head -n "$half" "$prompts" >"$dir/find.jsonl"
tail -n +"$((half + 1))" "$prompts" >"$dir/try.jsonl"

tok -m "$model" "$dir/find.jsonl" | embed -m "$model" |
	layer-run -m "$model" --tap "resid_post@$layer/last=-" |
	diffmean --pos "$pos" --neg "$neg" -o "$dir/direction.tms" || exit
tok -m "$model" "$dir/try.jsonl" | embed -m "$model" | layer-run -m "$model" --to $((layer + 1)) |
	steer --vector "$dir/direction.tms" --alpha "$alphas" |
	layer-run -m "$model" -o "$dir/steered.tms" || exit

first=$(jq -rs --arg pos "$pos" --arg neg "$neg" '[($pos, $neg) as $l | map(select(.label == $l))[0].id] | join(",")' \
	"$dir/try.jsonl")
tcat --ids "$first" "$dir/steered.tms" | unembed -m "$model" --top 3 -o "$dir/top.txt" || exit
unembed -m "$model" --target "$words_pos,$words_neg" --json "$dir/steered.tms" |
	jq -rn --slurpfile prompts "$dir/try.jsonl" --arg pos "$pos" --arg neg "$neg" --arg first "$words_pos" '
		($prompts | map({ key: .id, value: .label }) | from_entries) as $of |
		($first | split(",") | length) as $n |
		def mean: add / length * 10000 | round / 10000;
		["label", "alpha", $pos, $neg],
		([inputs | .target |= map(.logprob | exp) | { label: $of[.id], alpha: (.variant | ltrimstr("alpha=") |
			tonumber), pos: (.target[:$n] | add), neg: (.target[$n:] | add) }] |
			group_by([.label, .alpha])[] | [.[0].label, .[0].alpha, (map(.pos) | mean), (map(.neg) | mean)]) |
		@tsv' >"$dir/words.tsv" || exit
unembed -m "$model" --nll --json "$dir/steered.tms" |
	jq -r 'select(.total) | [(.variant | ltrimstr("alpha=")), .ppl] | @tsv' >"$dir/nll.tsv" || exit

cat "$dir/words.tsv"
if command -v gnuplot >/dev/null
then
	gnuplot -c "$here/plot.gp" words "$dir/words.tsv" "$dir/words.png" "Steered after layer $layer"
else
	echo "steering.sh: no gnuplot, so no picture" >&2
fi
