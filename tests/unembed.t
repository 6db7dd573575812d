#!/bin/sh
# unembed: what it tells, of which rows, whatever the frames and threads.
. "$(dirname "$0")/lib.sh"
need_python
cd "$TMP" || exit
m=$MOOD
export PYTHONPATH="$ROOT/pipelines" PYTHONDONTWRITEBYTECODE=1

# run NAME [OPTIONS]: NAME.tms of tokens through the model into NAME.resid
run()
{
	embed -m "$m" "$1.tms" | layer-run -m "$m" -o "$1.resid"
}

# tell [OPTIONS]: JSON lines
tell()
{
	unembed -m "$m" --json "$@"
}

# Long and short samples, none and one token; a sample's own tokens, a label, a span.
awk 'BEGIN {
	srand(5)
	split("1 150 0 2 33 0 70 5 64 9", len, " ")
	for (i = 1; i in len; i++) {
		printf "{\"id\":\"s%d\",%s\"input_ids\":[", i, i % 3 ? "\"target\":\" happy\",\"foil\":\"#376\"," : ""
		for (j = 0; j < len[i]; j++)
			printf "%s%d", j ? "," : "", int(rand() * 1022)
		printf "]%s}\n", (len[i] > 8 ? ",\"span\":[[2,5],[7,8]]" : "")
	}
}' >ids.jsonl
ok "tokens" tok -f ids -m "$m" -o ids.tms ids.jsonl
ok "through the layers" run ids
ok "all logits" tell --logits --pos all -o logits.tms ids.resid
ok "every report at once" tell --top 3 --nll --target ' sad,#5,@' --diff '@' --pos all -o all.jsonl ids.resid
ok "top by default" tell -o top.jsonl ids.resid
ok "nll" tell --nll -o nll.jsonl ids.resid
ok "nll of spans" tell --nll --pos span -o span.jsonl ids.resid
ok "nll without the first tokens" tell --nll --pos mean:4 -o skip.jsonl ids.resid
ok "last logits" tell --logits -o last.tms ids.resid
ok "taps" unembed -m "$m" -n --tap final_norm,logits=taps.tms --tap logits/mean:1=mean.tms ids.resid

ok "what is told agrees with the logits" "$PYTHON" - <<'END'
import json
import numpy as np
from onelayer_tms import Reader

ids = [json.loads(line) for line in open("ids.jsonl")]
spans = {i["id"]: [p for a, b in i.get("span", []) for p in range(a, b)] for i in ids}


def rows(file, site="logits"):
    found = {}
    reader = Reader(file)
    for f in reader:
        if f.site != site:
            continue
        at = 0
        for s in f.samples:
            n = (1 if s["n"] else 0) if f.pool else s["n"]
            found.setdefault(s["id"], []).append(np.asarray(f.rows[at:at + n], np.float64))
            at += n
        assert at == len(f.rows)
    return {k: np.concatenate(v) for k, v in found.items()}, reader


logits, reader = rows("logits.tms")
assert reader.header["kind"] == "logits", reader.header["kind"]
assert list(logits) == [i["id"] for i in ids]
for i in ids:
    assert logits[i["id"]].shape == (len(i["input_ids"]), 1024)
logprob = {k: x - np.log(np.exp(x - x.max(-1, keepdims=True)).sum(-1, keepdims=True)) - x.max(-1, keepdims=True)
           for k, x in logits.items() if len(x)}

taps, _ = rows("taps.tms")
assert all((taps[k] == logits[k]).all() for k in logits)
norms, _ = rows("taps.tms", "final_norm")
assert norms["s2"].shape == (150, 128)
last, _ = rows("last.tms")
assert all((last[k] == logits[k][-1:]).all() for k in logits), "last"
mean, _ = rows("mean.tms")
assert len(mean["s1"]) == 0 and len(mean["s3"]) == 0
assert (mean["s2"] == logits["s2"][1:].mean(0).astype(np.float32)).mean() > 0.9
assert np.allclose(mean["s2"], logits["s2"][1:].mean(0), rtol=1e-6)


def lines(file):
    return [json.loads(line) for line in open(file)]


