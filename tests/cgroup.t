#!/bin/sh
# A run under a real limit of memory: in a kernel of its own, that runs as a process (User-Mode Linux), so that no group of this
# system is touched.
. "$(dirname "$0")/lib.sh"
test -z "$SANITIZED" || skip_all "a sanitizer takes memory of its own"
kernel=$(command -v linux.uml) || skip_all "no linux.uml, of the package user-mode-linux"
cd "$TMP" || exit

samples 3 "$(awk 'BEGIN { for (i = 0; i < 1500; i++) printf "200 " }')" | tok -f ids | embed -m "$MOOD" -o in.tms
mkdir spill

# What the kernel starts; $groups, which its command line sets, is the version.
cat >init <<END
#!/bin/sh
cd $TMP
export PATH=$PATH
mount -t proc proc /proc
if test "\$groups" = 2
then
	mount -t sysfs none /sys
	mount -t cgroup2 none /sys/fs/cgroup
	echo +memory >/sys/fs/cgroup/cgroup.subtree_control
	mkdir -p /sys/fs/cgroup/job/step
	echo 80M >/sys/fs/cgroup/job/memory.max
else
	mount -t sysfs none /sys
	mount -t tmpfs none /sys/fs/cgroup
	mkdir /sys/fs/cgroup/memory
	mount -t cgroup -o memory none /sys/fs/cgroup/memory
	ln -s memory/job /sys/fs/cgroup/job
	mkdir -p /sys/fs/cgroup/memory/job/step
	echo 80M >/sys/fs/cgroup/memory/job/memory.limit_in_bytes
fi
limited()
{
	sh -c 'echo 0 >/sys/fs/cgroup/job/step/cgroup.procs && exec "\$@"' - layer-run -q -m $MOOD --to 2 --spill spill -n "\$@" in.tms
	echo \$? >status
}
grep MemAvailable /proc/meminfo >memory
limited --plan --json --tap resid_post/last=plan.tms >plan 2>plan.said
mv status plan.status
limited --ram 1G --tap resid_post/last=held.tms 2>held.said
mv status held.status
limited --tap resid_post/last=out.tms 2>out.said
mv status out.status
sync
echo o >/proc/sysrq-trigger
sleep 10
END
chmod +x init

ok "without a limit" layer-run -m "$MOOD" --to 2 -n --tap resid_post/last=good.tms in.tms
for groups in 2 1
do
	rm -f -- *.status memory plan
	timeout 120 "$kernel" rootfstype=hostfs rootflags=/ rw mem=1000M init="$TMP/init" groups=$groups con=null con0=fd:0,fd:1 quiet \
		</dev/null >kernel.said 2>&1
	if ! test -s out.status || ! test -s memory
	then
		skip "version $groups" "the kernel didn't come up: $(tail -n 1 kernel.said | tr -d '\r#')"
		continue
	fi
	is "version $groups: the limit is one: a run that holds all is killed" "$(cat held.status)" 137
	is "version $groups: the plan says that it can work" "$(cat plan.status)" 0
	ok "version $groups: and that at most 80 MiB are available" sh -c '
		n=$(grep -o "\"available\":[0-9]*" plan | head -n 1 | cut -d : -f 2) && test "$n" -gt 30000000 && test "$n" -le 83886080'
	is "version $groups: the default of --ram heeds it" "$(cat out.status)" 0
	ok "version $groups: to the same rows" cmp out.tms good.tms
	rm -f out.tms
done
done_testing
