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
	resume "$@" && diff -r good out && test "$(ls -A state | tr '\n' ' ')" = "lock record "
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
echo 9000 >length
samples 13 "20 $(cat length) 5" | tok -f ids | embed -m "$model" -o long.tms

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
	export ONELAYER_CUDA_MODULE="$module" ONELAYER_FAKE_GPU=shuffled,seed=4
	survives "--device cuda" 3 --device cuda --tap resid_post/last=out/a.taps --tap q=out/b.taps -o out/o.tms in.tms
	unset ONELAYER_CUDA_MODULE ONELAYER_FAKE_GPU
else
	skip "--device cuda" "fibres are slow under sanitizers"
fi

# -------- within a pass, which takes seconds where a filter is slow: it hands on what it reads, bit by bit

tcat -o many.tms in.tms in.tms in.tms in.tms in.tms in.tms in.tms in.tms in.tms in.tms in.tms in.tms
tcat -o others.tms in.tms long.tms
cat >slow <<'END'
while test "$(dd bs=64k count=1 2>/dev/null | tee /dev/fd/3 | wc -c)" -gt 0
do
	sleep 0.02
done 3>&1
END
set -- --filter "mlp_out@0,1=sh ./slow" --tap "mlp_out/mean=out/a.taps" -o out/o.tms

# part N OPTIONS INPUT: goes on with the run until its record has changed N times, and kills it
part()
{
	part_left=$1 was=none
	shift
	(exec layer-run -v -m "$model" --state state --resume "$@") 2>part.said &
	part_of=$!
	while test "$part_left" -gt 0 && kill -0 $part_of
	do
		now=$(cksum 2>&1 state/record)
		test "$was" = none || test "$now" = "$was" || part_left=$((part_left - 1))
		was=$now
		sleep 0.02
	done
	kill -9 $part_of
	wait $part_of
	test $? -eq 137 || {
		cat part.said
		return 1
	}
}

went_on_within()
{
	grep -E "goes on with layer $1 after [1-9][0-9]* frames" part.said
}

ok "slow: a run that is left alone" alone "$@" many.tms
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

# -------- what is refused

# stopped OPTIONS: a run that was killed after its first pass
set -- --tap resid_post=out/a.taps -o out/o.tms in.tms
alone "$@"
done_testing
