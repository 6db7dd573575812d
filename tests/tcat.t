#!/bin/sh
# tcat: joining, splitting, merging, selecting, converting.
. "$(dirname "$0")/lib.sh"
need_python
cd "$TMP" || exit
export PYTHONPATH="$ROOT/pipelines:$TESTS" PYTHONDONTWRITEBYTECODE=1
"$PYTHON" - <<'END'
import json, os, re, struct, subprocess
from functools import partial
import numpy as np
from onelayer_tms import Frame, Reader, Writer, bf16_to_f32, f32_to_bf16
import tap
from tap import done, ok

run = partial(tap.run, "tcat")
tcat = os.path.join(os.environ["BIN"], "tcat")
rng = np.random.default_rng(3)


def refused(name, pattern, *args):
    r = run(*args)
    ok(r.returncode == 2 and re.search(pattern, r.stderr.decode()), name + " is refused", r.stderr)


def sample(i, n, **more):
    return {"id": "s%d" % i, "seq": i, "len": n, "first": 0, "n": n, "tokens": np.arange(100, 100 + n, dtype="<u4").tobytes(),
            "label": ("good", "bad")[i % 2], **more}


HEADER = {"kind": "acts", "model": {"name": "toy", "fingerprint": "0123456789abcdef"}, "variants": ["alpha=-1", "alpha=1"],
          "history": [{"program": "x", "version": "1"}], "order": "layer"}
LENGTHS = [4, 1, 0, 7, 3, 2, 5, 6, 1, 1, 2]
SITES = (("q", (2, 4)), ("resid_post", (6,)))
DATA = {(site, layer, v, i): rng.standard_normal((n, *shape)).astype("f4") for site, shape in SITES
        for layer in (0, 1, 10) for v in (0, 1) for i, n in enumerate(LENGTHS)}


def write(path, samples, batch=3, header=HEADER, sites=SITES, dtype="f32"):
    with Writer(path, header) as out:
        for layer in (0, 1, 10):
            for a in range(0, len(samples), batch):
                some = samples[a:a + batch]
                for v in (0, 1):
                    for site, shape in sites:
                        rows = np.concatenate([DATA[site, layer, v, i] for i in some])
                        out.write(Frame(site, layer, f32_to_bf16(rows) if dtype == "bf16" else rows, dtype, variant=v,
                                        samples=[sample(i, LENGTHS[i]) for i in some]))


def contents(path_or_bytes):
    """What every sample has, in the order it comes, in each sequence."""
    path = path_or_bytes
    if isinstance(path, bytes):
        path = "contents.tms"
        with open(path, "wb") as f:
            f.write(path_or_bytes)
    found = {}
    reader = Reader(path)
    for f in reader:
        for s, rows in f.per_sample():
            found.setdefault((f.site, f.layer, f.variant), []).append((s, rows.tobytes()))
    return reader.header, found


ALL = list(range(len(LENGTHS)))
write("all.tms", ALL)
write("a.tms", ALL[:5], 2)
write("b.tms", ALL[5:], 4)
r = run("a.tms", "b.tms")
ok(r.returncode == 0 and contents(r.stdout) == contents("all.tms"), "A's samples before B's, layer by layer", r.stderr)
ok(contents(run("b.tms", "a.tms").stdout)[1]["q", 1, 0][0][0]["id"] == "s5", "B A is another order")
ok(contents(run("--merge", "b.tms", "a.tms").stdout) == contents("all.tms"), "--merge restores the data set's")
ok(contents(run("a.tms", "-", data=open("b.tms", "rb").read()).stdout) == contents("all.tms"), "- among the files")

for n in (1, 2, 3, 15):
    r = run("--split", str(n), "-o", "shard-%d.tms", "all.tms")
    shards = ["shard-%d.tms" % k for k in range(n)]
    ok(r.returncode == 0 and all(os.path.exists(s) for s in shards), "--split %d" % n, r.stderr)
    ids = [[s["id"] for s, _ in contents(s)[1].get(("q", 10, 1), [])] for s in shards]
    ok(ids == [["s%d" % i for i in ALL[k::n]] for k in range(n)], "sample i goes to shard i mod %d" % n, ids)
    r = run("--merge", *shards[::-1])
    ok(r.returncode == 0 and contents(r.stdout) == contents("all.tms"), "--merge puts %d shards together" % n, r.stderr)

# A sample in pieces stays in one shard, and comes back in pieces.
long = rng.standard_normal((9000, 1024)).astype("f4")
with Writer("long.tms", HEADER) as out:
    for i in range(3):
        out.write(Frame("q", 0, long, samples=[sample(i, 9000)]))
