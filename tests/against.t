#!/bin/sh
# unembed --against: two runs compared, against the same figures from their logits in long double.
. "$(dirname "$0")/lib.sh"
need_python
cd "$TMP" || exit
m=$MOOD
export PYTHONPATH="$ROOT/pipelines" PYTHONDONTWRITEBYTECODE=1

# against OPTIONS: JSON lines
against()
{
	unembed -m "$m" --json --against "$@"
}

# Long and short samples, none and one token, some words with a span.
awk 'BEGIN {
	srand(5)
	split("1 150 0 2 33 0 70 5 64 9", len, " ")
	for (i = 1; i in len; i++) {
		printf "{\"id\":\"s%d\",\"input_ids\":[", i
		for (j = 0; j < len[i]; j++)
			printf "%s%d", j ? "," : "", int(rand() * 1022)
		printf "]%s}\n", (len[i] > 8 ? ",\"span\":[[2,5],[7,8]]" : "")
	}
}' >ids.jsonl
tok -f ids -m "$m" -o ids.tms ids.jsonl
embed -m "$m" -o in.tms ids.tms
# A reference, a run in other numbers, and one in which much is other: a layer's attention is replaced by the next's.
layer-run -m "$m" -o reference.resid in.tms
layer-run -m "$m" --resid-dtype f32 -o near.resid in.tms
layer-run -m "$m" --to 3 -o three.resid in.tms
layer-run -m "$m" -n --tap attn_out@3=taps.tms in.tms
"$PYTHON" - <<'END'
from onelayer_tms import Frame, Reader, Writer
with Reader("taps.tms") as taps, Writer("other.tms", taps.header) as out:
    for f in taps:
        out.write(Frame(f.site, 4, f.f32() * 3, "f32", samples=f.samples))
END
layer-run -m "$m" --patch attn_out@4=other.tms -o far.resid in.tms
for name in reference near far
do
	unembed -m "$m" --logits --pos all -o $name.logits $name.resid
done

ok "near" against reference.resid -o near.jsonl near.resid
ok "far" against reference.resid --top 3 -o far.jsonl far.resid
ok "by spans" against reference.resid --pos span -o span.jsonl far.resid
ok "last" against reference.resid --pos last -o last.jsonl far.resid
ok "the run itself" against reference.resid -o same.jsonl reference.resid

cat >truth.py <<'END'
import json
import sys
import numpy as np
from onelayer_tms import Reader

L = np.longdouble
ids = [json.loads(line) for line in open("ids.jsonl")]


def rows(file):
    found = {}
    with Reader(file) as stream:
        for f in stream:
            for s, r in f.per_sample():
                found.setdefault(s["id"], []).append(r)
    return {k: np.concatenate(v) for k, v in found.items()}


def logprob(x):
    x = x.astype(L)
    most = x.max(-1, keepdims=True)
    return x - most - np.log(np.exp(x - most).sum(-1, keepdims=True))


def top(x, k):
    return [set(np.lexsort((np.arange(r.size), -r))[:k]) for r in x]


def figures(parts, k):
    """parts: (log p, log q, rows compared, tokens predicted as (row, id)) of samples."""
    p, q = (np.concatenate([part[i][part[2]] for part in parts]) for i in (0, 1))
    a, b = (np.array([-part[i][r, t] for part in parts for r, t in part[3]], L) for i in (0, 1))
    n, t = len(p), len(a)
    out = {"rows": n, "tokens": t, "k": k}
    if n:
        out["kl"] = (np.exp(p) * (p - q)).sum(-1).mean()
        out["reverse_kl"] = (np.exp(q) * (q - p)).sum(-1).mean()
        out["top1"] = np.mean([x == y for x, y in zip(top(p, 1), top(q, 1))])
        out["topk"] = np.mean([len(x & y) / k for x, y in zip(top(p, k), top(q, k))])
    if t:
        out["target_rms"] = np.sqrt(((np.exp(-b) - np.exp(-a)) ** 2).mean())
        P, Q = np.exp(a.mean()), np.exp(b.mean())
        out.update(ppl=Q, ppl_reference=P, ppl_change=Q - P, log_ppl_change=(b - a).mean())
    if t > 1:
        out["ppl_change_se"] = np.sqrt(np.var(Q * b - P * a, ddof=1) / t)
        out["log_ppl_change_se"] = np.sqrt(np.var(b - a, ddof=1) / t)
    return out


NAMES = ("kl", "reverse_kl", "top1", "topk", "target_rms", "ppl", "ppl_reference", "ppl_change", "ppl_change_se",
         "log_ppl_change", "log_ppl_change_se", "rows", "tokens", "k")


