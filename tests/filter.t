#!/bin/sh
# layer-run --filter: what a command may change, what it changes, and what becomes of one that misbehaves.
. "$(dirname "$0")/lib.sh"
need_python
cd "$TMP" || exit
export PYTHONPATH="$ROOT/pipelines" PYTHONDONTWRITEBYTECODE=1

# rows FILE: a checksum of its rows, however they are framed, with ids and lengths.
rows()
{
	rm -rf npy
	tcat --npy npy "$1" && cat npy/*.npy | cksum
}

same_rows()
{
	test "$(rows "$1")" = "$(rows "$2")" && test -e npy/ids.npy
}

# left: processes that a command in this directory has left behind
left()
{
	for i in $(seq 50)
	do
		grep -sqaF "$TMP" /proc/[0-9]*/cmdline || return 0
		sleep 0.1
	done
	grep -saF "$TMP" /proc/[0-9]*/cmdline | tr '\0' ' '
	return 1
}

# More than a batch of 4096 rows, samples of more than a tile of 512, one token, none.
samples 7 "1 700 2 33 0 128 5 61 17 300 1 90 1500 1400" >ids.jsonl
tok -f ids -o ids.tms ids.jsonl
# The same without the longest, for what is done often.
grep -v -e s13 -e s14 ids.jsonl | tok -f ids -o few.tms

cat >scale.py <<'END'
"""Rows times a number, begun once: a line in the file `starts`."""
import sys
from onelayer_tms import filter_stdin
with open("starts", "a") as f:
    f.write(sys.argv[1] + "\n")
for frame in filter_stdin():
    frame.rows = frame.rows * frame.rows.dtype.type(float(sys.argv[1]))
END
embed -m "$TESTS/mood" -o mood.tms ids.tms
says "a filter of a layer that isn't run is a warning" 0 '^layer-run: --filter mlp_out@4=cat: names nothing of layers 0 to 2' \
	layer-run -m "$TESTS/mood" --to 3 --filter 'mlp_out@4=cat' -o out.tms mood.tms
says "a tap of a layer that isn't run is a warning" 0 '^layer-run: --tap resid_post@5=acts.tms: names nothing of layer 0' \
	layer-run -m "$TESTS/mood" --to 1 --tap 'resid_post@5=acts.tms' -o out.tms mood.tms
is "one that is run in part is none" "$(layer-run -m "$TESTS/mood" --to 3 --tap resid_post@2-5=acts.tms -o out.tms mood.tms 2>&1)" ""

two="'$PYTHON' scale.py 2"

sites=resid_pre,attn_norm,q,k,v,q_rot,k_rot,attn_ctx,attn_proj,attn_out,mlp_norm,mlp_up,mlp_act,mlp_out,resid_post

# cat_everywhere NAME: a filter at every site of the model that changes nothing
cat_everywhere()
{
	model=$TESTS/data/models/$1
	all=$sites
	case $1 in
	llama*|gemma*|granite*) all=$all,resid_mid,mlp_gate ;;
	cohere*) all=$all,mlp_gate ;;
	olmo2*) all=$(echo "$all" | sed 's/,attn_norm//;s/,mlp_norm//'),resid_mid,mlp_gate ;;
	*-moe*) all=$(echo "$all" | sed 's/,mlp_up,mlp_act//'),resid_mid,router_logits,router_weights,expert_out ;;
	esac
	embed -m "$model" -o in.tms ids.tms
	ok "$1: without a filter" layer-run -m "$model" -o base.tms in.tms
	ok "$1: cat everywhere" layer-run -m "$model" --filter "$all=cat" -o null.tms in.tms
	ok "$1: cat everywhere: the same rows" same_rows base.tms null.tms
}

for name in olmo2-bf16 cohere-bf16 granite-bf16 qwen2-moe-bf16
do
	cat_everywhere $name
done

