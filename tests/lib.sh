# TAP for tests in sh.  A test is `. "$(dirname "$0")/lib.sh"`, calls of the functions below and done_testing.
#
#   $BIN     the programs, first in $PATH       $TMP     an empty directory, removed at the end
#   $TESTS   this directory                     $UNIT    the programs built from unit/*.c
#   $MOOD    the small trained model            $PYTHON  a python3 with NumPy, msgpack and xxhash, or empty

TESTS=$(cd "$(dirname "$0")" && pwd)
while test ! -e "$TESTS/lib.sh"
do
	TESTS=$(dirname "$TESTS")
done
ROOT=$(dirname "$TESTS")
BIN=${BIN:-$ROOT/bin}
BUILD=${BUILD:-$ROOT/build}
UNIT=$BUILD/unit
FUZZ=$BUILD/fuzz
MOOD=$TESTS/mood
TMP=$(mktemp -d "${TMPDIR:-/tmp}/onelayer-test.XXXXXX") || exit
trap 'rm -rf "$TMP"' EXIT
trap 'exit 1' HUP INT TERM
PATH=$BIN:$PATH
unset MAKEFLAGS MFLAGS MAKELEVEL # of the make that runs the tests: recipes have a make of their own
TMPDIR=$TMP
LC_ALL=C
# Where there is a GPU, auto is the processor here all the same: one card is not for as many programs as tests run at once.
ONELAYER_CUDA_MODULE=${ONELAYER_CUDA_MODULE:-$TMP/no-module}
export BIN BUILD UNIT FUZZ TESTS MOOD TMP TMPDIR PATH LC_ALL ONELAYER_CUDA_MODULE

for python in ${PYTHON:-/usr/bin/python3 python3}
do
	PYTHON=
	if "$python" -c 'import numpy, msgpack, xxhash' 2>/dev/null
	then
		PYTHON=$python
		break
	fi
done
export PYTHON

test_count=0
test_failures=0

# ok NAME COMMAND...: the command exits with 0.  What it printed is shown when it doesn't.
ok()
{
	test_name=$1
	shift
	"$@" >"$TMP/.said" 2>&1
	test_verdict $? "$test_name" "$TMP/.said"
}

# must_fail CODE COMMAND...: it exits with exactly that code; a signal (128 and up) never is one.  Inside ok.
must_fail()
{
	test_code=$1
	shift
	"$@"
	set -- $?
	test "$1" -eq "$test_code" || {
		echo "exit status $1, not $test_code"
		return 1
	}
}

# is NAME GOT WANT: two strings are the same.
is()
{
	test "$2" = "$3"
	set -- $? "$@"
	test "$1" -eq 0 || printf 'got:  %s\nwant: %s\n' "$3" "$4" >"$TMP/.said"
	test_verdict "$1" "$2" "$TMP/.said"
}

# says NAME CODE PATTERN COMMAND...: it exits with that code, and its standard error has a line with the pattern
# (grep -E).
says()
{
	test_name=$1
	test_pattern=$3
	test_code=$2
	shift 3
	"$@" 2>"$TMP/.said" >/dev/null
	set -- $?
	test "$1" -eq "$test_code" && grep -Eq -e "$test_pattern" "$TMP/.said"
	set -- $? "$1"
	test "$1" -eq 0 || echo "exit status $2; wanted $test_code and '$test_pattern'" >>"$TMP/.said"
	test_verdict "$1" "$test_name" "$TMP/.said"
}

# skip NAME REASON: counts as passed, and says that it did not run.
skip()
{
	test_count=$((test_count + 1))
	echo "ok $test_count - $1 # SKIP $2"
}

# skip_all REASON: nothing in this file can run here.
skip_all()
{
	echo "1..0 # SKIP $1"
	exit 0
}

# samples SEED LENGTHS: samples s1, s2, ... of so many random tokens below 190 each, as lines for tok -f ids
samples()
{
	awk -v seed="$1" -v lengths="$2" 'BEGIN {
		srand(seed)
		n = split(lengths, len, " ")
		for (i = 1; i <= n; i++) {
			printf "{\"id\":\"s%d\",\"input_ids\":[", i
			for (j = 0; j < len[i]; j++)
				printf "%s%d", j ? "," : "", int(rand() * 190)
			print "]}"
		}
	}'
}

# same_tsv FILE FILE: two streams have the same rows, as one line a sample and site, in an order of their own; and some.
same_tsv()
{
	tcat --tsv "$1" | LC_ALL=C sort >a.rows
	tcat --tsv "$2" | LC_ALL=C sort >b.rows
	test -s a.rows && cmp a.rows b.rows
}

# need_python: skips the file where no Python with the modules is.
need_python()
{
	test -n "$PYTHON" || skip_all "no python3 with numpy, msgpack and xxhash"
}

done_testing()
{
	echo "1..$test_count"
	test "$test_failures" -eq 0
	exit
}

# test_verdict STATUS NAME FILE
test_verdict()
{
	test_count=$((test_count + 1))
	if test "$1" -eq 0
	then
		echo "ok $test_count - $2"
		return 0
	fi
	test_failures=$((test_failures + 1))
	echo "not ok $test_count - $2"
	head -c 4000 "$3" | tr -d '\000' | sed 's/^/# /'
	echo
	return 0
}
