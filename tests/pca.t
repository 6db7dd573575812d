#!/bin/sh
# pca against scikit-learn's results and NumPy in extended precision; the same bits however the rows come.
. "$(dirname "$0")/lib.sh"
need_python
cd "$TMP" || exit
export PYTHONPATH="$ROOT/pipelines:$TESTS" PYTHONDONTWRITEBYTECODE=1
"$PYTHON" - <<'END'
import glob
import itertools
import os
import subprocess

from stats import *

# -------- scikit-learn

golden = np.load(os.path.join(os.environ["TESTS"], "data/goldens/pca.npz"))
for case in ("tall", "square", "wide", "all"):
    rows = golden[case + ".rows"]
    want = {k: golden["%s.%s" % (case, k)] for k in ("components_", "mean_", "explained_variance_",
                                                     "explained_variance_ratio_", "singular_values_", "transformed")}
    k = len(want["components_"])
    write("in.tms", {("resid_post", 3, None): rows})
    r = run("pca", "-k", k, "in.tms")
    if r.returncode:
        ok(False, case, r.stderr)
        continue
    got = {name: v for (_, _, _, name), v in vectors(r.stdout).items()}
    cosine = (got["components_"] * want["components_"]).sum(1)
    ok((1 - cosine < 1e-10).all() and np.abs(got["components_"] - want["components_"]).max() < 1e-6,
       case + ": scikit-learn's components, signs too", 1 - cosine)
    for name in ("explained_variance_", "explained_variance_ratio_", "singular_values_"):
        ok(np.abs(got[name] / want[name] - 1).max() < 1e-8, case + ": " + name, got[name] / want[name] - 1)
    ok(np.abs(got["mean_"] - want["mean_"]).max() < 1e-14 * np.abs(rows).max(), case + ": mean_")
    ok(got["n_samples_"].shape == () and got["n_samples_"] == len(rows), case + ": n_samples_", got["n_samples_"])
    with open("v.tms", "wb") as f:
        f.write(r.stdout)
    run("pca", "--transform", "v.tms", "in.tms", "-o", "t.tms")
    with Reader("t.tms") as stream:
        frame = next(iter(stream))
        ok(stream.header["kind"] == "acts" and frame.dtype == "f32" and frame.pool == "last" and
           np.abs(frame.rows[:10] - want["transformed"]).max() < 1e-6 * np.abs(want["transformed"]).max() and
           frame.samples[4]["id"] == "s4", case + ": --transform")

# -------- precision

rng = np.random.default_rng(1)
spread = rng.standard_normal((5000, 400))
spread *= np.geomspace(1, 1e-4, 400)
for name, rows in (("plain", spread), ("a mean of 1e6 times the spread", spread + 1e6)):
    write("in.tms", {("q", 0, None): rows}, 700)
    v = vectors(run("moments", "--covariance", "in.tms").stdout)
    scale = rms(rows)
    ok((np.abs(v["q", 0, None, "mean_"] - rows.astype(np.longdouble).mean(0)) <= 1e-14 * scale).all(), name + ": mean")
    error = np.abs(v["q", 0, None, "covariance_"] - covariance(rows)) / np.outer(scale, scale)
    ok(error.max() < 1e-14, name + ": covariance", error.max())
    p = vectors(run("pca", "-k", 5, "in.tms").stdout)
    true = np.linalg.eigvalsh(covariance(rows).astype("f8"))[::-1][:5]
    ok(np.abs(p["q", 0, None, "explained_variance_"] / true - 1).max() < (1e-8 if rows is spread else 1e-6),
       name + ": variances", p["q", 0, None, "explained_variance_"] / true - 1)

write("in.tms", {("q", 0, None): spread[:500] + 3}, 60)
p = vectors(run("pca", "-k", 4, "--no-center", "in.tms").stdout)
u, s, vt = np.linalg.svd(spread[:500] + 3, full_matrices=False)
ok(np.abs(p["q", 0, None, "singular_values_"] / s[:4] - 1).max() < 1e-8 and not p["q", 0, None, "mean_"].any() and
   np.abs(p["q", 0, None, "explained_variance_"] - s[:4] ** 2 / 500).max() < 1e-8 * s[0] ** 2 / 500 and
   (1 - np.abs((p["q", 0, None, "components_"] * vt[:4]).sum(1)) < 1e-10).all(), "--no-center")