def check_token(got, x, lp):
    order = np.lexsort((np.arange(len(x)), -x))
    assert got["logit"] == x[got["token"]]
    assert abs(got["logprob"] - lp[got["token"]]) < 3e-7 * max(1, abs(lp[got["token"]])), (got, lp[got["token"]])
    assert order[got["rank"] - 1] == got["token"]


def check_nll(file, positions):
    got = lines(file)
    assert [g["id"] for g in got[:-1]] == [i["id"] for i in ids]
    total, count = 0, 0
    for g, i in zip(got, ids):
        tokens = i["input_ids"]
        at = [p for p in positions(i) if 0 < p < len(tokens)]
        want = -sum(logprob[i["id"]][p - 1, tokens[p]] for p in at)
        assert g["tokens"] == len(at), (file, g, len(at))
        assert abs(g["nll"] - want) <= 1e-6 * max(1, len(at)), (g, want)
        assert g["ppl"] is None if not at else abs(g["ppl"] / np.exp(want / len(at)) - 1) < 1e-6
        total, count = total + want, count + len(at)
    assert got[-1]["total"] is True and got[-1]["tokens"] == count and abs(got[-1]["nll"] - total) < 1e-5
    assert "id" not in got[-1]


check_nll("nll.jsonl", lambda i: range(len(i["input_ids"])))
check_nll("span.jsonl", lambda i: spans[i["id"]])
check_nll("skip.jsonl", lambda i: range(4, len(i["input_ids"])))

told = [g for g in lines("all.jsonl") if "pos" in g]
assert [(g["id"], g["pos"]) for g in told] == [(i["id"], p) for i in ids for p in range(len(i["input_ids"]))]
assert [g for g in lines("all.jsonl") if "nll" in g] == lines("nll.jsonl")
own = {i["id"]: "target" in i for i in ids}
for g in told:
    x, lp = logits[g["id"]][g["pos"]], logprob[g["id"]][g["pos"]]
    assert [t["rank"] for t in g["top"]] == [1, 2, 3]
    for t in g["top"] + g["target"] + g.get("between", []):
        check_token(t, x, lp)
    assert [t["token"] for t in g["target"]] == [376, 5] + [348] * own[g["id"]]
    assert ("diff" in g) == own[g["id"]]
    if own[g["id"]]:
        assert g["diff"] == x[348] - x[376]
top = lines("top.jsonl")
assert [(g["id"], g["pos"]) for g in top] == [(i["id"], len(i["input_ids"]) - 1) for i in ids if i["input_ids"]]
for g in top:
    assert len(g["top"]) == 5
    for t in g["top"]:
        check_token(t, logits[g["id"]][g["pos"]], logprob[g["id"]][g["pos"]])
END

for options in "-j 1" "-j 2" "-j 3"
do
	# shellcheck disable=SC2086
	tell --top 3 --nll --target ' sad,#5,@' --diff '@' --pos all $options ids.resid >other.jsonl
	ok "$options: the same report" cmp all.jsonl other.jsonl
	# shellcheck disable=SC2086
	tell --logits --pos all $options ids.resid >other.tms
	ok "$options: the same logits" cmp logits.tms other.tms
done
for n in 1 3 1000
do
	"$PYTHON" "$TESTS/reframe.py" $n <ids.tms >reframed.tms
	run reframed
	tell --top 3 --nll --target ' sad,#5,@' --diff '@' --pos all reframed.resid >other.jsonl
	ok "frames of $n samples: the same report" cmp all.jsonl other.jsonl
	tell reframed.resid >other.jsonl
	ok "frames of $n samples: the same top tokens" cmp top.jsonl other.jsonl
done
grep '"s7"' ids.jsonl | tok -f ids -m "$m" -o one.tms && run one
tell --top 3 --target ' sad,#5,@' --diff '@' --pos all one.resid >one.jsonl
ok "a sample alone" sh -c 'grep "\"s7\"" all.jsonl | grep pos | cmp - one.jsonl'

# A sample of several frames, and variants.
awk 'BEGIN { printf "{\"id\":\"long\",\"input_ids\":[7"; for (i = 1; i < 70000; i++) printf ",%d", i * 37 % 1022; print "]}" }' |
	tok -f ids -m "$m" | embed -m "$m" -o long.resid
