# What a product reaches under the limits of the vector unit and of memory: GF/s over floating-point operations a byte.
#
#	gnuplot -c roofline.gp TABLE [PNG [RUNS]]
#
# TABLE: of products.c.  The roof is in its first line: "vector peak P GF/s ... reads B GB/s".  RUNS: lines of layer-run.sh's
# table, layer-run from end to end.

table = ARG1
png = ARG2
runs = ARG3
limit(word) = real(system("sed -n 's/^#.*".word." \\([0-9.]*\\).*/\\1/p' '".table."'"))
peak = limit('vector peak')
bytes = limit('reads')
roof(x) = bytes * x < peak ? bytes * x : peak
if (png eq '') {
	set terminal dumb size 78, 24
} else {
	set terminal pngcairo size 800, 500 font 'DejaVu Sans,11' background '#ffffff' linewidth 1.3
	set output png
	set border 3 linecolor rgb '#52606d'
	set grid linecolor rgb '#e4e7eb' linetype 1 linewidth 0.7
}
set datafile separator '\t'
set logscale xy
set xrange [0.3:1000]
set yrange [*:peak * 1.5]
set xlabel 'floating-point operations a byte'
set ylabel 'GF/s'
set key bottom right
set title sprintf('products and layer-run under %.0f GF/s and %.1f GB/s', peak, bytes)
plot roof(x) with lines linecolor rgb '#52606d' title 'limits', \
	table using (strcol(1) eq 'rows' ? NaN : $14):4 with points pointtype 7 linecolor rgb '#2a6f97' title 'f32 weights', \
	table using (strcol(1) eq 'rows' ? NaN : $15):5 with points pointtype 5 linecolor rgb '#c8553d' title 'bf16 weights', \
	for [i=1:strlen(runs) > 0] runs using ($6 / $10):6 with points pointtype 9 linecolor rgb '#6a994e' title 'layer-run'