for name in llama-bf16 gemma2-bf16 neox-f16 qwen3-moe-bf16
do
	cat_everywhere $name
	embed -m "$model" -o few.resid few.tms
	ok "$name: unfused" layer-run -m "$model" --attention plain -o base.tms few.resid
	ok "$name: cat at the scores, too" layer-run -m "$model" --filter "$all,attn_scores,attn_probs=cat" -o null.tms few.resid
	ok "$name: cat at the scores, too: the same rows" same_rows base.tms null.tms

	double="attn_out@0,2=$two"
	ok "$name: a filter that doubles" layer-run -m "$model" --filter "$double" -o doubled.tms -j 1 --tap attn_out,mlp_out=doubled.taps in.tms
	layer-run -m "$model" --filter "$double" -o other.tms -j 3 --hold 2 --tap attn_out,mlp_out=other.taps in.tms
	ok "$name: -j 3 --hold 2: the same bytes" cmp doubled.tms other.tms
	ok "$name: -j 3 --hold 2: the same taps" cmp doubled.taps other.taps
	for n in 1 1000
	do
		"$PYTHON" "$TESTS/reframe.py" $n <ids.tms | embed -m "$model" >reframed.tms
		layer-run -m "$model" --filter "$double" -o other.tms --tap attn_out,mlp_out=other.taps reframed.tms
		ok "$name: frames of $n samples: the same rows" same_rows doubled.tms other.tms
		ok "$name: frames of $n samples: the same taps" same_rows doubled.taps other.taps
	done
done

model=$TESTS/data/models/llama-bf16
awk 'BEGIN { printf "{\"input_ids\":[7"; for (i = 1; i < 4300; i++) printf ",%d", i * 37 % 190; print "]}" }' |
	tok -f ids | embed -m "$model" -o in.tms
layer-run -m "$model" -o base.tms in.tms
layer-run -m "$model" --filter "$sites=cat" -o null.tms in.tms
ok "a sample longer than a batch" same_rows base.tms null.tms
embed -m "$model" -o in.tms few.tms
layer-run -m "$model" --tap attn_out,mlp_out,q=base.taps -o base.tms in.tms

# One site and layer at a time changes nothing, either.
for site in $(echo "$sites",resid_mid,mlp_gate | tr , ' ')
do
	layer-run -m "$model" --filter "$site@1=cat" -o null.tms in.tms
	ok "cat at $site alone" same_rows base.tms null.tms
done

: >starts
ok "two filters at many sites" layer-run -m "$model" --filter "attn_out,mlp_act@0-1='$PYTHON' scale.py 2" \
	--filter "attn_out@0='$PYTHON' scale.py 0.25" --tap attn_out,mlp_out=twice.taps -n in.tms
is "each was started once" "$(sort starts | tr '\n' ' ')" "0.25 2 "
ok "what a tap reads has been through both" "$PYTHON" - <<'END'
import numpy as np
from onelayer_tms import Reader


def rows(file):
    found = {}
    with Reader(file) as r:
        for f in r:
            for s, x in f.per_sample():
                found.setdefault((f.site, f.layer), []).append(x)
    return {k: np.concatenate(v) for k, v in found.items()}


a, b = rows("base.taps"), rows("twice.taps")
assert (b["attn_out", 0] == a["attn_out", 0] / 2).all()
assert not (b["mlp_out", 0] == a["mlp_out", 0]).all()
END
# q is read before attention, so only a run without the other filter has q times 2 of the same rows.
layer-run -m "$model" --filter "q@0=$two" --tap q@0=q.taps -n in.tms
ok "twice is twice" "$PYTHON" - <<'END'
import numpy as np
from onelayer_tms import Reader
a = [f.rows for f in Reader("base.taps") if f.site == "q" and f.layer == 0]
b = [f.rows for f in Reader("q.taps")]
assert (np.concatenate(b) == 2 * np.concatenate(a)).all() and np.concatenate(a).any()
END
ok "variants come as such" sh -c "embed -m '$model' --variants 2 few.tms |
	layer-run -m '$model' --filter \"mlp_out='\$PYTHON' -c '
from onelayer_tms import filter_stdin
for f in filter_stdin():
    f.rows = f.rows * f.rows.dtype.type(1 + f.variant)'\" >variants.tms && tcat --variant 0 variants.tms >first.tms"
ok "one is as it was" sh -c 'tcat --tsv first.tms | cut -f4- >a; tcat --tsv base.tms | cut -f4- >b; test -s a && cmp a b'
layer-run -m "$model" --device ref -o base.tms in.tms
ok "on ref" layer-run -m "$model" --device ref --filter "$sites=cat" -o null.tms in.tms
ok "on ref: the same rows" same_rows base.tms null.tms
layer-run -m "$model" --filter "attn_out='cat' # a remark" -o other.tms in.tms
ok "the history has the command" sh -c 'grep -a -q "attn_out=.cat. # a remark" other.tms'

