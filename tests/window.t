#!/bin/sh
# Weights that don't fit the device: on the fake one, with far less memory than a layer has, the bytes are those of plenty.
. "$(dirname "$0")/lib.sh"
need_python
test -z "$SANITIZED" || skip_all "fibres are slow under sanitizers; cuda.t runs every kernel under them"
cd "$TMP" || exit
export ONELAYER_CUDA_MODULE="$BUILD/cuda-host/onelayer-cuda.so"

# plenty PROGRAM ARGUMENTS, on PLACE MEMORY PROGRAM ARGUMENTS: on a device that delays and reorders as PLACE says
on()
{
	order=$1 mib=$2 program=$3
	shift 3
	ONELAYER_FAKE_GPU=memory=2000,$order "$program" --device cuda --vram "${mib}M" "$@"
}

plenty()
{
	on forward 2000 "$@"
}

# least PROGRAM ARGUMENTS: the memory that would do, by the program's own words
least()
{
	mib=1
	until on forward "$mib" "$@" >/dev/null 2>least.said
	do
		more=$(sed -n 's/.*--vram \([0-9]*\)M.*/\1/p' least.said)
		test "${more:-0}" -gt "$mib" || break
		mib=$more
	done
	echo "$mib"
}

samples 3 "1 20 0 140 2 17 90" | tok -f ids >ids.tms

#                                     hidden inner layers vocabulary experts
"$PYTHON" "$TESTS/wide.py" dense f32  512    1024   3      199
"$PYTHON" "$TESTS/wide.py" moe   bf16 128    96     3      199        320
"$PYTHON" "$TESTS/wide.py" head  bf16 1024   32     1      16000

# -------- the layers

taps=q,attn_probs,attn_out,mlp_norm,mlp_out,resid_post
for model in dense moe
do
	case $model in
	dense) sites=$taps,mlp_gate ;;
	moe) sites=$taps,expert_idx,expert_out ;;
	esac
	embed -m $model -o $model.in ids.tms
	plenty layer-run -m $model -o plenty.tms --tap "$sites=plenty.taps" $model.in
	enough=$(least layer-run -m $model -o least.tms --tap "$sites=least.taps" $model.in)
	test $model = moe || dense_enough=$enough
	ok "$model: --vram ${enough}M would do, and does" cmp least.tms plenty.tms
	ok "$model: with taps" cmp least.taps plenty.taps
	says "$model: 2% less is refused" 2 "--vram ${enough}M would do" on forward $((enough * 98 / 100)) layer-run -m $model -n --tap "$sites=x" $model.in
	says "$model: it does by copies for each batch" 0 "for each batch of 128 rows" \
		on forward "$enough" layer-run -v -m $model -n --tap "$sites=x" $model.in
	for order in backward shuffled,seed=1 shuffled,seed=2 shuffled,seed=3
	do
		rm -f small.tms
		on $order "$enough" layer-run -m $model -o small.tms $model.in
		ok "$model: $order: the bytes of plenty of memory" cmp small.tms plenty.tms
	done
	for more in 3 10
	do
		rm -f small.*
		on shuffled,seed=$more $((enough + more)) layer-run -m $model -o small.tms --tap "$sites=small.taps" $model.in
		ok "$model: $((enough + more)) MiB: the stream" cmp small.tms plenty.tms
		ok "$model: $((enough + more)) MiB: taps" cmp small.taps plenty.taps
	done
done
on shuffled,seed=7 $((enough + 20)) layer-run -m moe --hold 2 -o small.tms moe.in
ok "two layers held" cmp small.tms plenty.tms
on shuffled,seed=8 $((enough + 20)) layer-run -m moe --patch attn_out=plenty.taps --patch mlp_out=plenty.taps -o small.tms moe.in
ok "patches of a run's own rows" sh -c 'tcat --tsv plenty.tms >a && tcat --tsv small.tms | cmp - a'
filtered=$(least layer-run -m moe --filter mlp_out=cat -o small.tms moe.in)
says "a filter: $filtered MiB: weights pass through" 0 "for each batch of [0-9]+ rows" \
	on forward "$filtered" layer-run -v -m moe --filter mlp_out=cat -o small.tms moe.in
ok "a filter that changes nothing" sh -c 'tcat --tsv plenty.tms >a && tcat --tsv small.tms | cmp - a'

# A layer that fits with a whole tile of rows, where two don't: it is copied once.
plenty layer-run -m dense -o plenty.tms dense.in
for hold in 1 2
do
	for seed in 0 1
	do
		says "--hold $hold: a layer that fits is copied once" 0 "pass through .*, once" \
			on shuffled,seed=$seed 172 layer-run -v -m dense --hold $hold -o small.tms --profile small.json dense.in
		ok "--hold $hold: seed $seed: the bytes of plenty of memory" cmp small.tms plenty.tms
	done
	is "--hold $hold: one layer at a time" "$(grep -c layers small.json)" 3
done
says "--hold 2 is told that there is no room" 0 "^layer-run: --hold 2: 1 at a time are held, more don't fit" \
	on forward 172 layer-run -v -m dense --hold 2 -o small.tms dense.in
says "a device that breaks under way" 2 "the device broke" on breaks=20 "$dense_enough" layer-run -m dense -o broken.tms dense.in
ok "and leaves no output" test ! -e broken.tms

# -------- the output head

embed -m head ids.tms | plenty layer-run -m head -o head.tms
for what in '--nll --json' '--logits --pos all' '--top 3 --target #7'
do
	# shellcheck disable=SC2086 # a list
	plenty unembed -m head $what -o plenty.said head.tms
	# shellcheck disable=SC2086
	enough=$(least unembed -m head $what -o least.said head.tms)
	ok "unembed $what: --vram ${enough}M would do, and does" cmp least.said plenty.said
	# shellcheck disable=SC2086
	says "unembed $what: 2% less is refused" 2 "--vram ${enough}M would do" on forward $((enough * 98 / 100)) unembed -m head $what head.tms
	for more in 0 4
	do
		# shellcheck disable=SC2086
		on shuffled,seed=$more $((enough + more)) unembed -m head $what -o small.said head.tms
		ok "unembed $what: $((enough + more)) MiB" cmp small.said plenty.said
	done
done
says "unembed tells where the head lies" 0 "the output head, 32 MiB, lies in the host's memory" on forward "$enough" unembed -v -m head -o x head.tms
plenty unembed -m head --against head.tms -o plenty.said head.tms
enough=$(least unembed -m head --against head.tms -o least.said head.tms)
ok "unembed --against: --vram ${enough}M would do, and does" cmp least.said plenty.said
done_testing
