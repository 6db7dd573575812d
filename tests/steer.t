#!/bin/sh
# steer against NumPy, in every mode and type; and between the layers of the small model.
. "$(dirname "$0")/lib.sh"
need_python
cd "$TMP" || exit
export PYTHONPATH="$ROOT/pipelines" PYTHONDONTWRITEBYTECODE=1

ok "rows against NumPy" "$PYTHON" "$TESTS/steer.py"

m=$MOOD
taps=resid_post,attn_out

# A direction and a basis of the model's width, as files of several kinds.
"$PYTHON" - <<'END'
import numpy as np
from onelayer_tms import Frame, Writer

rng = np.random.default_rng(11)
v = rng.standard_normal((3, 128)).astype("f4")
np.save("v.npy", v[0])
np.save("basis.npy", v)
with Writer("few.tms", {"kind": "vectors", "order": "layer"}) as out:
    for layer in (0, 1):
        out.write(Frame("resid_post", layer, v[:1], "f32", name="direction"))
with Writer("mood.tms", {"kind": "vectors", "order": "layer"}) as out:
    for layer in range(6):
        out.write(Frame("resid_post", layer, (v[:1] if layer == 2 else v[1:2]), "f32", name="direction"))
END

tok -m "$m" "$m/prompts.jsonl" | tcat --ids "$(head -12 "$m/prompts.jsonl" | sed 's/.*"id": *"\([^"]*\)".*/\1/' |
	paste -sd,)" -o tokens.tms
ok "to layer 3" sh -c 'embed -m "$1" tokens.tms | layer-run -m "$1" --to 3 -o mid.tms' - "$m"
ok "K strengths" steer --vector mood.tms --alpha -3,0,0.25,8 -o many.tms mid.tms
ok "K strengths through the layers" layer-run -m "$m" --tap "$taps=many.taps" -o many.resid many.tms
unembed -m "$m" --nll --json many.resid >many.nll
unembed -m "$m" --top 3 --json many.resid >many.top
k=0
for alpha in -3 0 0.25 8
do
	steer --vector mood.tms --alpha "$alpha" mid.tms | layer-run -m "$m" --tap "$taps=one.taps" -o one.resid
	for what in resid taps
	do
		tcat --tsv one.$what >one.tsv
		tcat --variant "alpha=$alpha" --tsv many.$what >some.tsv
		ok "alpha $alpha: $what of one pass are those of a pass of its own" "$PYTHON" - <<END
import csv
rows = []
for name in "one.tsv", "some.tsv":
    with open(name) as f:
        table = list(csv.reader(f, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert len(table) > 100
    assert {r[2] for r in table[1:]} == {"" if name == "one.tsv" else "alpha=$alpha"}
    rows.append(sorted(r[:2] + r[3:] for r in table[1:]))
assert rows[0] == rows[1]
END
	done
	unembed -m "$m" --nll --json one.resid | sed '$d' >one.nll
	grep "\"variant\":\"alpha=$alpha\"" many.nll | grep -v '"total"' | sed 's/"variant":"[^"]*",*//' >some.nll
	is "alpha $alpha: NLL" "$(cat some.nll)" "$(cat one.nll)"
	unembed -m "$m" --top 3 --json one.resid >one.top
	grep "\"variant\":\"alpha=$alpha\"" many.top | sed 's/"variant":"[^"]*",*//' >some.top
	is "alpha $alpha: top tokens" "$(cat some.top)" "$(cat one.top)"
	k=$((k + 1))
done
layer-run -m "$m" -o plain.resid mid.tms
tcat --tsv plain.resid | cut -f 1,2,4- >plain.tsv
tcat --variant alpha=0 --tsv many.resid | cut -f 1,2,4- >zero.tsv
ok "alpha 0 is the model as it is" cmp plain.tsv zero.tsv
ok "the total is told by variant" test "$(grep -c '"total"' many.nll)" -ge 4

ok "pool keeps variants apart" sh -c 'pool --last many.taps | tcat --npy pooled &&
	tcat --variant alpha=8 many.taps | pool --last | tcat --npy alone'
ok "and gives each its own row" "$PYTHON" - <<'END'
import numpy as np
v, rows = np.load("pooled/variants.npy"), np.load("pooled/resid_post.4.npy")
assert sorted(set(v)) == ["alpha=-3", "alpha=0", "alpha=0.25", "alpha=8"], set(v)
assert len(rows) == len(v) == 48 and (rows[v == "alpha=8"] == np.load("alone/resid_post.4.npy")).all()
END

# Variants that are there already.
embed -m "$m" --variants 4 tokens.tms | layer-run -m "$m" --to 3 -o mid4.tms
ok "strengths for variants that are there" steer --vector mood.tms --alpha -3,0,0.25,8 -o many4.tms mid4.tms
tcat --tsv many.tms | sort >a
tcat --tsv many4.tms | sort >b
ok "the same variants, the same rows" cmp a b
ok "twice" steer --vector basis.npy --component 1 --alpha 1,2,3,4 -o twice.tms many.tms
is "names say both" "$(tcat --summary --json twice.tms | tr , '\n' | grep -o 'alpha=-3+alpha=1' | sort -u)" "alpha=-3+alpha=1"
ok "one strength for all variants" steer --vector basis.npy --mode ablate -o ablated.tms many.tms
is "keeps their names" "$(tcat --tsv ablated.tms | cut -f 3 | sort -u | paste -sd' ')" \
	"alpha=-3 alpha=0 alpha=0.25 alpha=8 variant"
says "too few strengths" 2 "has 4 variants and --alpha 2" steer --vector v.npy --alpha 1,2 many.tms

# Cut into small frames, the pieces of all variants one behind the other.
"$PYTHON" - <<'END'
from onelayer_tms import Frame, Reader, Writer
with Reader("mid.tms") as stream, Writer("cut.tms", stream.header) as out:
    for f in stream:
        at = 0
        for s in f.samples:
            for first in range(0, s["n"], 3):
                n = min(3, s["n"] - first)
                out.write(Frame(f.site, f.layer, f.rows[at + first:at + first + n], f.dtype,
                                samples=[dict(s, first=s["first"] + first, n=n)]))
            at += s["n"]
END
ok "samples in pieces" sh -c 'steer --vector mood.tms --alpha -3,0,0.25,8 cut.tms |
	layer-run -m "$1" --tap resid_post=cut.taps -o cut.resid' - "$m"
tcat --tsv cut.resid | sort >a
tcat --tsv many.resid | sort >b
ok "give the same bits" cmp a b
unembed -m "$m" --nll --json cut.resid | sort >a
sort many.nll >b
ok "and the same NLL" cmp a b
steer --vector v.npy --alpha 2 --positions last cut.tms | tcat --tsv | sort >a
steer --vector v.npy --alpha 2 --positions last mid.tms | tcat --tsv | sort >b
ok "the last position is that of the sample" cmp a b

# Directions on their way to other programs and back.
tcat --select resid_post@1-5 mood.tms >some.tms
ok "directions as a control vector" tcat --gguf mood.gguf some.tms
ok "directions as safetensors" tcat --safetensors mood.safetensors some.tms
steer --vector mood.tms --alpha 2 mid.tms | tcat --tsv >a
for file in mood.gguf mood.safetensors
do
	steer --vector $file --alpha 2 mid.tms | tcat --tsv >b
	ok "$file says the same" cmp a b
done
says "a control vector has no layer 0" 2 "no direction of layer 0" tcat --gguf never.gguf mood.tms
says "what has no direction is no control vector" 2 "has no direction" tcat --gguf never.gguf mid.tms
ok "nothing is left of either" test ! -e never.gguf

# What diffmean and pca write.
embed -m "$m" tokens.tms | layer-run -m "$m" -n --tap resid_post/last=acts.tms
diffmean --pos happy --neg sad -o happy.tms acts.tms
pca -k 2 -o pca.tms acts.tms
ok "diffmean's direction" steer --vector happy.tms --alpha 2 -o added.tms mid.tms
ok "pca's components" steer --vector pca.tms --mode ablate -o ablated.tms mid.tms
ok "are those of the layer before" "$PYTHON" - <<'END'
import numpy as np
from onelayer_tms import Reader


def named(file, name):
    return {f.layer: f.rows[0] for f in Reader(file) if f.name == name}


def check(file, want):
    got = np.concatenate([f.f32() for f in Reader(file)])
    assert (np.abs(got - want) <= np.abs(want) * 2.0 ** -8 + 1e-12).all(), file


x = np.concatenate([f.f32() for f in Reader("mid.tms")]).astype("f8")
check("added.tms", x + 2 * named("happy.tms", "direction")[2])
c = named("pca.tms", "components_")[2].astype("f8")
assert c.shape == (2, 128)
check("ablated.tms", x - x @ c.T @ c)
END

# Variants in shards.
tcat --split 3 -o 'shard-%d.tms' many.tms
for i in 0 1 2
do
	layer-run -m "$m" -o "done-$i.tms" "shard-$i.tms"
done
ok "shards of variants merge" tcat --merge -o merged.tms done-0.tms done-1.tms done-2.tms
tcat --tsv merged.tms | sort >a
tcat --tsv many.resid | sort >b
ok "into the same rows" cmp a b

says "no layer fits" 2 "has no vector for resid_pre of layer 3; it has resid_post of layer 0, resid_post of layer 1" \
	steer --vector few.tms --alpha 1 mid.tms
says "a vector alone is taken elsewhere, with a warning" 0 "it is used at resid_pre of layer 3" \
	sh -c 'tcat --select resid_post@0 few.tms | steer --vector /dev/stdin --alpha 1 mid.tms'
done_testing
