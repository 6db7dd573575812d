#!/bin/sh
# Every recipe of pipelines/ runs on the small model, and says what is known of it.  shards.sh is in parallel.t,
# slurm.sh in slurm.t, demo.sh in demo.t.
. "$(dirname "$0")/lib.sh"
command -v jq >/dev/null || skip_all "no jq"
P=$ROOT/pipelines
cd "$TMP" || exit

head -n 20 "$MOOD/prompts.jsonl" >prompts.jsonl
tok -m "$MOOD" -o tokens.tms prompts.jsonl
embed -m "$MOOD" -o in.tms tokens.tms
layer-run -m "$MOOD" -o one.tms --tap resid_post/last=acts.tms --profile profile.json in.tms

# pictured NAME FILE...: gnuplot made the PNG files.
pictured()
{
	picture_name=$1
	shift
	if command -v gnuplot >/dev/null
	then
		ok "$picture_name" sh -c 'for f; do head -c 4 "$f" | grep -q PNG || { echo "$f"; exit 1; }; done' - "$@"
	else
		skip "$picture_name" "no gnuplot"
	fi
}

# value FILE COLUMN WORD...: what the line of a table that begins with these words has there.
value()
{
	value_file=$1
	value_column=$2
	shift 2
	awk -F '\t' -v column="$value_column" -v begin="$*" '{
		line = $0
		gsub("\t", " ", line)
	} index(line " ", begin " ") == 1 { print $column }' "$value_file"
}

# between LOW HIGH NUMBER
between()
{
	echo "$3" | awk -v low="$1" -v high="$2" '{ print; good = $1 != "" && $1 >= low && $1 <= high } END { exit !good }'
}

# layers.mk: with the files of all layers kept, then with none, and after it was killed between two layers.
layers()
{
	layers_dir=$1
	shift
	make -s -f "$P/layers.mk" MODEL="$MOOD" TOKENS=tokens.tms DIR="$layers_dir" "$@"
}
mkdir kept gone
ok "layers.mk" layers kept TAP=resid_post/last
ok "its bytes are those of one layer-run" cmp kept/final.tms one.tms
ok "a file for each layer" cmp kept/resid.0.tms in.tms
tcat --tsv acts.tms >acts.tsv
ok "its taps too" sh -c 'tcat --tsv kept/acts.tms | cmp - acts.tsv'
is "then there is nothing to do" "$(make -n -f "$P/layers.mk" MODEL="$MOOD" TOKENS=tokens.tms DIR=kept |
	grep -c layer-run)" 0
cat >dies <<'END'
#!/bin/sh
case "$*" in
*'--from 3'*) head -c 5000; kill -9 $$ ;;
*) exec layer-run "$@" ;;
esac
END
chmod +x dies
ok "killed in layer 3" must_fail 2 layers gone KEEP=no LAYER_RUN="$TMP/dies"
ok "what was done lies there, and only that" test -e gone/resid.3.tms -a ! -e gone/resid.2.tms -a ! -e gone/resid.4.tms
is "it goes on where it stood" "$(make -n -f "$P/layers.mk" MODEL="$MOOD" TOKENS=tokens.tms DIR=gone KEEP=no |
	sed -n 's/.*layer-run .*--from \([0-9]*\).*/\1/p' | tr '\n' ' ')" "3 4 5 "
ok "and ends" layers gone KEEP=no
ok "with the same bytes" cmp gone/final.tms one.tms

ok "lens.sh" sh -c '"$1/lens.sh" "$2" prompts.jsonl " happy, sad" >lens.tsv' - "$P" "$MOOD"
is "a line for each layer and label" "$(wc -l <lens.tsv)" 13
ok "after layer 3 it knows the mood" awk -F '\t' '
	NR > 1 && $1 >= 3 { n++; if ($2 == "sad" ? $3 > -3 : $3 < 3) bad = 1 }
	END { exit bad || n != 6 }' lens.tsv

ok "norms.awk" sh -c 'layer-run -m "$2" -n --tap resid_post,mlp_out=- in.tms | tcat --tsv | awk -f "$1/norms.awk" >norms.tsv' \
	- "$P" "$MOOD"
if test -n "$PYTHON"
then
	ok "NumPy finds these norms" sh -c 'layer-run -m "$1" -n --tap resid_post=r.tms in.tms && tcat --npy r r.tms &&
	"$PYTHON" -c "
