#!/bin/sh
# The demonstration runs, and shows what it promises.
. "$(dirname "$0")/lib.sh"
command -v jq >/dev/null || skip_all "no jq"

ok "make demo's script runs" sh -c '"$1/pipelines/demo.sh" "$2" >"$3" 2>&1 || { cat "$3"; exit 1; }' - \
	"$ROOT" "$TMP/demo" "$TMP/said"
said=$TMP/said

# has NAME COUNT PATTERN: so many lines have the pattern (grep -E).
has()
{
	is "$1" "$(grep -Ec -e "$3" "$said")" "$2"
}

ok "held-out perplexity is the one that tests/mood/README.md gives" awk '
	FNR == NR { if (/^\| 1\.[0-9]+ \|/) due = $2; next }
	$NF == "total" && $1 == 15624 { d = $3 - due; good = d < 0.004 && d > -0.004 }
	END { exit !good }' "$MOOD/README.md" "$said"
has "after layer 0 one prompt of 40 is on the wrong side, later none" 6 '\|  (39|40) of 40 '
has "each of 6 layers in the profile, and all" 7 '^([0-5]|all) +4043 '
has "the direction's effect at each layer" 6 '^layer [0-5]: [0-9.]+$'
has "the table of steered words: two labels, five strengths" 10 '^(happy|sad) +-?[0-9.]+ +[0-9.]+ +[0-9.]+$'
ok "unsteered, sad prompts have sad words; steered by 1, happy ones" awk '
	$1 == "sad" && $2 == 0 { a = $4 > 0.9 && $3 < 0.01 }
	$1 == "sad" && $2 == 1 { b = $3 > 0.8 && $4 < 0.05 }
	$1 == "happy" && $2 == -1 { c = $4 > 0.8 && $3 < 0.05 }
	END { exit !(a && b && c) }' "$said"
is "the sad prompt's next word by strength" "$(awk '/^p42  alpha=/ { getline; print $6 $7 }' "$said" | tr -d '"' |
	sed 's/#.*//' | tr '\n' ' ')" "sad sad happy "
has "each layer through the lens" 6 '^p42  resid_post [0-5]  at 45'

# top_of ID: the most likely next tokens of that prompt, in the order of the demonstration, without the lens.
top_of()
{
	awk -v id="$1" '$1 == id && $2 == "at" { getline; match($0, /" .*"/); print substr($0, RSTART, RLENGTH) }' "$said"
}

if test -n "$PYTHON"
then
	ok "NumPy reads the arrays" "$PYTHON" -c '
import sys, numpy
folder = sys.argv[1]
load = lambda name: numpy.load(folder + "/" + name + ".npy")
for layer in range(6):
    a = load("resid_post.%d" % layer)
    assert a.shape == (80, 128) and a.dtype == numpy.float32 and numpy.isfinite(a).all()
assert list(load("offsets")) == list(range(81))
assert list(load("ids")[:2]) == ["p01", "p02"] and set(load("labels")) == {"happy", "sad"}
' "$TMP/demo/acts"
	is "a sad prompt, before and after its mood is moved" "$(top_of p42)" '" sad"
" happy"'
else
	skip "NumPy reads the arrays" "no Python with NumPy"
	is "a sad prompt" "$(top_of p42)" '" sad"'
fi
done_testing
