#!/bin/sh
# Samples over a Slurm cluster: an array job with a task a shard, and a job that merges when all have succeeded.  What
# runs in a task is what shards.sh runs.
#
#	slurm.sh [-k SHARDS] [-j JOBS] [-o OPTIONS] [-m MERGE] [-w] [-n] IN OUT COMMAND
#
# reads	IN	a stream: tokens, mostly
# writes	OUT	the shards' results merged, bit for bit what one process would have written
#	OUT.shards/	on a file system that all nodes see: shards, array.sh and merge.sh, logs
#
#	-k	how many shards (default: 4)
#	-j	how many at a time (default: all)
#	-o	options of sbatch(1) for the array, as '--gres=gpu:1 --mem=64G --time=2:00:00'
#	-m	what merges, given the shards' results (default: 'tcat --merge')
#	-w	wait until OUT is there
#	-n	only write the two scripts
#
# A task that failed is repeated by sbatch --array=NUMBER OUT.shards/array.sh, and then sbatch OUT.shards/merge.sh.
#	slurm.sh -k 64 -o --gres=gpu:1 tokens.tms acts.tms 'embed -m MODEL | layer-run -m MODEL --tap resid_post/last=-'

usage()
{
	echo "usage: slurm.sh [-k SHARDS] [-j JOBS] [-o OPTIONS] [-m MERGE] [-w] [-n] IN OUT COMMAND" >&2
	exit 2
}

# quoted WORD: as sh reads it back.
quoted()
{
	printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"
}

shards=4 jobs='' options='' merge='tcat --merge' wait='' submit=yes
while getopts k:j:o:m:wn option
do
	case $option in
	k) shards=$OPTARG ;;
	j) jobs=%$OPTARG ;;
	o) options=$OPTARG ;;
	m) merge=$OPTARG ;;
	w) wait=--wait ;;
	n) submit=no ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))
test $# -eq 3 || usage
here=$(cd "$(dirname "$0")" && pwd) || exit

dir=$2.shards
mkdir "$dir" || exit
tcat --split "$shards" -o "$dir/%d.tms" "$1" || exit
out=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
dir=$out.shards
last=$((shards - 1))

# Slurm copies a script elsewhere before it runs it: all paths in it are whole ones.
cat >"$dir/array.sh" <<-END
	#!/bin/sh
	#SBATCH --job-name=shards
	#SBATCH --array=0-$last$jobs
	#SBATCH --output="$dir/%a.log"
	cd $(quoted "$PWD") || exit
	i=$(quoted "$dir")/\$SLURM_ARRAY_TASK_ID
	exec $(quoted "$here/shard.sh") "\$i.tms" "\$i.done" $(quoted "$3")
END
cat >"$dir/merge.sh" <<-END
	#!/bin/sh
	#SBATCH --job-name=merge
	#SBATCH --output="$dir/merge.log"
	cd $(quoted "$dir") || exit
	$merge$(seq -f ' %.0f.done' -s '' 0 "$last") >merged && mv merged $(quoted "$out")
END
test "$submit" = yes || exit 0

# shellcheck disable=SC2086 # lists of options
{
	array=$(sbatch --parsable $options "$dir/array.sh") || exit
	sbatch $wait --kill-on-invalid-dep=yes --dependency="afterok:${array%%;*}" "$dir/merge.sh"
}
