#!/bin/sh
# pool against NumPy, in each type, however the rows are framed.
. "$(dirname "$0")/lib.sh"
need_python
cd "$TMP" || exit
export PYTHONPATH="$ROOT/pipelines:$TESTS" PYTHONDONTWRITEBYTECODE=1
"$PYTHON" - <<'END'
from functools import partial
import numpy as np
from onelayer_tms import Frame, Reader, Writer, bf16_to_f32, f32_to_bf16
import tap
from tap import done, ok

run = partial(tap.run, "pool")
rng = np.random.default_rng(2)

LENGTHS = (5, 1, 0, 12, 3)
SPANS = ([[1, 3], [4, 5]], [[0, 1]], [], [[2, 6], [4, 9], [3, 3]], [])
WIDTH = 6
HEADER = {"kind": "resid", "order": "layer", "model": {"name": "toy"}, "variants": ["a", "b"]}


def sample(i, first=0, n=None):
    return {"id": "s%d" % i, "seq": i, "len": LENGTHS[i], "first": first,
            "n": LENGTHS[i] if n is None else n, "label": "l%d" % (i % 2), "span": SPANS[i], "more": i}


def frames(rows, dtype, step):
    """The samples of both variants, in whole frames or cut after every `step` positions of a sample."""
    for v in (0, 1):
        parts = []
        for i, n in enumerate(LENGTHS):
            for a in range(0, max(n, 1), step):
                parts.append((sample(i, a, min(step, n - a)), rows[v][i][a:a + step]))
        size = 5 if step > 20 else 1
        for k in range(0, len(parts), size):
            some = parts[k:k + size]
            yield v, Frame("resid_pre", 4, np.concatenate([r for _, r in some]), dtype, variant=v,
                           samples=[s for s, _ in some])


def write(rows, dtype, step=100, interleave=False):
    with Writer("in.tms", HEADER) as out:
        both = list(frames(rows, dtype, step))
        if interleave:
            half = len(both) // 2
            both = [f for pair in zip(both[:half], both[half:]) for f in pair]
        for _, f in both:
            out.write(f)


def expected(kind, r, spans):
    """The row in double, and the positions it is made of; None: no row."""
    n = len(r)
    name, _, arg = kind.partition("=")
    if name == "--pos":
        k = int(arg)
        return (r[k], k % n, 1) if n else None
    if name in ("--last", "--first"):
        k = n - 1 if name == "--last" else 0
        return (r[k], k, 1) if n else None
    if name in ("--mean", "--max"):
        skip = int(arg or 0)
        if n <= skip:
            return None
        part = r[skip:]
        return (part.mean(0) if name == "--mean" else part.max(0)), skip, n - skip
    at = sorted({p for a, b in spans for p in range(a, b)})
    if not at:
        return None
    part = r[at]
    if arg in ("", "mean"):
        return part.mean(0), at[0], at[-1] + 1 - at[0]
    if arg == "max":
        return part.max(0), at[0], at[-1] + 1 - at[0]
    k = at[0] if arg == "first" else at[-1]
    return r[k], k, 1


SPELLED = {"--pos=0": "pos:0", "--pos=-1": "pos:-1", "--mean=2": "mean:2", "--max=1": "max:1", "--span=mean": "span",
           "--span=max": "span:max", "--span=last": "span:last", "--span=first": "span:first"}
KINDS = ["--last", "--first", "--mean", "--max", "--span"] + list(SPELLED)

