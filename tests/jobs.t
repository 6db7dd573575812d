#!/bin/sh
# -j N,pin: which threads are kept on a processor, seen from a filter while the program runs.
. "$(dirname "$0")/lib.sh"
cd "$TMP" || exit

# mask FILE: the processors of a thread, as /proc has them
mask()
{
	sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' "$1"
}

all=$(mask /proc/self/status)
unset OMP_NUM_THREADS OMP_THREAD_LIMIT # nproc heeds them
n=$(nproc)
test -n "$all" || {
	skip "pinned threads" "the system doesn't say where threads may run"
	done_testing
	exit
}
echo 'At the lake, Leo met Ivan.' | tok -m "$MOOD" | embed -m "$MOOD" -o in.tms

cat >look.sh <<'END'
# What the threads of the program that runs this may use, then what a command of its may; rows pass as they are.  The first
# thread is let go when it waits for this filter's answer, and has something to do before.
for i in 1 2 3 4 5 6 7 8 9 10
do
	cat /proc/$1/task/*/status >threads
	test "$(grep -c '^Cpus_allowed_list:[[:space:]]*[0-9]*$' threads)" -gt "$MOST" || break
	sleep 0.3
done
cat /proc/$$/status >own
exec cat
END

# look MOST OPTIONS...: threads that may use one processor alone, MOST of them, go to pinned, one a line
look()
{
	MOST=$1
	export MOST
	shift
	layer-run --device cpu "$@" -m "$MOOD" --filter 'resid_pre@0=sh look.sh $PPID' -o out.tms in.tms || return
	mask threads | grep -x '[0-9]*' | sort -n >pinned
	return 0
}

ok "threads not pinned" look 0 -j "$n"
mv out.tms plain.tms
mv pinned none
ok "threads pinned" look $((n - 1)) -j "$n,pin"
ok "the filter ran" test -s own
if test "$n" -gt 1
then
	is "all but the first, which waits for the filter, have a processor alone" "$(wc -l <pinned | tr -d ' ')" $((n - 1))
	is "none has another's" "$(sort -u pinned | wc -l | tr -d ' ')" $((n - 1))
	is "without pin nobody has" "$(wc -l <none | tr -d ' ')" 0
else
	skip "several processors" "there is one"
fi
ok "no bit depends on it" cmp out.tms plain.tms
layer-run --device cpu -v -m "$MOOD" -o out.tms in.tms 2>&1 | grep -o '[0-9]* threads' >default
ok "pin alone takes as many as there are by default" sh -c 'test -s default &&
	layer-run --device cpu -v -j pin -m "$0" -o out.tms in.tms 2>&1 | grep -o "[0-9]* threads" | cmp - default' "$MOOD"
ok "as many as are asked for" look 0 -j 1,pin
is "the filter may use what the program was given" "$(mask own)" "$all"
says "more than there are" 2 "$((n + 1)) threads.* may use $n" layer-run --device cpu -j $((n + 1)),pin -m "$MOOD" -o none.tms in.tms
last=${all##*[-,]}
if taskset -c "$last" true 2>/dev/null
then
	ok "within taskset's" taskset -c "$last" layer-run --device cpu -j pin -v -m "$MOOD" -o out.tms in.tms
	says "one processor is left" 2 "may use 1" taskset -c "$last" layer-run --device cpu -j 2,pin -m "$MOOD" -o none.tms in.tms
else
	skip "taskset" "there is none"
fi
done_testing
