#!/bin/sh
# layer-run --state --resume: whenever a run is killed, and however often, its outputs are those of a run that was left alone.
. "$(dirname "$0")/lib.sh"
cd "$TMP" || exit
model=$TESTS/data/models/llama-bf16
layers=3

samples 11 "30 700 2 33 0 128 5 61 17 300 1 90 400 260" | tok -f ids >ids.tms
embed -m "$model" -o in.tms ids.tms

# A run's outputs are in the directory `out`, and its state is in `state`.
fresh()
{
	rm -rf out state
	mkdir out
}

# run [OPTIONS] INPUT, resume [OPTIONS] INPUT
run()
{
	layer-run -m "$model" --state state "$@"
}

resume()
{
	run --resume "$@"
}

# over OFFSET TEXT FILE: puts it there; \0302 and the like are bytes
over()
{
	printf '%b' "$2" | dd of="$3" bs=1 seek="$1" conv=notrunc 2>/dev/null
}

# alone OPTIONS: the outputs of a run that is left alone, as `good`; sets $ms, how long a run with a state takes
alone()
{
	fresh
	layer-run -m "$model" "$@" || return
	rm -rf good
	mv out good
	mkdir out
	alone_from=$(date +%s%N)
	run "$@" || return
	ms=$((($(date +%s%N) - alone_from) / 1000000))
	diff -r good out
}

# parted: outputs that are not whole have no final names, and nothing else is in `out`
parted()
{
	find out -type f ! -name '.*.part' | grep . && return 1
	return 0
}

# kills N OPTIONS: begins the run and kills it N times, each time at a random moment, and lets it go on each time; then lets it end
kills()
{
	kills_left=$1
	shift
	fresh
	while test "$kills_left" -gt 0
	do
		(exec layer-run -m "$model" --state state --resume -j $((kills_left % 2 + 1)) "$@") 2>said &
		kills_of=$!
		sleep "$(od -An -N2 -tu2 /dev/urandom | awk -v ms="$ms" '{ printf "%.3f", $1 / 65536 * ms / 1000 }')"
		kill -9 $kills_of 2>>said
		wait $kills_of 2>>said
		case $? in
		0)
			diff -r good out || return
			fresh
			;;
		137) kills_left=$((kills_left - 1)) ;;
		*)
			cat said
			return 1
			;;
		esac
	done
	resume "$@" && diff -r good out && test "$(find state -type f | sort | tr '\n' ' ')" = "state/lock state/record "
}

# survives NAME N OPTIONS
survives()
{
	survives_name=$1
	survives_n=$2
	shift 2
	ok "$survives_name: with a state" alone "$@"
	ok "$survives_name: killed $survives_n times" kills "$survives_n" "$@"
}

# -------- at every call that brings something to the disk

taps="--tap resid_post,attn_out/mean=out/a.taps --tap q@1-2/last=out/b.taps --tap k@1=out/b.taps"

# crashes N OPTIONS: kills the run at the Nth call.  0; 1: another run differs; 2: there are not as many calls.
crashes()
{
	crashes_at=$1
	shift
	fresh
	(
		export CRASH_AT="$crashes_at" LD_PRELOAD="$TMP/crash.so"
		resume "$@"
	) >said 2>&1
	case $? in
	0) return 2 ;;
	137) ;;
	*)
		cat said
		return 1
		;;
	esac
	resume "$@" && diff -r good out
}

crashes_everywhere()
{
	calls=0
	while :
	do
		crashes $((calls + 1)) "$@"
		case $? in
		0) calls=$((calls + 1)) ;;
		2) break ;;
		*)
			echo "killed at call $((calls + 1))"
			return 1
			;;
		esac
	done
	test $calls -gt $((5 * layers))
}

if test -z "$SANITIZED" && ${CC:-cc} -shared -fPIC -D_GNU_SOURCE -o crash.so "$TESTS/crash.c" 2>said
then
	# shellcheck disable=SC2086 # lists
	{
		ok "taps: with a state" alone $taps -o out/o.tms in.tms
		ok "killed at each call that brings something to the disk" crashes_everywhere $taps -o out/o.tms in.tms
	}
	echo "# $calls calls"