def check(file, reference, run, positions, k=5):
    p, q = ({i: logprob(x) if len(x) else x.reshape(0, 1024).astype(L) for i, x in rows(f).items()} for f in (reference, run))
    parts = []
    for i in ids:
        tokens, n = i["input_ids"], len(i["input_ids"])
        at = [x for x in positions(i, n) if 0 <= x < n]
        parts.append((p[i["id"]], q[i["id"]], at, [(x - 1, tokens[x]) for x in at if x > 0]))
    want = [figures([part], k) for part in parts] + [figures(parts, k)]
    got = [json.loads(line) for line in open(file)]
    assert [g.get("id") for g in got] == [i["id"] for i in ids] + [None] and got[-1]["total"] is True
    worst = 0
    for g, w in zip(got, want):
        for name in NAMES:
            if name not in w:
                assert g[name] is None, (g, name)
                continue
            # A difference of perplexities is as good as they are.
            room = abs(w.get("ppl", 1)) if name.startswith("ppl") else abs(w["log_ppl_change_se"]) if (
                name == "log_ppl_change" and "log_ppl_change_se" in w) else abs(w[name])
            off = abs(L(g[name]) - w[name]) / room if room else abs(L(g[name]) - w[name])
            worst = max(worst, off)
            assert off < 1e-10, (file, g.get("id"), name, g[name], w[name])
    print(file, "worst", float(worst), {n: float(want[-1][n]) for n in ("kl", "top1", "ppl_change", "ppl_change_se")})
    return want[-1]


spans = {i["id"]: [p for a, b in i.get("span", []) for p in range(a, b)] for i in ids}
near = check("near.jsonl", "reference.logits", "near.logits", lambda i, n: range(n))
far = check("far.jsonl", "reference.logits", "far.logits", lambda i, n: range(n), 3)
assert near["kl"] < 1e-3 < 0.05 < far["kl"], (near, far)
check("span.jsonl", "reference.logits", "far.logits", lambda i, n: spans[i["id"]])
check("last.jsonl", "reference.logits", "far.logits", lambda i, n: range(n - 1, n))
for line in open("same.jsonl"):
    g = json.loads(line)
    for name in ("kl", "reverse_kl", "target_rms", "ppl_change", "log_ppl_change"):
        assert not g[name], g
    assert g["top1"] in (1, None) and g["topk"] in (1, None)
END
ok "the figures are those of the logits in long double" "$PYTHON" truth.py

# The same lines however it is run.
for options in "-j 1" "-j 2" "-j 3"
do
	# shellcheck disable=SC2086
	against reference.resid --top 3 $options far.resid >other.jsonl
	ok "$options: the same bytes" cmp far.jsonl other.jsonl
done
for n in 1 3 1000
do
	"$PYTHON" "$TESTS/reframe.py" $n <ids.tms | embed -m "$m" | layer-run -m "$m" --patch attn_out@4=other.tms -o framed.resid
	against reference.resid --top 3 framed.resid >other.jsonl
	ok "frames of $n samples: the same bytes" cmp far.jsonl other.jsonl
	"$PYTHON" "$TESTS/reframe.py" $n <ids.tms | embed -m "$m" | layer-run -m "$m" -o framed.resid
	against framed.resid --top 3 far.resid >other.jsonl
	ok "a reference in frames of $n samples: the same bytes" cmp far.jsonl other.jsonl
done
against reference.logits --top 3 far.resid >other.jsonl
ok "a reference of logits: the same bytes" cmp far.jsonl other.jsonl
tcat reference.resid | against - --top 3 far.resid >other.jsonl
ok "a reference from a pipe: the same bytes" cmp far.jsonl other.jsonl
against reference.resid --top 3 <far.resid >other.jsonl
ok "a run from a pipe: the same bytes" cmp far.jsonl other.jsonl
unembed -m "$m" --logits -o last.logits reference.resid
ok "pooled logits stand for their positions" against last.logits --pos last -o pooled.jsonl far.resid
ok "and say nothing of tokens" "$PYTHON" - <<'END'
import json
for a, b in zip(open("last.jsonl"), open("pooled.jsonl")):
    a, b = json.loads(a), json.loads(b)
    assert b["tokens"] == 0 and b["ppl"] is None
    assert all(a[k] == b[k] for k in ("rows", "kl", "reverse_kl", "top1", "topk")), (a, b)
END

# Variants: each beside the same reference, or beside its own.
printf 'variant\tsite\tlayers\tfile\nnone\tattn_out\t3\ttaps.tms\nfar\tattn_out\t4\tother.tms\n' >sweep.tsv
layer-run -m "$m" --sweep sweep.tsv -o variants.resid in.tms
ok "variants" against reference.resid --top 3 -o variants.jsonl variants.resid
grep '"variant":"far"' variants.jsonl | sed 's/"variant":"far",//' >other.jsonl
ok "each beside the same reference" cmp far.jsonl other.jsonl
ok "a row replaced by itself changes nothing" sh -c 'test "$(grep "\"variant\":\"none\"" variants.jsonl | grep -c "\"kl\":\(0\|null\)")" -eq 11'
is "a total each" "$(grep -c '"total":true' variants.jsonl)" 2
ok "beside its own variants" against variants.resid -o own.jsonl variants.resid
is "nothing is apart" "$(grep -vc '"kl":\(0\|null\)' own.jsonl)" 0
tcat --variant far variants.resid >a.resid
tcat --variant none variants.resid >b.resid
tcat a.resid b.resid >turned.resid
against reference.resid --top 3 turned.resid | grep '"variant":"far"' | sed 's/"variant":"far",//' >other.jsonl
ok "variants one after another" cmp far.jsonl other.jsonl
mkfifo pipe
says "a pipe is read once" 2 "pipe: can't be read again" sh -c 'cat reference.resid >pipe & unembed -m "$1" --against pipe variants.resid' - "$m"
says "variants beside none" 2 "variants.resid: has variants, and far.resid has none" against variants.resid far.resid

