#!/bin/sh
# The tensor stream, tms(5): what Python writes tcat reads and the other way round, and nothing damaged passes.
. "$(dirname "$0")/lib.sh"
need_python
cd "$TMP" || exit
export ROOT PYTHONPATH="$ROOT/pipelines:$TESTS" PYTHONDONTWRITEBYTECODE=1
"$PYTHON" - <<'END'
import os, re, resource, struct, subprocess
from functools import partial
import msgpack, numpy as np, xxhash
from onelayer_tms import DTYPES, Frame, Reader, StreamError, Writer, f32_to_bf16
import tap
from tap import done, ok

run = partial(tap.run, "tcat")
tcat = os.path.join(os.environ["BIN"], "tcat")
rng = np.random.default_rng(1)


def sample(i, n, length=None, first=0, **more):
    length = first + n if length is None else length
    return {"id": "s%d" % i, "seq": i, "len": length, "first": first, "n": n,
            "tokens": np.arange(length, dtype="<u4").tobytes(), **more}


def values(dtype, shape):
    kept = DTYPES[dtype]
    if kept.kind == "f":
        return rng.standard_normal(shape).astype(kept)
    return rng.integers(0, 1 << 8 * min(kept.itemsize, 2), shape).astype(kept)


def write(path, header, frames):
    with Writer(path, header) as out:
        for frame in frames:
            out.write(frame)


def contents(path):
    """Everything of a stream but its framing."""
    with Reader(path) as r:
        frames = [(f.site, f.layer, f.dtype, f.variant, f.pool, f.name, f.extra, f.samples,
                   None if f.rows is None else (f.rows.shape, f.rows.tobytes())) for f in r]
        return r.header, frames


# -------- what is written can be read, by both

HEADER = {"kind": "acts", "model": {"name": "toy", "fingerprint": "0123456789abcdef"},
          "variants": ["alpha=-1", "alpha=1"], "history": [{"program": "x", "version": "1"}], "order": "layer"}
streams = {}
for dtype in DTYPES:
    streams["acts " + dtype] = (HEADER, [
        Frame("q", layer, values(dtype, (9, 2, 4)), dtype, variant=variant,
              samples=[sample(0, 4, label="good"), sample(1, 0), sample(2, 5, span=[[1, 3], [4, 5]])])
        for layer in (0, 1) for variant in (0, 1)])
for kind in ("resid", "logits"):
    streams[kind] = ({**HEADER, "kind": kind}, [Frame("resid_pre", 3, values("f32", (6, 5)), samples=[sample(0, 6)])])
streams["pooled"] = (HEADER, [Frame("q", 0, values("f32", (2, 3)), pool="mean:1",
                                    samples=[sample(0, 4), sample(1, 0), sample(2, 2, first=3, length=9)])])
streams["vectors"] = ({"kind": "vectors", "order": "any"}, [
    Frame("resid_post", 2, values("f32", (1, 4, 6)), name="components_"), Frame(None, None, values("f64", (1,)), name="n_samples_")])
streams["state"] = ({"kind": "state", "order": "any"}, [Frame("q", 0, values("f64", (1, 4, 4)), name="gram")])
streams["unicode"] = (HEADER, [Frame("q", 0, values("f32", (1, 2)), samples=[
    {"id": "a\0b\tß漢\udcff", "seq": 2 ** 63, "len": 1, "first": 0, "n": 1, "label": ""}])])
streams["further keys"] = ({**HEADER, "zz": {"a": [1, -5, 2.5, None, True, b"x"]}}, [
    Frame("q", 0, values("f32", (1, 2)), samples=[sample(0, 1, target="yes", extra=[{"deep": {"er": 1}}])], extra={"note": "n"})])
streams["no frames"] = (HEADER, [])
streams["no samples"] = (HEADER, [Frame("q", 0, values("f32", (0, 2)), samples=[])])
streams["an empty row"] = (HEADER, [Frame("q", 0, values("f32", (2, 0)), samples=[sample(0, 2)])])
streams["tokens"] = ({"kind": "tokens", "order": "any"}, [Frame(samples=[
    {k: v for k, v in sample(i, 3 * i, label="l").items() if k not in ("first", "n")} for i in range(4)])])

