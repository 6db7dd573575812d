# How large rows are, site by site and layer by layer: a statistic made up on the spot from tcat --tsv.
#
#	layer-run -m MODEL -n --tap resid_post,attn_out,mlp_out=- in.tms | tcat --tsv | awk -f norms.awk
#
# Columns: site, layer, rows, root mean square of a row's values; the same at position 0, which often is a sink; and
# the share of a row's square that its largest value has, mean over the rows.

BEGIN {
	FS = OFS = "\t"
	print "site", "layer", "rows", "rms", "first", "largest"
}

FNR == 1 {
	next
}

{
	place = $4 FS $5
	if (!(place in rows))
		order[n++] = place
	square = most = 0
	for (i = 8; i <= NF; i++) {
		square += $i * $i
		if ($i * $i > most)
			most = $i * $i
	}
	rows[place]++
	sum[place] += square / (NF - 7)
	share[place] += square ? most / square : 0
	if ($6 == 0) {
		first[place] += square / (NF - 7)
		firsts[place]++
	}
}

END {
	for (i = 0; i < n; i++) {
		p = order[i]
		printf "%s\t%d\t%.4f\t%s\t%.4f\n", p, rows[p], sqrt(sum[p] / rows[p]),
			firsts[p] ? sprintf("%.4f", sqrt(first[p] / firsts[p])) : "", share[p] / rows[p]
	}
}
