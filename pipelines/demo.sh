#!/bin/sh
# The whole pipeline on the small model of tests/mood: what it says next, how surprised it is, what it took, and
# where happy and sad part.  Every command is shown before it runs.
#
#	demo.sh [DIR]		the files that it makes are left in DIR (default build/demo)

cd "$(dirname "$0")/.." || exit
PATH=${BIN:-$PWD/bin}:$PATH
LC_ALL=C
export PATH LC_ALL

model=tests/mood
out=${1:-build/demo}
rm -rf "$out/acts"
mkdir -p "$out" || exit

say()
{
	printf '\n# %s\n' "$1"
}

# Shows a command, one stage of its pipe a line, and runs it.
run()
{
	printf '$ %s\n' "$1"
	eval "$1" || {
		echo "demo.sh: that command failed" >&2
		exit 1
	}
}

say 'Text to tokens, in the model'"'"'s own way: 80 beginnings of stories, half happy and half sad.'
run "tok -m $model $model/prompts.jsonl > $out/prompts.tms"
run "tcat --summary $out/prompts.tms"

say 'All layers, each read once.  On the way, the last token of every prompt is kept at every layer.'
run "embed -m $model $out/prompts.tms |
    layer-run -m $model --tap resid_post/last=$out/acts.tms --profile $out/profile.json -o $out/final.tms"

say 'What it took.'
run "jq -nr -f pipelines/profile.jq $out/profile.json | expand -t 11"

say 'What comes next?'
run "head -n 4 $model/prompts.jsonl | jq -r '\"\\(.id)  \\(.text)\"' | fold -s -w 79"
run "tcat --ids p01,p02,p03,p04 $out/final.tms | unembed -m $model --top 3"

say 'When did it know?  Each layer of p02 read as if it were the last one.'
run "tcat --ids p02 $out/acts.tms | unembed -m $model --lens --top 3"

say 'How surprised is it by stories that it has not seen?  (Its README says 1.8992.)'
run "jq -c '.text += \"<|end_of_text|>\"' $model/heldout.jsonl | tok -m $model | embed -m $model |
    layer-run -m $model | unembed -m $model --nll > $out/nll.txt"
run "tail -n 1 $out/nll.txt"

say 'Where do happy and sad part?  The line through their means over 40 prompts, and the other 40 laid on it.'
run "tcat --tsv $out/acts.tms | awk -f pipelines/separation.awk -v pos=happy -v neg=sad"

say 'The same activations for NumPy: one array a layer, with ids and labels beside.'
run "tcat --npy $out/acts $out/acts.tms"
run "ls $out/acts"