else
	skip "killed at each call that brings something to the disk" "a library can't be preloaded"
fi

# -------- at random moments

printf '{"id":"a","label":"x","input_ids":[1,2,3]}\n{"id":"b","label":"y","input_ids":[4,5]}\n' | tok -f ids | embed -m "$model" |
	layer-run -m "$model" -n --tap resid_post=- | diffmean --pos x --neg y -o vectors.tms
layer-run -m "$model" -n --tap mlp_out@0-1=rows.taps in.tms
printf 'variant\tsite\tlayers\tpos\tfile\nnone\tmlp_out\t0\t0\trows.taps\nlast\tmlp_out\t1\tlast\trows.taps\n' >sweep.tsv
steer='steer --vector vectors.tms --alpha 2'
samples 13 "20 4700 5" | tok -f ids | embed -m "$model" -o long.tms

# shellcheck disable=SC2086 # lists
{
	survives "taps" 6 $taps -o out/o.tms in.tms
	survives "-n" 3 -n --tap resid_post/max=out/a.taps --tap attn_probs@0,2=out/a.taps in.tms
	survives "a filter of its own" 3 --filter mlp_out=cat --tap mlp_out=out/a.taps -o out/o.tms in.tms
	survives "steer" 3 --filter "resid_post@1=$steer" --patch mlp_out@0=rows.taps -o out/o.tms in.tms
	survives "--sweep" 4 --sweep sweep.tsv --tap mlp_out/last=out/a.taps -o out/o.tms in.tms
	survives "--hold 2" 4 --hold 2 $taps -o out/o.tms in.tms
	survives "--to 2" 3 --to 2 --tap resid_pre=out/a.taps -o out/o.tms in.tms
	survives "a sample of more rows than a batch" 3 --tap resid_post/mean=out/a.taps -o out/o.tms long.tms
}
ok "no layer: with a state" alone --to 0 -o out/o.tms in.tms
module=$BUILD/cuda-host/onelayer-cuda.so
if test -z "$SANITIZED" && test -e "$module"
then
	none=$ONELAYER_CUDA_MODULE
	export ONELAYER_CUDA_MODULE="$module" ONELAYER_FAKE_GPU=shuffled,seed=4
	samples 3 "1 70 2 0 33 17" | tok -f ids | embed -m "$model" -o few.tms
	survives "--device cuda" 3 --device cuda --tap resid_post/last=out/a.taps --tap q=out/b.taps -o out/o.tms few.tms
	unset ONELAYER_FAKE_GPU
	ONELAYER_CUDA_MODULE=$none
else
	skip "--device cuda" "fibres are slow under sanitizers"
fi

# -------- within a pass, which takes seconds where a filter is slow: it hands on what it reads, bit by bit

tcat -o many.tms in.tms in.tms in.tms in.tms in.tms in.tms in.tms in.tms in.tms in.tms in.tms in.tms
tcat -o others.tms in.tms long.tms
echo cat >slow
set -- --filter "mlp_out@0,1=sh ./slow" --tap "mlp_out/mean=out/a.taps" -o out/o.tms
ok "a filter that is a script" alone "$@" many.tms
cat >slow <<'END'
while test "$(dd bs=64k count=1 2>/dev/null | tee /dev/fd/3 | wc -c)" -gt 0
do
	sleep 0.02
done 3>&1
END

# part N OPTIONS INPUT: goes on with the run until its record has changed N times, and kills it
part()
{
	part_left=$1 was=none
	shift
	(exec layer-run -v -m "$model" --state state --resume "$@") 2>part.said &
	part_of=$!
	while test "$part_left" -gt 0 && kill -0 $part_of 2>>part.said
	do
		now=$(cksum 2>&1 state/record)
		test "$was" = none || test "$now" = "$was" || part_left=$((part_left - 1))
		was=$now
		sleep 0.02
	done
	kill -9 $part_of 2>>part.said
	wait $part_of 2>>part.said
	test $? -eq 137 || {
		cat part.said
		return 1
	}
}

