#!/bin/sh
# layer-run --plan beside the runs that it foretells: files, weights, spill, operations and memory.  Of seconds only that there are some.
. "$(dirname "$0")/lib.sh"
need_python
cd "$TMP" || exit
export PYTHONDONTWRITEBYTECODE=1
models=$TESTS/data/models

samples 5 "1 20 0 140 2 17 90 600 33 40 41 5" | tok -f ids >ids.tms
samples 6 "1 20 0 110 2 17 90" | tok -f ids >short.tms
embed -m "$MOOD" -o in.tms ids.tms
embed -m "$models/qwen3-moe-bf16" -o moe.tms ids.tms
embed -m "$models/gemma2-f32" -o gemma.tms ids.tms
embed -m "$models/gpt2-bf16" -o gpt2.tms short.tms
samples 7 "5000 40 3000" | tok -f ids | embed -m "$MOOD" -o long.tms
"$PYTHON" "$TESTS/wide.py" dense bf16 1024 4096 3 199
samples 9 "512 300 100" | tok -f ids | embed -m dense -o wide.tms
tcat --zstd in.tms -o zstd.tms
layer-run -m "$MOOD" -n --tap resid_post@2/last=last.tms --tap attn_out@1=attn.tms in.tms
printf 'variant\tsite\tlayers\tfile\na\tattn_out\t1\tattn.tms\nb\tattn_out\t1\tattn.tms\n' >table

# planned NAME ARGUMENTS: the plan of the run; the run; what both say.
cat >planned.py <<'END'
import json, os, subprocess, sys

LAYER_RUN, SANITIZED = "layer-run", bool(os.environ.get("SANITIZED"))
name, arguments = sys.argv[1], sys.argv[2:]


def plan(*more):
    p = subprocess.run([LAYER_RUN, "--plan", "--json", *arguments, *more], capture_output=True, text=True)
    assert p.returncode == 0, (p.returncode, p.stderr, p.stdout)
    lines = p.stdout.splitlines()
    assert len(lines) == 1, p.stdout
    return json.loads(lines[0])


def near(what, planned, was, share, more=0):
    assert abs(planned - was) <= share * was + more, "%s: planned %s, was %s" % (what, planned, was)


before = sorted(os.listdir("."))
p = plan()
assert sorted(os.listdir(".")) == before, "the plan left something behind"
child = subprocess.Popen([LAYER_RUN, "-q", "--profile", "profile.json", *arguments], stdout=open("stdout.tms", "wb"))
_, status, usage = os.wait4(child.pid, 0)
assert status == 0, status
total = json.loads(open("profile.json").read().splitlines()[-1])
assert p["possible"] and not p["problems"]
assert p["tokens"] == total["rows"] and p["layers"] == total["total"]
assert p["weights"]["bytes"] == total["read_bytes"]
assert (p["spill"]["written"], p["spill"]["read"]) == (total["spill_written"], total["spill_read"]), p["spill"]
near("operations", p["work"]["product_flops"], total["product_gflops"] * 1e9 * total["seconds"], 0.02, 0.06e9 * total["seconds"])
for f in p["files"]:
    if f["use"] != "spill":
        near(f["name"], f["bytes"], os.path.getsize("stdout.tms" if f["name"] == "-" else f["name"]), 0 if f["use"] == "output" else 0.005)
spilled = [f for f in p["files"] if f["use"] == "spill"]
assert len(spilled) == (p["spill"]["rows"] > 0) and all(f["bytes"] > p["spill"]["rows"] for f in spilled)
assert p["seconds"]["total"] > 0 and p["bound"] in p["seconds"] and p["seconds"][p["bound"]] > 0 and p["break_even"] > 0
if not SANITIZED and "ref" not in arguments:
    # Beside what is counted: threads that talk to a filter, and memory that malloc(3) keeps.
    near("memory", p["memory"]["peak"], usage.ru_maxrss << 10, 0.15, 14 << 20)
END

planned()
{
	name=$1
	shift
	ok "plan and run: $name" "$PYTHON" planned.py "$name" "$@"
}

