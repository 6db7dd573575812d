# What layer-run --profile wrote, as a table:
#
#	jq -nr -f profile.jq profile.json | expand -t 11
#
# ms: wall time of the layer's pass, of which waited: for weights that were not there yet.

def tenths: . * 10 | round / 10;

["layer", "tokens", "ms", "waited", "tokens/s", "GFLOP/s", "products"],
(inputs | to_entries[0] as {$key, $value} |
	[if $key == "total" then "all" else $value[0] end, .rows, (1e3 * .seconds | tenths), (1e3 * .stall | tenths),
	 (.tokens_per_second | round), (.product_gflops | round), "\(100 * .product_share | round)%"])
| @tsv
