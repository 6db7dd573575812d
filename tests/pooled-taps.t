#!/bin/sh
# A pooled tap is `pool` of the whole one, bit for bit: on every device, with samples that tiles and batches cut.
. "$(dirname "$0")/lib.sh"
need_python
cd "$TMP" || exit
model=$TESTS/data/models/llama-bf16
export ONELAYER_CUDA_MODULE="$BUILD/cuda-host/onelayer-cuda.so" ONELAYER_FAKE_GPU=memory=140
export PYTHONPATH="$ROOT/pipelines" PYTHONDONTWRITEBYTECODE=1

# Batches have 2048 or 4096 rows, and end within samples; spans overlap and have gaps.
"$PYTHON" - <<'END2'
import random
from onelayer_tms import Frame, Writer
random.seed(4)
lengths = [3, 0, 1, 700] + [290] * 11 + [0, 333, 40, 1]
with Writer("ids.tms", {"kind": "tokens"}) as out:
    for first in range(0, len(lengths), 5):
        samples = []
        for i in range(first, min(first + 5, len(lengths))):
            n = lengths[i]
            ids = b"".join(random.randrange(190).to_bytes(4, "little") for _ in range(n))
            spans = [[n // 9, n // 5], [n // 6, n // 3], [n // 2, n]] if i % 4 else []
            samples.append({"id": "s%d" % i, "seq": i, "len": n, "tokens": ids, "span": spans})
        out.write(Frame(samples=samples))
END2
embed -m "$model" -o in.tms ids.tms

sites=resid_pre,q,k_rot,attn_ctx,mlp_act,resid_post
for device in cpu ref cuda
do
	test "$device" = cuda && test -n "$SANITIZED" && continue # fibres are slow under sanitizers
	taps=
	for pool in mean mean:100 max last first pos:0 span span:max
	do
		taps="$taps --tap $sites/$pool=$pool.tms"
	done
	# shellcheck disable=SC2086 # a list
	ok "$device: pooled taps" layer-run --device "$device" -m "$model" --to 1 -n $taps in.tms
	ok "$device: whole taps" layer-run --device "$device" -m "$model" --to 1 -n --tap "$sites=whole.tms" in.tms
	for pool in mean mean:100 max last first pos:0 span span:max
	do
		case $pool in
		*:*) option=--${pool%%:*}=${pool#*:} ;;
		*) option=--$pool ;;
		esac
		pool "$option" -o pooled.tms whole.tms
		ok "$device: $pool" same_tsv "$pool.tms" pooled.tms
	done
done

# -------- other ways through the block

layer-run --device cpu -m "$model" -n --tap "$sites/mean=base.tms" in.tms
for options in "-j 1" "-j 3 --ram 0" "--hold 2" "--tap q=whole.tms" "--filter q,resid_post@1=cat"
do
	# shellcheck disable=SC2086 # a list
	ok "pooled taps with $options" layer-run --device cpu -m "$model" -n $options --tap "$sites/mean=other.tms" in.tms
	ok "pooled taps with $options: the same rows" same_tsv base.tms other.tms
done
says "a position that a sample lacks" 2 "sample 's0' of 3 tokens has no position 5" \
	layer-run --device cpu -m "$model" -n --tap resid_post/pos:5=none.tms in.tms

# -------- a reader that goes away leaves the other taps alone

ok "a tap that ended beside others" layer-run --device cpu -m "$model" -n --tap 'mlp_out=|head -c 10 >/dev/null' \
	--tap 'q/mean=|head -c 10 >/dev/null' --tap "$sites/mean=other.tms" in.tms
ok "a tap that ended beside others: their bytes" cmp base.tms other.tms
done_testing
