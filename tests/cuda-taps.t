#!/bin/sh
# Taps of several batches on the fake device: a batch's rows arrive while the next one is computed, and are those of one batch in
# plenty of memory, byte for byte, whatever the device's delays.
. "$(dirname "$0")/lib.sh"
need_python
test -z "$SANITIZED" || skip_all "fibres are slow under sanitizers; cuda.t runs every kernel under them"
cd "$TMP" || exit
export ONELAYER_CUDA_MODULE="$BUILD/cuda-host/onelayer-cuda.so"

# on ORDER MEMORY OPTIONS
on()
{
	order=$1 mib=$2
	shift 2
	ONELAYER_FAKE_GPU=memory=2000,$order layer-run --device cuda --vram "${mib}M" "$@"
}

# compare NAME: what plenty.* has, small.* has.
compare()
{
	for file in plenty.*
	do
		ok "$1: ${file#plenty.}" cmp "$file" "small.${file#plenty.}"
	done
	rm -f small.*
}

# -------- batches of 2048 rows: samples that they cut, frames of several samples, samples without a token

samples 5 "$(printf '%s ' 600 0 1; for i in 1 2 3 4 5 6 7 8; do printf '%s ' 130 170 3 90 75; done; echo 0 1 90)" | tok -f ids >ids.tms
for name in llama-bf16 qwen3-moe-f32
do
	case $name in
	llama*) sites=resid_pre,q,k_rot,mlp_act,resid_post@0 ;;
	*) sites=q,router_logits,expert_idx,expert_out,resid_post@1 ;;
	esac
	here=$TESTS/data/models/$name
	embed -m "$here" -o in.tms ids.tms
	# run ORDER MEMORY PREFIX [HOLD]: one of two layers gives whole rows
	run()
	{
		on "$1" "$2" -m "$here" --to 2 --hold "${4:-1}" --tap "$sites=$3.rows" --tap attn_out,mlp_norm/mean="$3.mean" -o "$3.tms" in.tms
	}
	run forward 2000 plenty
	for order in forward shuffled,seed=1
	do
		ok "$name: $order: runs" run $order 150 small
		compare "$name: $order"
	done
	ok "$name: layers held: runs" run shuffled,seed=4 150 small 2
	compare "$name: layers held"
	rm -f plenty.*
done

# -------- many batches, of 128 rows

samples 3 "1 20 0 140 2 17 90 128 5 1 64 250" | tok -f ids >ids.tms
"$PYTHON" "$TESTS/wide.py" dense f32 512 1024 2 199
embed -m dense -o in.tms ids.tms
# Of one batch more than the ring that its rows leave by holds: what a batch's rows were is gone when the next one's come.
all=resid_pre,attn_norm,q,k,v,q_rot,k_rot,attn_ctx,attn_proj,attn_out,resid_mid,mlp_norm,mlp_gate,mlp_up,mlp_act,mlp_out,resid_post
run()
{
	on "$1" "$2" -m dense --tap "$all=$3.rows" --tap attn_probs@1="$3.probs" \
		--tap mlp_out/max="$3.max" -o "$3.tms" "${4:--q}" in.tms
}
run forward 2000 plenty
says "batches of 128 rows" 0 "for each batch of 128 rows" run forward 126 small -v
rm -f small.*
for order in shuffled,seed=1 shuffled,seed=2 shuffled,seed=3
do
	ok "many batches: $order: runs" run $order 126 small
	compare "many batches: $order"
done
done_testing
