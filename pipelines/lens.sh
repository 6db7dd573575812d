#!/bin/sh
# The logit lens: what the model would say if it ended after each layer.
#
#	lens.sh MODEL PROMPTS.jsonl A,B
#
# reads	PROMPTS.jsonl	lines with id, label and text
#	A,B		two tokens, as unembed --diff takes them: ' happy, sad'
# writes	a table to standard output: layer, label, mean of the logit of A less that of B, and how many of the prompts
#	have as most likely token the one that they have after the last layer

test $# -eq 3 || {
	echo "usage: lens.sh MODEL PROMPTS.jsonl A,B" >&2
	exit 2
}
tok -m "$1" "$2" | embed -m "$1" | layer-run -m "$1" --tap resid_post/last=- |
	unembed -m "$1" --lens --top 1 --diff "$3" --json |
	jq -rn --slurpfile prompts "$2" '
		($prompts | map({ key: .id, value: .label }) | from_entries) as $of |
		[inputs | { id, layer, label: $of[.id], diff, top: .top[0].token }] |
		max_by(.layer).layer as $last |
		(map(select(.layer == $last) | { key: .id, value: .top }) | from_entries) as $said |
		["layer", "label", "diff", "said"],
		(group_by([.layer, .label])[] |
			[.[0].layer, .[0].label, (map(.diff) | add / length * 1000 | round / 1000),
			"\(map(select(.top == $said[.id])) | length) of \(length)"]) | @tsv'
