#!/bin/sh
# --device cuda without a GPU: the module whose kernels run on the host as fibres, over a device that delays and reorders.
# And why a device can't be used, by name.
. "$(dirname "$0")/lib.sh"
need_python
cd "$TMP" || exit
host=$BUILD/cuda-host/onelayer-cuda.so
models=$TESTS/data/models
export ONELAYER_CUDA_MODULE="$host" PYTHONDONTWRITEBYTECODE=1

samples 3 "1 70 2 0 33 17" | tok -f ids >ids.tms
model=$models/llama-bf16
embed -m "$model" -o in.tms ids.tms

# cuda OPTIONS: the small model on the fake device
cuda()
{
	layer-run -m "$model" --device cuda "$@"
}

# -------- reasons

mkdir alone
cp "$BIN/layer-run" alone
says "no module: where it was sought" 2 "--device cuda: there is no CUDA module: neither .*/alone/onelayer-cuda.so nor .*/alone/../lib/onelayer/onelayer-cuda.so" \
	env -u ONELAYER_CUDA_MODULE alone/layer-run -m "$model" --device cuda -n --tap v=x in.tms
ok "no module: auto is cpu" env -u ONELAYER_CUDA_MODULE alone/layer-run -m "$model" -o auto.tms in.tms
layer-run -m "$model" --device cpu -o cpu.tms in.tms
ok "no module: auto gives cpu's bytes" cmp auto.tms cpu.tms
mkdir -p lib/onelayer
cp "$host" lib/onelayer/
ok "a module in ../lib/onelayer" env -u ONELAYER_CUDA_MODULE alone/layer-run -m "$model" --device cuda -o lib.tms in.tms
says "a module that isn't there" 2 "the CUDA module can't be loaded: ./nowhere.so" env ONELAYER_CUDA_MODULE=./nowhere.so \
	layer-run -m "$model" --device cuda in.tms
echo text >text.so
says "a file that is no module" 2 "the CUDA module can't be loaded: .*text.so" env ONELAYER_CUDA_MODULE=./text.so \
	layer-run -m "$model" --device cuda in.tms
echo 'const struct { unsigned abi; const char *version; const void *ops; } onelayer_cuda = { 1, "0.0.1", 0 };' >other.c
${CC:-cc} -shared -fPIC -o other.so other.c
says "a module of another build" 2 "other.so belongs to another build of onelayer \(0.0.1; this is [0-9.]+\)" \
	env ONELAYER_CUDA_MODULE=./other.so layer-run -m "$model" --device cuda in.tms

says "no driver" 2 "layer-run: --device cuda: no CUDA driver" env ONELAYER_FAKE_GPU=no-driver layer-run -m "$model" --device cuda in.tms
says "no device" 2 "no CUDA device is visible \(CUDA_VISIBLE_DEVICES" env ONELAYER_FAKE_GPU=no-device layer-run -m "$model" --device cuda in.tms
says "too old a device" 2 "too old \(compute capability 7.0; 8.0" env ONELAYER_FAKE_GPU=old layer-run -m "$model" --device cuda in.tms
says "a device of too high a number" 2 "--device cuda:3: cuda:3: there is 1 CUDA device" layer-run -m "$model" --device cuda:3 in.tms
says "cuda:x" 2 "isn't one of auto, cpu, cuda, cuda:N, ref" layer-run -m "$model" --device cuda:x in.tms
says "--vram on cpu" 2 "--device cpu has none" layer-run -m "$model" --device cpu --vram 1G in.tms
says "--vram beyond the device" 2 "memory" cuda --vram 100G in.tms
says "unembed tells the same reasons" 2 "unembed: --device cuda: no CUDA driver" \
	env ONELAYER_FAKE_GPU=no-driver unembed -m "$model" --device cuda cpu.tms
says "auto tells why it is not cuda" 0 "^layer-run: cpu .*\(not cuda: no CUDA driver" \
	env ONELAYER_FAKE_GPU=no-driver layer-run -v -m "$model" -o auto.tms in.tms