went_on_within()
{
	grep -E "goes on with layer $1 after [1-9][0-9]* frames" part.said
}

fresh
mkdir state
ok "slow: killed within the first pass" part 2 "$@" many.tms
ok "nothing has its final name" parted
says "another input, of the same first frame" 2 "others.tms: isn't the input that the run in state began with" resume "$@" others.tms
ok "slow: killed again" part 1 "$@" many.tms
ok "slow: it had gone on within the first pass" went_on_within 0
while went_on_within 0
do
	part 1 "$@" many.tms
done >/dev/null
ok "slow: killed within the second pass" part 1 "$@" many.tms
ok "slow: goes on" resume -j 1 -v "$@" many.tms
ok "slow: the same outputs" diff -r good out

# What comes behind the place where a run goes on is checked by the sum of all.
echo cat >slow
set -- --filter "mlp_out@1=sh ./slow" --tap "mlp_out/mean=out/a.taps" -o out/o.tms
ok "a filter in the second pass" alone "$@" many.tms
cat >slow <<'END'
header=
while test "$(dd bs=64k count=1 2>/dev/null | tee /dev/fd/3 | wc -c)" -gt 0
do
	test -z "$header" || touch started
	header=past
	sleep 0.1
done 3>&1
END
fresh
(exec layer-run -m "$model" --state state "$@" many.tms) 2>said &
ended=$!
until test -e started
do
	sleep 0.02
done
was=$(cksum state/record)
while test "$was" = "$(cksum state/record)"
do
	sleep 0.02
done
kill -9 $ended
wait $ended 2>>said
echo cat >slow
cp -a state state.was
cp -a out out.was
at=$(grep -obUa 'id.s[0-9]' state/stream.1 | tail -n 1 | cut -d : -f 1)
over $((at + 4)) x state/stream.1
says "an id that is damaged is noticed" 2 "state/stream.1: the trailer's checksum at byte [0-9]+ is not that of the stream" \
	resume -v "$@" many.tms
cp .said part.said
ok "by who goes on within the second pass" went_on_within 1
ok "who isn't told to go on again" must_fail 1 grep "the same command" part.said
rm -rf state out
mv state.was state
mv out.was out
ok "undamaged it goes on" resume -v "$@" many.tms
ok "to the same outputs" diff -r good out

# -------- what is refused, and what stays

# It stops when it is given rows, and not before there is a state.
echo 'test ! -e stop || { head -c 20000 >/dev/null; exit 1; }; exec cat' >gate
set -- --filter "mlp_out@1=sh ./gate" --tap resid_post=out/a.taps -o out/o.tms in.tms
ok "a filter that lets rows pass" alone "$@"
says "--resume alone" 2 "--resume needs --state DIR" layer-run -m "$model" --resume "$@"
says "--state with a stream to a pipe" 2 "--state needs -o FILE, or -n" run in.tms
says "--state with a tap to a command" 2 "--state needs outputs that are regular files: --tap q=: \|cat" run -n --tap "q=|cat >x" in.tms
says "--state with a tap to standard output" 2 "regular files: --tap q=: <stdout>" run --tap q=- -o out/x in.tms
says "--state with an output that is no file" 2 "/dev/null: isn't a regular file" run -o /dev/null in.tms
says "--state where no directory can be" 2 "--state nowhere/state: No such file" layer-run -m "$model" --state nowhere/state "$@"

touch stop
fresh
kept="layer-run: the state of this run is kept in state; the same command with --resume goes on there"
run "$@" >said 2>&1
is "a run that fails says at the end what is kept" "$?$(tail -n 1 said)" "2$kept"
is "after what is wrong" "$(grep -c 'layer-run: ' said)" 2
ok "nothing has its final name" parted
rm stop

# refused NAME PATTERN OPTIONS: --resume is, and changes nothing
refused()
{
	refused_name=$1 refused_for=$2
	shift 2
	cp -a state state.was
	cp -a out out.was
	says "$refused_name" 2 "$refused_for" resume "$@"
	ok "$refused_name: all stays as it was" sh -c 'diff -r state state.was && diff -r out out.was'
	rm -rf state out
	mv state.was state
	mv out.was out
}