taps=q,k_rot,attn_ctx,mlp_act,mlp_out,resid_post
planned "the stream" -m "$MOOD" -o out.tms in.tms
planned "to standard output" -m "$MOOD" in.tms
planned "taps of every shape" -m "$MOOD" -o out.tms --tap "$taps=a.tms" --tap attn_probs@0-2=b.tms --tap resid_post@1,3/mean=a.tms --tap q/last=c.tms in.tms
planned "taps in bf16, no stream, a spill" -m "$MOOD" -n --ram 300K --tap-dtype bf16 --tap "$taps@-1=a.tms" --tap mlp_out/max=c.tms in.tms
planned "a spill of all, f32" -m "$MOOD" --ram 0 --resid-dtype f32 -o out.tms in.tms
planned "three layers at a time" -m "$MOOD" --hold 3 --ram 100K -o out.tms --tap q=a.tms in.tms
planned "all layers at a time" -m "$MOOD" --hold 9 --ram 0 -o out.tms in.tms
planned "some layers" -m "$MOOD" --to 4 -o out.tms --tap q@5=a.tms --tap q@1=b.tms in.tms
planned "samples longer than a batch" -m "$MOOD" -o out.tms --tap resid_post/pos:-2=a.tms long.tms
planned "a compressed stream" -m "$MOOD" -o out.tms zstd.tms
planned "variants" -m "$MOOD" -o out.tms --sweep table --ram 1M --tap mlp_out=a.tms in.tms
planned "filters" -m "$MOOD" -o out.tms --filter resid_post@2=cat --filter attn_probs@1=cat in.tms
planned "in double" -m "$MOOD" --device ref -o out.tms --tap q/first=a.tms --to 1 in.tms
planned "a larger model" -m dense -o out.tms --tap attn_out=a.tms --ram 1M wide.tms
planned "experts" -m "$models/qwen3-moe-bf16" -o out.tms --tap expert_idx,expert_out,router_logits=a.tms moe.tms
planned "windows, post norms" -m "$models/gemma2-f32" -o out.tms --tap attn_probs,resid_post=a.tms gemma.tms
planned "learned positions" -m "$models/gpt2-bf16" -o out.tms --tap mlp_up=a.tms gpt2.tms

# -------- what it reads and leaves alone

plan()
{
	layer-run -m "$MOOD" --plan "$@"
}

keys='"tokens":[0-9]*,"samples":[0-9]*,"longest":[0-9]*'
plan --json in.tms | grep -o "$keys" >of-file
plan --json <in.tms | grep -o "$keys" >of-stdin
# shellcheck disable=SC2002 # a pipe is what is tried
cat in.tms | plan --json | grep -o "$keys" >of-pipe
plan --json zstd.tms | grep -o "$keys" >of-zstd
is "tokens, samples and the longest" "$(cat of-file)" '"tokens":989,"samples":12,"longest":600'
ok "the same from a pipe, standard input and a compressed stream" sh -c 'cmp of-file of-stdin && cmp of-file of-pipe && cmp of-file of-zstd'

mkdir empty
echo precious >empty/out.tms
touch -d '2001-01-01' empty/out.tms
cp -p empty/out.tms kept
ok "with filters, commands and an output that is there" plan -o empty/out.tms --filter 'q@1=touch empty/started; cat' \
	--tap 'q=|touch empty/started' --tap k=empty/k.tms --ram 0 --spill empty --profile empty/profile in.tms
is "nothing is started and nothing left" "$(ls -A empty)" out.tms
ok "the output is as it was" sh -c 'cmp kept empty/out.tms && test ! kept -ot empty/out.tms && test ! empty/out.tms -ot kept'
ok "in words" sh -c 'layer-run -m "$0" --plan -o out.tms --ram 10K in.tms >words &&
	for word in run stream weights work memory output spill time; do grep -q "^$word " words || exit; done' "$MOOD"
rm -f out.tms
ok "an output that is no file" plan -o /dev/null in.tms
layer-run -m "$MOOD" -o done.tms in.tms
ok "no layer is left" sh -c 'layer-run -m "$0" --plan --json -o out.tms done.tms >said && layer-run -m "$0" -o out.tms done.tms &&
	grep -q "\"bytes\":$(stat -c %s out.tms),\"free\"" said' "$MOOD"
tok -f ids </dev/null | embed -m "$MOOD" -o nothing.tms
ok "a stream of nothing" plan nothing.tms

# -------- what is trouble for a run is trouble for its plan

says "a site that isn't there" 2 "there is no site" plan --tap nothing=a.tms in.tms
says "a layer that isn't there" 2 "6 layers" plan --to 9 in.tms
says "an output where none can be" 2 "nowhere/out.tms" plan -o nowhere/out.tms in.tms
says "two outputs of one file" 2 "two outputs" plan -o out.tms --tap q=./out.tms in.tms
says "nothing would come out" 2 "nothing would come out" plan -n in.tms
says "a filter that can't be" 2 "expert_idx" plan --filter expert_idx=cat in.tms
says "another model's stream" 2 "another model" plan gemma.tms
says "a position that a sample lacks" 2 "no position 3" plan --tap q/pos:3=a.tms in.tms
head -c 20000 in.tms >cut.tms
says "a stream that is cut" 2 "cut at byte|without its trailer" plan cut.tms
says "a place for the spill that isn't there" 2 "nowhere" plan --ram 0 --spill nowhere in.tms
says "--json alone" 2 "add --plan" layer-run -m "$MOOD" --json in.tms

# -------- what can't work

# A model whose layers are larger than any memory, and streams that are longer: holes, whose rows a plan doesn't read.
"$PYTHON" - "$TESTS/../pipelines" <<'END'
import json, os, struct, sys
sys.path.insert(0, sys.argv[1])
from onelayer_tms import Reader, Writer

H, I, D, V, L = 65536, 1 << 20, 128, 200, 3
os.mkdir("giant")
tensors, at = {}, 0


