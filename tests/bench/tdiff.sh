#!/bin/sh
# Two checkpoints of SIZE GB (4, or $1), in the page cache: tdiff's rate beside that of reading both plainly with all
# threads.  Equal files, files of one flipped bit, files that differ everywhere, bf16 and f32; then equal files from the
# disk, where the page cache can be emptied.  Rounds alternate; the best of each counts.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=${here%/tests/bench}
BIN=${BIN:-$root/bin}
size=${1:-${TDIFF_BENCH_GB:-4}}
rounds=${TDIFF_BENCH_ROUNDS:-5}
threads=$(nproc)
dir=$(mktemp -d "${TMPDIR:-/var/tmp}/onelayer-tdiff.XXXXXX")
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
${CC:-cc} -O3 -march=native -pthread -D_GNU_SOURCE -o "$dir/plain-read" "$here/plain-read.c"
${CC:-cc} -O2 -std=gnu17 -D_GNU_SOURCE -I"$root/libcommon" -o "$dir/make-model" "$here/make-model.c" \
	"$root/libcommon/dtype.c" -lm

# A layer of width 2048 and inner width 8192 has 67 million weights; the table of 32,000 words 66 million.
layers=$((size * 1000 / 134))
"$dir/make-model" "$dir/a" bf16 2048 8192 "$layers" 32 8 32000
mkdir "$dir/b" "$dir/c"
cp "$dir/a/config.json" "$dir/b"
cp "$dir/a/config.json" "$dir/c"
cp "$dir/a/model.safetensors" "$dir/b"
bytes=$(wc -c <"$dir/a/model.safetensors")

now() { date +%s.%N; }

# best NAME COMMAND...: seconds of the fastest round; the exit status must be $want.
round()
{
	from=$(now)
	status=0
	"$@" >"$dir/said" || status=$?
	to=$(now)
	test "$status" -eq "$want" || { echo "tdiff.sh: exit status $status, not $want: $*" >&2; exit 1; }
	echo "$from $to" | awk '{ print $2 - $1 }'
}
faster() { echo "$1 $2" | awk '{ print $1 < $2 ? $1 : $2 }'; }

warm() { cat "$dir/a/model.safetensors" "$1/model.safetensors" >/dev/null; }
cold() { sync; echo 3 >/proc/sys/vm/drop_caches; }

# measure NAME OTHER STATUS [MIB AHEAD, from the disk]
measure()
{
	name=$1 other=$2 ahead=${4:-0}
	plain=1e9 ours=1e9
	i=0
	test "$ahead" -gt 0 || warm "$other"
	while test "$i" -lt "$rounds"
	do
		want=0
		test "$ahead" -eq 0 || cold
		plain=$(faster "$plain" "$(round "$dir/plain-read" "$threads" "$ahead" "$dir/a/model.safetensors" \
			"$other/model.safetensors")")
		want=$3
		test "$ahead" -eq 0 || cold
		ours=$(faster "$ours" "$(round "$BIN/tdiff" -q "$dir/a" "$other")")
		i=$((i + 1))
	done
	both=$(($(wc -c <"$dir/a/model.safetensors") + $(wc -c <"$other/model.safetensors")))
	echo "$name $both $plain $ours" | awk '{ printf "%-16s %5.2f GB in all  plain read %6.2f GB/s  tdiff %6.2f GB/s  ratio %.2f\n",
		$1, $2 / 1e9, $2 / $3 / 1e9, $2 / $4 / 1e9, $3 / $4 }'
}

measure identical "$dir/b" 0

# One bit in the middle of the last tensor but one.
at=$((bytes - 4096 - 2048 * 8192 * 2))
byte=$(od -An -tu1 -j "$at" -N 1 "$dir/b/model.safetensors" | tr -d ' ')
# shellcheck disable=SC2059 # an octal escape is the format
printf "\\$(printf %03o $((byte ^ 1)))" | dd of="$dir/b/model.safetensors" bs=1 seek="$at" conv=notrunc status=none
measure one-bit "$dir/b" 1
"$BIN/tdiff" --json "$dir/a" "$dir/b" | grep '"total"' | grep -q '"outside":1,' && echo "the flipped bit is found"

# The same weights a tensor's row later: everything differs.
header=$(od -An -tu8 -N 8 "$dir/a/model.safetensors" | tr -d ' ')
begin=$((header + 8))
{
	head -c "$begin" "$dir/a/model.safetensors"
	tail -c +$((begin + 1 + 4096)) "$dir/a/model.safetensors"
	tail -c +$((begin + 1)) "$dir/a/model.safetensors" | head -c 4096
} >"$dir/c/model.safetensors"
rm "$dir/b/model.safetensors"
measure different "$dir/c" 1
rm -r "$dir/c"

# Another type: every value is another one.
"$dir/make-model" "$dir/d" f32 2048 8192 "$layers" 32 8 32000
measure bf16-and-f32 "$dir/d" 1
rm -r "$dir/d"

if test -w /proc/sys/vm/drop_caches
then
	cp "$dir/a/model.safetensors" "$dir/b"
	rounds=2
	measure from-the-disk "$dir/b" 0 32
else
	echo "from-the-disk: skipped; only root can empty the page cache"
fi
