# What each head looks at: a statistic made up on the spot from tcat --json.
#
#	layer-run -m MODEL -n --tap attn_probs=- in.tms | tcat --json | jq -nr -f attention.jq
#
# Columns: layer, head; then means over all positions but the first of each sample: the share of the attention that
# the sample's first token has, the token itself, the one before it; and the entropy in bits.

def row($pos; $heads):
	[$heads[] | [.[0], .[$pos], .[$pos - 1], (map(select(. > 0) | -. * log2) | add)]];

reduce (inputs | .layer as $layer | .first as $first | .rows | to_entries[] | select(.key + $first > 0) |
		{ $layer, heads: row(.key + $first; .value) }) as $at
	({}; ($at.layer | tostring) as $l | .[$l].n += 1 |
		.[$l].sums = ([.[$l].sums // ($at.heads | map([0, 0, 0, 0])), $at.heads] | transpose | map(transpose | map(add)))) |
["layer", "head", "first", "itself", "before", "entropy"],
(to_entries | sort_by(.key | tonumber)[] | .key as $layer | .value | .n as $n | .sums | to_entries[] |
	[($layer | tonumber), .key, (.value[] | . / $n * 1000 | round / 1000)]) | @tsv
