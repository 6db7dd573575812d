#!/bin/sh
# layer-run --patch and --sweep: rows of another run in the place of these.
. "$(dirname "$0")/lib.sh"
need_python
cd "$TMP" || exit
export PYTHONPATH="$ROOT/pipelines" PYTHONDONTWRITEBYTECODE=1
model=$TESTS/data/models/llama-bf16

# run OPTIONS <in.tms: of the small model
run()
{
	layer-run -m "$model" "$@"
}

# body FILE: its rows as text, without their variant
body()
{
	tcat --tsv "$1" | cut -f1-2,4-6,8- | LC_ALL=C sort
}

same_rows()
{
	body "$1" >a.rows
	body "$2" >b.rows
	test -s a.rows && cmp a.rows b.rows
}

# Clean and corrupt have the same names and lengths, and other tokens.
lengths="1 530 2 33 0 128 5 61 17 90"
samples 1 "$lengths" | tok -f ids >clean.ids
samples 2 "$lengths" | tok -f ids >corrupt.ids
embed -m "$model" -o clean.in clean.ids
embed -m "$model" -o in.tms corrupt.ids
sites=resid_pre,q,k,v,q_rot,attn_ctx,attn_out,mlp_act,mlp_out,resid_post
ok "the clean run" run --tap "$sites=clean.taps" -o clean.tms clean.in
ok "the corrupt run" run --tap "$sites=corrupt.taps" -o corrupt.tms in.tms
ok "they differ" sh -c '! cmp -s clean.tms corrupt.tms'

# A whole layer's stream from the clean run makes the rest of the run the clean one.
ok "resid_post" run --patch resid_post@1=clean.taps -o patched.tms in.tms
ok "resid_post: the clean run" same_rows clean.tms patched.tms
ok "resid_pre" run --patch resid_pre@2=clean.taps -o patched.tms in.tms
ok "resid_pre: the clean run" same_rows clean.tms patched.tms
tcat --select resid_post@1 clean.taps >post.tms
tcat --select resid_pre@2 clean.taps >pre.tms
ok "resid_pre from resid_post of the layer before" run --patch resid_pre@2=post.tms -o patched.tms in.tms
ok "resid_pre from resid_post: the clean run" same_rows clean.tms patched.tms
ok "resid_post from resid_pre of the layer after" run --patch resid_post@1=pre.tms -o patched.tms in.tms
ok "resid_post from resid_pre: the clean run" same_rows clean.tms patched.tms
ok "a residual stream" run --patch resid_pre@0=clean.in -o patched.tms in.tms
ok "a residual stream: the clean run" same_rows clean.tms patched.tms
ok "the run's own rows" run --patch "mlp_out=corrupt.taps" --patch "attn_ctx/head:1=corrupt.taps" -o patched.tms in.tms
ok "the run's own rows: the same run" same_rows corrupt.tms patched.tms
ok "between two processes" sh -c 'layer-run -m "$1" --to 2 in.tms |
	layer-run -m "$1" --patch resid_pre@2=post.tms >patched.tms' - "$model"
ok "between two processes: the clean run" same_rows clean.tms patched.tms
ok "on ref" sh -c 'layer-run -m "$1" --device ref --tap resid_post@1=ref.taps -o ref.tms clean.in &&
	layer-run -m "$1" --device ref --patch resid_post@1=ref.taps -o patched.tms in.tms' - "$model"
ok "on ref: the clean run" same_rows ref.tms patched.tms

# Places: what a tap reads there is the clean run's where it was asked for, and else the corrupt run's.
cat >places.py <<'END'
import sys
import numpy as np
from onelayer_tms import Reader

file, site, layer, heads = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
chosen = eval("lambda id, p, n: " + sys.argv[5])


def rows(file):
    found = {}
    with Reader(file) as r:
        for f in r:
            if f.site == site and f.layer == layer:
                for s, x in f.per_sample():
                    found.setdefault(s["id"], []).append(x)
    return {k: np.concatenate(v) for k, v in found.items()}