other="state: another run was begun there, with '.*' where this one has '.*'; ask for that one, or give it up with --discard"
says "a run that isn't finished, without --resume" 2 "isn't finished; give --resume to go on with it, or --discard to give it up" run "$@"
refused "another option" "$other" --attention plain "$@"
refused "another type" "$other" --resid-dtype f32 "$@"
refused "another tap" "$other" --tap q=out/a.taps "$@"
refused "another range" "$other" --to 2 "$@"
refused "another --hold" "$other" --hold 2 "$@"
refused "another back end" "$other" --device ref "$@"
refused "another order of taps" "$other" --tap q=out/b.taps "$@"
refused "no stream" "with '-o .*' where this one has '-n'" -n --filter "mlp_out@1=sh ./gate" --tap resid_post=out/a.taps in.tms
refused "another input" "with 'an input that begins .*' where" --filter "mlp_out@1=sh ./gate" --tap resid_post=out/a.taps -o out/o.tms long.tms
embed -m "$TESTS/data/models/llama-f32" -o other.in ids.tms
refused "another model" "with '-m llama-bf16, .*' where this one has '-m llama-f32, " \
	-m "$TESTS/data/models/llama-f32" --filter "mlp_out@1=sh ./gate" --tap resid_post=out/a.taps -o out/o.tms other.in
if command -v flock >/dev/null
then
	exec 9>>state/lock
	flock 9
	says "a directory that another run has" 2 "another run is at work there" resume "$@"
	exec 9>&-
else
	skip "a directory that another run has" "no flock"
fi

# damage NAME PATTERN FILE COMMAND...: what the command does to a copy of the file makes that the file is refused
damage()
{
	damage_name=$1 damage_pattern=$2 damage_file=$3
	shift 3
	cp "$damage_file" undamaged
	"$@" "$damage_file" 2>>said
	says "$damage_name" 2 "$damage_pattern" resume_it
	cp undamaged "$damage_file"
}

resume_it()
{
	resume --filter "mlp_out@1=sh ./gate" --tap resid_post=out/a.taps -o out/o.tms in.tms
}

size=$(stat -c %s state/record)
for at in 0 1 30 $((size / 2)) $((size - 9)) $((size - 1))
do
	damage "the record cut to $at bytes" "state.*record" state/record truncate -s "$at"
done
for at in 0 3 18 60 $((size / 3)) $((size / 2)) $((size - 60)) $((size - 9)) $((size - 1))
do
	# Another byte than the one that is there.
	byte='\0302'
	test "$(od -An -tu1 -j "$at" -N 1 state/record | tr -d ' ')" -ne 194 || byte='\0303'
	damage "the record changed at byte $at" "state.*record" state/record over "$at" "$byte"
done
damage "a record of another version" "record: is of version 3, and this release knows version 2" state/record over 17 '\0003'
damage "a record that goes on" "checksum" state/record truncate -s +1
tap=$(find out -name '.a.taps.*.part')
damage "an output that is cut" "a.taps: has 1000 bytes where [0-9]+ were written" "$tap" truncate -s 1000
damage "an output that is another one" "a.taps: " "$tap" over 300 'x'
damage "an output that is gone" "a.taps.*: No such file" "$tap" rm
damage "a stream between layers that is cut" "state/stream.1: " state/stream.1 truncate -s 9000
damage "a stream between layers that is damaged" "state/stream.1: .*checksum is wrong" state/stream.1 over 90000 'xxxx'
damage "a stream between layers that is gone" "state/stream.1: No such file" state/stream.1 rm
ok "after all that it goes on" resume "$@"
ok "with the same outputs" diff -r good out

# -------- the end

