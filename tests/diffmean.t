#!/bin/sh
# diffmean against NumPy in extended precision; the same bits however the rows come.
. "$(dirname "$0")/lib.sh"
need_python
cd "$TMP" || exit
export PYTHONPATH="$ROOT/pipelines:$TESTS" PYTHONDONTWRITEBYTECODE=1
"$PYTHON" - <<'END'
import itertools

from stats import *

rng = np.random.default_rng(3)
N, W = 4700, 37
labels = [("happy", "sad", "happy", "dull")[i % 4] for i in range(N)]
pos = np.array([l == "happy" for l in labels])
neg = np.array([l == "sad" for l in labels])
places = {}
for layer in (0, 1):
    for site in ("attn_out", "resid_post"):
        x = rng.standard_normal((N, W)) @ rng.standard_normal((W, W)) + rng.standard_normal(W)
        x[pos] += rng.standard_normal(W)
        places[site, layer, None] = x if layer else (x + 1e6).astype("f4")
write("in.tms", places, labels=labels)
command = ("diffmean", "--pos", "happy", "--neg", "sad")
whole = run(*command, "in.tms")
got = vectors(whole.stdout)
ok(list(dict.fromkeys(k[:3] for k in got)) == list(places), "a direction for each site and layer", whole.stderr)
for place, x in places.items():
    x = x.astype(np.longdouble)
    p, n = x[pos], x[neg]
    v = {name: got[place + (name,)] for name in ("direction", "mean_pos", "mean_neg", "norm", "cohens_d", "n_pos", "n_neg",
                                                 "variance")}
    size = np.sqrt(max((p.mean(0) ** 2).sum(), (n.mean(0) ** 2).sum()))
    ok(max(np.abs(v["mean_pos"] - p.mean(0)).max(), np.abs(v["mean_neg"] - n.mean(0)).max(),
           np.abs(v["direction"] - (p.mean(0) - n.mean(0))).max()) < 1e-14 * size, "%s %d: means and direction" % place[:2])
    d = p.mean(0) - n.mean(0)
    length = np.sqrt((d ** 2).sum())
    within = ((p - p.mean(0)) ** 2).sum(0) + ((n - n.mean(0)) ** 2).sum(0)
    along = (((p - p.mean(0)) @ (d / length)) ** 2).sum() + (((n - n.mean(0)) @ (d / length)) ** 2).sum()
    free = pos.sum() + neg.sum() - 2
    tolerance = 1e-9 if place[1] else 1e-7
    ok(abs(v["norm"] / length - 1) < tolerance and np.abs(v["variance"] / (within / free) - 1).max() < tolerance and
       abs(v["cohens_d"] / (length / np.sqrt(along / free)) - 1) < tolerance and
       (v["n_pos"], v["n_neg"]) == (pos.sum(), neg.sum()), "%s %d: norm, variance, Cohen's d, counts" % place[:2], v)

ok(all(run(*command, "-j", j, "in.tms").stdout == whole.stdout for j in (1, 3)), "the same bytes for any -j")
write("cut.tms", places, 7, labels=labels)
ok(run(*command, "cut.tms").stdout == whole.stdout, "the same bytes for any size of frames")
run("tcat", "--split", 3, "-o", "s-%d.tms", "in.tms")
for i in range(3):
    run(*command, "--partial", "-o", "s-%d.state" % i, "s-%d.tms" % i)
states = ["s-%d.state" % i for i in range(3)]
merged = [run("diffmean", "--merge", *o).stdout for o in itertools.permutations(states)]
ok(len(merged[0]) and len(set(merged)) == 1, "--merge: the same bytes in any order")
m = vectors(merged[0])
ok(list(m) == list(got) and all(np.abs(m[k] - got[k]).max() <= 1e-8 * max(1, np.abs(got[k]).max()) for k in m),
   "--merge: the same directions")
ok(values(run(*command, "--merge", *states).stdout) == values(merged[0]), "--merge with the classes named")

# A shard may lack a class.
write("p.tms", {k: x[pos] for k, x in places.items()}, labels=["happy"] * int(pos.sum()))
write("n.tms", {k: x[neg] for k, x in places.items()}, labels=["sad"] * int(neg.sum()))
for x in "pn":
    run(*command, "--partial", "-o", x + ".state", x + ".tms")
