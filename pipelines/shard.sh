#!/bin/sh
# One shard's work, wherever it runs: a filter between two files, of which the second appears complete or not at all.
# shards.sh and slurm.sh start it.
#
#	shard.sh IN OUT COMMAND		COMMAND is read by sh -c, reads IN and writes OUT
#
# With DEVICES=N in the environment it takes the first of this host's N devices that no other shard holds, and tells
# COMMAND by CUDA_VISIBLE_DEVICES; of GNU parallel's slots and Slurm's devices it needs not know.

test $# -eq 3 || {
	echo "usage: shard.sh IN OUT COMMAND" >&2
	exit 2
}
device=0
while test "$device" -lt "${DEVICES:-0}"
do
	# The lock is gone when this shell is, however it ends.
	exec 9>"${TMPDIR:-/tmp}/onelayer-$(id -un)-device-$device.lock"
	if flock -n 9
	then
		export CUDA_VISIBLE_DEVICES="$device"
		break
	fi
	device=$((device + 1))
done
# No later program has to look for the exit status of an earlier one: a stream that was cut short is refused.
sh -c "$3" <"$1" >"$2.part" && mv "$2.part" "$2"
