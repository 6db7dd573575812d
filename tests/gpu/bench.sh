#!/bin/bash
# make bench-gpu: rates on the card as shares of what it does plainly in the same run (tests/gpu/rates.cu), then layer-run from
# end to end on a bf16 Llama of hidden 4096, intermediate 14336, 32/8 heads and 8 layers, made on the spot (3.5 GB in $DIR or
# $TMPDIR): 131,072 tokens in samples of 128 and of natural lengths, beside bare products before and after.  Within 8 minutes,
# offline.  DRY=1: see lib.sh.
set -u
report=gpu-bench
. "$(dirname "$0")/lib.sh"
size='' tokens=131072 shape='4096 14336 8 32 8 32000' vocab=32000
test -z "$DRY" || size=toy tokens=512 shape='128 224 2 4 2 200' vocab=200

# Rates of the parts; the products' last.
parts()
{
	"$rates" $size >"$dir/rates" || {
		echo "$rates: exit status $?" >&2
		exit 1
	}
	awk -F '\t' '$1 == "product" { rate = $2 } END { print rate }' "$dir/rates"
}

# Log-normal, mean about 300, at most 4096.
natural()
{
	awk -v left=$tokens 'BEGIN {
		srand(7)
		for (; left > 0; left -= n) {
			n = int(exp(5.35 + 0.85 * sqrt(-2 * log(1 - rand())) * cos(6.283185 * rand())))
			n = n < 4 ? 4 : n > 4096 ? 4096 : n
			n = n < left ? n : left
			print n
		}
	}'
}

before=$(parts) || exit
tell 'name	rate	unit	share of what the card does plainly'
tee -a "$report" <"$dir/rates"

# shellcheck disable=SC2086 # several numbers
"$BUILD/bench/make-model" "$dir/model" bf16 $shape || exit
yes 128 | head -n $((tokens / 128)) | ids $vocab | tok -q -f ids -o "$dir/equal.tms"
natural | ids $vocab | tok -q -f ids -o "$dir/natural.tms"
tell 'lengths	run	bare TFLOP/s	layer-run TFLOP/s	share	tokens/s	stalled for weights'
for lengths in equal natural
do
	embed -q -m "$dir/model" -o "$dir/in.tms" "$dir/$lengths.tms" || exit
	for run in 1 2
	do
		layer-run -q --device cuda -m "$dir/model" --profile "$dir/profile.json" -o "$dir/out.tms" "$dir/in.tms" || exit
		after=$(parts) || exit
		tell "$(sed -n 's/.*"total".*"seconds":\([0-9.]*\).*"tokens_per_second":\([0-9.]*\).*"stall":\([0-9.]*\).*"product_gflops":\([0-9.]*\).*/\1 \2 \3 \4/p' \
			"$dir/profile.json" | awk -v l=$lengths -v r=$run -v a="$before" -v b="$after" '{
				bare = (a + b) / 2
				printf "%s\t%d\t%.3f\t%.3f\t%.3f\t%.1f\t%.3f", l, r, bare, $4 / 1000, $4 / 1000 / bare, $2, $3 / $1 }')"
		before=$after
	done
done
# Few tokens: the weights are what takes time.
echo 128 | ids $vocab | tok -q -f ids | embed -q -m "$dir/model" -o "$dir/few.tms" || exit
layer-run -q --device cuda -m "$dir/model" --profile "$dir/profile.json" -n --tap resid_post/last="$dir/last.tms" "$dir/few.tms" || exit
tell "$(sed -n 's/.*"total".*"seconds":\([0-9.]*\).*"read_bytes":\([0-9]*\).*/\1 \2/p' "$dir/profile.json" |
	awk -v pinned="$(awk -F '\t' '$1 == "pinned" { print $2 }' "$dir/rates")" '{
		printf "128 tokens: weights from the file at %.3f GB/s, %.3f of a plain pinned copy", $2 / $1 / 1e9, $2 / $1 / 1e9 / pinned }')"
tell "in $SECONDS seconds; report: $report"