clean, corrupt, got = rows("clean.taps"), rows("corrupt.taps"), rows(file)
count = 0
for i, c in clean.items():
    want = corrupt[i].copy()
    for p in range(len(c)):
        if chosen(i, p, len(c)):
            count += 1
            if heads == "all":
                want[p] = c[p]
            else:
                for h in map(int, heads.split(",")):
                    want[p][h] = c[p][h]
    assert (want == got[i]).all(), (i, want.shape)
assert count or sys.argv[5] == "False"
END
# place NAME SITE LAYER HEADS CHOICE OPTIONS...
place()
{
	place_name=$1
	place_site=$2
	place_layer=$3
	place_heads=$4
	place_choice=$5
	shift 5
	ok "$place_name" run -n --tap "$place_site@$place_layer=patched.taps" "$@" in.tms
	ok "$place_name: those rows" "$PYTHON" places.py patched.taps "$place_site" "$place_layer" "$place_heads" "$place_choice"
}
tcat --ids s2,s4,s6,s7,s8,s9,s10 clean.taps >long.taps
tcat --ids s4 clean.taps >s4.taps
place "one position" mlp_out 0 all 'id not in ("s1","s3") and p == 3' --patch mlp_out@0/pos:3=long.taps
place "the last" mlp_out 0 all "p == n - 1" --patch mlp_out@0/pos:-1=clean.taps
place "the last but one, and the first" attn_out 0 all "n > 1 and p in (0, n - 2) or p == 0" --patch attn_out@0/pos:-2,0=clean.taps
place "a range" attn_out 0 all "2 <= p <= 9" --patch attn_out@0/pos:2-9=clean.taps
place "a range with steps" attn_out 0 all "p in (0, 4, 8)" --patch attn_out@0/pos:0-8:4=clean.taps
place "one sample" attn_out 0 all 'id == "s4"' --patch attn_out@0=s4.taps
place "one head" attn_ctx 0 3 "True" --patch attn_ctx@0/head:3=clean.taps
place "heads at positions" attn_ctx 0 0,2 "p >= n - 5" --patch attn_ctx@0/head:0,2/pos:-5--1=clean.taps
place "the last head" q 0 3 "p == 1" --patch q@0/pos:1/head:-1=clean.taps
place "heads of keys" k 0 1 "True" --patch k@0/head:1=clean.taps
place "two patches of a row" attn_ctx 0 1,3 "True" --patch attn_ctx@0=corrupt.taps --patch attn_ctx@0/head:3=clean.taps \
	--patch attn_ctx@0/head:1=clean.taps
place "the later one counts" mlp_out 0 all "p != 4" --patch mlp_out@0=clean.taps --patch mlp_out@0/pos:4=corrupt.taps
place "a patch, then a filter" mlp_out 0 all "True" --patch mlp_out@0=clean.taps --filter mlp_out@0=cat
run -n --tap mlp_out@0/last=last.taps clean.in
place "a pooled row over one position" mlp_out 0 all "p == n - 1" --patch mlp_out@0=last.taps

# The same bytes however it is run.
patch="--patch attn_ctx@0-1/head:1,2=clean.taps --patch mlp_out@1/pos:-3--1=clean.taps"
# shellcheck disable=SC2086
run $patch -o patched.tms --tap "$sites=patched.taps" in.tms
for options in "-j 1" "-j 3" "--hold 2" "--ram 0"
do
	# shellcheck disable=SC2086
	run $patch $options -o other.tms --tap "$sites=other.taps" in.tms
	ok "$options: the same bytes" cmp patched.tms other.tms
	ok "$options: the same taps" cmp patched.taps other.taps
