#!/bin/sh
# tdiff: numbers against NumPy, planted differences, and the hints on small models with other configs.
. "$(dirname "$0")/lib.sh"
need_python
cd "$TMP" || exit
export PYTHONPATH="$ROOT/pipelines:$TESTS" PYTHONDONTWRITEBYTECODE=1
"$PYTHON" - <<'END'
import json, os, re, shutil, struct, subprocess, time
from functools import partial
import numpy as np
from onelayer_tms import Frame, Reader, Writer, bf16_to_f32, f32_to_bf16
import tap
from tap import done, ok

run = partial(tap.run, "tdiff")
bin_ = os.environ["BIN"]
models = os.path.join(os.environ["TESTS"], "data", "models")
rng = np.random.default_rng(4)


def items(*args):
    """Exit status, items by name (and layer), the total."""
    r = run("--json", *args)
    lines = [json.loads(line) for line in r.stdout.splitlines()]
    if not lines:
        return r.returncode, {}, {"error": r.stderr}
    return r.returncode, {(i["name"], i["layer"]) if "layer" in i else i["name"]: i for i in lines[:-1]}, lines[-1]


NAMES = {"f4": "F32", "f8": "F64", "f2": "F16", "u2": "BF16", "i4": "I32", "u1": "U8", "i8": "I64"}


def safetensors(path, tensors):
    header, at, data = {}, 0, b""
    for name, a in tensors.items():
        b = np.ascontiguousarray(a).tobytes()
        header[name] = {"dtype": NAMES[a.dtype.str[1:]], "shape": list(a.shape), "data_offsets": [at, at + len(b)]}
        at += len(b)
        data += b
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def wide(a):
    return bf16_to_f32(a).astype("f8") if a.dtype == np.uint16 else a.astype("f8")


def close(a, b, relative=1e-12):
    return abs(a - b) <= relative * max(abs(a), abs(b))


def agrees(item, a, b):
    """The item's numbers are NumPy's of a and b."""
    x, y = wide(a).ravel(), wide(b).ravel()
    same = x.view("u8") == y.view("u8")
    finite = np.isfinite(x) & np.isfinite(y)
    fx, fy = x[finite].astype("g"), y[finite].astype("g")
    d = fx - fy
    cosine = (fx * fy).sum() / np.sqrt((fx * fx).sum() * (fy * fy).sum())
    return [k for k, good in {
        "n": item["n"] == x.size, "identical": item["identical"] == same.sum(), "cosine": close(item["cosine"], float(cosine)),
        "max": not finite.all() or item["max"] == np.abs(x - y).max(), "rms": close(item["rms"], float(np.sqrt((d * d).mean()))),
        "rms_a": close(item["rms_a"], float(np.sqrt((fx * fx).mean()))),
        "nan": item["nan"] == [np.isnan(x).sum(), np.isnan(y).sum()], "inf": item["inf"] == [np.isinf(x).sum(), np.isinf(y).sum()],
        "ulp": sum(item["ulp"].values()) == (~same & finite).sum(),
        "places": np.abs(x - y)[item["places"][0]["index"]] == np.abs(x - y).max() if finite.all() else True,
    }.items() if not good]


# -------- numbers

f32 = rng.standard_normal((130, 257)).astype("f4")
more = (f32 + rng.standard_normal(f32.shape) * 1e-3).astype("f4")
kinds = {"f32": lambda a: a, "f64": lambda a: a.astype("f8") * (1 + 1e-9), "f16": lambda a: a.astype("f2"), "bf16": f32_to_bf16}
for na, ka in kinds.items():
    for nb, kb in kinds.items():
        a, b = ka(f32), kb(more)
        safetensors("a.safetensors", {"t": a})
        safetensors("b.safetensors", {"t": b})
        code, got, _ = items("a.safetensors", "b.safetensors")
        ok(code == 1 and not agrees(got["t"], a, b), "%s and %s" % (na, nb), (code, got and agrees(got["t"], a, b), got))

