#!/bin/sh
# --filter 'SITE=steer ...' without a process gives the bits that a process gives, and refuses what it refuses.
. "$(dirname "$0")/lib.sh"
need_python
cd "$TMP" || exit
export PYTHONPATH="$ROOT/pipelines" PYTHONDONTWRITEBYTECODE=1

# A steer that leaves a trace stands before the real one, so that a process shows.
mkdir shim
printf '#!/bin/sh\n: >"%s/started"\nexec "%s/steer" "$@"\n' "$TMP" "$BIN" >shim/steer
chmod +x shim/steer
PATH=$TMP/shim:$PATH

# rows FILE: a checksum of its rows, with ids and variants.
rows()
{
	rm -rf npy
	tcat --npy npy "$1" && cat npy/*.npy | cksum
}

# same NAME PROGRAM SELECTION WORDS INPUT [OPTIONS]: inside and through a process, stream
# and taps.  $taps: what is tapped; $base: the output without a filter.
same()
{
	same_name=$1
	same_program=$2
	same_at=$3
	same_words=$4
	same_in=$5
	shift 5
	rm -f started inside.* process.*
	ok "$same_name" "$same_program" -m "$m" --filter "$same_at=steer $same_words" --tap "$taps=inside.taps" -o inside.tms "$@" "$same_in"
	ok "$same_name: no process" test ! -e started
	ok "$same_name: in a process" "$same_program" -m "$m" --filter "$same_at=command steer $same_words" --tap "$taps=process.taps" \
		-o process.tms "$@" "$same_in"
	ok "$same_name: that was one" test -e started
	is "$same_name: the same rows" "$(rows inside.tms)" "$(rows process.tms)"
	is "$same_name: the same rows in taps" "$(rows inside.taps)" "$(rows process.taps)"
	ok "$same_name: others than without it" test "$(rows inside.tms)" != "$(rows "$base")"
}

m=$MOOD
"$PYTHON" - <<'END'
import numpy as np
from onelayer_tms import Frame, Writer

rng = np.random.default_rng(5)
v = rng.standard_normal((3, 128)).astype("f4")
np.save("v.npy", v[0])
np.save("basis.npy", v)
np.save("narrow.npy", v[0, :100])
np.save("wide.npy", rng.standard_normal(4096).astype("f4"))
for name, fingerprint in (("all.tms", "2f305c9c774ad2fa"), ("foreign.tms", "0" * 16)):
    header = {"kind": "vectors", "order": "layer", "model": {"name": name, "fingerprint": fingerprint}}
    with Writer(name, header) as out:
        for layer in range(6):
            for site in ("attn_ctx", "attn_out", "mlp_out", "resid_post"):
                out.write(Frame(site, layer, rng.standard_normal((1, 128)).astype("f4"), "f32", name="direction"))
                out.write(Frame(site, layer, rng.standard_normal((1, 128)).astype("f4"), "f32", name="mean_neg"))
with Writer("some.tms", {"kind": "vectors", "order": "layer"}) as out:
    for layer in (1, 2, 3):
        out.write(Frame("resid_post", layer, v[:1] * layer, "f32", name="direction"))
END
tcat --gguf some.gguf some.tms
tcat --safetensors some.safetensors some.tms
head -12 "$m/prompts.jsonl" | tok -m "$m" -o tokens.tms
embed -m "$m" -o in.tms tokens.tms
base=base.tms
taps=attn_out,resid_post
layer-run -m "$m" -o base.tms in.tms
tcat --tsv in.tms | cut -f 1 | sort -u | sed -n '2,5p' >ids
awk 'BEGIN { print "id\talpha\tpositions" } { print $0 "\t" NR / 3 "\t" (NR % 2 ? "last" : "1-3,-2") } END { print $0 "\t-2\t0" }' ids >strengths.tsv

for site in resid_post attn_out mlp_out attn_ctx
do
	same "$site" layer-run "$site@1-3" '--vector all.tms --alpha 1.5' in.tms
	same "$site: .npy, last" layer-run "$site" '--vector v.npy --alpha=-3 --positions last' in.tms
	same "$site: strengths of samples" layer-run "$site@2" '--vector all.tms --alpha 2 --strengths strengths.tsv --unit' in.tms
done
for words in '--mode add --alpha 2' '--mode ablate' '--mode clamp --alpha 3' '--mode set --alpha 0.5' '--mode project --alpha 0.25'
do
	same "$words" layer-run resid_post@2-3 "--vector some.tms $words" in.tms
done
same "zero" layer-run mlp_act@0,5 '--mode zero' in.tms
same "zero in part, where rows are as long as samples" layer-run q_rot,attn_probs@1 "--mode 'zero' --alpha .5 --positions \"from:2\"" in.tms
same "GGUF" layer-run resid_post@1-3 '--vector some.gguf --alpha 1' in.tms
same "safetensors" layer-run resid_post@1-3 '--vector some.safetensors --alpha 1 --positions 0,2-4' in.tms
same "a basis" layer-run resid_pre@4 '--vector basis.npy --mode ablate --component 0,2' in.tms
same "another array" layer-run mlp_out@4 '--vector all.tms --name mean_neg --mode set' in.tms
same "several threads and layers held" layer-run resid_post@1-3 '--vector some.tms --alpha 1' in.tms -j 3 --hold 2
same "on ref" layer-run resid_post@1 '--vector v.npy --alpha 1' in.tms --device ref
same "filters in their order" layer-run resid_post@1 '--vector some.tms --alpha 1' in.tms --filter "resid_post@1=steer --mode zero --alpha 0.5"
layer-run -m "$m" --to 2 -o mid.tms in.tms
same "layers that aren't run need no vector" layer-run resid_post '--vector some.tms --alpha 1' mid.tms --to 4
embed -m "$m" --variants 2 -o two.tms tokens.tms
layer-run -m "$m" -o two-base.tms two.tms
base="two-base.tms"
same "a strength a variant" layer-run resid_post@1 '--vector some.tms --alpha 1,-2' two.tms
same "one for all variants" layer-run resid_post@1 '--vector some.tms --alpha 3' two.tms

taps=embed
base=in.tms
same "embed" embed embed '--vector v.npy --alpha 0.1 --positions 1' tokens.tms
same "embed, in variants" embed embed '--vector v.npy --alpha 1,2' tokens.tms --variants 2
taps=final_norm,logits
unembed -m "$m" --logits --pos all -o logits.tms base.tms
base=logits.tms
same "unembed" unembed final_norm '--vector v.npy --alpha 1 --positions last,0' base.tms --logits --pos all
same "unembed, logits" unembed logits '--mode zero --alpha 0.5' base.tms --logits --pos all

# What isn't steer and its own options in plain words is the shell's.
taps=attn_out
base=base.tms
# shelled NAME COMMAND: it works, and a process does it.
shelled()
{
	rm -f started
	ok "$1" layer-run -m "$m" --filter "resid_post@1=$2" -o other.tms in.tms
	ok "$1: a process" test -e started
	is "$1: the same rows" "$(rows other.tms)" "$(rows inside.tms)"
}
layer-run -m "$m" --filter 'resid_post@1=steer --vector v.npy --alpha 2' -o inside.tms in.tms
two=2
export two
shelled "a variable" 'steer --vector v.npy --alpha $two'
shelled "a variable in quotes" 'steer --vector v.npy --alpha "$two"'
shelled "a backslash" 'steer --vector v.np\y --alpha 2'
shelled "a pattern" 'steer --vector ?.npy --alpha 2'
shelled "a pipe" 'steer --vector v.npy --alpha 1 | steer --vector v.npy --alpha 1 | cat'
shelled "a remark" 'steer --vector v.npy --alpha 2 # twice'
shelled "two lines" 'steer --vector v.npy \
	--alpha 2'
shelled "an option of all programs" 'steer -q --vector v.npy --alpha 2'
shelled "an operand" 'steer --vector v.npy --alpha 2 -'
shelled "a path" "$TMP/shim/steer --vector v.npy --alpha 2"
rm -f started
ok "quotes" layer-run -m "$m" --filter "resid_post@1= 'st'eer --vec'tor' \"v\"'.npy' --alpha	2 " -o other.tms in.tms
ok "quotes: no process" test ! -e started
is "quotes: the same rows" "$(rows other.tms)" "$(rows inside.tms)"

# The history has files by what is in them.
mkdir elsewhere
cp v.npy elsewhere/w.npy
cp strengths.tsv elsewhere/table
layer-run -m "$m" --filter 'resid_post@1=steer --vector v.npy --alpha 2 --strengths strengths.tsv' -o one.tms in.tms
layer-run -m "$m" --filter 'resid_post@1=steer --strengths elsewhere/table --alpha=2 --vector "elsewhere/w.npy"' -o two.tms in.tms
ok "the same vector under another name: the same bytes" cmp one.tms two.tms
is "the history" "$(tcat --summary --json two.tms | grep -o '"--filter=[^"]*"' | sed 's/[0-9a-f]\{16\}/HASH/g')" \
	'"--filter=resid_post@1=steer --vector=HASH --alpha=2 --strengths=HASH"'

# Refused before any work, by the filter's name.
# refused NAME PATTERN SELECTION WORDS
refused()
{
	says "$1" 2 "^layer-run: --filter $3=steer $4: $2" layer-run -m "$m" --filter "$3=steer $4" --tap attn_out=bad.taps -o bad.tms in.tms
	ok "$1: nothing is left" sh -c '! ls bad.* .bad.* 2>/dev/null'
}
refused "no such file" "--vector: none.npy: No such file" resid_post "--vector none.npy --alpha 1"
refused "another width" "narrow.npy: the vector's shape is \[100\], and the stream's rows are 128 wide" attn_out "--vector narrow.npy --alpha 1"
refused "a site of another width" "v.npy: the vector's shape is \[128\], and" mlp_act "--vector v.npy --alpha 1"
refused "no vector for a layer" "some.tms: has no vector for resid_post of layer 0; it has resid_post of layer 1" resid_post "--vector some.tms --alpha 1"
refused "no strength" "--mode add needs --alpha" resid_post "--vector v.npy"
refused "no vector" "--vector FILE is needed" resid_post "--alpha 1"
refused "no such mode" "--mode rotate: is none of" resid_post "--vector v.npy --mode rotate"
refused "no such component" "--component 3: basis.npy has components 0 to 2" resid_post "--vector basis.npy --component 3 --mode set"
refused "several vectors for one" "basis.npy: --mode add takes one vector and these are 3" resid_post "--vector basis.npy --alpha 1"
refused "standard input" "--vector -: standard input is the stream" resid_post "--vector - --alpha 1"
refused "no such position" "--positions: no sample of the stream has a row there" resid_post "--vector v.npy --alpha 1 --positions 5000"
printf 'nobody\t1\n' >nobody.tsv
refused "no such sample" "nobody.tsv: line 1: the stream has no row of sample 'nobody' there" resid_post "--mode zero --strengths nobody.tsv"
refused "variants that aren't there" "--alpha 1,2: a filter answers each frame by one" resid_post "--vector v.npy --alpha 1,2"
says "too few strengths" 2 "--alpha 1,2,3: .*has 2 variants and --alpha 3 strengths" layer-run -m "$m" \
	--filter 'resid_post=steer --vector v.npy --alpha 1,2,3' two-base.tms
says "a layer that isn't there" 2 "layer 6 isn't there" layer-run -m "$m" --filter 'resid_post@6=steer --vector v.npy --alpha 1' in.tms
says "rows as long as their sample" 2 "--filter attn_scores=steer --vector wide.npy --alpha 1: wide.npy: the vector's shape" \
	layer-run -m "$m" --filter 'attn_scores=steer --vector wide.npy --alpha 1' -o bad.tms in.tms
says "unembed: another width" 2 "^unembed: --filter logits=steer --vector v.npy --alpha 1: v.npy: the vector's shape is \[128\]" \
	unembed -m "$m" --filter 'logits=steer --vector v.npy --alpha 1' base.tms
says "embed: no vector" 2 "^embed: --filter embed=steer --vector some.tms --alpha 1: some.tms: has no vector for embed" \
	embed -m "$m" --filter 'embed=steer --vector some.tms --alpha 1' -o bad.tms tokens.tms
says "another model's vector is a warning" 0 "^layer-run: foreign.tms: is of another model: foreign.tms" \
	layer-run -m "$m" --filter 'resid_post=steer --vector foreign.tms --alpha 1' -o other.out in.tms
ok "that the history has" sh -c 'tcat --summary other.out | grep -q "steer --vector=[0-9a-f]* of foreign.tms 0000000000000000 --alpha=1"'
done_testing