run("-o", "cut.tms", "long.tms")
run("--split", "2", "-o", "shard-%d.tms", "cut.tms")
ok([{s["id"] for f in Reader("shard-%d.tms" % k) for s in f.samples} for k in (0, 1)] == [{"s0", "s2"}, {"s1"}],
   "a sample in pieces stays in one shard")
ok(run("--merge", "shard-0.tms", "shard-1.tms").stdout == open("cut.tms", "rb").read(), "and its pieces come back")
for name in ("long.tms", "cut.tms", "shard-0.tms", "shard-1.tms"):
    os.unlink(name)

# Headers.
write("c.tms", ALL[5:], header={**HEADER, "history": HEADER["history"] + [{"program": "y"}], "variants": ["alpha=1", "alpha=3"]})
header, found = contents(run("a.tms", "c.tms").stdout)
ok(header["variants"] == ["alpha=-1", "alpha=1", "alpha=3"] and ("q", 0, 2) in found and
   [s["id"] for s, _ in found["q", 0, 1]] == ["s%d" % i for i in ALL], "variants are joined by name", header)
ok(header["history"][0] == HEADER["history"][0] and header["history"][1]["inputs"] == [[], [{"program": "y"}]],
   "histories that differ are kept apart", header)
ok(contents(run("a.tms", "b.tms").stdout)[0]["history"] == HEADER["history"], "tcat leaves no trace in the history")
write("other.tms", ALL[5:], header={**HEADER, "model": {"name": "toy", "fingerprint": "f" * 16}})
refused("another model", "other.tms: comes from another model .*toy, f{16}", "a.tms", "other.tms")
write("resid.tms", ALL[5:], header={**HEADER, "kind": "resid"})
refused("another kind", "resid.tms: holds resid where a.tms holds acts", "a.tms", "resid.tms")
write("any.tms", ALL[5:], header={**HEADER, "order": "any"})
refused("--merge of a stream in any order", "any.tms: doesn't go layer by layer", "--merge", "a.tms", "any.tms")
header, found = contents(run("a.tms", "any.tms").stdout)
ok(header["order"] == "any" and [s["id"] for s, _ in found["q", 0, 1]] == ["s%d" % i for i in ALL], "any order is joined")
refused("standard input twice", "only once", "-", "-")

# Selecting.
_, found = contents(run("--select", "resid_post@1-10", "all.tms").stdout)
ok(sorted(found) == [("resid_post", layer, v) for layer in (1, 10) for v in (0, 1)], "--select SITE@LAYERS", sorted(found))
_, found = contents(run("--select", "resid_post@0", "--select", "q@10", "--variant", "alpha=1", "all.tms").stdout)
ok(sorted(found) == [("q", 10, 1), ("resid_post", 0, 1)], "two of them, and --variant by name", sorted(found))
_, found = contents(run("--variant", "0", "all.tms").stdout)
ok({v for _, _, v in found} == {0}, "--variant by number")
h, found = contents(run("--ids", "s7,s3,nobody", "all.tms").stdout)
whole = contents("all.tms")[1]
ok(found == {k: [v[3], v[7]] for k, v in whole.items()}, "--ids")
_, found = contents(run("--select", "hook_resid_post", "all.tms").stdout)
ok({s for s, _, _ in found} == {"resid_post"}, "an alias of a site")
refused("an unknown site", "nowhere", "--select", "nowhere", "all.tms")
refused("a layer from the end", "counted from the end", "--select", "q@-1", "all.tms")
refused("an unknown variant", "no such variant", "--variant", "alpha=9", "all.tms")

# Conversions.
for dtype in ("f32", "bf16"):
    write("x.tms", ALL, dtype=dtype)
    one = ("--select", "resid_post", "--variant", "1", "x.tms")
    want = {layer: np.concatenate([DATA["resid_post", layer, 1, i] for i in ALL]) for layer in (0, 1, 10)}
    if dtype == "bf16":
        want = {k: bf16_to_f32(f32_to_bf16(v)) for k, v in want.items()}
    r = run("--npy", "npy-" + dtype, *one)
    load = lambda n: np.load("npy-%s/%s.npy" % (dtype, n))
    ok(r.returncode == 0 and sorted(os.listdir("npy-" + dtype)) == sorted(
        ["resid_post.0.npy", "resid_post.1.npy", "resid_post.10.npy", "offsets.npy", "ids.npy", "labels.npy", "variants.npy"]),
       "--npy: the files", (r.stderr, os.listdir("npy-" + dtype)))
    ok(all(np.array_equal(load("resid_post.%d" % k), v) and load("resid_post.%d" % k).dtype == "<f4" for k, v in want.items()),
       "--npy: the rows of " + dtype)
    ok(load("offsets").tolist() == np.cumsum([0] + LENGTHS).tolist() and load("ids").tolist() == ["s%d" % i for i in ALL] and
       load("labels").tolist() == [("good", "bad")[i % 2] for i in ALL] and set(load("variants").tolist()) == {"alpha=1"},
       "--npy: whose they are")
    r = run("--safetensors", "x.safetensors", *one)
    data = open("x.safetensors", "rb").read()
    n = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + n])

    def tensor(key):
        a, b = header[key]["data_offsets"]
        kinds = {"F32": "<f4", "BF16": "<u2", "I64": "<i8", "U8": "u1"}
        return np.frombuffer(data[8 + n + a:8 + n + b], kinds[header[key]["dtype"]]).reshape(header[key]["shape"])
    rows = {k: tensor("blocks.%d.hook_resid_post" % k) for k in want}
    rows = {k: bf16_to_f32(v) if dtype == "bf16" else v for k, v in rows.items()}
    ends = sorted(v["data_offsets"] for k, v in header.items() if k != "__metadata__")
    ok(all(np.array_equal(rows[k], want[k]) for k in want) and ends[-1][1] == len(data) - 8 - n and (8 + n) % 64 == 0 and
       all(a[1] == b[0] for a, b in zip(ends, ends[1:])), "--safetensors: the rows of " + dtype, header)
    ok(tensor("offsets").tolist() == np.cumsum([0] + LENGTHS).tolist() and
       [bytes(t).rstrip(b"\0").decode() for t in tensor("ids")] == ["s%d" % i for i in ALL], "--safetensors: whose they are")

