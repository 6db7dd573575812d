#!/bin/sh
# moments against NumPy in extended precision; the same bits however the rows come.
. "$(dirname "$0")/lib.sh"
need_python
cd "$TMP" || exit
export PYTHONPATH="$ROOT/pipelines:$TESTS" PYTHONDONTWRITEBYTECODE=1
"$PYTHON" - <<'END'
import itertools
import json

from stats import *

rng = np.random.default_rng(5)
places = {}
for layer, width in ((0, 3), (1, 900), (None, 7)):
    x = rng.standard_normal((2500, width)) * np.geomspace(1, 1e3, width) + 100
    places["final_norm" if layer is None else "mlp_out", layer, None] = x.astype("f4")
write("in.tms", places)
for options in ((), ("--covariance",)):
    r = run("moments", *options, "in.tms")
    got = vectors(r.stdout)
    ok(list(dict.fromkeys(k[:3] for k in got)) == list(places), "every place, those outside the block last", r.stderr)
    for place, x in places.items():
        v = {k[3]: a for k, a in got.items() if k[:3] == place}
        x = x.astype(np.longdouble)
        norm = np.sqrt((x ** 2).sum(1))
        name = "%s %s %s: " % (*place[:2], " ".join(options))
        ok((np.abs(v["mean_"] - x.mean(0)) <= 1e-14 * rms(x)).all(), name + "mean")
        ok((np.abs(v["variance_"] - x.var(0, ddof=1)) <= 1e-14 * rms(x) ** 2).all(), name + "variance")
        ok((v["min_"] == x.min(0)).all() and (v["max_"] == x.max(0)).all(), name + "extremes")
        ok(abs(v["norm_mean_"] / norm.mean() - 1) < 1e-14 and abs(v["norm_rms_"] / np.sqrt((norm ** 2).mean()) - 1) < 1e-14 and
           v["n_samples_"] == 2500, name + "norms and count")
        if options:
            c = v["covariance_"]
            ok((np.abs(c - covariance(x)) <= 1e-14 * np.outer(rms(x), rms(x))).all() and (c == c.T).all() and
               (c.diagonal() == v["variance_"]).all(), name + "covariance")
    ok(all(run("moments", *options, "-j", j, "in.tms").stdout == r.stdout for j in (1, 3)), "the same bytes for any -j")
    write("cut.tms", places, 7)
    ok(run("moments", *options, "cut.tms").stdout == r.stdout, "the same bytes for any size of frames")
    run("tcat", "--split", 3, "-o", "s-%d.tms", "in.tms")
    states = ["s-%d.state" % i for i in range(3)]
    for i in range(3):
        run("moments", *options, "--partial", "-o", states[i], "s-%d.tms" % i)
    merged = {run("moments", *options, "--merge", *o).stdout for o in itertools.permutations(states)}
    ok(len(merged) == 1, "--merge: the same bytes in any order")
    m = vectors(merged.pop())
    ok(list(m) == list(got) and all(np.abs(m[k] - got[k]).max() <= 1e-13 * np.abs(got[k]).max() for k in m),
       "--merge: the same moments")

diagonal, full = (vectors(run("moments", *o, "in.tms").stdout) for o in ((), ("--covariance",)))
ok(all(np.abs(full[k] - diagonal[k]).max() <= 1e-14 * np.abs(full[k]).max() for k in diagonal), "with and without covariance")

for dtype in ("bf16", "f16", "f64"):
    x = np.round(rng.standard_normal((40, 5)) * 4)
    with Writer("t.tms", {"kind": "resid"}) as w:
        rows = x.astype("f4") if dtype == "bf16" else x.astype({"f16": "f2", "f64": "f8"}[dtype])
        w.write(Frame("resid_pre", 0, rows, dtype, samples=[{"id": "a", "seq": 0, "len": 40, "first": 0, "n": 40}]))
    v = vectors(run("moments", "t.tms").stdout)
    ok(np.abs(v["resid_pre", 0, None, "mean_"] - x.mean(0)).max() < 1e-15 and
       (v["resid_pre", 0, None, "max_"] == x.max(0)).all(), dtype + ": rows of positions")

lines = [json.loads(l) for l in run("moments", "--json", "in.tms").stdout.splitlines()]
x = places["mlp_out", 1, None].astype(np.longdouble)
one = lines[1]
ok(len(lines) == 3 and (one["site"], one["layer"], one["rows"], one["width"]) == ("mlp_out", 1, 2500, 900) and
   abs(one["variance"] / x.var(0, ddof=1).sum() - 1) < 1e-13 and one["min"] == x.min() and one["max"] == x.max() and
   abs(one["mean_norm"] / np.sqrt((x.mean(0) ** 2).sum()) - 1) < 1e-13 and "layer" not in lines[2], "--json", lines)
table = [l.split("\t") for l in run("moments", "--tsv", "in.tms").stdout.decode().splitlines()]
ok(table[0][:5] == ["site", "layer", "variant", "rows", "width"] and table[2][:5] == ["mlp_out", "1", "", "2500", "900"] and
   [float(v) for v in table[2][5:]] == [one[k] for k in table[0][5:]], "--tsv", table)
write("same.tms", {("q", 0, None): np.full((300, 4), 0.1, "f4")})
v = vectors(run("moments", "same.tms").stdout)
ok(not v["q", 0, None, "variance_"].any() and (v["q", 0, None, "mean_"] == np.float32(0.1)).all(), "constant rows have none")
write("one.tms", {("q", 0, None): np.ones((1, 4), "f4")})
ok(np.isnan(vectors(run("moments", "one.tms").stdout)["q", 0, None, "variance_"]).all(), "the variance of one row is NaN")

write("x.tms", {("q", 0, None): np.array([[1, np.nan]], "f4")})
refused("NaN", "sample 's0' has NaN", "moments", "x.tms")
write("x.tms", {("q", 0, None): np.array([[1e200, 1], [-1e200, 2]])})
refused("squares beyond double", "q, layer 0: its values are so large", "moments", "x.tms")
refused("the same in a table", "q, layer 0: its values are so large", "moments", "--tsv", "x.tms")
refused("two forms", "give one of them", "moments", "--json", "--tsv", "in.tms")
refused("a covariance as text", "--covariance is written as vectors", "moments", "--covariance", "--json", "in.tms")
refused("states of both kinds", "the same options", "moments", "--merge", "s-0.state")
refused("two files", "one FILE is read", "moments", "in.tms", "cut.tms")
with Writer("e.tms", {"kind": "acts"}) as w:
    pass
refused("no rows", "no rows to measure", "moments", "e.tms")
done()
END