import numpy
for line in open(\"norms.tsv\").read().split(\"\n\")[1:-1]:
    site, layer, rows, rms, first, largest = line.split(\"\t\")
    if site != \"resid_post\":
        continue
    a = numpy.load(f\"r/resid_post.{layer}.npy\").astype(float) ** 2
    assert int(rows) == len(a)
    assert abs(numpy.sqrt(a.mean()) - float(rms)) < 1e-4
    assert abs(numpy.sqrt(a[numpy.load(\"r/offsets.npy\")[:-1]].mean()) - float(first)) < 1e-4
    assert abs((a.max(1) / a.sum(1)).mean() - float(largest)) < 1e-4
"' - "$MOOD"
else
	skip "NumPy finds these norms" "no Python with NumPy"
fi

ok "attention.jq" sh -c 'tcat --ids p01,p02 in.tms | layer-run -m "$2" -n --tap attn_probs@0,5=- | tcat --json |
	jq -nr -f "$1/attention.jq" >attention.tsv' - "$P" "$MOOD"
is "a line for each head of the layers" "$(wc -l <attention.tsv)" 17
ok "shares are shares, and entropy is less than that of 60 equal ones" awk -F '\t' 'NR > 1 && !($3 >= 0 && $3 + $4 <= 1.001 &&
	$5 >= 0 && $5 <= 1 && $6 > 0 && $6 < 6) { bad = 1 } END { exit bad }' attention.tsv

ok "time.sh" "$P/time.sh" profile.json time.png
pictured "time by layer" time.png

ok "effect.sh" "$P/effect.sh" "$MOOD" prompts.jsonl happy sad effect
ok "after layer 3 the effect is twice what it was" awk 'NR > 1 { d[$1] = $2 } END { exit !(d[3] > 2 * d[2]) }' effect/effect.tsv
pictured "effect by layer" effect/effect.png

ok "steering.sh" "$P/steering.sh" "$MOOD" "$MOOD/prompts.jsonl" 3 happy sad -1,0,1 ' happy, glad, joyful, cheerful' \
	' sad, lonely, gloomy, miserable' steering
# The table in tests/mood/README.md was measured with PyTorch.
awk -F '[|,]' '/^\| -?[0-9.]+ \| [0-9.]+, / { print "happy", $2 + 0, $3 + 0, $4 + 0; print "sad", $2 + 0, $5 + 0, $6 + 0 }' \
	"$MOOD/README.md" >due
ok "both moods move as PyTorch says" awk '
	FNR == NR { pos[$1, $2] = $3; neg[$1, $2] = $4; next }
	FNR > 1 {
		a = $3 - pos[$1, $2]
		b = $4 - neg[$1, $2]
		if (!(($1, $2) in pos) || a * a > 1e-5 || b * b > 1e-5)
			bad = 1
		n++
	}
	END { exit bad || n != 6 }' due steering/words.tsv
is "what comes next, by strength" "$(grep -c '^p4[12]  alpha=' steering/top.txt)" 6
is "perplexity, by strength" "$(wc -l <steering/nll.tsv)" 3
pictured "words by strength" steering/words.png

ok "ablation.sh" "$P/ablation.sh" "$MOOD" prompts.jsonl steering/direction.tms 3 0,1,2 ablation
is "at 0 nothing changes" "$(value ablation/kl.tsv 2 0)" 0
ok "at 1 a little" between 0.001 1 "$(value ablation/kl.tsv 2 1)"
ok "at 2 more" between "$(value ablation/kl.tsv 2 1)" 5 "$(value ablation/kl.tsv 2 2)"
pictured "KL by strength" ablation/kl.png

ok "pca.sh" "$P/pca.sh" "$MOOD" prompts.jsonl 3 pca
ok "component 1 after layer 3 is the mood" awk '
	NF == 1 { label = $1 }
	NF == 2 { n++; side[label, $2 > 0]++ }
	END { exit !(n == 20 && side["happy", 0] * side["happy", 1] == 0 && side["sad", 0] * side["sad", 1] == 0) }' \
	pca/scatter.tsv
ok "shares of the variance fall" awk 'NR > 1 { if (NR > 2 && $2 > last) bad = 1; last = $2; sum += $2 }
	END { exit bad || NR != 11 || sum > 1 }' pca/scree.tsv
pictured "scatter and scree" pca/scatter.png pca/scree.png

head -n 1 "$MOOD/pairs.jsonl" >pair.jsonl
ok "patching.sh" "$P/patching.sh" "$MOOD" pair.jsonl patching
is "all layers and positions" "$(wc -l <patching/recovery.tsv)" 175
is "before layer 0 the last token is the same in both" "$(value patching/recovery.tsv 3 28 0)" 0.0000
ok "after layer 3 the mood is at the last token" between 0.85 1.1 "$(value patching/recovery.tsv 3 28 4)"
is "nothing comes back where nothing differs before" "$(awk -F '\t' '$1 < 17 && $3 != 0' patching/recovery.tsv)" ""
pictured "recovery" patching/recovery.png
ok "patching.sh by head" "$P/patching.sh" "$MOOD" "$MOOD/pairs.jsonl" heads attn_ctx head
is "all layers and heads" "$(wc -l <heads/recovery.tsv)" 49
jq -c '.corrupt += " and"' pair.jsonl >uneven.jsonl
says "texts of unequal length" 2 'uneven.jsonl: letter: the two texts differ' "$P/patching.sh" "$MOOD" uneven.jsonl x
for recipe in lens effect steering ablation pca patching shards slurm shard time
do
	says "$recipe.sh says how it is used" 2 "^usage: $recipe.sh " "$P/$recipe.sh"
done
done_testing
