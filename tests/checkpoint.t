#!/bin/sh
# Every weight of every small checkpoint comes out once, in its place; checkpoints that are refused; the hub cache.
. "$(dirname "$0")/lib.sh"
need_python
cd "$TMP" || exit
PYTHONPATH=$TESTS "$PYTHON" - <<'END'
import json, os, re, shutil, subprocess
import numpy as np
import xxhash
from checkpoint import Checkpoint, encode, write_model

count = 0
program = os.environ["UNIT"] + "/checkpoint"
models = os.environ["TESTS"] + "/data/models"
(QKV, PROJ, GATE_UP, DOWN, ROUTER, EXPERT_GATE_UP, EXPERT_DOWN, SHARED_GATE_UP, SHARED_DOWN, SHARED_GATE, HEAD,
 ATTN_NORM, Q_NORM, K_NORM, ATTN_POST, MLP_NORM, MLP_POST, FINAL, EMBED, POSITION) = range(20)
PLAIN = {"starcoder2": ("c_fc", "c_proj"), "phi": ("fc1", "fc2")}   # an MLP without a gate


def said(*args, **environment):
    r = subprocess.run([program, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       env={**os.environ, **environment})
    return r.stdout.decode() if r.returncode == 0 else f"exit status {r.returncode}: {r.stdout.decode()}"


def ok(name, good, why=""):
    global count
    count += 1
    print("ok" if good else "not ok", count, "-", name)
    if not good:
        print("# " + why.replace("\n", "\n# "))


def lines(c):
    """What a checkpoint should give, from its names by the families' own words."""
    family, config, out = c.config["model_type"], c.config, set()

    def put(layer, role, *values):
        for bias, value in enumerate(values):
            if value is None:
                continue
            value = np.ascontiguousarray(value, np.float32)
            vector = bias or value.ndim == 1 or role in (Q_NORM, K_NORM)
            rows = int(np.prod(value.shape)) if vector else int(np.prod(value.shape[:-1]))
            out.add(f"{layer} {role} {bias} {rows} {value.size // rows} {xxhash.xxh3_64_hexdigest(value)}")

    def pair(name, turned=False):
        weight = c.get(name + ".weight")
        return weight.T if turned else weight, c.get(name + ".bias", missing=True)

    def maybe(name):
        return pair(name) if c.find(name + ".weight") else ()

    def join(*pairs):
        weights, biases = zip(*pairs)
        return np.concatenate(weights), None if biases[0] is None else np.concatenate(biases)

    if family == "gpt2":
        put(-1, EMBED, c.get("wte.weight"))
        put(-1, POSITION, c.get("wpe.weight"))
        put(-1, HEAD, c.get("wte.weight"))
        put(-1, FINAL, *pair("ln_f"))
        for i in range(config["n_layer"]):
            for role, name in ((QKV, "attn.c_attn"), (PROJ, "attn.c_proj"), (GATE_UP, "mlp.c_fc"), (DOWN, "mlp.c_proj")):
                put(i, role, *pair(f"h.{i}.{name}", turned=True))
            put(i, ATTN_NORM, *pair(f"h.{i}.ln_1"))
            put(i, MLP_NORM, *pair(f"h.{i}.ln_2"))
        return out
    if family == "gpt_neox":
        heads = config["num_attention_heads"]
        put(-1, EMBED, c.get("embed_in.weight"))
        put(-1, HEAD, c.get("embed_out.weight"))
        put(-1, FINAL, *pair("final_layer_norm"))
        for i in range(config["num_hidden_layers"]):
            name = f"layers.{i}."
            fused = [x if x is None else np.moveaxis(x.reshape(heads, 3, -1, *x.shape[1:]), 1, 0).reshape(x.shape)
                     for x in pair(name + "attention.query_key_value")]
            put(i, QKV, *fused)
            put(i, PROJ, *pair(name + "attention.dense"))
            put(i, GATE_UP, *pair(name + "mlp.dense_h_to_4h"))
            put(i, DOWN, *pair(name + "mlp.dense_4h_to_h"))
            put(i, ATTN_NORM, *pair(name + "input_layernorm"))
            put(i, MLP_NORM, *pair(name + "post_attention_layernorm"))
        return out
    config = config.get("text_config", config)
    put(-1, EMBED, c.get("embed_tokens.weight"))
    tied = config.get("tie_word_embeddings", family == "gemma2")
    put(-1, HEAD, *((c.get("embed_tokens.weight"),) if tied else pair("lm_head")))
    put(-1, FINAL, *pair("final_layernorm" if family == "phi" else "norm"))
    for i in range(config["num_hidden_layers"]):
        name = f"layers.{i}."
        attention = name + "self_attn."
        if family == "phi3":
            put(i, QKV, *pair(attention + "qkv_proj"))
        else:
            put(i, QKV, *join(*(pair(f"{attention}{x}_proj") for x in "qkv")))
        put(i, PROJ, *pair(attention + ("dense" if family == "phi" else "o_proj")))
        put(i, ATTN_NORM, *maybe(name + "input_layernorm"))
        # Where there is one after the MLP, this one is attention's.
        sandwich = c.find(name + "post_feedforward_layernorm.weight")
        put(i, ATTN_POST if sandwich else MLP_NORM, *maybe(name + "post_attention_layernorm"))
        put(i, MLP_NORM, *maybe(name + "pre_feedforward_layernorm"))
        put(i, MLP_POST, *maybe(name + "post_feedforward_layernorm"))
        for role, x, heads in (Q_NORM, "q", "num_attention_heads"), (K_NORM, "k", "num_key_value_heads"):
            put(i, role, *maybe(f"{attention}{x}_norm"))
            put(i, role, *maybe(f"{attention}{x}_layernorm"))
            if c.find(f"{attention}{x}_layernorm.norms.0.weight"):
                put(i, role, np.stack([c.get(f"{attention}{x}_layernorm.norms.{a}.weight") for a in range(config[heads])]))
        mlp, (gate, up, down) = name + "mlp.", ("gate_proj", "up_proj", "down_proj")
        if family == "mixtral":
            mlp, (gate, up, down) = name + "block_sparse_moe.", ("w1", "w3", "w2")
        if c.find(mlp + "gate.weight"):
            experts = [f"{mlp}experts.{x}." for x in range(config.get("num_experts") or config["num_local_experts"])]
            put(i, ROUTER, c.get(mlp + "gate.weight"))
            put(i, EXPERT_GATE_UP, np.stack([join(pair(x + gate), pair(x + up))[0] for x in experts]))
            put(i, EXPERT_DOWN, np.stack([c.get(f"{x}{down}.weight") for x in experts]))
            if family == "qwen2_moe":
                put(i, SHARED_GATE_UP, *join(pair(mlp + "shared_expert." + gate), pair(mlp + "shared_expert." + up)))
                put(i, SHARED_DOWN, *pair(mlp + "shared_expert." + down))
                put(i, SHARED_GATE, *pair(mlp + "shared_expert_gate"))
        elif family in PLAIN:
            put(i, GATE_UP, *pair(mlp + PLAIN[family][0]))
            put(i, DOWN, *pair(mlp + PLAIN[family][1]))
        elif family == "phi3":
            put(i, GATE_UP, *pair(mlp + "gate_up_proj"))
            put(i, DOWN, *pair(mlp + down))
        else:
            put(i, GATE_UP, *join(pair(mlp + gate), pair(mlp + up)))
            put(i, DOWN, *pair(mlp + down))
    return out


def check(name, path, want, *staging):
    first, *got = said(path, *staging).splitlines() or [""]
    got = set(got)
    ok(name, got == want, f"{first}\n{sorted(got - want)}\nwanted {sorted(want - got)}")
    return first.split()


def raw(c):
    """The tensors as they are stored, for write_model."""
    tensors = {}
    for name, (file, base, entry) in c.places.items():
        with open(file, "rb") as f:
            begin, end = entry["data_offsets"]
            f.seek(base + begin)
            tensors[name] = (entry["shape"], entry["dtype"], f.read(end - begin))
    return tensors


for model in sorted(os.listdir(models)):
    path = os.path.join(models, model)
    c = Checkpoint(path)
    want = lines(c)
    first = check(model, path, want)
    write_model("one", c.config, raw(c))
    write_model("sharded", c.config, dict(sorted(raw(c).items(), reverse=True)), shards=3)
    one, sharded = check(f"{model}, one file", "one", want), check(f"{model}, three shards in another order", "sharded", want)
    ok(f"{model}: one fingerprint however sharded", first[-1] == one[-1] == sharded[-1], f"{first} {one} {sharded}")
    largest = max(v[2]["data_offsets"][1] - v[2]["data_offsets"][0] for v in c.places.values())
    check(f"{model}, little staging memory", "sharded", want, (largest + 127) // 64 * 64)
    shutil.rmtree("sharded")
    shutil.rmtree("one")

# experts as one tensor a layer
c = Checkpoint(f"{models}/qwen3-moe-bf16")
want, tensors, stacked = lines(c), raw(c), {}
for i in range(c.config["num_hidden_layers"]):
    name = f"model.layers.{i}.mlp.experts."
    if name + "0.up_proj.weight" not in tensors:
        continue
    experts = [[tensors.pop(f"{name}{x}.{y}_proj.weight") for y in ("gate", "up", "down")]
               for x in range(c.config["num_experts"])]
    (inner, width), dtype, _ = experts[0][0]
    tensors[name + "gate_up_proj"] = ([len(experts), 2 * inner, width], dtype, b"".join(g[2] + u[2] for g, u, _ in experts))
    tensors[name + "down_proj"] = ([len(experts), width, inner], dtype, b"".join(d[2] for _, _, d in experts))
write_model("stacked", c.config, tensors)
check("stacked experts", "stacked", want)
check("stacked experts, little staging memory", "stacked", want, 8192)

# the fingerprint
c = Checkpoint(f"{models}/llama-f32")
tensors, config = raw(c), c.config
name = next(x for x in tensors if x.endswith("q_proj.weight"))


def fingerprint(new_tensors, new_config=config):
    shutil.rmtree("fp", ignore_errors=True)
    write_model("fp", new_config, new_tensors)
    return said("fp").split("\n")[0].split()[-1]


shape, dtype, data = tensors[name]
was = fingerprint(tensors)
ok("fingerprint: a first byte", was != fingerprint({**tensors, name: (shape, dtype, bytes([data[0] ^ 1]) + data[1:])}))
ok("fingerprint: an added tensor", was != fingerprint({**tensors, "added": ([1], "F32", bytes(4))}))
ok("fingerprint: a fact", was != fingerprint(tensors, {**config, "rms_norm_eps": 3e-5}))
ok("fingerprint: not a key that says nothing", was == fingerprint(tensors, {**config, "use_cache": False}))


def refused(label, pattern, new_tensors=tensors, new_config=config, shards=1, change=lambda: None):
    shutil.rmtree("bad", ignore_errors=True)
    write_model("bad", new_config, new_tensors, shards)
    change()
    got = said("bad")
    ok(label, bool(re.match("refused: " + pattern, got)), f"{got}\nwanted {pattern}")


def rewrite(name, change):
    with open("bad/" + name) as f:
        value = json.load(f)
    change(value)
    with open("bad/" + name, "w") as f:
        json.dump(value, f)


def index(change):
    return lambda: rewrite("model.safetensors.index.json", lambda x: change(x["weight_map"]))


refused("a missing tensor", f"bad: tensor '{name}' is missing, config.json asks for it",
        {k: v for k, v in tensors.items() if k != name})
refused("a wrong shape", rf"bad/model.safetensors: tensor '{name}' is \[{shape[0]}, {shape[1] + 1}\] where config.json asks "
        rf"for \[{shape[0]}, {shape[1]}\]",
        {**tensors, name: ([shape[0], shape[1] + 1], "F32", bytes(4 * shape[0] * (shape[1] + 1)))})
refused("a wrong type", f"bad/model.safetensors: tensor '{name}' is I64; weights have to be",
        {**tensors, name: (shape, "I64", bytes(8 * shape[0] * shape[1]))})
refused("no config", "bad/config.json: .*No such file", change=lambda: os.remove("bad/config.json"))
refused("no weights", "bad: there is neither model.safetensors nor model.safetensors.index.json",
        change=lambda: os.remove("bad/model.safetensors"))
refused("a missing shard", "bad/model-00002-of-00002.safetensors: .*No such file", shards=2,
        change=lambda: os.remove("bad/model-00002-of-00002.safetensors"))
refused("no weight_map", "bad/model.safetensors.index.json: 'weight_map' is missing", shards=2,
        change=lambda: rewrite("model.safetensors.index.json", lambda x: x.pop("weight_map")))
refused("a tensor that its shard lacks", "bad/model.safetensors.index.json: tensor 'x' is not in model-00001-of-00002",
        shards=2, change=index(lambda x: x.update(x="model-00001-of-00002.safetensors")))
for path in ("../one/model.safetensors", "/etc/passwd", "..", "", ".hidden", 7):
    refused(f"a shard at {path!r}", "bad/model.safetensors.index.json: tensor 'x' is in '.*', which is not the name of a file",
            shards=2, change=index(lambda x: x.update(x=path)))
refused("a damaged shard", "bad/model.safetensors: .*cut short",
        change=lambda: os.truncate("bad/model.safetensors", os.path.getsize("bad/model.safetensors") - 1))

shutil.rmtree("bad")
write_model("bad", config, tensors)
ok("too little staging memory", "bytes to read at once are more than" in said("bad", 64))

# the same tensor in two shards: the index decides
shutil.rmtree("bad")
write_model("bad", config, tensors, shards=2)
shutil.copy("bad/model-00001-of-00002.safetensors", "bad/other.safetensors")
index(lambda x: x.update({k: "other.safetensors" for k, v in x.items() if "00001" in v and "embed" in k}))()
check("a tensor in two shards", "bad", lines(c))

# no head
untied = {k: v for k, v in tensors.items() if "lm_head" not in k}
shutil.rmtree("fp", ignore_errors=True)
write_model("fp", {**config, "tie_word_embeddings": False}, untied)
got = said("fp")
ok("a base model without a head opens", not re.search(rf"^-1 {HEAD} |refused", got, re.M), got)

# the hub cache
cache = "hub/models--org--toy"
for revision in ("aaa", "bbb"):
    shutil.copytree(f"{models}/llama-f32", f"{cache}/snapshots/{revision}")
here = {"HF_HUB_CACHE": "hub"}
got = said("org/toy", **here)
ok("hub: two snapshots and no refs/main", got.startswith("refused: org/toy: hub/models--org--toy/refs/main is missing and "
                                                         "hub/models--org--toy/snapshots has 2 snapshots"), got)
ok("hub: a snapshot by its hash", said("org/toy@aaa", **here).startswith("org/toy llama "))
os.makedirs(cache + "/refs")
for ref, text in (("main", "bbb\n"), ("v2", "aaa"), ("out", "../../../bbb")):
    with open(f"{cache}/refs/{ref}", "w") as f:
        f.write(text)
ok("hub: refs/main", said("org/toy", **here).startswith("org/toy llama "))
ok("hub: a named revision", said("org/toy@v2", **here).startswith("org/toy llama "))
ok("hub: HF_HOME", said("org/toy", HF_HUB_CACHE="", HF_HOME="home").startswith("refused: org/toy: neither a directory nor a "
   "model in the hub cache (there is no home/hub/models--org--toy); download it"))
os.makedirs("home")
os.rename("hub", "home/hub")
ok("hub: HF_HOME with the model", said("org/toy", HF_HUB_CACHE="", HF_HOME="home").startswith("org/toy llama "))
os.makedirs("other/huggingface")
os.rename("home/hub", "other/huggingface/hub")
ok("hub: XDG_CACHE_HOME",
   said("org/toy", HF_HUB_CACHE="", HF_HOME="", XDG_CACHE_HOME="other").startswith("org/toy llama "))
os.rename("other", ".cache")
ok("hub: HOME", said("org/toy", HF_HUB_CACHE="", HF_HOME="", XDG_CACHE_HOME="", HOME=".").startswith("org/toy llama "))
where = {"HF_HUB_CACHE": ".cache/huggingface/hub"}
ok("hub: an unknown revision", "there is no directory .cache/huggingface/hub/models--org--toy/snapshots/v9;"
   in said("org/toy@v9", **where))
ok("hub: a ref that climbs out", said("org/toy@out", **where).startswith("refused: "))
os.remove(".cache/huggingface/hub/models--org--toy/refs/main")
shutil.rmtree(".cache/huggingface/hub/models--org--toy/snapshots/aaa")
ok("hub: the only snapshot", said("org/toy", **where).startswith("org/toy llama "))
for bad in ("org/../toy", "a/b/c", "/nowhere", "./nowhere", ""):
    ok(f"hub: {bad!r} names no repository", said(bad, **where).endswith(": no such directory\n"), said(bad, **where))
ok("hub: a file", said(f"{models}/llama-f32/config.json").endswith(": not a directory; give the directory that holds "
                                                                  "config.json\n"))
os.makedirs("org/toy")
ok("hub: a directory comes first", said("org/toy", **where).startswith("refused: org/toy/config.json: "))
os.symlink(os.path.abspath(f"{models}/llama-f32"), "link")
for path in ("link", "./link/", "org/../link"):
    ok(f"the name of {path}", said(path).startswith("link llama "), said(path)[:200])
os.chdir(f"{models}/llama-f32")
ok("the name of .", said(".").startswith("llama-f32 llama "))
print(f"1..{count}")
END