big = rng.standard_normal(300001).astype("f4")
other = big.copy()
other[[5, 77777, 300000]] += np.float32(0.5)
np.save("a.npy", big)
np.save("b.npy", other)
code, got, _ = items("a.npy", "b.npy")
ok(code == 1 and got["a"]["outside"] == 3 and not agrees(got["a"], big, other), "a few values of many", got)
ok(run("--json", "-j1", "a.npy", "b.npy").stdout == run("--json", "-j7", "a.npy", "b.npy").stdout, "-j changes nothing")
special = big.copy()
special[:6] = [np.nan, np.inf, -np.inf, 0.0, np.nan, 1]
second = special.copy()
second[:6] = [np.nan, np.inf, np.inf, -0.0, 2, np.inf]
np.save("a.npy", special)
np.save("b.npy", second)
code, got, _ = items("a.npy", "b.npy")
ok(not agrees(got["a"], special, second) and got["a"]["outside"] == 4 and got["a"]["ulp"] == {"0": 1}, "NaN, infinities, zeros", got)
code, got, _ = items("a.npy", "a.npy")
ok(code == 0 and got["a"]["identical"] == big.size and got["a"]["nan"] == [2, 2] and got["a"]["cosine"] == 1, "equal NaN bits are equal", got)

steps = big.copy()
for k in (1, 2, 3, 4, 9):
    steps.view("u4")[k] += k
np.save("a.npy", big)
np.save("b.npy", steps)
code, got, _ = items("a.npy", "b.npy")
ok(got["a"]["ulp"] == {"1": 1, "2-3": 2, "4-7": 1, "8-15": 1}, "units in the last place", got)
code, got, _ = items("a.npy", "b.npy", "--rtol", "1e-5")
ok(code == 0 and got["a"]["status"] == "close" and got["a"]["identical"] == big.size - 5, "a tolerance", got)
np.save("b.npy", np.where(np.arange(big.size) == 9, big + 1, steps))
ok(items("a.npy", "b.npy", "--rtol", "1e-5", "--atol", "0.5")[0] == 1 and items("a.npy", "b.npy", "--atol", "1.001")[0] == 0,
   "--atol")
safetensors("a.safetensors", {"t": f32_to_bf16(big)})
safetensors("b.safetensors", {"t": big})
code, got, _ = items("a.safetensors", "b.safetensors")
ok(set(got["t"]["ulp"]) == {"0"}, "what was rounded is 0 units away", got)
for name in ("f4", "f8", "f2", "i4", "u1", "i8"):
    v = (rng.standard_normal(1000) * 50).astype(name)
    w = v.copy()
    w[17] += 1
    safetensors("a.safetensors", {"t": v})
    safetensors("b.safetensors", {"t": w})
    code, got, _ = items("a.safetensors", "b.safetensors")
    ok(code == 1 and got["t"]["outside"] == 1 and items("a.safetensors", "a.safetensors")[0] == 0, name, got)
logits = rng.standard_normal((9, 20000)).astype("f4")
moved = logits.copy()
moved[3, 19999] += 50
np.save("logits.npy", logits)
np.save("b.npy", moved)
code, got, _ = items("logits.npy", "b.npy")
ok((got["logits"]["rows"], got["logits"]["argmax_same"]) == (9, 8), "argmax of logits", got)

# -------- every bit

plain = {"model.layers.%d.%s.weight" % (i, n): f32_to_bf16(rng.standard_normal(s).astype("f4"))
         for i in (0, 1, 10) for n, s in (("self_attn.q_proj", (64, 40)), ("mlp.down_proj", (40, 300)), ("input_layernorm", (40,)))}
safetensors("a.safetensors", plain)
data = open("a.safetensors", "rb").read()
start = 8 + struct.unpack("<Q", data[:8])[0]
missed = []
for at in [start, len(data) - 1, *rng.integers(start, len(data), 40)]:
    bit = int(rng.integers(8))
    with open("b.safetensors", "wb") as f:
        f.write(data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1:])
    code, got, total = items("a.safetensors", "b.safetensors")
    if code != 1 or total["outside"] != 1 or total["differ"] != 1:
        missed.append((at, bit))
ok(not missed, "a single flipped bit anywhere", missed)

# -------- tensors

b = dict(plain)
first = "model.layers.0.self_attn.q_proj.weight"
b[first] = np.ascontiguousarray(plain[first].T)
del b["model.layers.10.mlp.down_proj.weight"]
b["model.norm.weight"] = plain["model.layers.0.input_layernorm.weight"]
b["model.layers.1.mlp.down_proj.weight"] = plain["model.layers.1.mlp.down_proj.weight"][:, :299]
safetensors("b.safetensors", b)
code, got, total = items("a.safetensors", "b.safetensors")
by = {i["name"]: i["status"] for i in got.values()}
ok(code == 1 and by[first] == "transposed" and got[first, 0]["identical"] == 2560, "a transposed tensor", by)
ok(by["model.layers.10.mlp.down_proj.weight"] == "only in A" and by["model.norm.weight"] == "only in B" and total["missing"] == 2,
   "missing tensors", by)
