#!/bin/sh
# The whole pipeline on the small model of tests/mood: what it says next, how surprised it is, what a run took, where
# happy and sad part, and what happens when it is steered from one to the other.  Every command is shown before it runs.
#
#	demo.sh [DIR]		the files that it makes are left in DIR (default build/demo)

cd "$(dirname "$0")/.." || exit
PATH=${BIN:-$PWD/bin}:$PATH
LC_ALL=C
PYTHONDONTWRITEBYTECODE=1
export PATH LC_ALL PYTHONDONTWRITEBYTECODE

model=tests/mood
out=${1:-build/demo}
rm -rf "$out/acts"
mkdir -p "$out" || exit

say()
{
	printf '\n# %s\n' "$1"
}

# Shows a command and runs it.
run()
{
	printf '$ %s\n' "$1"
	eval "$1" || {
		echo "demo.sh: that command failed" >&2
		exit 1
	}
}

# A Python that can read streams, or nothing.
find_python()
{
	for python in /usr/bin/python3 python3
	do
		if "$python" -c 'import numpy, msgpack, xxhash' 2>/dev/null
		then
			echo "$python"
			return
		fi
	done
}

say "Text to tokens, with the model's own tokenizer: 80 beginnings of stories, half happy and half sad."
run "tok -m $model $model/prompts.jsonl > $out/prompts.tms"

say 'All layers, each read once.  On the way, the last token of every prompt is kept at every layer.'
run "embed -m $model $out/prompts.tms |
    layer-run -m $model --tap resid_post/last=$out/acts.tms --profile $out/profile.json -o $out/final.tms"

say 'What it took.'
run "jq -nr -f pipelines/profile.jq $out/profile.json | expand -t 11"

say 'What comes next?'
run "sed -n 41,44p $model/prompts.jsonl | jq -r '\"\\(.id)  \\(.text)\"' | fold -s -w 79"
run "tcat --ids p41,p42,p43,p44 $out/final.tms | unembed -m $model --top 3"

say 'When did it know?  Each layer of p42 read as if it were the last one.'
run "tcat --ids p42 $out/acts.tms | unembed -m $model --lens --top 1"

say 'How surprised is it by stories that it has not seen?  (PyTorch: 1.8992.)'
run "jq -c '.text += \"<|end_of_text|>\"' $model/heldout.jsonl | tok -m $model | embed -m $model |
    layer-run -m $model | unembed -m $model --nll > $out/nll.txt"
run "sed -n '1p;\$p' $out/nll.txt"

say 'Where do happy and sad part?  The line through their means over 40 prompts, and the other 40 laid on it.'
run "tcat --tsv $out/acts.tms | awk -f pipelines/separation.awk -v pos=happy -v neg=sad"

say 'The same activations for NumPy: one array a layer, with ids and labels beside.'
run "tcat --npy $out/acts $out/acts.tms"
run "ls $out/acts"

say 'The direction from sad to happy, found on those 40; and how far apart the two are, in standard deviations.'
run "sed 40q $model/prompts.jsonl | tok -m $model | embed -m $model |
    layer-run -m $model -n --tap resid_post/last=- | diffmean --pos happy --neg sad -o $out/mood.tms"
run "tcat --tsv $out/mood.tms | awk -F '\t' '\$1 == \"cohens_d\" { printf \"layer %d: %.1f\\n\", \$5, \$8 }'"

say 'Steered both ways after layer 3, all strengths in one pass over the weights.'
run "tcat --ids p41,p42 $out/prompts.tms | embed -m $model | layer-run -m $model --to 4 |
    steer --vector $out/mood.tms --alpha -1,0,1 | layer-run -m $model | unembed -m $model --top 3"

say 'The same for the other 40: probability of happy words and of sad words, mean over the prompts of each label.'
run "pipelines/steering.sh $model $model/prompts.jsonl 3 happy sad -1,-0.5,0,0.5,1 \\
    ' happy, glad, joyful, cheerful' ' sad, lonely, gloomy, miserable' $out/steering | expand -t 10"
if command -v gnuplot >/dev/null
then
	run "gnuplot -c pipelines/plot.gp words $out/steering/words.tsv"
	printf '\n(%s is the same picture.)\n' "$out/steering/words.png"
else
	say 'No gnuplot here: the picture is left out.'
fi

python=$(find_python)
if test -z "$python"
then
	say 'No python3 with numpy, msgpack and xxhash here: the last part is left out.'
	exit
fi
say 'Any program can stand in the pipe, in any language.  This one is Python, and does what steer did; see p42 and p44.'
run "tcat --ids p41,p42,p43,p44 $out/prompts.tms | embed -m $model | layer-run -m $model --to 4 |
    $python pipelines/add-direction.py $out/acts.tms 3 happy sad 1 |
    layer-run -m $model | unembed -m $model --top 3"