# After the last layer.
unembed -m "$model" --logits --pos all -o logits.tms base.tms 2>/dev/null || layer-run -m "$model" -o base.tms in.tms
unembed -m "$model" --logits --pos all -o logits.tms base.tms
unembed -m "$model" --nll --json -o nll.jsonl base.tms
ok "unembed: cat" unembed -m "$model" --logits --pos all --filter final_norm,logits=cat -o other.tms base.tms
ok "unembed: cat: the same rows" same_rows logits.tms other.tms
unembed -m "$model" --nll --json --filter final_norm=cat --filter logits=cat -o other.jsonl -j 3 base.tms
ok "unembed: cat: the same report" cmp nll.jsonl other.jsonl
: >starts
ok "unembed: doubled" unembed -m "$model" --logits --pos all --filter "logits='$PYTHON' scale.py 2" --filter "final_norm='$PYTHON' scale.py 1" \
	--tap final_norm,logits=taps.tms -n base.tms
ok "unembed: twice is twice" "$PYTHON" - <<'END'
import numpy as np
from onelayer_tms import Reader
a = np.concatenate([f.rows for f in Reader("logits.tms")])
b = np.concatenate([f.rows for f in Reader("taps.tms") if f.site == "logits"])
assert (b == 2 * a).all() and a.any()
END
is "unembed: each was started once" "$(sort starts | tr '\n' ' ')" "1 2 "
says "unembed: one that dies" 2 "^unembed: --filter logits=false: " unembed -m "$model" --nll --filter logits=false -o bad.tms base.tms
says "unembed: another program's site" 2 "belongs to the program layer-run" unembed -m "$model" --filter q=cat base.tms

# Misbehaviour: exit 2, a message that names the filter, no output, no process left.
cat >bad.py <<'END'
import sys
import time
import numpy as np
from onelayer_tms import Frame, Reader, Writer

how = sys.argv[1]
if how == "dies":
    sys.exit(3)
if how == "silent":
    time.sleep(1000)
if how == "text":
    print("hello, world\n" * 1000, flush=True)
reader = Reader()
out = Writer("-", reader.header)
n = 0
for f in reader:
    n += 1
    if how == "middle" and n == 3:
        sys.exit(3)
    if how == "early" and n == 3:
        out.close()
        sys.exit(0)
    if how == "later" and n == 3:
        time.sleep(1000)
    if how == "drops" and len(f.samples) > 2:
        lost = f.count(f.samples[0])
        f = Frame(f.site, f.layer, f.rows[lost:], f.dtype, samples=f.samples[1:])
    if how == "reorders" and len(f.samples) > 2:
        parts = list(f.per_sample())[::-1]
        f = Frame(f.site, f.layer, np.concatenate([r for _, r in parts]), f.dtype, samples=[s for s, _ in parts])
    if how == "other type":
        f = Frame(f.site, f.layer, f.f32(), "bf16", samples=f.samples)
    if how == "other width":
        f = Frame(f.site, f.layer, f.rows[:, 1:].copy(), f.dtype, samples=f.samples)
    if how == "other positions":
        for s in f.samples:
            s["len"] += 1
            s["first"] = 1
            s.pop("tokens", None)
    out.write(f)
    if how == "twice":
        out.write(f)
if how == "extra":
    out.write(f)
if how != "no trailer":
    out.close()
if how == "ends badly":
    sys.exit(4)
if how == "stays on":
    import os
    os.close(1)
if how.startswith("stays"):
    time.sleep(1000)
