#!/bin/sh
# layer-run beside the bare matrix products of its shapes, in one run: a Llama of hidden 2048, intermediate 8192, 16
# layers and 32/8 heads, bf16 and then f32, on 12,288 tokens as 96 samples of 128 and on natural lengths.  Tab separated:
#
#   own onednn    GF/s of a layer's bare products: this back end's, and oneDNN's, in its faster type; means of before and after
#   run           layer-run's products over all of its time, GF/s
#   of_own of_onednn of_peak      run over these, and over the vector unit's peak
#   GB/s of_reads what its products take at least: weights once for every 512 rows, operands and results once; and that over
#                 what the threads read from memory at most
#   product ... outside   shares of all threads' time: matrix products with what is done to their results in cache,
#                 attention, norms, other rows, waiting for other threads, and what is outside of the layers' work (packing
#                 of frames, taps, weights that were not there yet)
#
# RUNS=3 LAYERS=16 DIR=$TMPDIR: how often, how deep, and where the models (2 and 4 GB) are made.  RUNS_TABLE=FILE keeps the
# lines of the table, for the roofline (products.sh).
set -eu
BIN=${BIN:-bin} BUILD=${BUILD:-build} RUNS=${RUNS:-3} LAYERS=${LAYERS:-16}
dir=$(mktemp -d "${DIR:-${TMPDIR:-/tmp}}/onelayer-bench.XXXXXX")
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
PATH=$BIN:$PATH
table=${RUNS_TABLE:-$dir/table}
: >"$table"

# Ids of samples whose lengths are given one a line.
ids()
{
	awk 'BEGIN { srand(1) } {
		printf "{\"input_ids\":["
		for (i = 0; i < $1; i++)
			printf "%s%d", i ? "," : "", int(rand() * 32000)
		print "]}"
	}'
}

# Log-normal, mean about 74, at most 512.
natural()
{
	awk 'BEGIN {
		srand(7)
		for (left = 12288; left > 0; left -= n) {
			n = int(exp(3.95 + 0.85 * sqrt(-2 * log(1 - rand())) * cos(6.283185 * rand())))
			n = n < 4 ? 4 : n > 512 ? 512 : n
			n = n < left ? n : left
			print n
		}
	}'
}

# A layer's bare products, and the machine's limits: own, oneDNN's, peak (GF/s), reads (GB/s).
bare()
{
	"$BUILD/bench/products" -l >"$dir/bare" || return
	awk -F '\t' -v type="$type" '
		function after(words) { return match($0, words " [0-9.]+") ? substr($0, RSTART + length(words)) + 0 : 0 }
		/^#/ && /vector peak/ { peak = after("vector peak"); reads = after("reads") }
		$1 == "rows" { for (i = 1; i <= NF; i++) at[$i] = i }
		$2 == "layer" {
			theirs = $at["onednn_f32"]
			if (type == "bf16" && $at["onednn_bf16"] > theirs)
				theirs = $at["onednn_bf16"]
			print $at[type], theirs, peak, reads
		}' "$dir/bare"
}

# layer-run's numbers: GF/s, tokens a second, product bytes a second (GB), and shares of the threads' time.
rate()
{
	layer-run -q -m "$1" -n --tap resid_post/last="$dir/out.tms" --profile "$dir/profile.json" "$2"
	grep '^{"total"' "$dir/profile.json" | awk '
		function value(key) { return match($0, "\"" key "\":[0-9.]+") ? substr($0, RSTART + length(key) + 3) + 0 : 0 }
		{
			match($0, /\[[0-9]+,[0-9]+\]/)
			split(substr($0, RSTART + 1), range, /[],]/)
			rows = value("rows")
			columns = 2048 + 3072 + 2048 + 2048 + 2048 + 8192 + 8192 + 2048
			bytes = value("read_bytes") * int((rows + 511) / 512) + 4 * columns * rows * (range[2] - range[1])
			all = value("threads") * value("seconds")
			printf "%s %s %s", value("product_gflops"), value("tokens_per_second"), 1e-9 * bytes / value("seconds")
			n = split("product attend norm rest wait", kind, " ")
			for (i = 1; i <= n; i++) {
				printf " %.3f", value(kind[i]) / all
				sum += value(kind[i]) / all
			}
			printf " %.3f\n", 1 - sum
		}'
}

yes 128 | head -n 96 | ids | tok -q -f ids -o "$dir/equal.tms"
natural | ids | tok -q -f ids -o "$dir/natural.tms"
awk -F ': ' '/model name/ { print "# machine: " $2; exit }' /proc/cpuinfo
printf 'type\tlengths\tturn\town\tonednn\trun\tof_own\tof_onednn\tof_peak\tGB/s\tof_reads\ttokens/s\t'
printf 'product\tattend\tnorm\trest\twait\toutside\n'
for type in bf16 f32
do
	"$BUILD/bench/make-model" "$dir/model" $type 2048 8192 "$LAYERS" 32 8 32000
	before=$(bare)
	for run in $(seq "$RUNS")
	do
		for lengths in equal natural
		do
			embed -q -m "$dir/model" -o "$dir/in.tms" "$dir/$lengths.tms"
			ours=$(rate "$dir/model" "$dir/in.tms")
			after=$(bare)
			echo "$before $after $ours" | awk -v OFS='\t' -v type=$type -v lengths=$lengths -v run="$run" '{
				own = ($1 + $5) / 2
				theirs = ($2 + $6) / 2
				peak = $3 > $7 ? $3 : $7
				reads = $4 > $8 ? $4 : $8
				print type, lengths, run, sprintf("%.1f", own), sprintf("%.1f", theirs), $9, sprintf("%.3f", $9 / own),
					sprintf("%.3f", theirs ? $9 / theirs : 0), sprintf("%.3f", peak ? $9 / peak : 0), sprintf("%.1f", $11),
					sprintf("%.3f", $11 / reads), $10, $12, $13, $14, $15, $16, $17
			}' | tee -a "$table"
			before=$after
		done
	done
	rm -r "$dir/model"
done

# Medians of a column, by type and lengths.
medians()
{
	awk -F '\t' -v name="$1" -v column="$2" '{ k = $1 FS $2; v[k, ++n[k]] = $column }
		END { for (k in n) {
			for (i = 1; i <= n[k]; i++)
				for (j = i + 1; j <= n[k]; j++)
					if (v[k, j] + 0 < v[k, i] + 0) { t = v[k, i]; v[k, i] = v[k, j]; v[k, j] = t }
			printf "# median\t%s\t%s\t%s\n", name, k, v[k, int((n[k] + 1) / 2)] } }' "$table" | sort
}
medians of_own 7
medians of_onednn 8
medians of_peak 9