r = run("--npy", "two", "--select", "q", "all.tms")
ok(r.returncode == 0 and np.load("two/q.1.npy").shape == (2 * sum(LENGTHS), 2, 4) and
   np.load("two/ids.npy").shape == (22,) and np.load("two/variants.npy").tolist()[2:5] == ["alpha=-1", "alpha=1", "alpha=1"],
   "--npy of two variants", r.stderr)
with Writer("differ.tms", HEADER) as out:
    for layer, n in ((0, 2), (1, 3)):
        out.write(Frame("q", layer, np.zeros((n, 2), "f4"), samples=[sample(0, n)]))
refused("--npy of sites with other lengths", "differ in samples or in their lengths.*--select", "--npy", "differ", "differ.tms")
ok(os.listdir("differ") == [], "and nothing is left", os.listdir("differ"))
with Writer("vectors.tms", {"kind": "vectors"}) as out:
    out.write(Frame("q", 3, rng.standard_normal((1, 4, 6)).astype("f4"), name="components_"))
    out.write(Frame("q", 3, np.ones((1, 6)), name="mean_"))
r = run("--npy", "vectors", "vectors.tms")
ok(sorted(os.listdir("vectors")) == ["q.3.components_.npy", "q.3.mean_.npy"] and
   np.load("vectors/q.3.components_.npy").shape == (4, 6) and np.load("vectors/q.3.mean_.npy").dtype == "f8",
   "--npy of named vectors", r.stderr)
with Writer("names.tms", HEADER) as out:
    names = ["plain", "Straße", "漢字\t\"x\"\\\n", "𝄞", ""]
    out.write(Frame("q", 0, np.zeros((5, 1), "f4"), samples=[{"id": s, "seq": i, "len": 1, "first": 0, "n": 1} for i, s in enumerate(names)]))
run("--npy", "names", "names.tms")
ok(np.load("names/ids.npy").tolist() == names and sorted(os.listdir("names")) == ["ids.npy", "offsets.npy", "q.0.npy"],
   "ids in any script")
ok([json.loads(line)["id"] for line in run("--json", "names.tms").stdout.decode().splitlines()] == names, "also as JSON")
ok([line.split("\t")[0] for line in run("--tsv", "names.tms").stdout.decode().splitlines()][1:] ==
   ["plain", "Straße", "漢字\\t\"x\"\\\\\\n", "𝄞", ""], "and in a table")

# Numbers as text read back as what they are.
bits = np.concatenate([rng.integers(0, 1 << 32, 3000, dtype="u8").astype("u4").view("f4"),
                       np.array([0, -0.0, 1, 0.1, 0.3, 16777216, 1e-45, 3.4028235e38, np.nan, np.inf, -np.inf], "f4")])
