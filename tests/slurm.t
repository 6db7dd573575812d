#!/bin/sh
# pipelines/slurm.sh: the jobs that it writes, run by sh as Slurm would; then by a Slurm of our own where one starts.
. "$(dirname "$0")/lib.sh"
P=$ROOT/pipelines
mkdir "$TMP/a b" && cd "$TMP/a b" || exit

head -n 12 "$MOOD/prompts.jsonl" | tok -m "$MOOD" -o tokens.tms
# A relative path and quotes, which both must survive.
ln -s "$MOOD" "it's"
work="embed -m \"it's\" | layer-run -m \"it's\" --tap 'resid_post/last=-'"
sh -c "$work" <tokens.tms >one.tms
tcat --json one.tms >one.txt

ok "the scripts of an array job" "$P/slurm.sh" -n -k 3 -j 2 tokens.tms dry.tms "$work"
is "a task a shard, two at a time" "$(grep -c '^#SBATCH --array=0-2%2$' dry.tms.shards/array.sh)" 1
for task in 2 0 1
do
	(cd / && SLURM_ARRAY_TASK_ID=$task sh "$TMP/a b/dry.tms.shards/array.sh")
done
ok "the merge, run by sh" sh -c 'cd / && sh "$1"' - "$PWD/dry.tms.shards/merge.sh"
ok "gives what one process gives" sh -c 'tcat --json dry.tms | cmp - one.txt'
ok "without a task's result there is none" sh -c 'rm dry.tms dry.tms.shards/1.done; ! sh dry.tms.shards/merge.sh; test ! -e dry.tms'

# A cluster of one node, this machine: all its files lie in $TMP.
PATH=$PATH:/usr/sbin:/sbin
slurm=$TMP/slurm
start_slurm()
{
	for program in munged slurmctld slurmd sbatch
	do
		command -v $program >/dev/null || {
			why="no $program"
			return 1
		}
	done
	test "$(id -u)" -eq 0 || {
		why="only root can start slurmd"
		return 1
	}
	mkdir "$slurm" "$slurm/state" "$slurm/spool" "$slurm/munge" && chmod 700 "$slurm/munge" || return
	port=$((20000 + $$ % 20000))
	host=$(hostname -s)
	cat >"$slurm/slurm.conf" <<-END
		ClusterName=scratch
		SlurmctldHost=$host(127.0.0.1)
		SlurmUser=root
		SlurmdUser=root
		AuthType=auth/munge
		AuthInfo=socket=$slurm/munge/socket
		SlurmctldPort=$port
		SlurmdPort=$((port + 1))
		StateSaveLocation=$slurm/state
		SlurmdSpoolDir=$slurm/spool
		SlurmctldPidFile=$slurm/slurmctld.pid
		SlurmdPidFile=$slurm/slurmd.pid
		SlurmctldLogFile=$slurm/slurmctld.log
		SlurmdLogFile=$slurm/slurmd.log
		ProctrackType=proctrack/pgid
		TaskPlugin=task/none
		SelectType=select/cons_tres
		SelectTypeParameters=CR_Core
		SchedulerParameters=batch_sched_delay=0,sched_interval=1
		MpiDefault=none
		ReturnToService=2
		JobAcctGatherType=jobacct_gather/none
		AccountingStorageType=accounting_storage/none
		NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
		PartitionName=all Nodes=ALL Default=YES State=UP
	END
	export SLURM_CONF="$slurm/slurm.conf"
	head -c 1024 /dev/urandom >"$slurm/munge/key" && chmod 400 "$slurm/munge/key"
	why="Slurm does not start: $(
		(
			cd "$slurm/munge" &&
			munged --force --key-file="$PWD/key" --socket="$PWD/socket" --pid-file="$PWD/pid" --seed-file="$PWD/seed" \
				--log-file="$PWD/log" && slurmctld && slurmd
		) 2>&1 | tail -n 1)"
	for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20
	do
		sleep 0.5
		test "$(sinfo -h -o %T 2>/dev/null)" != idle || return 0
	done
	why="$why no idle node after $((try / 2)) seconds"
	return 1
}

stop_slurm()
{
	for pid in "$slurm"/*.pid "$slurm/munge/pid"
	do
		test -s "$pid" && kill "$(cat "$pid")"
	done
	# They write their state last, and the directory goes with this test.
	for try in 1 2 3 4 5 6 7 8 9 10
	do
		test -e "$slurm/slurmctld.pid" || break
		sleep 0.5
	done
}

# appears FILE: within half a minute.
appears()
{
	for try in $(seq 60)
	do
		test ! -e "$1" || return 0
		sleep 0.5
	done
	squeue
	tail -n 20 "$slurm"/*.log "$1".shards/*.log
	return 1
}

if start_slurm
then
	ok "an array job and its merge are accepted" "$P/slurm.sh" -k 3 -o '--mem=0' tokens.tms jobs.tms "$work"
	ok "Slurm runs them" appears jobs.tms
	ok "and gives what one process gives" sh -c 'tcat --json jobs.tms | cmp - one.txt'
	ok "three tasks ran" test -e jobs.tms.shards/0.log -a -e jobs.tms.shards/1.log -a -e jobs.tms.shards/2.log
else
	skip "jobs under Slurm" "$why"
fi
stop_slurm 2>/dev/null
done_testing