ok(by["model.layers.1.mlp.down_proj.weight"] == "shape", "another shape", by)
ok(total["first"] == first, "the first in the forward pass", total)
names = [i["name"] for i in map(json.loads, run("--json", "a.safetensors", "b.safetensors").stdout.splitlines()) if "name" in i]
ok(names.index("model.layers.10.self_attn.q_proj.weight") > names.index("model.layers.1.mlp.down_proj.weight"), "layers count as numbers",
   names)
square = rng.standard_normal((100, 100)).astype("f4")
np.save("a.npy", square)
np.save("b.npy", np.ascontiguousarray(square.T))
ok(items("a.npy", "b.npy")[1]["a"]["status"] == "transposed", "a square tensor's transpose")
np.save("b.npy", np.asfortranarray(square))
ok(items("a.npy", "b.npy")[0] == 0, "Fortran's order is no difference")
code, got, _ = items("--sites", "a.safetensors", "a.safetensors")
ok(code == 0 and got["model.layers.*.self_attn.q_proj.weight"]["n"] == 3 * 2560 and len(got) == 3, "--sites joins layers", got)
half = rng.standard_normal((32, 40)).astype("f4")
pairs = half.reshape(4, 2, 4, 40).transpose(0, 2, 1, 3).reshape(32, 40)
safetensors("a.safetensors", {"model.layers.0.self_attn.q_proj.weight": half})
safetensors("b.safetensors", {"model.layers.0.self_attn.q_proj.weight": pairs})
ok("heads of 8: stored for half-split RoPE in A" in items("a.safetensors", "b.safetensors")[2].get("hint", ""), "rows permuted for RoPE",
   items("a.safetensors", "b.safetensors")[2])
safetensors("a.safetensors", {"model.norm.weight": half[0]})
safetensors("b.safetensors", {"model.norm.weight": half[0] + 1})
ok("norm + 1" in items("a.safetensors", "b.safetensors")[2].get("hint", ""), "a norm's weight plus 1")

llama = os.path.join(models, "llama-f32")
ok(run(llama, llama).returncode == 0, "a checkpoint and itself")


def doctored(name, model, **changes):
    shutil.copytree(os.path.join(models, model), name)
    with open(os.path.join(name, "config.json")) as f:
        config = json.load(f)
    config.update(changes)
    with open(os.path.join(name, "config.json"), "w") as f:
        json.dump(config, f)


doctored("base", "llama-f32", rope_theta=123456.0)
code, _, total = items(llama, "base")
ok(code == 1 and total["differ"] == 0 and "theta: 5000 in A, 123456 in B" in total["config"], "another config", total)
with open("base/model.safetensors", "rb") as f:
    whole = f.read()
n = struct.unpack("<Q", whole[:8])[0]
header, body = json.loads(whole[8:8 + n]), whole[8 + n:]
os.mkdir("shards")
shutil.copy(os.path.join(llama, "config.json"), "shards")
where = {}
for k in (0, 1):
    part = {name: np.frombuffer(body[slice(*t["data_offsets"])], "<f4").reshape(t["shape"])
            for i, (name, t) in enumerate((x for x in sorted(header.items()) if x[0] != "__metadata__")) if i % 2 == k}
    safetensors("shards/part-%d.safetensors" % k, part)
    where.update({name: "part-%d.safetensors" % k for name in part})
with open("shards/model.safetensors.index.json", "w") as f:
    json.dump({"weight_map": where}, f)
ok(run(llama, "shards").returncode == 0 and run("shards/model.safetensors.index.json", llama).returncode == 0, "sharding is no difference",
   run(llama, "shards"))

# -------- aprender's stages


def aprt(path, layer, a, n=None):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(b"APRT" + struct.pack("<II", layer, a.size if n is None else n) + a.astype("<f4").tobytes())


