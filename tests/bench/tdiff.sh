#!/bin/sh
# Two checkpoints of SIZE GB (4, or $1), in the page cache: tdiff's rate beside that of reading both plainly with all
# threads.  Equal files, files of one flipped bit, files that differ everywhere.  Rounds alternate; the best of each counts.
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

# measure NAME OTHER STATUS
measure()
{
	name=$1 other=$2
	plain=1e9 ours=1e9
	i=0
	while test "$i" -lt "$rounds"
	do
		want=0
		plain=$(faster "$plain" "$(round "$dir/plain-read" "$threads" "$dir/a/model.safetensors" "$other/model.safetensors")")
		want=$3
		ours=$(faster "$ours" "$(round "$BIN/tdiff" -q "$dir/a" "$other")")
		i=$((i + 1))
	done
	echo "$name $bytes $plain $ours" | awk '{ printf "%-28s 2 x %.2f GB  plain read %6.2f GB/s  tdiff %6.2f GB/s  ratio %.2f\n",
		$1, $2 / 1e9, 2 * $2 / $3 / 1e9, 2 * $2 / $4 / 1e9, $3 / $4 }'
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
