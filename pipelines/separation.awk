# How far a direction separates two labels, layer by layer, from one row a sample and layer:
#
#	tcat --tsv acts.tms | awk -f separation.awk -v pos=happy -v neg=sad
#
# The direction is the mean of the first half of the samples with label pos less that of those with label neg.
# The other half is laid on the line through the two means: -1 is the mean of neg, +1 that of pos.  A sample is
# right if the mean of its own label is the nearer one.  "apart" is the distance of the two labels' centres on
# that line in units of their (pooled) standard deviation.

BEGIN {
	FS = "\t"
	WIDTH = 49
	EDGE = 2.4
}

FNR == 1 || ($2 != pos && $2 != neg) {
	next
}

{
	if (!($1 in place))
		place[$1] = n_samples++
	if (!($5 in seen)) {
		seen[$5] = 1
		layer[n_layers++] = $5
	}
	i = n_rows++
	sample[i] = place[$1]
	label[i] = $2
	at[i] = $5
	width = NF - 7
	for (c = 0; c < width; c++)
		x[i, c] = $(8 + c)
}

function column(t)
{
	t = int((t + EDGE) / (2 * EDGE) * (WIDTH - 1) + 0.5)
	return t < 0 ? 0 : t >= WIDTH ? WIDTH - 1 : t
}

# d: the direction; origin: the point between the means, on it; half: from there to a mean.
function find_direction(l,    i, c, m)
{
	split("", sum)
	count[pos] = count[neg] = 0
	for (i = 0; i < n_rows; i++)
		if (at[i] == l && sample[i] < n_samples / 2) {
			count[label[i]]++
			for (c = 0; c < width; c++)
				sum[label[i], c] += x[i, c]
		}
	origin = half = 0
	for (c = 0; c < width; c++) {
		d[c] = sum[pos, c] / count[pos] - sum[neg, c] / count[neg]
		m = (sum[pos, c] / count[pos] + sum[neg, c] / count[neg]) / 2
		origin += d[c] * m
		half += d[c] * d[c] / 2
	}
}

function mark(old, which)
{
	if (old == " " || old == ":" )
		return which
	return tolower(old) == which ? toupper(which) : "*"
}

function show_layer(l,    i, c, t, n, right, line, strip, mean, square, of, spread)
{
	find_direction(l)
	for (c = 0; c < WIDTH; c++)
		strip[c] = " "
	strip[column(-1)] = strip[column(0)] = strip[column(1)] = ":"
	n = right = 0
	for (i = 0; i < n_rows; i++) {
		if (at[i] != l || sample[i] < n_samples / 2)
			continue
		t = -origin
		for (c = 0; c < width; c++)
			t += x[i, c] * d[c]
		t /= half
		n++
		right += label[i] == (t > 0 ? pos : neg)
		of[label[i]]++
		mean[label[i]] += t
		square[label[i]] += t * t
		c = column(t)
		strip[c] = mark(strip[c], substr(label[i], 1, 1))
	}
	mean[pos] /= of[pos]
	mean[neg] /= of[neg]
	spread = (square[pos] - of[pos] * mean[pos] ^ 2 + square[neg] - of[neg] * mean[neg] ^ 2) / (n - 2)
	for (c = 0; c < WIDTH; c++)
		line = line strip[c]
	printf "%5s  |%s|  %2d of %d  %5.1f\n", l, line, right, n, (mean[pos] - mean[neg]) / sqrt(spread)
}

function ruler(    c, text, line)
{
	for (c = 0; c < WIDTH; c++)
		line = line (c == column(-1) || c == column(0) || c == column(1) ? "+" : "-")
	printf "       +%s+\n", line
}

END {
	printf "layer%*s%*s%*s  right    apart\n", column(-1) + 3 + length(neg) / 2 + 1, neg,
		column(1) - column(-1), pos, WIDTH - column(1) + 2, ""
	ruler()
	for (l = 0; l < n_layers; l++)
		show_layer(layer[l])
	ruler()
}