bits = bits[np.isfinite(bits) | (np.arange(len(bits)) >= 3000)]
doubles = bits.astype("f8") * 1.1
for kept, type_name in ((bits, "f4"), (doubles, "f8")):
    n = len(kept)
    with Writer("n.tms", HEADER) as out:
        out.write(Frame("q", 0, kept.reshape(1, n), samples=[sample(0, 1)]))
    text = run("--tsv", "n.tms").stdout.decode().splitlines()[1].split("\t")[7:]
    back = np.array([float(t) for t in text]).astype(type_name)
    ok(np.array_equal(back, kept, equal_nan=True) and np.array_equal(np.signbit(back), np.signbit(kept) & ~np.isnan(kept)),
       "numbers of %s in a table read back" % type_name)
    # NumPy's shortest text has as many digits.
    shortest = [len(re.sub(r"e.*|[-.]", "", np.format_float_scientific(v)).strip("0")) for v in kept[:-3]]
    digits = [len(re.sub(r"e.*|[-.]", "", t).strip("0")) for t in text[:-3]]
    more = np.subtract(digits, shortest)[np.abs(kept[:-3]) > 1e-37]
    ok(more.max() <= 1 and more.mean() < 0.2, "and are short", (more.max(), more.mean()))
    row = json.loads(run("--json", "n.tms").stdout)["rows"][0]
    back = np.array([np.nan if v is None else v for v in row], type_name)
    ok(np.array_equal(back, kept, equal_nan=True), "JSON's too")

row = json.loads(run("--json", "--ids", "s3", "--select", "q@10", "--variant", "1", "all.tms").stdout)
ok(np.array_equal(np.array(row.pop("rows"), "f4"), DATA["q", 10, 1, 3]) and
   row == {"id": "s3", "label": "bad", "site": "q", "layer": 10, "variant": "alpha=1", "len": 7, "first": 0, "n": 7},
   "--json of activations", row)
table = [line.split("\t") for line in run("--tsv", "--ids", "s3", "--select", "q@10", "all.tms").stdout.decode().splitlines()]
ok(table[0] == "id label variant site layer pos token".split() + ["v%d" % i for i in range(8)] and
   table[3][:7] == ["s3", "bad", "alpha=-1", "q", "10", "2", "102"] and len(table) == 15, "--tsv", table[:4])

with Writer("tokens.tms", {"kind": "tokens"}) as out:
    out.write(Frame(samples=[{"id": "a", "seq": 0, "len": 3, "tokens": struct.pack("<3I", 5, 6, 4294967295), "label": "x",
                              "span": [[0, 2]], "target": "yes", "odd": {"a": [1, -2, 0.1, None, True]}},
                             {"id": "b", "seq": 1, "len": 0, "tokens": b""}]))
lines = [json.loads(line) for line in run("--json", "tokens.tms").stdout.splitlines()]
ok(lines == [{"id": "a", "label": "x", "input_ids": [5, 6, 4294967295], "span": [[0, 2]], "target": "yes",
              "odd": {"a": [1, -2, 0.1, None, True]}}, {"id": "b", "input_ids": []}], "--json of tokens", lines)
ok(run("--tsv", "tokens.tms").stdout.decode().splitlines()[1:] == ["a\tx\t\t\t\t0\t5", "a\tx\t\t\t\t1\t6", "a\tx\t\t\t\t2\t4294967295"],
   "--tsv of tokens")
run("--npy", "tok", "tokens.tms")
ok(np.load("tok/tokens.npy").tolist() == [5, 6, 4294967295] and np.load("tok/offsets.npy").tolist() == [0, 3, 3], "--npy of tokens")

summary = json.loads(run("--summary", "--json", "all.tms").stdout)
entry = [a for a in summary["arrays"] if (a["site"], a["layer"], a["variant"]) == ("q", 10, "alpha=1")][0]
ok((summary["kind"], summary["model"], summary["frames"], summary["history"]) == ("acts", "toy", 48, HEADER["history"]) and
   (entry["samples"], entry["rows"], entry["shape"], entry["bytes"]) == (11, sum(LENGTHS), [2, 4], 32 * sum(LENGTHS)),
   "--summary --json", summary)
text = run("--summary", "all.tms").stdout.decode()
ok("q\t0-1,10\tf32\t2x4\t\t\t11\t192\t6144\n" in text and "model    toy\n" in text, "--summary", text)

refused("two outputs", "give one of them", "--json", "--tsv", "all.tms")
refused("--split without a name", "%d", "--split", "2", "all.tms")
refused("-o with --npy", "name their own", "--npy", "d", "-o", "x", "all.tms")
refused("--zstd of a table", "is none", "--zstd", "--tsv", "all.tms")
with open("half.tms", "wb") as f:
    f.write(open("all.tms", "rb").read()[:-40])
for args in (["--json", "-o", "out"], ["--summary", "-o", "out"], ["--safetensors", "out"], ["--npy", "halved"], ["--split", "2", "-o", "out-%d"]):
    r = run(*args, "half.tms")
    left = [n for n in os.listdir(".") if "out" in n] + (os.listdir("halved") if os.path.isdir("halved") else [])
    ok(r.returncode == 2 and not left, "a cut stream leaves nothing with %s" % args[0], (r.stderr, left))
r = subprocess.run("%s --json all.tms | head -c 100 >/dev/null" % tcat, shell=True, stderr=subprocess.PIPE)
ok(r.stderr == b"", "a reader that went away is no error", r.stderr)
done()
END