# -------- the same bits

places = {}
for layer in (2, 3, 5):
    for site in ("attn_out", "resid_post"):
        for variant in (0, 1):
            places[site, layer, variant] = rng.standard_normal((4500, 33)).astype("f4") + layer
header = {"variants": ["a", "b"], "model": {"name": "toy", "fingerprint": "0123456789abcdef"}}
write("in.tms", places, **header)
whole = run("pca", "-k", 6, "in.tms")
names = list(vectors(whole.stdout))
ok([n[:3] for n in names[::6]] == list(places), "components for each site, layer and variant", names[::6])
one = vectors(whole.stdout)["resid_post", 5, 1, "explained_variance_"]
true = np.linalg.eigvalsh(covariance(places["resid_post", 5, 1]).astype("f8"))[::-1][:6]
ok(np.abs(one / true - 1).max() < 1e-8, "each of its own rows")
ok(all(run("pca", "-k", 6, "-j", j, "in.tms").stdout == whole.stdout for j in (1, 2, 7)), "the same bytes for any -j")
same = []
for size in (1, 3, 4500):
    write("cut.tms", places, size, **header)
    same.append(run("pca", "-k", 6, "cut.tms").stdout == whole.stdout)
ok(all(same), "the same bytes for any size of frames", same)
write("any.tms", dict(reversed(places.items())), order="any", **header)
ok(values(run("pca", "-k", 6, "any.tms").stdout) == values(whole.stdout), "and in any order of places")

run("tcat", "--split", 3, "-o", "s-%d.tms", "in.tms")
for i in range(3):
    run("pca", "--partial", "-o", "s-%d.pca" % i, "s-%d.tms" % i)
states = sorted(glob.glob("s-*.pca"))
ok(len(states) == 3 and Reader(states[0]).header["kind"] == "state", "--partial writes states")
merged = {run("pca", "--merge", "-k", 6, *o).stdout for o in itertools.permutations(states)}
ok(len(merged) == 1, "--merge: the same bytes in any order")
a, b = vectors(merged.pop()), vectors(whole.stdout)
ok(list(a) == list(b) and all(np.abs(a[k] - b[k]).max() < 1e-10 for k in a), "--merge: the same components")
run("pca", "--partial", "-o", "in.pca", "in.tms")
ok(values(run("pca", "--merge", "-k", 6, "in.pca").stdout) == values(whole.stdout), "one state loses nothing")
run("pca", "--merge", "--partial", "-o", "a.pca", *states[:2])
c = vectors(run("pca", "--merge", "-k", 6, "a.pca", states[2]).stdout)
ok(all(np.abs(c[k] - b[k]).max() < 1e-10 for k in b), "states of states")
write("none.tms", {}, **header)
run("pca", "--partial", "-o", "none.pca", "none.tms")
ok(values(run("pca", "--merge", "-k", 6, "in.pca", "none.pca").stdout) == values(whole.stdout), "a shard without rows")

with open("v.tms", "wb") as f:
    f.write(whole.stdout)
run("pca", "--transform", "v.tms", "-k", 2, "-o", "t.tms", "in.tms")
wrong = []
for f in Reader("t.tms"):
    seq = [s["seq"] for s in f.samples]
    at = f.site, f.layer, f.variant
    want = (places[at][seq].astype("f8") - b[at + ("mean_",)]) @ b[at + ("components_",)][:2].T
    if np.abs(f.rows - want).max() > 1e-5:
        wrong.append(at)
ok(not wrong, "--transform takes the components of each place", wrong)
write("cut.tms", places, 7, **header)
run("pca", "--transform", "v.tms", "-k", 2, "-j", 3, "-o", "u.tms", "cut.tms")
rows = lambda path: b"".join(f.rows.tobytes() for f in Reader(path))
ok(rows("t.tms") == rows("u.tms"), "--transform: the same bits for any frames")
run("tcat", "--npy", "npy0", "--variant", "a", "v.tms")
x = np.load("npy0/resid_post.5.components_.npy")
ok((x == b["resid_post", 5, 0, "components_"]).all() and np.load("npy0/resid_post.5.n_samples_.npy") == 4500,
   "tcat --npy writes SITE.LAYER.components_.npy")

