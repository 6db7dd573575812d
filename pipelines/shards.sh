#!/bin/sh
# Samples over processes, devices and hosts, with GNU parallel: a stream is dealt out to shards, COMMAND runs for each,
# and what comes back is merged into what one process would have written, bit for bit.
#
#	shards.sh [-k SHARDS] [-j JOBS] [-S HOST[,HOST...]] [-d DEVICES] [-m MERGE] IN OUT COMMAND
#
# reads	IN	a stream: tokens, mostly
# writes	OUT	the shards' results merged; OUT.shards/, which holds them meanwhile, is removed
#
#	-k	how many shards (default: 4), more than JOBS where they differ in length
#	-j	how many at a time (default: 2), on each host; without -S the one in slot s sees device s - 1
#	-S	hosts for ssh(1), ':' is this one; the programs and the model must lie there as here, IN and OUT need not
#	-d	with -S: how many devices a host has; each shard takes a free one
#	-m	what merges, given the shards' results (default: 'tcat --merge')
#
# Activations of every layer, on four devices:
#	shards.sh -k 16 -j 4 tokens.tms acts.tms 'embed -m MODEL | layer-run -m MODEL --tap resid_post/last=-'
# The same where the model doesn't fit in memory: --share /dev/shm/NAME lets them read each layer from disk once.
# Principal components, of which only states of fixed size travel, on two hosts:
#	shards.sh -S a,b -m 'pca --merge -k 8' tokens.tms pca.tms \
#		'embed -m MODEL | layer-run -m MODEL --tap resid_post/last=- | pca --partial'

usage()
{
	echo "usage: shards.sh [-k SHARDS] [-j JOBS] [-S HOST[,HOST...]] [-d DEVICES] [-m MERGE] IN OUT COMMAND" >&2
	exit 2
}

shards=4 jobs=2 hosts='' DEVICES=0 merge='tcat --merge'
while getopts k:j:S:d:m: option
do
	case $option in
	k) shards=$OPTARG ;;
	j) jobs=$OPTARG ;;
	S) hosts=$OPTARG ;;
	d) DEVICES=$OPTARG ;;
	m) merge=$OPTARG ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))
test $# -eq 3 || usage
in=$1 out=$2 COMMAND=$3
export COMMAND DEVICES
here=$(cd "$(dirname "$0")" && pwd) || exit

dir=$out.shards
mkdir "$dir" || exit
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
tcat --split "$shards" -o "$dir/%d.tms" "$in" || exit

list=$(seq 0 $((shards - 1)))
cd "$dir" || exit
if test -z "$hosts"
then
	# shellcheck disable=SC1083,SC2086 # {%} is parallel's; a list
	parallel -j "$jobs" --halt soon,fail=1 \
		'CUDA_VISIBLE_DEVICES=$(({%} - 1)) '"'$here/shard.sh'"' {}.tms {}.done "$COMMAND"' ::: $list
else
	cp "$here/shard.sh" .
	# shellcheck disable=SC2086 # lists
	parallel ${SSH:+--ssh "$SSH"} --sshlogin "$hosts" -j "$jobs" --halt soon,fail=1 --workdir ... --env PATH \
		--env COMMAND --env DEVICES --transferfile shard.sh --transferfile {}.tms --return {}.done --cleanup \
		'./shard.sh {}.tms {}.done "$COMMAND"' ::: $list
fi || exit
cd - >/dev/null || exit

set --
for i in $list
do
	set -- "$@" "$dir/$i.done"
done
# shellcheck disable=SC2086 # a command and its options
$merge "$@" >"$dir/merged" && mv "$dir/merged" "$out"