m = vectors(run("diffmean", "--merge", "p.state", "n.state").stdout)
ok(all(np.abs(m[k] - got[k]).max() <= 1e-8 * max(1, np.abs(got[k]).max()) for k in m), "--merge of a shard for each class")

# -------- labels from a table

write("bare.tms", places)
with open("labels.tsv", "w") as f:
    for i in reversed(range(N)):
        f.write("s%d\t%s\tmore\n" % (i, labels[i]))
ok(values(run(*command, "--labels", "labels.tsv", "bare.tms").stdout) == values(whole.stdout), "--labels")

two = np.arange(6, dtype="f8").reshape(2, 3) ** 2
write("two.tms", {("q", 0, None): two}, labels=["happy", "sad"])
v = vectors(run(*command, "two.tms").stdout)
ok((v["q", 0, None, "direction"] == two[0] - two[1]).all() and np.isnan(v["q", 0, None, "cohens_d"]), "one row a class")

# -------- refused

small = {("q", 0, None): rng.standard_normal((6, 3)).astype("f4")}
refused("no classes", "give --pos LABEL and --neg LABEL", "diffmean", "in.tms")
refused("one class", "give --pos LABEL and --neg LABEL", "diffmean", "--pos", "happy", "in.tms")
refused("the same class twice", "both 'happy'", "diffmean", "--pos", "happy", "--neg", "happy", "in.tms")
refused("no labels", "sample 's0' has no label", *command, "bare.tms")
write("x.tms", small, labels=["happy", "sad", "sad", None, "happy", "sad"])
refused("a label missing", "sample 's3' has no label", *command, "x.tms")
write("x.tms", small, labels=["happy", "glad"] * 3)
refused("an empty class", "q, layer 0: no row is of a sample labelled 'sad'; other labels are 'glad'", *command, "x.tms")
write("x.tms", small, labels=["happy", "gl\ta\nd\x1b"] * 3)
refused("one line, whatever a label holds", "other labels are 'gl\\ta\\nd\\x1b'", *command, "x.tms")
write("x.tms", {("q", 0, None): small["q", 0, None].astype("f8") * 1e200}, labels=["happy", "sad"] * 3)
refused("squares beyond double", "q, layer 0: its values are so large", *command, "x.tms")
write("x.tms", {("q", 0, None): np.ones((6, 3), "f4")}, labels=["happy", "sad"] * 3)
refused("constant rows", "are the same: there is no direction", *command, "x.tms")
bad = small["q", 0, None].copy()
bad[4, 1] = np.nan
write("x.tms", {("q", 0, None): bad}, labels=["happy", "sad"] * 3)
refused("NaN", "sample 's4' has NaN", *command, "x.tms")
write("x.tms", small, labels=["happy", "sad"] * 3)
with open("t.tsv", "w") as f:
    f.write("s0\thappy\n")
refused("a sample that the table lacks", "sample 's1' has no line in t.tsv", *command, "--labels", "t.tsv", "x.tms")
with open("t.tsv", "w") as f:
    f.write("s0\thappy\ns1 sad\n")
refused("a line without a tab", "line 2 has no tab", *command, "--labels", "t.tsv", "x.tms")
with open("t.tsv", "w") as f:
    f.write("s0\thappy\ns1\tsad\ns0\tsad\n")
refused("an id with two labels", "lines 1 and 3 give sample 's0' different labels", *command, "--labels", "t.tsv", "x.tms")
refused("no table", "nothing.tsv", *command, "--labels", "nothing.tsv", "x.tms")
refused("states of other classes", "is due; the same options", "diffmean", "--pos", "happy", "--neg", "dull", "--merge", *states)
run("pca", "--partial", "-o", "p.pca", "x.tms")
refused("another program's state", "of pca, not of diffmean", *command, "--merge", "p.pca")
refused("another program's state, classes not named", "diffmean", "diffmean", "--merge", "p.pca")
refused("a state without --merge", "--merge joins states", *command, "p.state")
refused("--labels with --merge", "--labels belongs to reading rows", *command, "--labels", "t.tsv", "--merge", "p.state")
done()
END