for name, (header, frames) in streams.items():
    write("a.tms", header, frames)
    r = run("-o", "b.tms", "a.tms")
    ok(r.returncode == 0 and open("a.tms", "rb").read() == open("b.tms", "rb").read(),
       name + ": tcat writes the bytes that Python wrote", r.stderr)
    ok(contents("a.tms") == contents("b.tms"), name + ": Python reads them")

even = [Frame("q", 0, np.zeros((5000, 100), "f4") + np.arange(100), samples=[sample(0, 5000)]),
        Frame("q", 0, rng.integers(0, 1 << 32, (2, 3)).astype("u4"), samples=[sample(1, 2)])]
write("a.tms", HEADER, even)
run("--zstd", "-o", "z.tms", "a.tms")
ok(os.path.getsize("z.tms") < os.path.getsize("a.tms") / 20, "--zstd makes rows smaller")
ok(run("z.tms").stdout == open("a.tms", "rb").read(), "and they come back")
ok(run("--zstd=19", "a.tms").returncode == 0 and run("--zstd=20", "a.tms").returncode == 2, "levels are 1 to 19")
try:
    ok(contents("z.tms")[1] == contents("a.tms")[1], "Python reads compressed rows")
except StreamError as why:
    ok("zstandard" in str(why), "Python says what it lacks for compressed rows")

# -------- rows begin at multiples of 64

with open("a.tms", "rb") as f:
    data = f.read()
at = data.find(even[0].rows.tobytes()[:400])
ok(at % 64 == 0 and at > 0, "rows begin at a multiple of 64")

# -------- a frame too large is cut

big = values("f32", (20000, 1024))
write("a.tms", HEADER, [Frame("q", 0, big, samples=[sample(0, 3), sample(1, 19000), sample(2, 997)])])
r = run("-o", "b.tms", "a.tms")
got = list(Reader("b.tms"))
ok(all(f.rows.nbytes <= 16 << 20 for f in got) and len(got) > 4, "no frame above 16 MiB is written")
ok(np.array_equal(np.concatenate([f.rows for f in got]), big), "the rows are the same")
ok([(s["id"], s["first"], s["n"]) for f in got for s in f.samples] ==
   [("s0", 0, 3)] + [("s1", a, min(4096, 19000 - a)) for a in range(0, 19000, 4096)] + [("s2", 0, 997)],
   "whole samples stay whole", [(s["id"], s["first"], s["n"]) for f in got for s in f.samples])
ok(run("-o", "c.tms", "b.tms").returncode == 0 and open("c.tms", "rb").read() == open("b.tms", "rb").read(),
   "what was cut is not cut otherwise")
run("--zstd=1", "-o", "z.tms", "a.tms")
ok(run("z.tms").stdout == open("b.tms", "rb").read(), "also where they are compressed")
os.unlink("z.tms")
if not os.environ.get("SANITIZED"):
    write("a.tms", HEADER, [Frame("q", 0, np.zeros((60000, 1024), "f4"), samples=[sample(0, 60000)])])
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    code = subprocess.run("ulimit -v 200000; exec %s -o /dev/null a.tms" % tcat, shell=True).returncode
    ok(code == 0, "a frame of 240 MB needs no 200 MB of memory")
os.unlink("a.tms")

# -------- nothing damaged passes

write("small.tms", {"kind": "acts", "history": [{"program": "x"}], "order": "layer"}, [
    Frame("q", 0, values("f32", (3, 2)), samples=[sample(0, 1), sample(1, 2, label="b")])])
good = open("small.tms", "rb").read()


def refused(data):
    with open("bad.tms", "wb") as f:
        f.write(data)
    r = run("-o", "out.tms", "bad.tms")
    said = r.stderr.decode(errors="replace")
    left = [n for n in os.listdir(".") if "out.tms" in n]
    for n in left:
        os.unlink(n)
    return r.returncode == 2 and said.startswith("tcat: bad.tms: ") and said.count("\n") == 1 and not left, said


