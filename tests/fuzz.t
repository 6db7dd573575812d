#!/bin/sh
# Every fuzz target over its corpus, its cuts and mutations of it, for at most FUZZ_SECONDS each.
. "$(dirname "$0")/lib.sh"
seconds=${FUZZ_SECONDS:-3}

# A small stream of each kind that the programs write.
streams=$TMP/streams
mkdir "$streams"
printf '{"id": "one", "label": "a", "input_ids": [5, 6, 7]}\n{"input_ids": [8]}\n{"input_ids": []}\n' |
	tok -f ids >"$streams/tokens.tms"
embed -m "$MOOD" "$streams/tokens.tms" >"$streams/resid.tms"
tcat --zstd "$streams/resid.tms" >"$streams/zstd.tms"
pool --mean "$streams/resid.tms" >"$streams/pooled.tms"
layer-run -m "$MOOD" --state "$TMP/state" --to 2 -n --tap "q,v/mean=$TMP/taps" "$streams/resid.tms"

for target in "$FUZZ"/*
do
	name=${target##*/}
	case $name in
	tms) set -- "$streams" ;;
	record) set -- "$TMP/state/record" ;;
	config) set -- "$TESTS"/data/models/*/config.json ;;
	*) set -- ;;
	esac
	test ! -d "$TESTS/fuzz/corpus/$name" || set -- "$TESTS/fuzz/corpus/$name" "$@"
	"$target" 20000 "$seconds" "$TMP/$name.input" "$@" >"$TMP/said" 2>&1
	status=$?
	is "$name: $(tail -n 1 "$TMP/said")" "$status" 0
	if test "$status" -ne 0
	then
		head -n 40 "$TMP/said" | sed 's/^/# /'
		echo "# the input, for tests/fuzz/corpus/$name:"
		base64 "$TMP/$name.input" 2>/dev/null | sed 's/^/# /'
	fi
done
done_testing
