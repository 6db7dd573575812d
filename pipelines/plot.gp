# Pictures of what the other recipes write: a PNG file, or text on the terminal.
#
#	gnuplot -c plot.gp KIND TABLE [PNG [TITLE]]
#
# KIND, and the columns of TABLE (separated by tabs, one line of names, # begins a comment):
#	scatter		x y, in blocks of one label each whose first line is the label (pca.sh)
#	scree		component, share of variance (pca.sh)
#	effect		layer, Cohen's d, length of the direction (effect.sh)
#	kl		strength, KL, reverse KL (ablation.sh)
#	words		label, strength, P(words of one kind), P(words of the other) (steering.sh)
#	time		layer, seconds computing, seconds waiting for weights, seconds otherwise (time.sh)
#	recovery	what is patched, layer, recovery, its name (patching.sh)

kind = ARG1
table = ARG2
png = ARG3
title = ARG4

blue = '#2a6f97'
red = '#c8553d'
grey = '#9aa5b1'
text = png eq '' || png eq '-'
if (text) {
	set terminal dumb size 78, 22
} else {
	set terminal pngcairo size 800, 500 font 'DejaVu Sans,11' background '#ffffff' linewidth 1.3
	set output png
	set border 3 linecolor rgb '#52606d'
	set grid linecolor rgb '#e4e7eb' linetype 1 linewidth 0.7
}
set datafile separator tab
set title title noenhanced
set key top left reverse Left noenhanced
set tics nomirror
set style line 1 linecolor rgb blue linewidth 2 pointtype 7 pointsize 1
set style line 2 linecolor rgb red linewidth 2 pointtype 5 pointsize 1
set style line 3 linecolor rgb grey linewidth 2 pointtype 9 pointsize 1

if (kind eq 'scatter') {
	stats table using 1 nooutput
	set xlabel 'component 0'
	set ylabel 'component 1'
	if (text) {
		marks = 'osx+*'
		labels = system(sprintf("awk -F '\t' 'NF == 1 { print $1 }' '%s'", table))
		legend = title
		do for [i = 1:words(labels)] {
			legend = legend . sprintf('   %s %s', marks[i:i], word(labels, i))
		}
		set title legend
		plot for [i = 0:STATS_blocks - 1] table index i using 1:2:(marks[i + 1:i + 1]) with labels notitle
	} else {
		set key outside right top
		plot for [i = 0:STATS_blocks - 1] table index i using 1:2 with points linestyle i + 1 title columnheader(1)
	}
}
if (kind eq 'scree') {
	set xlabel 'component'
	set ylabel 'share of the variance'
	stats table using 1 skip 1 nooutput
	set xrange [-0.6:STATS_max + 0.6]
	set key center right
	set yrange [0:*]
	set xtics 1
	set style fill solid 0.85 noborder
	set boxwidth 0.7
	sum = 0
	plot table using 1:2 skip 1 with boxes linestyle 1 title 'each', \
		'' using 1:(sum = sum + $2) skip 1 with linespoints linestyle 2 title 'all up to it'
}
if (kind eq 'effect') {
	set xlabel 'layer'
	set ylabel "Cohen's d"
	set yrange [0:*]
	set xtics 1
	set key off
	plot table using 1:2 skip 1 with linespoints linestyle 1
}
if (kind eq 'kl') {
	set xlabel 'strength'
	set ylabel 'KL (nats a token)'
	set yrange [0:*]
	plot table using 1:2 skip 1 with linespoints linestyle 1 title 'KL(without || with)', \
		'' using 1:3 skip 1 with linespoints linestyle 2 title 'KL(with || without)'
}
if (kind eq 'words') {
	labels = system(sprintf("awk -F '\t' 'NR > 1 && !seen[$1]++ { print $1 }' '%s'", table))
	names = system(sprintf("head -n 1 '%s' | cut -f 3,4", table))
	set xlabel 'strength'
	set ylabel 'probability'
	set yrange [0:1]
	set key outside top center horizontal
	only(label) = sprintf("< awk -F '\t' '$1 == \"%s\"' '%s'", label, table)
	plot for [i = 1:words(labels)] for [j = 1:2] only(word(labels, i)) using 2:2 + j with linespoints \
		linecolor rgb (j == 1 ? blue : red) linewidth 2 dashtype i pointtype (i == 1 ? 7 : 6) \
		title sprintf('%s prompts: %s words', word(labels, i), word(names, j))
}
if (kind eq 'time') {
	set xlabel 'layer'
	set ylabel 'milliseconds'
	set yrange [0:*]
	set style data histograms
	set style histogram rowstacked
	set style fill solid 0.85 noborder
	set boxwidth 0.7
	if (text) {
		set boxwidth 0.5
	}
	set key outside top center horizontal
	plot table using (1e3 * $2):xtic(1) skip 1 linestyle 1 title 'computing', \
		'' using (1e3 * $3) skip 1 linestyle 2 title 'waiting for weights', \
		'' using (1e3 * $4) skip 1 linestyle 3 title 'otherwise'
}
if (kind eq 'recovery') {
	set xlabel 'layer'
	set key off
	unset grid
	set xtics 1
	set autoscale xfix
	set autoscale yfix
	set yrange [*:*] reverse
	set cbrange [0:1]
	set cblabel 'logit difference recovered'
	set palette defined (0 '#ffffff', 0.5 '#89c2d9', 1 '#01497c')
	set terminal pngcairo noenhanced size 800, 900 font 'DejaVu Sans,9'
	set output png
	set tics scale 0
	plot table using 2:1:3:ytic(4) skip 1 with image
}