# As a lens: every layer beside the last one's rows, or beside its own in another run.
layer-run -m "$m" -n --tap resid_post=lens.tms in.tms
layer-run -m "$m" -n --patch attn_out@4=other.tms --tap resid_post=far-lens.tms in.tms
ok "every layer beside the end" against reference.resid --lens -o lens.jsonl lens.tms
is "the last is the end" "$(grep -c '"layer":5,.*"kl":\(0\|null\),' lens.jsonl)-$(grep -c '"total":true.*"kl":0,' lens.jsonl)" 11-1
ok "every layer beside itself" against lens.tms --lens -o lens.jsonl far-lens.tms
is "they part at layer 4" "$(grep '"total":true' lens.jsonl | grep -c '"kl":0,')-$(grep -c '"total":true' lens.jsonl)" 4-6
grep '"layer":5,' lens.jsonl | sed 's/"site":"resid_post","layer":5,//' >other.jsonl
against reference.resid far.resid >far5.jsonl
ok "the last layer as without a lens" cmp far5.jsonl other.jsonl

# A sample of several frames.
awk 'BEGIN { printf "{\"id\":\"long\",\"input_ids\":[7"; for (i = 1; i < 40000; i++) printf ",%d", i * 37 % 1022; print "]}" }' |
	tok -f ids -m "$m" | embed -m "$m" --resid-dtype f32 -o long.resid
layer-run -m "$m" --to 0 long.resid >long2.resid
against long2.resid --lens --pos span long.resid >long.jsonl
against long2.resid --lens --pos mean:39000 long.resid >long.jsonl
is "a sample of several frames" "$(grep -c '"rows":1000,"kl":0,.*"tokens":1000,' long.jsonl)" 2

# What doesn't fit.
tcat --ids s2,s4 reference.resid >two.resid
says "a sample that the reference lacks" 2 "two.resid: has sample 's2' where far.resid has 's1'" against two.resid far.resid
says "a sample that only the reference has" 2 "reference.resid: has sample 's1' where two.resid has 's2'" against reference.resid two.resid
tcat --ids s1,s2 reference.resid >head.resid
says "the reference ends early" 2 "head.resid: has no sample 's3'" against head.resid far.resid
says "the run ends early" 2 "reference.resid: has a sample 's3' that head.resid has not" against reference.resid head.resid
head -c 5000 reference.resid >cut.resid
says "a cut reference" 2 "^unembed: cut.resid: " against cut.resid -o x.jsonl far.resid
ok "leaves nothing" test ! -e x.jsonl
says "positions that pooled logits lack" 2 "sample 's2': last.logits has no row at position 0" against last.logits far.resid
sed 's/"input_ids":\[[0-9]*,/"input_ids":[7,/' ids.jsonl | tok -f ids -m "$m" | embed -m "$m" | layer-run -m "$m" >words.resid
ok "other tokens before those predicted" against words.resid --pos last far.resid
sed 's/,[0-9]*\],/,7],/' ids.jsonl | tok -f ids -m "$m" | embed -m "$m" | layer-run -m "$m" >words.resid
says "other tokens" 2 "sample 's2' has token [0-9]* at position 149 in far.resid and token 7 in words.resid" against words.resid far.resid
sed 's/"input_ids":\[[0-9]*,/"input_ids":[/' ids.jsonl | tok -f ids -m "$m" | embed -m "$m" | layer-run -m "$m" >short.resid
says "other lengths" 2 "sample 's2' has 150 tokens in far.resid and 149 in short.resid" against short.resid far.resid
says "another model's stream" 2 "comes from another model" unembed -m "$TESTS/data/models/llama-f32" --against reference.resid reference.resid
says "layers to run" 2 "three.resid: frame 1 .*still to run" against three.resid far.resid
says "standard input twice" 2 "standard input is what is compared" sh -c 'unembed -m "$1" --against - <far.resid' - "$m"
says "another report" 2 "--against has a report of its own" against reference.resid --nll far.resid
says "no such file" 2 "nowhere.resid: " against nowhere.resid far.resid
tcat --ids none reference.resid >empty.resid 2>/dev/null || "$PYTHON" -c '
from onelayer_tms import Reader, Writer
Writer("empty.resid", Reader("reference.resid").header).close()'
ok "nothing beside nothing" against empty.resid -o empty.jsonl empty.resid
is "is told" "$(cut -c1-22 empty.jsonl)" '{"total":true,"rows":0'
says "nothing beside something" 2 "reference.resid: has a sample 's1' that empty.resid has not" against reference.resid empty.resid
unembed -m "$m" --against reference.resid variants.resid >table
is "a table" "$(grep -c . table)-$(tail -1 table | awk '{ print $1, $10, $11 }')" "23-334 total far"
done_testing
