#!/bin/bash
# make test-gpu: what `make test` proves of the kernels on the host, on the card: every site of every fixture against double
# precision, the promise of the bits, of products at the shapes of real models too, and compute-sanitizer on two fixtures.  Within
# 8 minutes, offline; 6 GB of the card.  DRY=1: see lib.sh.
set -u
report=gpu-test
. "$(dirname "$0")/lib.sh"
failures=0

# outcome NAME STATUS FILE: how many tests of TAP there were, and which failed; the end of FILE where that says nothing.
outcome()
{
	tell "$(test "$2" -eq 0 && echo ok || echo FAILED): $1: $(grep -c '^ok' "$3") passed, $(grep -c '^not ok' "$3") failed"
	test "$2" -ne 0 || return 0
	grep -B 5 -A 5 '^not ok' "$3" | tee -a "$report"
	grep -q '^not ok' "$3" || tail -n 20 "$3" | tee -a "$report"
	failures=$((failures + 1))
}

# Each with a share of the card.
names=$(ls tests/data/models)
test -z "$DRY" || names='llama-f32 qwen3-moe-bf16'
share='cuda --vram 1G'
test -z "$DRY" || share='cuda --vram 200M'
for python in ${PYTHON:-/usr/bin/python3 python3}
do
	"$python" -c 'import numpy, msgpack, xxhash' 2>/dev/null && break
done
# shellcheck disable=SC2016,SC2086 # the inner shell's; a list
printf '%s\n' $names | PYTHONDONTWRITEBYTECODE=1 xargs -P 4 -I NAME sh -c '"$1" tests/accuracy.py "--device=$2" "$3" >"$4/$3.tap" 2>&1' - \
	"$python" "$share" NAME "$dir"
status=$?
cat "$dir"/*.tap >"$dir/accuracy"
outcome 'every site of every fixture' $status "$dir/accuracy"

lengths='1 700 2 33 0 128 5 61 17 300 1 90' again=30
test -z "$DRY" || lengths='1 40 2 0 33' again=3
DEVICE=cuda MODELS='llama-bf16 qwen3-moe-bf16' LENGTHS=$lengths AGAIN=$again tests/invariance.t >"$dir/invariance" 2>&1
outcome 'the promise of the bits' $? "$dir/invariance"

"${rates%rates}products" ${DRY:+toy} >"$dir/products" 2>&1
outcome 'products of one row and of many' $? "$dir/products"
# Weights that pass through a window are multiplied by columns, with the whole matrix's algorithm: the bits of plenty of memory.
windowed()
{
	local type
	for type in bf16 f32
	do
		"$python" tests/wide.py "$dir/wide" $type 1024 3072 3 199 &&
			printf '%s\n' 1 70 150 2 17 300 | ids 190 | tok -q -f ids | embed -q -m "$dir/wide" -o "$dir/wide.in" &&
			layer-run --device cuda --vram 1G -m "$dir/wide" -o "$dir/wide.plenty" "$dir/wide.in" || return
		for vram in 125M 160M
		do
			layer-run -v --device cuda --vram $vram -m "$dir/wide" -o "$dir/wide.little" "$dir/wide.in" 2>"$dir/said" &&
				grep -q 'pass through' "$dir/said" && cmp "$dir/wide.little" "$dir/wide.plenty" &&
				echo "ok - $type, $vram" || echo "not ok - $type, $vram: $(cat "$dir/said")"
		done
	done
}
ONELAYER_FAKE_GPU=memory=2000 windowed >"$dir/windowed" 2>&1
status=$?
test $status -ne 0 || ! grep -q '^not ok' "$dir/windowed" || status=1
outcome 'weights that pass through a window' $status "$dir/windowed"

sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
# Our kernels, and the copies between.  What a tool says of the matrix library's kernels, whose barriers it may not know, is not
# ours; but memcheck's is, whoever reads beyond.
ours=$(sed -n 's/.*KERNEL.* void \([a-z_]*\)(.*/\1/p' kernels/cuda/*.cu kernels/cuda/*.h | sort -u | tr '\n' '|')
ours="\\b(${ours%|})[(<]|cudaMem"

# sanitize TOOL MODEL
sanitize()
{
	left=$((470 - SECONDS))
	test $left -gt 5 || {
		tell "SKIPPED: compute-sanitizer $1 on $2: no time is left of 8 minutes"
		return
	}
	timeout $left "$sanitizer" --tool "$1" --report-api-errors no --error-exitcode 86 "$BIN/layer-run" --device cuda --vram 1G -m "tests/data/models/$2" \
		--tap attn_probs,resid_post="$dir/san.taps" -o "$dir/san.out" "$dir/san.tms" >"$dir/san.said" 2>&1
	status=$?
	if test $status -eq 0
	then
		tell "ok: compute-sanitizer $1 on $2"
	elif test $status -eq 86 && { test "$1" = memcheck || grep -Eq "$ours" "$dir/san.said"; }
	then
		tell "FAILED: compute-sanitizer $1 on $2"
		head -n 40 "$dir/san.said" | tee -a "$report"
		failures=$((failures + 1))
	elif test $status -eq 86
	then
		tell "ok: compute-sanitizer $1 on $2, but for the matrix library's kernels: $(tail -n 1 "$dir/san.said")"
	else
		tell "SKIPPED: compute-sanitizer $1 on $2 doesn't work here: $(tail -n 1 "$dir/san.said")"
	fi
}

for model in llama-bf16 qwen3-moe-bf16
do
	printf '%s\n' 1 70 2 17 | ids 190 | tok -q -f ids | embed -q -m tests/data/models/$model -o "$dir/san.tms"
	for tool in memcheck racecheck synccheck initcheck
	do
		if test -z "$sanitizer" || test -n "$DRY"
		then
			tell "SKIPPED: compute-sanitizer $tool on $model: $(test -n "$DRY" && echo 'there is no card' || echo 'it is not installed')"
			continue
		fi
		sanitize $tool $model
	done
done
tell "$failures failed, in $SECONDS seconds; report: $report"
test "$failures" -eq 0
