#!/bin/sh
# layer-run beside the bare matrix products of its shapes, in one run: a Llama of hidden 2048, intermediate 8192, 16
# layers and 32/8 heads, bf16 and then f32, on 12,288 tokens as 96 samples of 128 and on natural lengths.
# RUNS=3 LAYERS=16 DIR=$TMPDIR: how often, how deep, and where the models (2 and 4 GB) are made.
set -eu
BIN=${BIN:-bin} BUILD=${BUILD:-build} RUNS=${RUNS:-3} LAYERS=${LAYERS:-16}
dir=$(mktemp -d "${DIR:-${TMPDIR:-/tmp}}/onelayer-bench.XXXXXX")
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
PATH=$BIN:$PATH

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

# The rate of a layer's bare products by oneDNN, in the faster of f32 and bf16 where weights are bf16.
bare()
{
	"$BUILD/bench/products" -l | awk -F '\t' -v type="$type" '
		$2 == "layer" { print (type == "bf16" && $7 > $6 ? $7 : $6) }'
}

# layer-run's rate in the same unit: what its products come to over its whole time.
rate()
{
	layer-run -q -m "$1" -n --tap resid_post/last="$dir/out.tms" --profile "$dir/profile.json" "$2"
	sed -n 's/.*"total".*"tokens_per_second":\([0-9.]*\).*"product_gflops":\([0-9.]*\).*/\2 \1/p' "$dir/profile.json"
}

yes 128 | head -n 96 | ids | tok -q -f ids -o "$dir/equal.tms"
natural | ids | tok -q -f ids -o "$dir/natural.tms"
awk -F ': ' '/model name/ { print "machine: " $2; exit }' /proc/cpuinfo
printf 'type\tlengths\trun\tbare GF/s\tlayer-run GF/s\tratio\ttokens/s\n'
for type in bf16 f32
do
	"$BUILD/bench/make-model" "$dir/model" $type 2048 8192 "$LAYERS" 32 8 32000
	for run in $(seq "$RUNS")
	do
		for lengths in equal natural
		do
			embed -q -m "$dir/model" -o "$dir/in.tms" "$dir/$lengths.tms"
			before=$(bare)
			rate "$dir/model" "$dir/in.tms" >"$dir/rate"
			read -r ours tokens <"$dir/rate"
			after=$(bare)
			awk -v t=$type -v l=$lengths -v r="$run" -v a="$before" -v b="$after" -v g="$ours" -v s="$tokens" 'BEGIN {
				bare = (a + b) / 2
				printf "%s\t%s\t%d\t%.0f\t%.0f\t%.3f\t%.1f\n", t, l, r, bare, g, g / bare, s }'
		done
	done
	rm -r "$dir/model"
done | tee "$dir/table"
awk -F '\t' '{ n[$1 FS $2]++; v[$1 FS $2, n[$1 FS $2]] = $6 }
	END { for (k in n) {
		for (i = 1; i <= n[k]; i++)
			for (j = i + 1; j <= n[k]; j++)
				if (v[k, j] < v[k, i]) { t = v[k, i]; v[k, i] = v[k, j]; v[k, j] = t }
		printf "median ratio\t%s\t%.3f\n", k, v[k, int((n[k] + 1) / 2)] } }' "$dir/table" | sort