ok "auto without a driver gives cpu's bytes" cmp auto.tms cpu.tms

says "auto where no kernel runs is cpu, and tells" 0 "^layer-run: cpu .*\(not cuda: CUDA: a first kernel doesn't run: .*broke" \
	env ONELAYER_FAKE_GPU=breaks=1 layer-run -v -m "$model" -o auto.tms in.tms
ok "and gives cpu's bytes" cmp auto.tms cpu.tms

# breaks N COMMAND...: on a device that breaks at its N-th launch the command says so and leaves no broken.out, or it ends before
# that, and broken.out is whole.out.
breaks()
{
	rm -f broken.out
	n=$1
	shift
	ONELAYER_FAKE_GPU=breaks=$n "$@" 2>broken.said
	case $? in
	0) cmp whole.out broken.out || exit ;;
	2) grep -q 'the device broke' broken.said && test ! -s broken.out && return 1 ;;
	*) false ;;
	esac || {
		cat broken.said
		echo "breaking at launch $n"
		exit 1
	}
}

# never_wrong COMMAND...: that, at launches over all the run and at its last ones.
never_wrong()
(
	low=1 high=2
	until breaks $high "$@"
	do
		low=$high
		high=$((2 * high))
	done
	while test $((high - low)) -gt 1
	do
		middle=$(((low + high) / 2))
		if breaks $middle "$@"
		then
			high=$middle
		else
			low=$middle
		fi
	done
	test $low -gt 20 && ! breaks $((low - 1)) "$@" && ! breaks $((low - 7)) "$@"
)

unembedded()
{
	unembed -m "$model" --device cuda --nll --json cpu.tms >broken.text && mv broken.text broken.out
}
mixed()
{
	layer-run -m "$models/qwen3-moe-bf16" --device cuda -o broken.out mixed.tms
}
says "a device that breaks in a layer is told with it" 2 "^layer-run: layer [0-9]+: fake: the device broke" \
	env ONELAYER_FAKE_GPU=breaks=30 layer-run -m "$model" --device cuda --hold 1 -o broken.out in.tms
cuda -o whole.out in.tms
ok "a device that breaks under way, wherever that is, is told" never_wrong cuda -o broken.out in.tms
unembed -m "$model" --device cuda --nll --json cpu.tms >whole.out
ok "under unembed" never_wrong unembedded
samples 3 "1 40 2" | tok -f ids | embed -m "$models/qwen3-moe-bf16" -o mixed.tms
layer-run -m "$models/qwen3-moe-bf16" --device cuda -o whole.out mixed.tms
ok "and among experts" never_wrong mixed
if test -e "$BIN/onelayer-cuda.so" && ! nvidia-smi -L >/dev/null 2>&1
then
	says "the card's own module, without a driver" 2 "no CUDA driver|no CUDA device" \
		env -u ONELAYER_CUDA_MODULE layer-run -m "$model" --device cuda in.tms
else
	skip "the card's own module, without a driver" "it isn't built, or there is a GPU"
fi

ok "auto takes cuda where it works" layer-run -m "$model" -o auto.tms --profile auto.json in.tms
ok "cuda:0" layer-run -m "$model" --device cuda:0 -o first.tms in.tms
ok "auto: cuda's bytes" cmp auto.tms first.tms
ok "the profile says what it took" grep -q '"device":"cuda ' auto.json
device_times()
{
	"$PYTHON" - auto.json <<'END'
import json, sys
for line in open(sys.argv[1]):
    p = json.loads(line)
    kinds = p["thread_seconds"]
    wait = kinds.pop("wait")
    print(p)
    assert all(t > 0 for t in kinds.values())
    assert abs(sum(kinds.values()) - p["compute"]) < 1e-5 and abs(p["compute"] + wait - p["seconds"]) < 1e-5
    # Asking for the work takes a thousandth of it.
    assert p["compute"] > 0.05 * p["seconds"] and p["product_share"] > 0.01
END
}
ok "and the device's own times, pass by pass" device_times