done
for n in 1 1000
do
	# shellcheck disable=SC2086
	"$PYTHON" "$TESTS/reframe.py" $n <corrupt.ids | embed -m "$model" | run $patch >other.tms
	ok "frames of $n samples: the same rows" same_rows patched.tms other.tms
	"$PYTHON" "$TESTS/reframe.py" $n 3 <clean.ids | embed -m "$model" | run -n --tap "$sites=shuffled.taps"
	# shellcheck disable=SC2086
	run $(echo "$patch" | sed 's/clean/shuffled/g') -o other.tms in.tms
	ok "a file in another order, frames of $n samples: the same rows" same_rows patched.tms other.tms
done

# After the last layer.
unembed -m "$model" -n --tap final_norm,logits=clean.head clean.tms
unembed -m "$model" -n --tap logits=corrupt.head corrupt.tms
for site in final_norm logits
do
	ok "unembed: $site" unembed -m "$model" -n --patch "$site=clean.head" --tap logits=patched.head corrupt.tms
	tcat --select logits clean.head >want.head
	ok "unembed: $site: the clean run" same_rows want.head patched.head
done
ok "unembed: the last" unembed -m "$model" --top 1 --json --patch logits/pos:-1=clean.head -o patched.jsonl corrupt.tms
unembed -m "$model" --top 1 --json clean.tms | sed 's/"token":[0-9]*,//' >want.jsonl
ok "unembed: the last: the clean run" sh -c 'sed "s/\"token\":[0-9]*,//" patched.jsonl | cmp - want.jsonl'
says "unembed: rows that nobody asks for" 2 "position 0 of clean.head has no place" unembed -m "$model" --top 1 --patch logits=clean.head corrupt.tms

# The embedding.
embed -m "$model" -n --tap embed=clean.emb clean.ids
ok "embed" embed -m "$model" --patch embed=clean.emb --tap embed=patched.emb -o patched.in corrupt.ids
ok "embed: the clean run" same_rows clean.in patched.in
ok "embed: its tap" same_rows clean.emb patched.emb
ok "embed: through cat" embed -m "$model" --filter embed=cat -o patched.in corrupt.ids
ok "embed: through cat: the same rows" same_rows in.tms patched.in
embed -m "$model" --variants 2 --filter "embed='$PYTHON' -c '
from onelayer_tms import filter_stdin
for f in filter_stdin():
    f.rows = f.rows * f.rows.dtype.type(f.variant)'" -o patched.in corrupt.ids
tcat --variant 1 patched.in >one.in
ok "embed: every variant is filtered from what it was" same_rows in.tms one.in
says "embed: another program's site" 2 "belongs to the program layer-run" embed -m "$model" --patch q=clean.taps corrupt.ids

# Sweeps: layers x positions, and heads, as variants of one pass.
{
	printf 'variant\tsite\tlayers\tpos\thead\tfile\n'
	for layer in 0 1 2
	do
		for pos in 0 -1
		do
			printf 'l%d.%d\tresid_post\t%d\t%d\t\tclean.taps\n' $layer $pos $layer $pos
		done
		printf 'h%d\tattn_ctx\t%d\t-\t%d\tclean.taps\n' $layer $layer $layer
	done
	printf 'both\tattn_out\t0\tall\tall\tclean.taps\nboth\tmlp_out\t1\t-2-3\t-\tlong.taps\n'
} >sweep.tsv
sed -i 's/-2-3/2-3/' sweep.tsv
ok "a sweep" run --sweep sweep.tsv --tap mlp_out@2/last=sweep.taps -o sweep.tms in.tms
for layer in 0 1 2
do
	for pos in 0 -1
	do
		run --patch "resid_post@$layer/pos:$pos=clean.taps" --tap mlp_out@2/last=one.taps -o one.tms in.tms
		tcat --variant "l$layer.$pos" sweep.tms >variant.tms
		ok "layer $layer, position $pos: as by itself" same_rows one.tms variant.tms
		tcat --variant "l$layer.$pos" sweep.taps >variant.taps
		ok "layer $layer, position $pos: its taps" same_rows one.taps variant.taps
	done
	run --patch "attn_ctx@$layer/head:$layer=clean.taps" -o one.tms in.tms
	tcat --variant "h$layer" sweep.tms >variant.tms
	ok "layer $layer, head $layer: as by itself" same_rows one.tms variant.tms