# resid_pre of the next layer is the same place
write("pre.tms", {("resid_pre", 6, None): places["resid_post", 5, 0]}, kind="resid")
write("post.tms", {("resid_post", 5, None): places["resid_post", 5, 0]})
run("pca", "-k", 3, "-o", "post.v", "post.tms")
ok(run("pca", "--transform", "post.v", "pre.tms").returncode == 0, "resid_pre of the next layer is the same place")

# -------- refused

good = rng.standard_normal((20, 6)).astype("f4")
write("good.tms", {("q", 1, None): good})
refused("no -k", "give -k K", "pca", "good.tms")
refused("more components than columns", "q, layer 1: has 6 columns, fewer than -k 7", "pca", "-k", 7, "good.tms")
write("few.tms", {("q", 1, None): good[:4]})
refused("more components than rows", "has 4 rows, fewer than -k 5", "pca", "-k", 5, "few.tms")
write("few.tms", {("q", 1, None): good[:1]})
refused("one row", "has 1 row; variance needs two", "pca", "-k", 1, "few.tms")
write("same.tms", {("q", 1, None): np.ones((9, 4), "f4")})
refused("constant rows", "all 9 rows are the same", "pca", "-k", 1, "same.tms")
for dtype, value in (("f4", np.nan), ("f8", np.inf), ("f2", -np.inf)):
    bad = good.astype(dtype)
    bad[13, 2] = value
    write("bad.tms", {("q", 1, None): bad}, 4)
    refused("%s in %s rows" % (value, dtype), "sample 's13' has NaN or infinity in its row, column 2", "pca", "-k", 1, "bad.tms")
bad = good.copy()
bad[13, 2] = np.nan
write("bad.tms", {("q", 1, None): bad}, 4, dtype="bf16")
refused("NaN in bf16 rows", "sample 's13'", "pca", "-k", 1, "bad.tms")
write("wide.tms", {("q", 1, None): good, ("k", 1, None): good[:, :3]})
ok(run("pca", "-k", 2, "wide.tms").returncode == 0, "sites may differ in width")
with Writer("mixed.tms", {"kind": "acts"}) as w:
    for n in (4, 5):
        w.write(Frame("q", 1, np.zeros((1, n), "f4"), samples=[{"id": "a", "seq": n, "len": 1, "first": 0, "n": 1}]))
refused("rows that change their width", "rows of 5 columns where those before have 4", "pca", "-k", 1, "mixed.tms")
with Writer("ints.tms", {"kind": "acts"}) as w:
    w.write(Frame("expert_idx", 1, np.zeros((1, 2), "i4"), samples=[{"id": "a", "seq": 0, "len": 1, "first": 0, "n": 1}]))
refused("integers", "expert_idx holds i32 numbers", "pca", "-k", 1, "ints.tms")
with Writer("vast.tms", {"kind": "acts"}) as w:
    w.write(Frame("logits", None, np.zeros((1, 4000000), "f4"), samples=[{"id": "a", "seq": 0, "len": 1, "first": 0, "n": 1}]))
refused("more memory than there is", "logits, 4000000 columns, after 0 others: takes 12", "pca", "-k", 1, "vast.tms")
refused("no rows", "no rows", "pca", "-k", 1, "none.tms")
with Writer("tokens.tms", {"kind": "tokens"}) as w:
    w.write(Frame(samples=[{"id": "a", "seq": 0, "len": 1, "tokens": b"\0\0\0\0"}]))