stage = rng.standard_normal((7, 48)).astype("f4")
for name, other in (("stages", stage), ("moved", np.where(np.arange(stage.size).reshape(stage.shape) == 200, stage + 1, stage))):
    aprt(name + "/layer-0/ffn_out.bin", 0, stage)
    aprt(name + "/layer-1/ffn_out.bin", 1, other)
    aprt(name + "/layer-1/qkv_bias.bin", 1, stage)
    aprt(name + "/final_norm.bin", 0xffffffff, stage)
    with open(name + "/other.bin", "wb") as f:
        f.write(b"none of them")
code, got, total = items("stages", "moved")
ok(code == 1 and got["mlp_out.1", 1]["outside"] == 1 and got["mlp_out.1", 1]["places"][0]["index"] == 200 and
   total["first"] == "mlp_out.1" and {k[0] if isinstance(k, tuple) else k for k in got} ==
   {"mlp_out.0", "mlp_out.1", "qkv_bias.1", "final_norm"}, "directories of stages", (code, got, total))
os.mkdir("ours")
np.save("ours/mlp_out.1.npy", stage)
code, got, _ = items("stages", "ours")
ok(code == 1 and [k for k, i in got.items() if i["status"] == "same"] == [("mlp_out.1", 1)], "a stage and our array of that site", got)
ok(run("stages/layer-1/ffn_out.bin", "ours/mlp_out.1.npy").returncode == 0, "a single stage")
aprt("cut/a.bin", 0, stage, stage.size + 1)
aprt("cut/b.bin", 0x80000000, stage)
for path, pattern in (("cut/a.bin", "cut short"), ("cut/b.bin", "layer")):
    r = run(path, "ours/mlp_out.1.npy")
    ok(r.returncode == 2 and re.search(pattern, r.stderr.decode()), "a damaged stage is refused: " + pattern, r)

# -------- many values: blocks, units, a file that gets shorter

count_of = 3 * (1 << 19) + 77
many = {n: rng.standard_normal(count_of).astype("f4") for n in ("x", "y")}
many["y"][:5000] = many["x"][:5000]
many["y"][[4096, 9000, 600000]] = [np.nan, -0.0, 40]
many["x"][9000] = 0.0
turned = np.arange(70 * 130, dtype="f4").reshape(70, 130)
for name, k in kinds.items():
    a, b = k(many["x"]), k(many["y"])
    safetensors("a.safetensors", {"t": a, "turned": k(turned)})
    safetensors("b.safetensors", {"t": b, "turned": np.ascontiguousarray(k(turned).T)})
    said = {}
    for unit in ("generic", "avx2", "avx512"):
        os.environ["ONELAYER_UNIT"] = unit
        r = run("--json", "-j3", "a.safetensors", "b.safetensors")
        if r.returncode != 2:
            said[unit] = r.stdout
    del os.environ["ONELAYER_UNIT"]
    ok(len(set(said.values())) == 1 and "generic" in said, "%s: the same bits from %s" % (name, ", ".join(said)))
    code, got, _ = items("a.safetensors", "b.safetensors")
    ok(code == 1 and not agrees(got["t"], a, b) and got["turned"]["status"] == "transposed" and
       got["turned"]["identical"] == turned.size, "%s: many values" % name, (agrees(got["t"], a, b), got))
    x, y = wide(a), wide(b)
    d = np.where(np.isfinite(x) & np.isfinite(y), np.abs(x - y), np.inf)
    want = np.lexsort((np.arange(count_of), -d))[:5].tolist()
    ok([p["index"] for p in got["t"]["places"]] == want, "%s: the largest differences" % name, (got["t"]["places"], want))
code, got, _ = items("--atol", "0.1", "a.safetensors", "b.safetensors")
ok(got["t"]["outside"] == int((d > 0.1).sum()), "tolerance over many values", got["t"])
with open("a.npy", "wb") as f:
    f.truncate(128 + 4 * (1 << 30))
with open("a.npy", "r+b") as f:
    np.lib.format.write_array_header_1_0(f, {"descr": "<f4", "fortran_order": False, "shape": (1 << 30,)})