done
run --patch attn_out@0=clean.taps --patch mlp_out@1/pos:2-3=long.taps -o one.tms in.tms
tcat --variant both sweep.tms >variant.tms
ok "two patches of one variant" same_rows one.tms variant.tms
run --sweep sweep.tsv --tap mlp_out@2/last=other.taps -j 1 -o other.tms in.tms
ok "-j 1: the same bytes" cmp sweep.tms other.tms
ok "-j 1: the same taps" cmp sweep.taps other.taps
printf 'variant\tsite\tlayers\tfile\na\tmlp_out\t1\tclean.taps\nb\tmlp_out\t2\tclean.taps\n' >two.tsv
embed -m "$model" --variants 2 corrupt.ids >two.in
ok "variants that were there" run --sweep two.tsv -o two.tms two.in
run --sweep two.tsv -o other.tms in.tms
ok "variants that were there: the same rows" sh -c 'tcat --tsv two.tms | cut -f2- | sort >a; tcat --tsv other.tms | cut -f2- | sort >b; cmp a b'

# History and models.
history()
{
	tcat --summary --json "$1"
}
run --patch mlp_out@1=clean.taps -o a.tms in.tms
cp clean.taps renamed.taps
run --patch mlp_out@1=renamed.taps -o b.tms in.tms
ok "the history tells what was in the file, not its name" cmp a.tms b.tms
run --patch mlp_out@1=corrupt.taps -o b.tms in.tms
ok "another file leaves another trace" sh -c '! cmp -s a.tms b.tms'
other=$TESTS/data/models/gemma2-bf16
embed -m "$other" clean.ids | layer-run -m "$other" -n --tap mlp_out@0=gemma.taps
says "another model's rows: a warning" 0 "^layer-run: gemma.taps: comes from another model: gemma2-bf16 .*llama-bf16" \
	run --patch mlp_out@0=gemma.taps -o foreign.tms in.tms
ok "another model's rows: the history" grep -a -q "of another model, [0-9a-f]\{16\}" foreign.tms
is "another model's rows: quiet" "$(run -q --patch mlp_out@0=gemma.taps in.tms 2>&1 >/dev/null)" ""
ok "no warning of its own" sh -c '! grep -a -q "another model" a.tms'

# What doesn't fit.
says "a sample that isn't there" 2 "^layer-run: --patch mlp_out@1=clean.taps: sample s[0-9]+, position 0 of clean.taps has no place" \
	sh -c 'tcat --ids s4,s7 in.tms | layer-run -m "$1" --patch mlp_out@1=clean.taps -o bad.tms' - "$model"
embed -m "$model" corrupt.ids | "$PYTHON" -c '
from onelayer_tms import Frame, Reader, Writer
with Reader("-") as r, Writer("-", r.header) as w:
    for f in r:
        for s, x in f.per_sample():
            n = min(s["n"], 5)
            w.write(Frame(f.site, f.layer, f.rows[:0] if not n else x[:n], "f32", samples=[dict(s, len=n, n=n, tokens=s["tokens"][:4 * n])]))' >short.in