END
# bad HOW PATTERN [OPTIONS]
bad()
{
	bad_how=$1
	bad_pattern=$2
	shift 2
	says "$bad_how" 2 "^layer-run: --filter attn_out=.*$bad_how.*: $bad_pattern" timeout 60 \
		layer-run -m "$model" --filter "attn_out='$PYTHON' $TMP/bad.py '$bad_how'" --tap mlp_out=bad.taps -o bad.tms "$@" in.tms
	ok "$bad_how: nothing is left" sh -c '! ls bad.* .bad.* 2>/dev/null | grep -v bad.py'
	ok "$bad_how: no process is left" left
}
bad "stays on" ".*didn't end within 4 seconds" --filter-timeout 4
bad "dies" "(went away|its answer|ended)"
bad "middle" "(went away|its answer|ended)"
bad "early" "(went away|ended)"
bad "drops" "answered "
bad "reorders" "answered with other samples"
bad "other type" "answered in bf16, and was asked in f32"
bad "other width" "answered rows of 63 values to rows of 64"
bad "other positions" "answered "
bad "twice" "answered "
bad "extra" "answered more frames"
bad "no trailer" "its answer: "
bad "text" "its answer: "
bad "silent" "no answer within 1 second" --filter-timeout 1
bad "later" "no answer within 1 second" --filter-timeout 1
bad "stays" "didn't end within 4 seconds" --filter-timeout 4
bad "ends badly" ".*exited with status 4"
says "a command that isn't there" 2 "^layer-run: --filter attn_out=nowhere-to-be-found: " \
	layer-run -m "$model" --filter attn_out=nowhere-to-be-found -o bad.tms in.tms
for i in 1 2 3 4 5 6 7 8 9 10
do
	layer-run -m "$model" --filter attn_out=nowhere-to-be-found -o bad.tms in.tms 2>/dev/null
	echo $?
done | sort -u >codes
is "whenever it is found out" "$(cat codes)" 2
says "a shell's child is ended with it" 2 "no answer within 1 second" timeout 60 \
	layer-run -m "$model" --filter "attn_out=sleep 1000; cat $TMP/none" --filter-timeout 1 -o bad.tms in.tms
says "several commands" 2 "no answer within 1 second" timeout 60 \
	layer-run -m "$model" --filter "attn_out=cat | '$PYTHON' $TMP/bad.py silent | cat" --filter-timeout 1 -o bad.tms in.tms
ok "none is left" left
ok "nor is any output" test ! -e bad.tms

says "choices" 2 "expert_idx follows router_logits" sh -c 'embed -m "$1" few.tms | layer-run -m "$1" --filter expert_idx=cat' - "$TESTS/data/models/qwen3-moe-bf16"
says "a pool" 2 "is SITE\[@LAYERS\]=COMMAND" layer-run -m "$model" --filter attn_out/last=cat in.tms
says "no command" 2 "is SITE\[@LAYERS\]=COMMAND" layer-run -m "$model" --filter attn_out in.tms
says "an empty command" 2 "is SITE\[@LAYERS\]=COMMAND" layer-run -m "$model" --filter attn_out= in.tms
says "blanks for a command" 2 "is SITE\[@LAYERS\]=COMMAND" layer-run -m "$model" --filter 'attn_out= ' in.tms
says "a tap's empty command" 2 "^layer-run: \|: names no command" layer-run -m "$model" -n --tap 'attn_out=|' in.tms
says "an output's empty command" 2 "^layer-run: \| : names no command" layer-run -m "$model" -o '| ' in.tms
# Two taps, one stream: rows that came twice would be taken for more samples.
says "a tap twice" 2 "^layer-run: --tap mlp_out@1=x: --tap mlp_out=x writes mlp_out of layer 1 there already" \
	layer-run -m "$model" -n --tap mlp_out=x --tap mlp_out@1=x in.tms
says "a pooled tap twice" 2 "--tap mlp_out/last=x writes mlp_out of layer 0 there already" \
	layer-run -m "$model" -n --tap mlp_out/last=x --tap q,mlp_out@0/last=x in.tms
says "a tap twice, in a pipe" 2 "writes logits there already" unembed -m "$model" --logits -o logits --tap 'logits=|cat' --tap 'final_norm,logits=|cat' base.tms
ok "other layers, other pools" layer-run -m "$model" -n --tap mlp_out@0=x --tap mlp_out@1=x --tap mlp_out/last=x --tap mlp_out/mean=x in.tms
says "another program's site" 2 "belongs to the program unembed" layer-run -m "$model" --filter logits=cat in.tms
says "a layer that isn't there" 2 "attn_out@7=cat: layer 7 isn't there" layer-run -m "$model" --filter attn_out@7=cat in.tms
says "a site that this family lacks" 2 "resid_mid" sh -c 'embed -m "$1" few.tms | layer-run -m "$1" --filter resid_mid=cat' - "$TESTS/data/models/neox-f16"
done_testing