# -------- too little memory: the number that would do, and that it does

says "--vram too small" 2 "layer-run: .*--vram [0-9]+M" cuda --vram 1M in.tms
enough=1M
for try in 1 2 3
do
	cuda --vram "$enough" in.tms >vram.tms 2>vram.said && break
	enough=$(sed -n 's/.*--vram \([0-9]*M\).*/\1/p' vram.said)
	is "--vram $enough is told with what it is for" "$(grep -c memory vram.said)" 1
done
ok "--vram $enough does" cuda --vram "${enough:-1}" -o vram.tms in.tms
ok "--vram $enough: the same bytes" cmp vram.tms first.tms
says "unembed: --vram too small" 2 "unembed: .*--vram [0-9]+M" unembed -m "$model" --device cuda --vram 1M first.tms

ok "another program takes memory just then: what it leaves does" env ONELAYER_FAKE_GPU=rival layer-run -m "$model" --device cuda -o rival.tms in.tms
ok "and gives the same bytes" cmp rival.tms first.tms

# -------- the order of threads, blocks, streams

sites=resid_pre,attn_norm,q,k,v,q_rot,k_rot,attn_scores,attn_probs,attn_ctx,attn_proj,attn_out,resid_mid,mlp_norm,mlp_gate,mlp_up
sites=$sites,mlp_act,mlp_out,resid_post
for name in llama-bf16 gemma2-f32 neox-f16 qwen3-moe-bf16
do
	here=$models/$name
	case $name in
	gemma2*) of=$sites ;;
	neox*) of=$(echo "$sites" | sed 's/,resid_mid//;s/,mlp_gate//') ;;
	*moe*) of=$(echo "$sites" | sed 's/,mlp_gate,mlp_up,mlp_act//'),router_logits,router_weights,expert_idx,expert_out ;;
	*) of=$sites ;;
	esac
	embed -m "$here" -o order.in ids.tms
	for order in forward backward shuffled,seed=1 shuffled,seed=2 shuffled,seed=6
	do
		export ONELAYER_FAKE_GPU=$order
		ok "$name: $order" layer-run -m "$here" --device cuda --tap "$of=$order.taps" -o "$order.tms" order.in
		ok "$name: $order: the stream's bytes" cmp "$order.tms" forward.tms
		ok "$name: $order: every site's bytes" cmp "$order.taps" forward.taps
		unembed -m "$here" --device cuda --nll --json -o "$order.nll" "$order.tms"
		ok "$name: $order: unembed" cmp "$order.nll" forward.nll
	done
	unset ONELAYER_FAKE_GPU
	ok "$name: without taps" layer-run -m "$here" --device cuda -o bare.tms order.in
	ok "$name: without taps: the stream's bytes" cmp bare.tms forward.tms
done

# -------- what changes values on their way

ok "taps" cuda --tap attn_ctx,mlp_out=own.taps -o base.tms in.tms
ok "filters that change nothing" cuda --filter 'attn_ctx,mlp_out=cat' -o changed.tms in.tms
ok "filters that change nothing: the rows" sh -c 'tcat --tsv base.tms >a && tcat --tsv changed.tms | cmp - a'
ok "patches of the run's own rows" cuda --patch attn_ctx=own.taps --patch mlp_out=own.taps -o changed.tms in.tms
ok "patches of the run's own rows: the rows" sh -c 'tcat --tsv base.tms >a && tcat --tsv changed.tms | cmp - a'
ok "attention unfused" cuda --attention plain --tap attn_probs=probs.taps -o plain.tms in.tms
ok "a filter at attn_scores" cuda --filter 'attn_scores=cat' --tap attn_probs=changed.taps -o changed.tms in.tms
ok "a filter at attn_scores: the unfused rows" sh -c 'tcat --tsv plain.tms >a && tcat --tsv changed.tms | cmp - a'
done_testing