says "a position that isn't there" 2 "position [0-9]+ of clean.taps has no place" run --patch mlp_out@1=clean.taps -o bad.tms short.in
says "a layer that isn't run" 2 "has no place in layers 0 to 0" run --to 1 --patch mlp_out@1=clean.taps -o bad.tms in.tms
says "a layer that the file lacks" 2 "post.tms has no rows that it selects" run --patch resid_pre@1=post.tms -o bad.tms in.tms
says "a site that the file lacks" 2 "has no rows that it selects" run --patch attn_norm@1=clean.taps -o bad.tms in.tms
says "a position that the file lacks" 2 "has no rows that it selects" run --patch mlp_out/pos:600=clean.taps -o bad.tms in.tms
wide=$MOOD
embed -m "$wide" clean.ids | layer-run -m "$wide" -n --tap mlp_out@0=wide.taps
says "another width" 2 "rows of 128 values, and mlp_out has 64" run -q --patch mlp_out@0=wide.taps -o bad.tms in.tms
run -n --tap mlp_out@0/mean=mean.taps clean.in
says "a mean" 2 "pooled over [0-9]+ positions has no place" run --patch mlp_out@0=mean.taps -o bad.tms in.tms
says "heads that a site lacks" 2 "mlp_out has no heads" run --patch mlp_out/head:1=clean.taps -o bad.tms in.tms
says "a head that isn't there" 2 "attn_ctx has heads 0 to 3" run --patch attn_ctx/head:4=clean.taps -o bad.tms in.tms
says "a list that is none" 2 "is none of last, all" run --patch mlp_out/pos:x=clean.taps -o bad.tms in.tms
says "a list of nothing" 2 "/head: lists nothing" run --patch attn_ctx/head:=clean.taps -o bad.tms in.tms
says "tokens" 2 "clean.ids: holds tokens, which have no rows to take" run --patch mlp_out=clean.ids -o bad.tms in.tms
says "no file" 2 "^layer-run: --patch mlp_out: needs =FILE" run --patch mlp_out -o bad.tms in.tms
says "a file that isn't there" 2 "nowhere.taps: " run --patch mlp_out=nowhere.taps -o bad.tms in.tms
says "two sites" 2 "one site is patched" run --patch q,k=clean.taps -o bad.tms in.tms
says "another program's site" 2 "belongs to the program unembed" run --patch logits=clean.taps -o bad.tms in.tms
says "neither pos nor head" 2 "/last is neither" run --patch mlp_out/last=clean.taps -o bad.tms in.tms
head -c 20000 clean.taps >cut.taps
says "a cut file" 2 "cut.taps: " run --patch mlp_out=cut.taps -o bad.tms in.tms

# sweep NAME PATTERN TABLE
sweep()
{
	printf '%b' "$3" >bad.tsv
	says "a sweep: $1" 2 "^layer-run: --sweep bad.tsv: $2" run --sweep bad.tsv -o bad.tms in.tms
}
sweep "no line" "no patch in it" 'variant\tsite\tfile\n'
sweep "an empty file" "(line 1: .*columns|no patch)" ''
sweep "no column for the file" "line 1: .*columns" 'variant\tsite\na\tmlp_out\n'
sweep "an unknown site" "line 2: .*nothing" 'variant\tsite\tfile\na\tnothing\tclean.taps\n'
sweep "a line without a variant" "line 3: .*variant" 'variant\tsite\tfile\na\tmlp_out\tclean.taps\n\tmlp_out\tclean.taps\n'
sweep "a short line" "line 2: " 'variant\tsite\tfile\na\tmlp_out\n'
sweep "a layer that isn't there" "line 2: .*layer 9" 'variant\tsite\tlayers\tfile\na\tmlp_out\t9\tclean.taps\n'
sweep "a position that is none" "line 2: .*is none of last, all" 'variant\tsite\tpos\tfile\na\tmlp_out\tx\tclean.taps\n'
sweep "rows without a place" "line 2: .*no rows that it selects" 'variant\tsite\tpos\tfile\na\tmlp_out\t900\tclean.taps\n'
says "a sweep: no such file" 2 "nowhere.tsv" run --sweep nowhere.tsv -o bad.tms in.tms
says "a sweep: another number of variants" 2 "names 10 variants, and two.in has 2" run --sweep sweep.tsv -o bad.tms two.in
ok "nothing is left" test ! -e bad.tms
done_testing