ok "has several frames" sh -c 'test "$(tcat --summary --json long.resid | jq .frames 2>/dev/null || echo 2)" -ge 2'
tell --lens --nll long.resid >long.jsonl
is "a sample of several frames" "$(grep -c '"tokens":69999' long.jsonl)" 2
tell --lens long.resid >long.jsonl
is "its last position alone" "$(grep -c '"pos":69999,' long.jsonl)-$(grep -c . long.jsonl)" 1-1
embed -m "$m" --variants 2 ids.tms | layer-run -m "$m" -o variants.resid
tell --nll variants.resid >variants.jsonl
grep '"variant":"1"' variants.jsonl | sed 's/"variant":"1",//' >other.jsonl
ok "variants are kept apart" cmp nll.jsonl other.jsonl
is "each has a total" "$(grep -c '"total":true' variants.jsonl)" 2

# Other layers.
embed -m "$m" ids.tms | layer-run -m "$m" -n --tap resid_post=acts.tms --tap resid_pre,resid_post/last=last-acts.tms
tell --lens --nll --top 2 acts.tms >lens.jsonl
is "a lens on every layer" "$(grep -c '"site":"resid_post","layer":[0-5].*"nll"' lens.jsonl)" 66
sed -n 's/"site":"resid_post","layer":5,//p' lens.jsonl | grep '"nll"' | sed 's/,"site.*"tokens/,"tokens/' >other.jsonl
tcat --select resid_post@5 acts.tms >five.tms
tell --lens --nll five.tms | sed 's/"site":"resid_post","layer":5,//' >five.jsonl
ok "each layer for itself" cmp five.jsonl other.jsonl
tell --lens --top 2 last-acts.tms | grep '"site":"resid_post"' >pooled.jsonl
grep '"pos"' lens.jsonl >other.jsonl
ok "of pooled rows the same" cmp pooled.jsonl other.jsonl

says "a stream with layers to run" 2 "^unembed: e.tms: frame 1 .*: layer 0 of 6 is still to run; .*--lens" \
	sh -c 'embed -m "$1" ids.tms >e.tms; unembed -m "$1" e.tms' - "$m"
says "tokens" 2 "stream of tokens; put embed" unembed -m "$m" ids.tms
says "another model's" 2 "comes from another model: mood" unembed -m "$TESTS/data/models/llama-f32" ids.resid
says "another model's through a lens" 2 "comes from another model" unembed -m "$TESTS/data/models/llama-f32" --lens ids.resid
says "a text of two tokens" 2 "^unembed: --target: ' xyzzy': is [0-9]+ tokens" tell --target ' xyzzy' ids.resid
says "a token beyond the vocabulary" 2 "#1024: the model's vocabulary is 1024" tell --target '#1024' ids.resid
says "three to tell apart" 2 "names 3 tokens where two are due" tell --diff '#1,#2,#3' ids.resid
says "more than there are" 2 "^unembed: --top 1025: " tell --top 1025 ids.resid
says "a position that is none" 2 "sample 's1' of 1 tokens has no position 3" tell --pos pos:3 ids.resid
says "likelihood of pooled rows" 2 "pooled \(last\), and --nll needs" tell --lens --nll last-acts.tms
says "taps of several layers" 2 "tcat --select" unembed -m "$m" --lens -n --tap logits=x.tms acts.tms
says "activations without a lens" 2 "stream of acts" tell acts.tms
says "nothing to write" 2 "nothing would come out" unembed -m "$m" -n ids.resid
says "another program's site" 2 "belongs to the program layer-run" tell --tap resid_post=x.tms ids.resid
says "two outputs in one place" 2 "two outputs" tell --top 1 --tap logits=- ids.resid
head -c 3000 ids.resid >cut.resid
says "a cut stream" 2 "^unembed: cut.resid: " tell --nll -o x.jsonl cut.resid
ok "leaves nothing" test ! -e x.jsonl -a ! -e x.tms
unembed -m "$m" --top 1 --nll ids.resid >table
is "a table" "$(grep -c '^ *1 .*#[0-9]*$' table)-$(tail -1 table | awk '{ print $1, $4 }')" "8-326 total"
done_testing
