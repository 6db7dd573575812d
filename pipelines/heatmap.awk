# A table of place, layer, value, name (as patching.sh writes it) as a picture of characters: a line a place, a column
# a layer, darker from 0 to 1.
#
#	awk -F '\t' -f heatmap.awk recovery.tsv

BEGIN {
	SHADES = " .:-=+*#%@"
}

FNR == 1 {
	what = $1
	value = $3
	next
}

{
	shade = int($3 * 9 + 0.5)
	shade = substr(SHADES, 1 + (shade < 0 ? 0 : shade > 9 ? 9 : shade), 1)
	cell[$1, $2] = shade shade shade
	name[$1] = $4
	if ($1 >= places)
		places = $1 + 1
	if ($2 >= layers)
		layers = $2 + 1
}

END {
	printf "%-24s|", what " \\ layer"
	for (l = 0; l < layers; l++)
		printf "%2d ", l
	printf "|  %s: '%s' is 0, '%s' is 1\n", value, " ", "@"
	for (p = 0; p < places; p++) {
		printf "%-24.24s|", name[p]
		for (l = 0; l < layers; l++)
			printf "%3s", cell[p, l]
		printf "|\n"
	}
}
