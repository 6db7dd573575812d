"""steer(1) against NumPy in double, and what it refuses.  Prints what is wrong; exits with 1 if anything is."""
import json
import os
import struct
import subprocess
import sys

import numpy as np
import xxhash

from onelayer_tms import Frame, Reader, Writer, bf16_to_f32, f32_to_bf16

STEER = os.path.join(os.environ["BIN"], "steer")
WIDTH = 19
LENGTHS = (5, 1, 0, 12, 3)
HEADER = {"kind": "resid", "order": "layer", "model": {"name": "toy", "fingerprint": "0" * 16}}
ULP = {"f32": 2.0 ** -24, "f64": 2.0 ** -53, "bf16": 2.0 ** -8, "f16": 2.0 ** -11}
failed = 0
rng = np.random.default_rng(3)


def check(good, *what):
    global failed
    if not good:
        failed += 1
        print("wrong:", *what)


def run(*args, data=None):
    return subprocess.run([STEER, *args], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def sample(i, first=0, n=None):
    return {"id": "s%d" % i, "seq": i, "len": LENGTHS[i], "first": first,
            "n": LENGTHS[i] if n is None else n, "label": "l", "more": i}


def kept(x, dtype):
    if dtype == "bf16":
        return f32_to_bf16(x.astype("f4"))
    return x.astype({"f32": "f4", "f64": "f8", "f16": "f2"}[dtype])


def wide(x, dtype):
    return (bf16_to_f32(x) if dtype == "bf16" else x).astype("f8")


def write(rows, dtype, name="in.tms", site="resid_pre", layer=4, header=HEADER, pool=None):
    samples = [sample(i) for i in range(len(LENGTHS))]
    if pool:
        rows = np.concatenate([rows[a:a + 1] for a in np.cumsum((0,) + LENGTHS[:-1])[np.array(LENGTHS) > 0]])
    with Writer(name, header) as out:
        out.write(Frame(site, layer, rows, dtype, samples=samples, pool=pool))


def read(data):
    with open("out.tms", "wb") as f:
        f.write(data)
    reader = Reader("out.tms")
    return list(reader), reader.header


def vectors(name, arrays, header=None):
    """arrays: (site, layer, name, values)"""
    with Writer(name, {"kind": "vectors", "order": "any", **(header or {})}) as out:
        for site, layer, key, x in arrays:
            out.write(Frame(site, layer, x[None], NATURAL.get(x.dtype.str), name=key))


NATURAL = {"<f4": "f32", "<f8": "f64"}


def expected(mode, x, v, alpha, unit):
    """x (n, W), v (k, W), all double"""
    if unit:
        v = v / np.linalg.norm(v, axis=1, keepdims=True)
    if mode == "add":
        return x + alpha * v[0]
    if mode == "set":
        return np.broadcast_to(alpha * v[0], x.shape)
    if mode == "zero":
        return (1 - alpha) * x
    b = np.linalg.qr(v.T)[0]
    part = x @ b @ b.T
    if mode == "ablate":
        return x - alpha * part
    if mode == "project":
        return (1 - alpha) * x + alpha * part
    b = v[:1] / np.linalg.norm(v[0])
    return x + (alpha - x @ b.T) @ b


def named(which, n):
    """Positions of a sample of n tokens."""
    if which in (None, "all"):
        return range(n)
    if which == "last":
        return range(max(n - 1, 0), n)
    if which.startswith("from:"):
        k = int(which[5:])
        return range(max(k + n if k < 0 else k, 0), n)
    a, _, b = which.partition("-")
    return [p for p in range(int(a), int(b or a) + 1) if p < n]


def rows_of(which):
    at, found = 0, []
    for n in LENGTHS:
        found += [at + p for p in named(which, n)]
        at += n
    return found


def test_modes():
    basis = rng.standard_normal((4, WIDTH)).astype("f4")
    vectors("dir.tms", [("resid_post", 3, "direction", basis[2]), ("resid_post", 2, "direction", basis[0])])
    vectors("pca.tms", [("resid_pre", 4, "mean_", basis[0]), ("resid_pre", 4, "components_", basis.astype("f8"))])
    for dtype in ULP:
        x = kept(rng.standard_normal((sum(LENGTHS), WIDTH)), dtype)
        write(x, dtype)
        for mode in ("add", "ablate", "project", "clamp", "set", "zero"):
            for which, alpha, unit in ((None, 2.5, False), ("last", -1, True), ("from:2", 1, False), ("1-3", 0, False),
                                       ("0,from:-2", 0.5, True)):
                args = ["--mode", mode, "--alpha", str(alpha)] + (["--positions", which] if which else [])
                v = basis[2:3]
                if mode in ("ablate", "project") and which != "last":
                    args += ["--vector", "pca.tms", "--component", "0,2-3"]
                    v = basis[[0, 2, 3]]
                elif mode != "zero":
                    args += ["--vector", "dir.tms"]
                args += ["--unit"] if unit and mode != "zero" else []
                r = run(*args, "in.tms")
                if r.returncode:
                    check(False, dtype, args, r.stderr)
                    continue
                (f,), header = read(r.stdout)
                at = sorted({p for w in (which or "all").split(",") for p in rows_of(w)})
                rest = [i for i in range(len(x)) if i not in at]
                want = expected(mode, wide(x, dtype)[at], v.astype("f8"), alpha, unit and mode != "zero")
                got = wide(f.rows, dtype)[at]
                # Rounded once: half a unit in the last place of the result, and what sums in double may differ by.
                limit = np.abs(want) * ULP[dtype] + 1e-14 * 20 + (6e-8 if dtype == "f16" else 0)
                check((np.abs(got - want) <= limit).all(), dtype, args, np.abs(got - want).max())
                check((f.rows[rest] == x[rest]).all(), dtype, args, "other rows")
                if alpha == 0 and mode not in ("clamp", "set"):
                    check(f.rows.tobytes() == x.tobytes(), dtype, args, "alpha 0 changes bits")
                check([s["id"] for s in f.samples] == ["s%d" % i for i in range(5)] and f.samples[3]["more"] == 3
                      and f.variant is None and "variants" not in header, "frame", f.samples)
                check(header["kind"] == "resid" and header["history"][-1]["program"] == "steer", header)


def test_bits():
    """NaN, infinities and zeros of either sign pass, unless they are zeroed."""
    x = rng.standard_normal((sum(LENGTHS), WIDTH)).astype("f4")
    x[0, :4] = np.nan, np.inf, -np.inf, -0.0
    write(x, "f32")
    np.save("v.npy", np.ones(WIDTH))
    for mode in ("add", "ablate", "project", "zero"):
        args = ["--mode", mode, "--alpha", "0"] + (["--vector", "v.npy"] if mode != "zero" else [])
        (f,), _ = read(run(*args, "in.tms").stdout)
        check(f.rows.tobytes() == x.tobytes(), mode, "alpha 0")
    (f,), _ = read(run("--mode", "zero", "in.tms").stdout)
    check(f.rows.tobytes() == bytes(x.nbytes), "zero leaves something")
    (f,), _ = read(run("--mode", "set", "--vector", "v.npy", "--alpha", "3", "in.tms").stdout)
    check((f.rows == 3).all(), "set")


def gguf(name, tensors, architecture="controlvector", alignment=None):
    def text(s):
        return struct.pack("<Q", len(s)) + s.encode()
    pairs = [text("general.architecture") + struct.pack("<I", 8) + text(architecture),
             text("controlvector.model_hint") + struct.pack("<I", 8) + text("llama"),
             text("controlvector.layer_count") + struct.pack("<II", 4, len(tensors)),
             text("list") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b"),
             text("numbers") + struct.pack("<IIQ3h", 9, 3, 3, 1, 2, 3)]
    if alignment:
        pairs.append(text("general.alignment") + struct.pack("<II", 4, alignment))
    alignment = alignment or 32
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join(pairs)
    data = b""
    for key, x in tensors:
        data += bytes(-len(data) % alignment)
        head += text(key) + struct.pack("<I", x.ndim) + struct.pack("<%dQ" % x.ndim, *x.shape[::-1])
        head += struct.pack("<IQ", {"<f4": 0, "<f2": 1}[x.dtype.str], len(data))
        data += x.tobytes()
    with open(name, "wb") as f:
        f.write(head + bytes(-len(head) % alignment) + data)


def safetensors(name, tensors):
    head, at = {}, 0
    for key, x in tensors:
        head[key] = {"dtype": "F32", "shape": list(x.shape), "data_offsets": [at, at + x.nbytes]}
        at += x.nbytes
    text = json.dumps(head).encode()
    with open(name, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(x.tobytes() for _, x in tensors))


def test_sources():
    v = rng.standard_normal((3, WIDTH)).astype("f4")
    np.save("one.npy", v[1])
    np.save("wide.npy", v[1].astype("f8"))
    np.save("three.npy", v)
    gguf("cv.gguf", [("direction.%d" % k, v[i]) for i, k in enumerate((2, 3, 5))])
    gguf("cv64.gguf", [("direction.3", v[1])], alignment=64)
    safetensors("st.safetensors", [("resid_post.2.direction", v[0]), ("resid_post.3.direction", v[1])])
    safetensors("tl.safetensors", [("blocks.2.hook_resid_post", v[0]), ("blocks.3.hook_resid_post", v[1])])
    vectors("d.tms", [("resid_post", 2, "direction", v[0]), ("resid_post", 3, "direction", v[1]),
                      ("resid_post", 3, "mean_neg", v[2]), ("attn_out", 4, "direction", v[2])])
    x = rng.standard_normal((sum(LENGTHS), WIDTH)).astype("f4")
    write(x, "f32")
    results = {}
    for args in (["one.npy"], ["wide.npy"], ["three.npy", "--component", "1"], ["three.npy", "--component", "-2"],
                 ["cv.gguf"], ["cv64.gguf"], ["st.safetensors"], ["tl.safetensors"], ["d.tms"]):
        r = run("--alpha", "2", "--vector", *args, "in.tms")
        check(r.returncode == 0 and not r.stderr, args, r.stderr)
        if r.returncode == 0:
            frames, header = read(r.stdout)
            results[args[0]] = frames[0].rows.tobytes()
            check(header["history"][-1]["options"][0].startswith("--vector="), header)
            said = header["history"][-1]["options"][0][9:]
            if not args[0].endswith(".tms"):
                want = "%016x" % xxhash.xxh3_64_intdigest(open(args[0], "rb").read())
                check(said == want, args, said, want)
    check(len(set(results.values())) == 1, "sources differ", {k: hash(b) for k, b in results.items()})
    (f,), _ = read(run("--mode", "set", "--name", "mean_neg", "--vector", "d.tms", "in.tms").stdout)
    check((f.rows == v[2]).all(), "set to a mean")
    data = open("d.tms", "rb").read()
    check(run("--alpha", "2", "--vector", "-", "in.tms", data=data).returncode == 0, "a vector from standard input")
    write(x, "f32", "post.tms", "resid_post", 3, {**HEADER, "kind": "acts"})
    check(read(run("--alpha", "2", "--vector", "d.tms", "post.tms").stdout)[0][0].rows.tobytes() == results["d.tms"],
          "resid_post of layer 3 is resid_pre of layer 4")
    write(x, "f32", "attn.tms", "attn_out", 4, {**HEADER, "kind": "acts"})
    (f,), _ = read(run("--alpha", "2", "--vector", "d.tms", "attn.tms").stdout)
    check((f.rows == (x.astype("f8") + 2 * v[2].astype("f8")).astype("f4")).all(), "attn_out")


def test_strengths():
    x = rng.standard_normal((sum(LENGTHS), WIDTH)).astype("f4")
    write(x, "f32")
    np.save("v.npy", np.arange(WIDTH, dtype="f4"))
    with open("s.tsv", "w") as f:
        f.write("id\talpha\tpositions\ns3\t2\ns3\t-1\t1-2,last\ns0\t0.5\tlast\n")
    r = run("--vector", "v.npy", "--strengths", "s.tsv", "in.tms")
    check(r.returncode == 0, r.stderr)
    factor = np.zeros(len(x))
    factor[6:18] = 2
    factor[[7, 8, 17]] = -1
    factor[4] = 0.5
    (f,), header = read(r.stdout)
    check((f.rows == (x + factor[:, None] * np.arange(WIDTH)).astype("f4")).all(), "a strength a sample")
    want = "--strengths=%016x" % xxhash.xxh3_64_intdigest(open("s.tsv", "rb").read())
    check(want in header["history"][-1]["options"], header["history"])
    frames, header = read(run("--vector", "v.npy", "--strengths", "s.tsv", "--alpha", "1,-2", "in.tms").stdout)
    check(header["variants"] == ["alpha=1", "alpha=-2"] and frames[0].rows.tobytes() == f.rows.tobytes()
          and (frames[1].rows == (x - 2 * factor[:, None] * np.arange(WIDTH)).astype("f4")).all(), "times --alpha")


def test_refusals():
    x = rng.standard_normal((sum(LENGTHS), WIDTH)).astype("f4")
    write(x, "f32")
    write(x, "f32", "pooled.tms", pool="mean", header={**HEADER, "kind": "acts"})
    v = rng.standard_normal((3, WIDTH)).astype("f4")
    np.save("v.npy", v[0])
    np.save("three.npy", v)
    np.save("twice.npy", v[[0, 1, 0]])
    np.save("narrow.npy", v[0, :7])
    np.save("zero.npy", np.zeros(WIDTH))
    np.save("nan.npy", np.full(WIDTH, np.nan))
    np.save("fortran.npy", np.asfortranarray(v))
    gguf("model.gguf", [("token_embd.weight", v)], "llama")
    gguf("other.gguf", [("direction.2", v[0]), ("direction.7", v[0])])
    with open("cut.gguf", "wb") as f:
        f.write(open("other.gguf", "rb").read()[:200])
    with open("short.gguf", "wb") as f:
        f.write(open("other.gguf", "rb").read()[:-8])
    vectors("other.tms", [("resid_post", 3, "direction", v[0])],
            {"model": {"name": "else", "fingerprint": "1" * 16}})
    vectors("means.tms", [("resid_post", 3, "mean_pos", v[0])])
    for name, text in (("nonumber.tsv", "s0\tmuch\n"), ("noid.tsv", "s9\t1\n"), ("nopos.tsv", "s0\t1\t7\n"),
                       ("fields.tsv", "s0 1\n"), ("empty.tsv", "")):
        with open(name, "w") as f:
            f.write(text)
    with Writer("tokens.tms", {"kind": "tokens"}) as out:
        out.write(Frame(samples=[{"id": "a", "seq": 0, "len": 1, "tokens": b"\0\0\0\0"}]))
    one = ["--vector", "v.npy", "--alpha", "1"]
    for args, said in [
        (["--alpha", "1"], "--vector FILE is needed"), (["--vector", "v.npy"], "--mode add needs --alpha"),
        (["--vector", "v.npy", "--alpha", "1,much"], "'much' is no number"),
        (["--vector", "v.npy", "--alpha", "nan"], "'nan' is no number"),
        (["--vector", "v.npy", "--alpha", "1e39"], "'1e39' is no number of f32"),
        (["--vector", "v.npy", "--alpha", "1,"], "'' is no number"),
        (["--vector", "v.npy", "--alpha", "1,1"], "is there twice"),
        (one + ["--mode", "push"], "is none of add"), (one + ["--mode", "zero"], "takes no vector"),
        (one + ["--positions", "20-30"], "no sample of in.tms has a row there"),
        (one + ["--positions", "3-1"], "is none of last, all"), (one + ["--positions", "first"], "is none of last, all"),
        (["--vector", "three.npy", "--alpha", "1"], "takes one vector and these are 3"),
        (["--vector", "three.npy", "--alpha", "1", "--component", "3"], "has components 0 to 2"),
        (["--vector", "twice.npy", "--mode", "ablate"], "combination of those before"),
        (["--vector", "narrow.npy", "--alpha", "1"], r"shape is [7], and the stream's rows are 19 wide"),
        (["--vector", "zero.npy", "--mode", "ablate"], "is no direction"),
        (["--vector", "nan.npy", "--alpha", "1"], "not finite"),
        (["--vector", "fortran.npy", "--mode", "ablate"], "Fortran order"),
        (["--vector", "v.npy", "--alpha", "1", "--name", "x"], "has no name"),
        (["--vector", "nosuch", "--alpha", "1"], "nosuch"), (["--vector", "s.tsv", "--alpha", "1"], "s.tsv"),
        (["--vector", "in.tms", "--alpha", "1"], "neither a direction nor components_"),
        (["--vector", "means.tms", "--alpha", "1"], "choose with --name among mean_pos"),
        (["--vector", "means.tms", "--alpha", "1", "--name", "x"], "there are mean_pos"),
        (["--vector", "model.gguf", "--alpha", "1"], "a control vector is due"),
        (["--vector", "cut.gguf", "--alpha", "1"], "cut or damaged"),
        (["--vector", "short.gguf", "--alpha", "1"], "cut or damaged"),
        (["--vector", "other.gguf", "--alpha", "1"],
         "no vector for resid_pre of layer 4; it has resid_post of layer 2, resid_post of layer 7"),
        (one + ["--strengths", "nonumber.tsv"], "line 1: 'much' is no number"),
        (one + ["--strengths", "noid.tsv"], "line 1: in.tms has no row of sample 's9'"),
        (one + ["--strengths", "nopos.tsv"], "line 1: in.tms has no row of sample 's0'"),
        (one + ["--strengths", "fields.tsv"], "isn't an id, a tab"), (one + ["--strengths", "empty.tsv"], "no sample"),
    ]:
        r = run(*args, "-o", "never.tms", "in.tms")
        check(r.returncode == 2 and said in r.stderr.decode() and not os.path.exists("never.tms"), args, said, r)
    r = run(*one, "--positions", "last", "pooled.tms")
    check(r.returncode == 2 and b"are pooled" in r.stderr, r)
    check(run(*one, "pooled.tms").returncode == 0, "pooled rows are steered")
    check(run(*one, "tokens.tms").returncode == 2, "tokens")
    check(run("--vector", "-", "--alpha", "1").returncode == 2, "both from standard input")
    r = run("--vector", "other.tms", "--alpha", "1", "in.tms")
    check(r.returncode == 0 and b"is of another model: else" in r.stderr, r.stderr)
    check(read(r.stdout)[1]["history"][-1]["options"][0].endswith(" of else " + "1" * 16), "the history tells it")


for test in (test_modes, test_bits, test_sources, test_strengths, test_refusals):
    test()
sys.exit(failed > 0)
