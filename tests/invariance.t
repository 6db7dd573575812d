#!/bin/sh
# The same rows give the same bits: whatever the batch, threads, shards, pipes, memory, held layers, order and taps.
# DEVICE, MODELS, LENGTHS (of the samples) and AGAIN (how often the data set is repeated) are for other tests that run this one.
. "$(dirname "$0")/lib.sh"
need_python
cd "$TMP" || exit

# Ids of many lengths: one token, more than a tile of 512 rows, more than a batch of 4096, none.
samples 7 "${LENGTHS:-1 700 2 33 0 128 5 61 17 300 1 90}" >ids.jsonl
ok "tok -f ids" tok -f ids -o ids.tms ids.jsonl

# run [OPTIONS]: layer-run on the device
run()
{
	layer-run --device "${DEVICE:-auto}" "$@"
}

taps=resid_post,q_rot,attn_ctx,mlp_out

# one NAME MODEL [LAYER-RUN OPTIONS] <resid: NAME.tms and NAME.taps
one()
{
	one_name=$1
	one_model=$2
	shift 2
	run -m "$one_model" --tap "$norms$taps=$one_name.taps" -o "$one_name.tms" "$@"
}

for name in ${MODELS:-llama-bf16 gemma2-bf16 qwen2-moe-bf16 llama-f32}
do
	norms=attn_norm,mlp_norm,
	case $name in
	olmo2*) norms= ;; # attention and MLP read the stream itself
	esac
	model=$TESTS/data/models/$name
	embed -m "$model" -o in.tms ids.tms
	ok "$name: runs" one base "$model" in.tms

	for options in "-j 1" "-j 2" "-j 3" "-j pin" "--ram 0" "--ram 100K" "--hold 2" "--hold 100"
	do
		# shellcheck disable=SC2086
		ok "$name: $options" one other "$model" $options in.tms
		ok "$name: $options: the stream's bytes" cmp base.tms other.tms
		ok "$name: $options: the taps' bytes" cmp base.taps other.taps
	done

	for n in 1 1000
	do
		"$PYTHON" "$TESTS/reframe.py" $n <ids.tms | embed -m "$model" >reframed.tms
		ok "$name: frames of $n samples" one other "$model" reframed.tms
		ok "$name: frames of $n samples: rows" same_tsv base.tms other.tms
		ok "$name: frames of $n samples: taps" same_tsv base.taps other.taps
	done

	"$PYTHON" "$TESTS/reframe.py" 3 5 <ids.tms | embed -m "$model" >shuffled.tms
	ok "$name: another order" one other "$model" shuffled.tms
	ok "$name: another order: rows" same_tsv base.tms other.tms
	ok "$name: another order: taps" same_tsv base.taps other.taps

	again=$(seq "${AGAIN:-8}" | sed 's/.*/in.tms/')
	# shellcheck disable=SC2086
	tcat -o again.tms $again
	# shellcheck disable=SC2046
	tcat -o again.base $(echo "$again" | sed 's/in.tms/base.tms/g')
	ok "$name: a data set over and over" run -m "$model" -o other.tms again.tms
	ok "$name: a data set over and over: rows" same_tsv again.base other.tms

	tcat --split 3 -o 'shard-%d.tms' in.tms
	for i in 0 1 2
	do
		one "out-$i" "$model" "shard-$i.tms"
	done
	ok "$name: shards merge" tcat --merge -o merged.tms out-0.tms out-1.tms out-2.tms
	ok "$name: shards: rows" same_tsv base.tms merged.tms
	ok "$name: shards' taps merge" tcat --merge -o merged.taps out-0.taps out-1.taps out-2.taps
	ok "$name: shards: taps" same_tsv base.taps merged.taps

	run -m "$model" --to 1 in.tms | run -m "$model" >piped.tms
	ok "$name: a pipe of two: the stream's bytes" cmp base.tms piped.tms

	ok "$name: without taps" run -m "$model" -o other.tms in.tms
	ok "$name: without taps: the stream's bytes" cmp base.tms other.tms
	ok "$name: every site tapped" run -m "$model" -o other.tms --tap "${norms}resid_pre,q,k,v,attn_scores,attn_probs,attn_ctx,attn_proj,attn_out,mlp_out,resid_post=all.taps" in.tms
	ok "$name: every site tapped: the stream's bytes" cmp base.tms other.tms
	ok "$name: a tap by itself" run -m "$model" -n --tap attn_ctx=alone.taps in.tms
	ok "$name: a tap by itself: the same rows" sh -c 'tcat --select attn_ctx all.taps | tcat --tsv | cmp - alone.tsv' \
		"$(tcat --tsv alone.taps >alone.tsv)"
	ok "$name: a tap pools as pool does" sh -c "
		layer-run --device '${DEVICE:-auto}' -m '$model' -n --tap resid_post/mean=pooled.tms in.tms &&
		tcat --select resid_post base.taps | pool --mean | tcat --tsv >a.tsv &&
		tcat --tsv pooled.tms | cmp - a.tsv"
done
done_testing