def add(name, *shape):
    global at
    n = 2
    for d in shape:
        n *= d
    tensors[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + n]}
    at += n


add("model.embed_tokens.weight", V, H)
for i in range(L):
    at_layer = "model.layers.%d." % i
    add(at_layer + "input_layernorm.weight", H)
    for x, n in (("q", 1024), ("k", 512), ("v", 512)):
        add(at_layer + "self_attn.%s_proj.weight" % x, n, H)
    add(at_layer + "self_attn.o_proj.weight", H, 1024)
    add(at_layer + "post_attention_layernorm.weight", H)
    add(at_layer + "mlp.gate_proj.weight", I, H)
    add(at_layer + "mlp.up_proj.weight", I, H)
    add(at_layer + "mlp.down_proj.weight", H, I)
add("model.norm.weight", H)
header = json.dumps(tensors).encode()
header += b" " * (-len(header) % 8)
with open("giant/model.safetensors", "wb") as f:
    f.write(struct.pack("<Q", len(header)) + header)
    f.truncate(8 + len(header) + at)
with open("giant/config.json", "w") as f:
    json.dump({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": V, "hidden_size": H, "intermediate_size": I,
               "num_hidden_layers": L, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": D, "hidden_act": "silu",
               "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 1e4, "tie_word_embeddings": True}, f)

with Reader("in.tms") as stream:
    header = stream.header


def holes(path, n_frames):
    """Frames of 4,096 samples of 1,024 tokens: 1 GiB of rows each."""
    with open(path, "wb") as f:
        w = Writer(f, header)
        for i in range(n_frames):
            samples = [{"id": str(k), "seq": k, "len": 1024, "first": 0, "n": 1024} for k in range(4096 * i, 4096 * i + 4096)]
            meta = w._pack({"site": "resid_pre", "layer": 0, "dtype": "bf16", "shape": [128], "sum": 1 << 63, "samples": samples})
            pad = -(w._at + 1 + len(meta) + 2 + 5) % 64
            w._put(b"\x93" + meta + b"\xc4" + bytes([pad]) + bytes(pad) + b"\xc6" + (1 << 30).to_bytes(4, "big"))
            f.seek(1 << 30, 1)
            w._at += 1 << 30
            w.n_frames += 1
            w.n_rows += 4096 * 1024
        w.close()


memory = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemAvailable")) >> 20
fs = os.statvfs(".")
holes("memory.tms", memory + 3)
holes("disk.tms", fs.f_bavail * fs.f_frsize // (6 << 31) + 2)
END
samples 8 "3 4" | tok -f ids | embed -m giant -o giant.tms

# refuses NAME PATTERN ARGUMENTS: exit status 1, and a line that says why
refuses()
{
	refusal=$1
	refusal_pattern=$2
	shift 2
	layer-run --plan "$@" >said 2>&1
	is "$refusal: exit status 1" $? 1
	ok "$refusal: says why" grep -Eq "^impossible .*$refusal_pattern" said
}

refuses "layers larger than memory" "weights take .*: only a machine with more would do" -m giant giant.tms
refuses "a stream larger than memory" "--ram [0-9]+M would do, with [0-9.]+ .iB of rows in the spill" -m "$MOOD" --ram 100T -o /dev/null memory.tms
do=$(sed -n 's/.*--ram \([0-9]*M\) would do.*/\1/p' said)
layer-run -m "$MOOD" --plan --ram "$do" -o /dev/null memory.tms >said
is "what would do does: --ram $do" "$(grep 'impossible memory' said)" ""
refuses "more than the disk has room for" "a\.tms pooled \(SITE/last\) would take about" -m "$MOOD" --ram 0 --spill /dev/shm -n --tap resid_post=a.tms disk.tms
ok "what would do does: /last" sh -c 'layer-run -m "$0" --plan --hold 9 -n --tap resid_post/last=a.tms disk.tms' "$MOOD"
ok "as JSON" sh -c '! layer-run -m giant --plan --json giant.tms >said && grep -q "\"possible\":false,\"problems\":\[\"memory:" said'

# -------- a GPU's memory, of the fake one

samples 10 "3" | tok -f ids | embed -m dense -o few.tms

# on_gpu MIB ARGUMENTS
on_gpu()
{
	mib=$1
	shift
	ONELAYER_CUDA_MODULE=$BUILD/cuda-host/onelayer-cuda.so ONELAYER_FAKE_GPU=memory=2000,forward \
		layer-run --device cuda --vram "${mib}M" -m dense "$@"
}

least=$(on_gpu 1 few.tms 2>&1 | sed -n 's/.*--vram \([0-9]*\)M is the least.*/\1/p')
on_gpu "$least" --plan few.tms >said
is "a device's least memory: exit status 1" $? 1
enough=$(sed -n 's/^impossible .*--vram \([0-9]*\)M would do.*/\1/p' said)
ok "what would do does, by the plan: --vram ${enough}M" on_gpu "$enough" --plan few.tms
ok "and by the run" on_gpu "$enough" -o out.tms few.tms
done_testing