p = subprocess.Popen([os.path.join(bin_, "tdiff"), "-j1", "a.npy", "a.npy"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
while p.poll() is None and not any(os.path.realpath("/proc/%d/fd/%s" % (p.pid, n)) == os.path.realpath("a.npy")
                                   for n in os.listdir("/proc/%d/fd" % p.pid)):
    pass
time.sleep(0.1)
os.truncate("a.npy", 4096)
err = p.communicate()[1].decode()
ok(p.returncode == 2 and re.search(r"a\.npy: ends at byte", err), "a file cut short meanwhile is trouble", (p.returncode, err))
os.remove("a.npy")

# -------- streams

LENGTHS = [4, 1, 0, 7, 3]
DATA = {(site, layer, v, i): rng.standard_normal((n, *shape)).astype("f4") for site, shape in (("q", (2, 4)), ("resid_post", (6,)))
        for layer in (0, 1) for v in (0, 1) for i, n in enumerate(LENGTHS)}


def stream(path, data=DATA, batch=5, cut=99, variants=(0, 1), sites=("q", "resid_post"), rename=None, samples=range(5), dtype="f32",
           tokens=100, names=("x", "y"), shape=None):
    with Writer(path, {"kind": "acts", "order": "any" if rename else "layer", **({"variants": list(names)} if None not in variants else {})}) as out:
        for layer in (0, 1):
            for a in range(0, len(samples), batch):
                for v in variants:
                    for site in sites:
                        for first in range(0, 7, cut):
                            some = [i for i in samples[a:a + batch] if first < max(LENGTHS[i], 1)]
                            if not some:
                                continue
                            rows = np.concatenate([data[site, layer, v or 0, i][first:first + cut] for i in some])
                            to = ("resid_pre", layer + 1) if rename and site == "resid_post" else (site, layer)
                            out.write(Frame(*to, f32_to_bf16(rows) if dtype == "bf16" else rows, dtype, samples=[
                                {"id": "s%d" % i, "seq": i, "len": LENGTHS[i], "first": first,
                                 "n": len(data[site, layer, v or 0, i][first:first + cut]),
                                 "tokens": np.arange(tokens, tokens + LENGTHS[i], dtype="<u4").tobytes()} for i in some],
                                **({} if v is None else {"variant": v})))


stream("a.tms")
ok(run("a.tms", "a.tms").returncode == 0, "a stream and itself", run("a.tms", "a.tms"))
for batch, cut in ((1, 99), (2, 99), (1, 2), (1, 1)):
    stream("b.tms", batch=batch, cut=cut)
    r = run("--json", "a.tms", "b.tms")
    ok(r.returncode == 0, "framed by %d samples and %d rows" % (batch, cut), r)
subprocess.run([os.path.join(bin_, "tcat"), "--zstd", "-o", "z.tms", "a.tms"], check=True)
ok(run("z.tms", "a.tms").returncode == 0, "compression is no difference")
stream("b.tms", rename=True)
ok(run("a.tms", "b.tms").returncode == 0, "resid_pre of L + 1 is resid_post of L", run("a.tms", "b.tms").stdout.decode())
noisy = {k: (v + rng.standard_normal(v.shape) * 1e-3).astype("f4") if k[0] == "q" else v for k, v in DATA.items()}
stream("b.tms", noisy, dtype="bf16", batch=2)
code, got, _ = items("a.tms", "b.tms", "--sites")
lines = [json.loads(x) for x in run("--json", "a.tms", "b.tms").stdout.splitlines()]
for v, name in ((0, "x"), (1, "y")):
    for layer in (0, 1):
        x = np.concatenate([DATA["q", layer, v, i] for i in range(5)])
        y = f32_to_bf16(np.concatenate([noisy["q", layer, v, i] for i in range(5)]))
        item = [i for i in lines if (i.get("name"), i.get("layer"), i.get("variant")) == ("q", layer, name)][0]
        ok(not agrees(item, x, y), "rows of f32 and bf16, layer %d variant %s" % (layer, name), (agrees(item, x, y), item))
stream("c.tms", noisy, batch=1, cut=1)
stream("b.tms", noisy)
ok(run("--json", "a.tms", "b.tms").stdout == run("--json", "-j5", "a.tms", "c.tms").stdout, "the same bits however rows are framed")
wrong = {k: v.copy() for k, v in DATA.items()}
wrong["resid_post", 1, 1, 3][5, 2] += 7
stream("b.tms", wrong)
code, got, total = items("a.tms", "b.tms")
place = [i for i in map(json.loads, run("--json", "a.tms", "b.tms").stdout.splitlines()) if i.get("status") == "differs"][0]
ok((place["name"], place["layer"], place["variant"]) == ("resid_post", 1, "y") and
   (place["places"][0]["id"], place["places"][0]["pos"], place["places"][0]["column"]) == ("s3", 5, 2), "where one value differs", place)
ok(items("a.tms", "b.tms", "--variant", "x")[0] == 0 and items("a.tms", "b.tms", "--variant", "1")[0] == 1, "--variant")
stream("b.tms", variants=(None,))
ok(run("--variant", "0", "a.tms", "b.tms").returncode == 0, "a variant and a stream without variants")
stream("b.tms", names=("y", "x"))
ok(run("a.tms", "b.tms").returncode == 1, "variants go by name")
stream("b.tms", samples=(0, 1, 2, 4))
code, got, total = items("a.tms", "b.tms")
ok(code == 1 and got["q", 0]["rows_only"] == [7, 0] and got["q", 0]["outside"] == 0, "a missing sample", got)
stream("b.tms", sites=("q",))
code, got, total = items("a.tms", "b.tms")
ok(code == 1 and got["resid_post", 0]["status"] == "only in A" and got["q", 1]["status"] == "same", "a missing site", got)
stream("b.tms", tokens=101)
ok(items("a.tms", "b.tms")[1]["q", 0]["samples_of_other_tokens"] == 4, "other tokens")
stream("b.tms", samples=(4, 3, 2, 1, 0))
r = run("a.tms", "b.tms")
ok(r.returncode == 2 and b"order" in r.stderr, "another order is refused", r)
with open("a.tms", "rb") as f:
    data = f.read()
with open("b.tms", "wb") as f:
    f.write(data[:-40])
ok(run("a.tms", "b.tms").returncode == 2, "a cut stream is trouble")
for ids, code in (("1 2 3\n", 0), ("1 2 4\n", 1)):
    for path, text in (("a.ids", "1 2 3\n"), ("b.ids", ids)):
        with open(path, "w") as f:
            f.write(text)
        with open(path[0] + "t.tms", "wb") as f:
            subprocess.run([os.path.join(bin_, "tok"), "-f", "ids", path], stdout=f, check=True)
    ok(run("at.tms", "bt.tms").returncode == code, "tokens, exit status %d" % code, run("at.tms", "bt.tms"))
r = subprocess.run("%s/tdiff - a.tms < a.tms" % bin_, shell=True, stdout=subprocess.PIPE)
ok(r.returncode == 0, "standard input")

# -------- hints

with open("ids", "w") as f:
    for n in (9, 30, 3):
        f.write(" ".join(map(str, rng.integers(1, 190, n))) + "\n")


def taps(model, sites, out):
    p = os.path.join(models, model) if not os.path.isdir(model) else model
    r = subprocess.run("tok -f ids ids | embed -m %s | layer-run -m %s -n --tap %s=%s" % (p, p, sites, out), shell=True,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if r.returncode:
        print("#", r.stderr)


def hinted(name, pattern, first, *args):
    code, _, total = items(*args)
    ok(code == 1 and re.search(pattern, total.get("hint", "")) and (total.get("first"), total.get("first_layer")) == first, name, total)


ALL = "attn_norm,q,k,v,q_rot,k_rot,attn_scores,attn_out,mlp_norm,resid_post"
taps("llama-f32", ALL, "a.tms")
taps("base", ALL, "b.tms")
hinted("RoPE base", r"half-split.*RoPE base", ("q_rot", 0), "a.tms", "b.tms")
doctored("heads", "llama-f32", num_attention_heads=2, num_key_value_heads=1)
taps("heads", ALL, "b.tms")
hinted("head count", r"q is \[4, 12\] in A and \[2, 24\] in B: head count", ("q", 0), "a.tms", "b.tms")


def interleave(path, out):
    """Rotates q by pairs of neighbours, as other models do."""
    q = {}
    reader = Reader(path)
    with Writer(out, {"kind": "acts", "order": "layer"}) as w:
        for f in reader:
            rows = f.rows
            if f.site == "q":
                q = rows
            if f.site == "q_rot":
                d = rows.shape[-1]
                at = np.concatenate([np.arange(s["first"], s["first"] + s["n"]) for s in f.samples])
                angle = at[:, None, None] * 5000.0 ** (-np.arange(0, d, 2) / d)
                even, odd = q[..., ::2], q[..., 1::2]
                rows = np.empty_like(rows)
                rows[..., ::2] = even * np.cos(angle) - odd * np.sin(angle)
                rows[..., 1::2] = even * np.sin(angle) + odd * np.cos(angle)
            w.write(Frame(f.site, f.layer, rows, "f32", samples=f.samples))


taps("llama-f32", "q,q_rot", "a.tms")
interleave("a.tms", "b.tms")
hinted("half-split and interleaved RoPE", "half-split RoPE in one, interleaved", ("q_rot", 0), "a.tms", "b.tms")
doctored("plain", "gemma2-f32", model_type="llama", architectures=["LlamaForCausalLM"])
taps("gemma2-f32", "attn_norm", "a.tms")
taps("plain", "attn_norm", "b.tms")
hinted("norm + 1", r"norm \+ 1", ("attn_norm", 0), "a.tms", "b.tms")
for m, out in (("gemma2-f32", "a.tms"), ("plain", "b.tms")):
    p = os.path.join(models, m) if not os.path.isdir(m) else m
    subprocess.run("tok -f ids ids | embed -m %s > %s" % (p, out), shell=True, check=True)
hinted("embedding scale", "embedding scale", ("resid_pre", 0), "b.tms", "a.tms")
ok("6.9282 = sqrt(width)" in items("b.tms", "a.tms")[2]["hint"], "the scale's size", items("b.tms", "a.tms")[2])
for cap, pattern in ((None, "A is 5 tanh"), (3.0, "another soft cap")):
    doctored("cap%s" % cap, "gemma2-f32", attn_logit_softcapping=cap)
    taps("gemma2-f32", "attn_norm,q_rot,k_rot,attn_scores", "a.tms")
    taps("cap%s" % cap, "attn_norm,q_rot,k_rot,attn_scores", "b.tms")
    hinted("soft cap 5 and %s" % cap, pattern, ("attn_scores", 0), "a.tms", "b.tms")
doctored("scale", "gemma2-f32", query_pre_attn_scalar=24, attn_logit_softcapping=None)
taps("scale", "attn_scores", "b.tms")
taps("capNone", "attn_scores", "a.tms")
hinted("attention's scale", "scale of attention", ("attn_scores", 0), "a.tms", "b.tms")

# -------- the rest

np.save("a.npy", big)
r = run("--tsv", "a.npy", "a.npy")
head, row = [x.split("\t") for x in r.stdout.decode().splitlines()]
ok(len(head) == len(row) and dict(zip(head, row))["status"] == "same", "a table", r.stdout)
safetensors("a.safetensors", {"x": big, "y": big})
safetensors("b.safetensors", {"x": big, "y": big + 1})
rows = run("--tsv", "--sort", "max", "a.safetensors", "b.safetensors").stdout.decode().splitlines()
ok(rows[1].split("\t")[1] == "y", "--sort", rows)
ok(run("-q", "a.safetensors", "b.safetensors").stdout == b"", "-q says nothing")
for name, args, pattern in [
    ("one operand", ["a.npy"], "two operands"), ("a field that is none", ["--sort", "size", "a.npy", "a.npy"], "a field is"),
    ("two formats", ["--json", "--tsv", "a.npy", "a.npy"], "give one of them"), ("standard input twice", ["-", "-"], "only once"),
    ("a stream and an array", ["a.tms", "a.npy"], "is a tensor stream"), ("a variant of arrays", ["--variant", "1", "a.npy", "a.npy"], "variants"),
    ("a file that isn't there", ["a.npy", "nowhere.npy"], "nowhere"), ("an unknown variant", ["--variant", "z", "v.tms", "v.tms"], "no variant 'z'"),
    ("an empty directory", ["empty", "a.npy"], "neither"), ("half an array", ["a.npy", "cut.npy"], "cut short"),
    ("a stream's name that isn't there", ["nowhere.tms", "v.tms"], "nowhere.tms: No such file"),
    ("a tolerance below 0", ["--atol", "-1", "a.npy", "a.npy"], "--atol: a tolerance is no less than 0"),
    ("a variant where neither has any", ["--variant", "0", "plain.tms", "plain.tms"], "neither plain.tms nor plain.tms has variants"),
    ("objects", ["a.npy", "objects.npy"], "can't be"), ("no file of tensors", ["a.npy", "ids"], "safetensors"),
]:
    os.makedirs("empty", exist_ok=True)
    stream("v.tms")
    stream("plain.tms", variants=(None,))
    np.save("objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with open("a.npy", "rb") as f, open("cut.npy", "wb") as g:
        g.write(f.read()[:-100])
    r = run(*args)
    ok(r.returncode == 2 and re.search(pattern, r.stderr.decode()), name + " is refused", r)
done()
END