def python_refuses(data):
    with open("bad.tms", "wb") as f:
        f.write(data)
    try:
        contents("bad.tms")
    except StreamError:
        return True
    return False


ok(run("small.tms").stdout == good, "the small stream is good")
wrong = [k for k in range(len(good)) if not refused(good[:k])[0]]
ok(not wrong, "cut at any byte it is refused", wrong)
wrong = [k for k in range(len(good)) if not python_refuses(good[:k])]
ok(not wrong, "by Python too", wrong)
wrong = [k for k in range(8 * len(good)) if not python_refuses(
    good[:k // 8] + bytes([good[k // 8] ^ 1 << k % 8]) + good[k // 8 + 1:])]
ok(not wrong, "any flipped bit is found by Python", wrong)
wrong = []
for k in range(8 * len(good)):
    if os.environ.get("SANITIZED") and k % 7:
        continue
    good_now, said = refused(good[:k // 8] + bytes([good[k // 8] ^ 1 << k % 8]) + good[k // 8 + 1:])
    if not good_now:
        wrong.append((k, said))
ok(not wrong, "any flipped bit is found", wrong)


# Streams that are whole, with right checksums, and yet wrong.
def frame_bytes(at, meta, rows, pad=None):
    packed = b"\x93" + (meta if isinstance(meta, bytes) else msgpack.packb(meta))
    head = b"\xc4" + bytes([len(rows)])
    if pad is None:
        pad = bytes(-(at + len(packed) + 2 + 2) % 64 if rows else 0)
    return packed + b"\xc4" + bytes([len(pad)]) + pad + head, rows


def stream(header, *frames, n_rows=None, after=b""):
    out = header if isinstance(header, bytes) else msgpack.packb(header)
    summed, total = xxhash.xxh3_64(out), 0
    for meta, rows, *pad in frames:
        head, rows = frame_bytes(len(out), meta, rows, *pad)
        summed.update(head)
        out += head + rows
        if not isinstance(meta, bytes):
            total += sum(s.get("n", 0) for s in meta.get("samples", []))
    total = total if n_rows is None else n_rows
    return out + b"\x81\xa3end\xc4\x18" + struct.pack("<3Q", len(frames), total, summed.intdigest()) + after


H = {"tms": 1, "kind": "acts", "order": "layer"}
R = bytes(range(8))
S = {"id": "a", "seq": 0, "len": 2, "first": 0, "n": 2}


def meta(**change):
    m = {"site": "q", "layer": 0, "dtype": "f32", "shape": [1], "sum": xxhash.xxh3_64_intdigest(R), "samples": [S]}
    m.update(change)
    return {k: v for k, v in m.items() if v is not None}


M = meta()
with open("good.tms", "wb") as f:
    f.write(stream(H, (M, R)))
ok(run("good.tms").returncode == 0, "a stream made by hand is good", run("good.tms").stderr)


def twice(m, *pairs):
    """A map with pairs behind those of m."""
    return bytes([0x80 | len(m) + len(pairs)]) + msgpack.packb(m)[1:] + b"".join(
        msgpack.packb(k) + msgpack.packb(v) for k, v in pairs)


def deep(n):
    return b"\x91" * n + b"\xc0"


for name, data, pattern in [
    ("an empty file", b"", "is empty"),
    ("text", b"Hello,\nworld\n", "is text.*tok"),
    ("a gzip file", b"\x1f\x8b\x08\0\0\0\0\0", "gzip"),
    ("other bytes", bytes(range(128, 256)), "is not a tensor stream"),
    ("another map", msgpack.packb({"a": 1}), "is not a tensor stream"),
    ("a higher version", stream({**H, "tms": 2}, (M, R)), "bad.tms: header at byte 1: .*version 2"),
    ("an unknown kind", stream({**H, "kind": "dreams"}, (M, R)), "header at byte 6: unknown kind 'dreams'"),
    ("no kind", stream({"tms": 1}), "header at byte 6: .*no 'kind'"),
    ("an unknown order", stream({**H, "order": "up"}, (M, R)), "header at byte 16: unknown order"),
    ("a fingerprint of other letters", stream({**H, "model": {"fingerprint": "xyz"}}), "fingerprint"),
    ("a header with a key twice", stream(twice(H, ("kind", "acts"))), "'kind' twice"),
    ("a header with a further key twice", stream(twice(H, ("x", 1), ("x", 2))), "'x' twice"),
    ("a header of no values", b"\x83" + msgpack.packb(H)[1:6] + b"\xa4kind\xc1", "header at byte 11: is damaged"),
    ("a key that is a number", stream(twice(H, (1, 2))), "for a key"),
    ("deep nesting", stream(twice(H)[:0] + b"\x84" + msgpack.packb(H)[1:] + b"\xa1x" + deep(40)), "nested too deep"),
    ("65 further keys", stream({**H, **{"k%d" % i: i for i in range(65)}}), "more than 64 keys"),
    ("an unknown dtype", stream(H, (meta(dtype="f31"), R)), "frame 1 at byte .*unknown dtype 'f31'"),
    ("no dtype", stream(H, (meta(dtype=None), R)), "no 'dtype'"),
    ("no shape", stream(H, (meta(shape=None), R)), "no 'shape'"),
    ("no sum", stream(H, (meta(sum=None), R)), "no 'sum'"),
    ("no site", stream(H, (meta(site=None), R)), "no 'site'"),
    ("a wrong sum", stream(H, (meta(sum=1), R)), "checksum is wrong"),
    ("five dimensions", stream(H, (meta(shape=[1] * 5), R)), "'shape'.*more than 4"),
    ("a shape that overflows", stream(H, (meta(shape=[1 << 30] * 4), R)), "more than 1 GiB"),
    ("a frame of 2 GiB", stream(H, (meta(shape=[1 << 28]), R)), "more than 1 GiB"),
    ("rows too few", stream(H, (meta(shape=[2]), R)), "8 bytes of rows where .* make 16"),
    ("rows too many", stream(H, (meta(), R + R)), "16 bytes of rows where .* make 8"),
    ("a sample without id", stream(H, (meta(samples=[{"seq": 0, "len": 2, "n": 2}]), R)), "no 'id'"),
    ("an id that is a number", stream(H, (meta(samples=[{**S, "id": 5}]), R)), "'id' of a sample is a whole number"),
    ("a negative length", stream(H, (meta(samples=[{**S, "len": -2}]), R)), "negative number"),
    ("positions behind the end", stream(H, (meta(samples=[{**S, "first": 1}]), R)), "of 2 tokens has positions 1 to 3"),
    ("token ids too few", stream(H, (meta(samples=[{**S, "tokens": b"1234"}]), R)), "4 bytes of token ids"),
    ("a span behind the end", stream(H, (meta(samples=[{**S, "span": [[0, 3]]}]), R)), "span up to 3"),
    ("a span backwards", stream(H, (meta(samples=[{**S, "span": [[1, 0]]}]), R)), "ends before it starts"),
    ("a variant without a name", stream(H, (meta(variant=0), R)), "variant 0"),
    ("a meta with a key twice", stream(H, (twice(M, ("layer", 1)), R), n_rows=2), "'layer' twice"),
    ("a sample with a key twice", stream(H, (msgpack.packb({**M, "samples": 0})[:-1] + b"\x91" + twice(S, ("n", 2)), R), n_rows=2),
     "'n' twice"),
    ("a pad of ones", stream(H, (M, R, b"\1" * 17)), "pad"),
    ("rows not aligned", stream(H, (M, R, b"")), "no multiple of 64"),
    ("a layer before the last one", stream(H, (meta(layer=1), R), (M, R)), "frame 2 at byte .*layer 0 after layer 1"),
    ("rows in tokens", stream({**H, "kind": "tokens"}, (M, R)), "stream of tokens"),
    ("zstd of another size", stream(H, (meta(zstd=9), R)), "'zstd' says 9"),
    ("zstd of nothing known", stream(H, (meta(zstd=8), R)), "compressed rows are damaged"),
    ("a count too high", stream(H, (M, R), n_rows=3), "counts 1 frames and 3 rows"),
    ("bytes behind the trailer", stream(H, (M, R), after=b"\0"), "bytes follow the trailer"),
    ("two streams joined by cat", good + good, "joined by cat.*tcat"),
    ("a second header", msgpack.packb(H) + good, "second header"),
    ("no frame", msgpack.packb(H) + b"\xc0", "neither a frame nor the trailer"),
    ("no trailer", msgpack.packb(H), "without its trailer"),
    ("a map of 17 MiB", b"\x82\xa3tms\x01\xa4kind\xdb\x01\x10\0\0", "too large"),
    ("an array of 4 billion", b"\x82\xa3tms\x01\xa4kind\xdd\xff\xff\xff\xff", "too large"),
    ("rows of 4 GiB", stream(H)[:-31] + b"\x93" + msgpack.packb(M) + b"\xc4\0\xc6\xff\xff\xff\xff", "at most 1073741824"),
]:
    good_now, said = refused(data)
    ok(good_now and re.search(pattern, said), name + " is refused", said)

r = run("/")
ok(r.returncode == 2 and b"directory" in r.stderr, "a directory is refused")
r = run("no-such.tms")
ok(r.returncode == 2 and b"no-such.tms" in r.stderr, "a file that is not there")
r = run(data=good)
ok(r.returncode == 0 and r.stdout == good, "a stream from a pipe to a pipe")
ok(run("-", data=good).stdout == good, "- is standard input")
r = subprocess.run("%s small.tms > /dev/full" % tcat, shell=True, stderr=subprocess.PIPE)
ok(r.returncode == 2, "a full disk is trouble", r.stderr)

# The manual's example is a stream.
page = open(os.path.join(os.environ["ROOT"], "man", "tms.5")).read()
data = bytes.fromhex("".join(re.findall(r"^[0-9a-f]{3}  ((?:[0-9a-f]{2} )*[0-9a-f]{2})  ", page, re.M)))
r = run("--tsv", data=data)
ok(r.stdout == b"id\tlabel\tvariant\tsite\tlayer\tpos\ttoken\tv0\tv1\n" + b"".join(
    b"a\tx\t\tq\t0\t%d\t\t%d\t%d\n" % (i, 2 * i + 1, 2 * i + 2) for i in range(3)), "the example in tms(5)", r.stderr)

# A filter answers a frame before it needs another.
script = "from onelayer_tms import *\nfor f in filter_stdin(): f.rows = f.f32() + 1"
p = subprocess.Popen([os.environ["PYTHON"], "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
out = Writer(p.stdin, HEADER)
answer = None
for k in range(3):
    out.write(Frame("q", k, np.full((1, 2), k, "f4"), samples=[sample(k, 1)]))
    if answer is None:
        answer = Reader(p.stdout)
        answers = iter(answer)
    got = next(answers)
    if got.rows[0, 0] != k + 1:
        break
out.close()
p.stdin.close()
ok(k == 2 and next(answers, None) is None and p.wait() == 0, "a Python filter answers frame by frame")
before = HEADER.get("history", [])
ok(answer.header == {**HEADER, "tms": 1, "history": before + [{"program": "python"}]}, "and stands in the history", answer.header)
with open("halve.py", "w") as f:
    f.write("from onelayer_tms import filter_stdin\nfor f in filter_stdin(): f.rows = f.f32() / 2\n")
write = Writer("named.tms", HEADER)
write.close()
r = subprocess.run("%s halve.py < named.tms | %s" % (os.environ["PYTHON"], tcat), shell=True, stdout=subprocess.PIPE)
with open("halved.tms", "wb") as f:
    f.write(r.stdout)
history = Reader("halved.tms").header["history"]
ok(history == before + [{"program": "halve.py"}], "a script by its name", history)

done()
END