ls -l --full-time out state >was
ok "a finished run" resume_it
ok "is left as it is" sh -c 'ls -l --full-time out state | diff was -'
refused "another run where one is finished" "$other" --to 2 "$@"
mv out/o.tms kept.tms
says "an output of a finished run is gone" 2 "the run there is finished, and its output is gone or was changed since .*o.tms" resume "$@"
echo >>kept.tms
mv kept.tms out/o.tms
says "an output of a finished run was changed" 2 "is gone or was changed since .*o.tms: has [0-9]+ bytes where" resume "$@"
ok "without --resume it begins anew" run "$@"
ok "and has the same outputs" diff -r good out

fresh
(ulimit -f 1500 && resume "$@") >said 2>&1
is "a full disk is trouble, and the state is kept" "$?$(tail -n 1 said)" "2$kept"
ok "and leaves nothing under a final name" parted
ok "with room it goes on" resume "$@"
ok "to the same outputs" diff -r good out

fresh
echo 'touch reached; exec sleep 20' >gate
(exec layer-run -m "$model" --state state "$@") 2>said &
ended=$!
until test -e reached && test -e state/record
do
	sleep 0.02
done
says "another process beside it" 2 "state: another run is at work there" resume "$@"
says "nor can it be discarded" 2 "state: another run is at work there" layer-run --state state --discard
kill -TERM $ended
wait $ended 2>>said
is "SIGTERM ends it" $? 143
is "and it says how to go on" "$(grep '^layer-run: ' said)" "$kept"
ok "and leaves nothing under a final name" parted
echo 'exec cat' >gate
ok "and it goes on" resume "$@"
ok "to the same outputs" diff -r good out

# -------- a run that is given up

# unfinished: a run whose filter has failed, beside files that aren't its own
unfinished()
{
	fresh
	touch stop
	mkdir state
	echo mine | tee state/mine out/mine >out/.x.part
	echo 'test ! -e stop && exec cat' >gate
	run "$@" 2>said
	rm stop
	test -e state/record && test "$(find out -name '.[ao].*.part' | wc -l)" -eq 2
}

# keeps PATTERN OPTIONS: a discard with them is refused, and changes nothing
keeps()
{
	keeps_for=$1
	shift
	cp -a state state.was
	cp -a out out.was
	says "--discard: $keeps_for" 2 "state: .*$keeps_for" layer-run --state state --discard "$@"
	ok "--discard: all stays as it was" sh -c 'diff -r state state.was && diff -r out out.was'
	rm -rf state.was out.was
}

says "--discard alone" 2 "--discard needs --state DIR" layer-run --discard
ok "an unfinished run" unfinished "$@"
keeps "has '-m llama-bf16, .*' and not '-m llama-f32, .*writes .*/out/a.taps, .*/out/o.tms" -m "$TESTS/data/models/llama-f32"
ok "--plan leaves it alone" layer-run -m "$model" --state state --discard --plan "$@"
ok "and it is there" test -e state/record
cp state/record undamaged
over 60 '\0302' state/record
keeps "files are state/record, .*state/stream.1, state/lock, and .* end in .[0-9a-f]{16}.part: state/record: is damaged"
cp undamaged state/record
ok "the same command with --discard in place of --resume" run --discard "$@"
is "its own files are gone, and others stay" "$(find state out -type f | sort | tr '\n' ' ')" "out/.x.part out/mine state/mine "
keeps "no run is kept there"
rm state/mine
keeps "no run is kept there"
rmdir state
says "no directory" 2 "state: No such file" layer-run --state state --discard
unfinished "$@"
rm state/mine
ok "without a model's name" layer-run --state state --discard
ok "an empty directory is removed" test ! -e state
fresh
ok "a finished run" run "$@"
ok "its record is given up" layer-run --state state --discard -m "$model"
ok "and the outputs stay" sh -c 'test ! -e state && diff -r good out'
if test -e crash.so
then
	unfinished "$@"
	rm state/mine
	at=0
	while at=$((at + 1)) && test -e state/record
	do
		env CRASH_AT=$at LD_PRELOAD="$TMP/crash.so" layer-run --state state --discard >said 2>&1
		test $? -eq 137 || break
	done
	is "killed at each file that it removes, it is asked for again" "$(find state out -type f | sort | tr '\n' ' ')" "out/.x.part out/mine state/lock "
fi
done_testing