for dtype in ("f32", "f64", "bf16", "f16"):
    wide = [[rng.standard_normal((n, WIDTH)) for n in LENGTHS] for _ in range(2)]
    if dtype == "bf16":
        rows = [[f32_to_bf16(r) for r in v] for v in wide]
        wide = [[bf16_to_f32(r).astype("f8") for r in v] for v in rows]
    else:
        kept = {"f32": "f4", "f64": "f8", "f16": "f2"}[dtype]
        rows = [[r.astype(kept) for r in v] for v in wide]
        wide = [[r.astype("f8") for r in v] for v in rows]
    out_type = "f64" if dtype == "f64" else "f32"
    for kind in KINDS:
        write(rows, dtype)
        r = run(kind, "in.tms")
        if r.returncode:
            ok(False, dtype + " " + kind, r.stderr)
            continue
        got, wrong = {}, []
        with open("out.tms", "wb") as f:
            f.write(r.stdout)
        reader = Reader("out.tms")
        for f in reader:
            if (f.pool, f.dtype, f.site, f.layer) != (SPELLED.get(kind, kind[2:]), out_type, "resid_pre", 4):
                wrong.append((f.pool, f.dtype))
            for s, row in f.per_sample():
                got[f.variant, s["seq"]] = s, row
        for v in (0, 1):
            for i in range(len(LENGTHS)):
                s, row = got[v, i]
                want = expected(kind, wide[v][i], SPANS[i])
                if want is None:
                    if len(row) or s["n"]:
                        wrong.append((v, i, "has a row"))
                    continue
                # A sum of n doubles is within n eps of NumPy's; then it is rounded once.
                exact = np.asarray(want[0])
                tolerance = np.abs(exact) * (2 ** -24 if out_type == "f32" else 16 * 2 ** -53) + 1e-15
                if (np.abs(row[0].astype("f8") - exact) > tolerance).any() or (s["first"], s["n"]) != want[1:]:
                    wrong.append((v, i, row[0], exact, s["first"], s["n"], want[1:]))
                if (s["label"], s["more"], s["len"]) != ("l%d" % (i % 2), i, LENGTHS[i]):
                    wrong.append(s)
        ok(not wrong, dtype + " " + kind, wrong)
        if reader.header["kind"] != "acts" or reader.header["history"][-1]["program"] != "pool":
            ok(False, "the header says activations, pooled", reader.header)

rows = [[rng.standard_normal((n, WIDTH)).astype("f4") for n in LENGTHS] for _ in range(2)]
for kind in KINDS:
    write(rows, "f32")
    r = run(kind, "in.tms").stdout
    whole = b"".join(f.rows.tobytes() for f in Reader("in.tms"))

    def values(data):
        with open("x.tms", "wb") as f:
            f.write(data)
        return sorted((f.variant, s["seq"], row.tobytes()) for f in Reader("x.tms") for s, row in f.per_sample())
    same = True
    for step in (1, 2, 5):
        for interleave in (False, True):
            write(rows, "f32", step, interleave)
            cut = run(kind, "in.tms")
            same &= cut.returncode == 0 and values(cut.stdout) == values(r)
    ok(same, kind + ": the same bits however a sample is cut")

rows[0][0][2, 3] = np.nan
write(rows, "f32")
r = run("--max", data=open("in.tms", "rb").read())
with open("out.tms", "wb") as f:
    f.write(r.stdout)
row = next(iter(Reader("out.tms"))).rows[0]
ok(np.isnan(row[3]) and not np.isnan(np.delete(row, 3)).any(), "the largest of values with a NaN is NaN")

for name, args, pattern in [
    ("no pool", [], "give one of"), ("two pools", ["--last", "--mean"], "--last and --mean"),
    ("a position behind the end", ["--pos", "11"], "sample 's0' of 5 tokens has no position 11"),
    ("a pool of a span that is none", ["--span=middle"], "is no pool"), ("half a position", ["--mean=1.5"], "is no pool"),
]:
    r = run(*args, "in.tms")
    ok(r.returncode == 2 and pattern in r.stderr.decode(), name + " is refused", r.stderr)
ok(run("--last", "out.tms").returncode == 2, "what is pooled already is refused")
with Writer("t.tms", {"kind": "tokens"}) as out:
    out.write(Frame(samples=[{"id": "a", "seq": 0, "len": 1, "tokens": b"\0\0\0\0"}]))
ok(run("--last", "t.tms").returncode == 2, "tokens are refused")
with Writer("t.tms", HEADER) as out:
    out.write(Frame("q", 0, np.zeros((2, 2), "f4"), samples=[sample(0, 0, 2)]))
r = run("--last", "t.tms")
ok(r.returncode == 2 and b"never came" in r.stderr, "a sample without its end is refused", r.stderr)
done()
END