refused("tokens", "holds tokens", "pca", "-k", 1, "tokens.tms")
refused("vectors", "holds vectors", "pca", "-k", 1, "v.tms")
refused("a state named twice", "is in.pca once more; its rows would count twice", "pca", "--merge", "-k", 1, "in.pca", "./in.pca")
refused("a state without --merge", "--merge joins states", "pca", "-k", 1, "in.pca")
refused("rows with --merge", "which --partial writes", "pca", "--merge", "-k", 1, "good.tms")
refused("--merge of nothing", "name the states", "pca", "--merge", "-k", 1)
run("moments", "--partial", "--covariance", "-o", "m.state", "good.tms")
refused("another program's state", "holds a state of moments, not of pca", "pca", "--merge", "-k", 1, "m.state")
run("pca", "--partial", "-o", "good.pca", "good.tms")
write("narrow.tms", {("q", 1, None): good[:, :3]})
run("pca", "--partial", "-o", "narrow.pca", "narrow.tms")
refused("states of different widths", "columns where the other states have", "pca", "--merge", "-k", 1, "good.pca", "narrow.pca")
write("other.tms", {("q", 1, None): good}, model={"name": "x", "fingerprint": "f" * 16})
run("pca", "--partial", "-o", "other.pca", "other.tms")
write("mine.tms", {("q", 1, None): good}, model={"name": "y", "fingerprint": "e" * 16})
run("pca", "--partial", "-o", "mine.pca", "mine.tms")
refused("states of different models", "is of another model", "pca", "--merge", "-k", 1, "mine.pca", "other.pca")
run("pca", "-k", 2, "-o", "other.v", "other.tms")
refused("components of another model", "of another model", "pca", "--transform", "other.v", "mine.tms")
refused("components for another place", "has no components for k, layer 1; it has", "pca", "--transform", "other.v", "wide.tms")
refused("components of another width", "rows of 3 columns", "pca", "--transform", "other.v", "narrow.tms")
refused("more components than there are", "fewer than -k 3", "pca", "--transform", "other.v", "-k", 3, "other.tms")
write("post.tms", {("resid_post", 0, None): np.eye(4, 3, dtype="f4")})
run("pca", "-k", 2, "-o", "post.v", "post.tms")
refused("too few, by the name that the place has there", "has 2 components for resid_post, layer 0,", "pca", "--transform", "post.v",
        "-k", 3, "post.tms")
if not os.environ.get("SANITIZED"):             # which reserves more than that
    for most in 160000, 210000, 300000, 500000, 700000:
        r = subprocess.run(["sh", "-c", f"ulimit -v {most}; exec pca -j 4 -k 1 post.tms"], capture_output=True, timeout=60)
        ok(r.returncode == 2 and b"address space" in r.stderr and r.stderr.count(b"\n") == 1,
           f"an address space of {most} KB, too small for OpenBLAS, is an error, and no wait", r.stderr)
refused("--transform by a stream without them", "not the vectors that pca writes", "pca", "--transform", "other.tms", "other.tms")

# States that no --partial wrote: refused, whatever they claim.
parts = [(f.name, f.rows[0]) for f in Reader("good.pca")]


def forged(name, change):
    with Writer("forged.pca", {"kind": "state", "order": "layer"}) as w:
        for key, array in change(list(parts)):
            w.write(Frame("q", 1, np.asarray(array)[None], name=key))
    refused(name, "", "pca", "--merge", "-k", 1, "forged.pca")


def replaced(key, array):
    return lambda p: [(k, array if k == key else a) for k, a in p]


ok([k for k, _ in parts] == ["about", "digest", "n", "sum", "scatter.0"], "a state's arrays", [k for k, _ in parts])
for i, (key, array) in enumerate(parts):
    forged("a state without " + key, lambda p: p[:i] + p[i + 1:])
    forged("a state that ends with " + key, lambda p: p[:i + 1] if i + 1 < len(p) else p[:i])
    forged("a state whose %s is twice as long" % key, replaced(key, np.concatenate([array, array], -1)))
    forged("a state whose %s is of another type" % key, replaced(key, array.astype("f4")))
forged("a place twice", lambda p: p + p)
for value in (-1.0, 0.5, np.inf, np.nan, 2.0 ** 60):
    forged("a state of %g rows" % value, replaced("n", np.array([value])))
forged("sums with NaN", replaced("sum", np.full((1, 6), np.nan)))
forged("products with NaN", replaced("scatter.0", np.full(21, np.nan)))
forged("infinite products", replaced("scatter.0", np.full(21, np.inf)))
forged("rows of no columns", lambda p: [(k, a[:, :0] if k == "sum" else a[:0] if k == "scatter.0" else a) for k, a in p])

with open("good.tms", "rb") as f:
    cut = f.read()[:-40]
with open("cut.tms", "wb") as f:
    f.write(cut)
refused("a stream that is cut", "cut", "pca", "-k", 1, "cut.tms")
done()
END
