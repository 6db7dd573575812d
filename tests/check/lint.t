#!/bin/sh
# Headers that stand alone, and what linters say.
. "$(dirname "$0")/../lib.sh"
cd "$ROOT" || exit
# Each folder, but not what only a C++ compiler reads.
rooms=$(find libcommon formats kernels -path kernels/cuda -prune -o -type d -print)
# shellcheck disable=SC2086 # a list
includes=$(printf -- '-I%s ' $rooms)
mkdir "$TMP/build"
awk -F '\t' '!/^#/ && NF { printf "{ \"%s\", \"%s\" },\n", $1, $2 }' libcommon/aliases.tsv >"$TMP/build/aliases.inc"

failed=
# shellcheck disable=SC2044,SC2086 # names without blanks
for header in $(find $rooms -maxdepth 1 -name '*.h')
do
	test -e "$header" || continue
	case $header in
	kernels/cpu/x86*) test "$(uname -m)" = x86_64 || continue ;;
	kernels/cpu/vec*) continue ;; # included once for each vector unit, after its macros
	esac
	# shellcheck disable=SC2086 # a list
	echo "#include \"${header##*/}\"" | ${CC:-cc} -std=gnu17 -D_GNU_SOURCE -fsyntax-only -Wall -Wextra $includes -x c - \
		>>"$TMP/said" 2>&1 || failed="$failed $header"
done
is "every header compiles by itself" "$failed" ""

failed=
for header in kernels/cuda/*.h kernels/cuda/host/*.h
do
	# shellcheck disable=SC2086 # a list
	echo "#include \"${header##*/}\"" | ${CXX:-g++} -std=gnu++17 -D_GNU_SOURCE -fsyntax-only -Wall -Wextra $includes \
		-Ikernels/cuda -Ikernels/cuda/host -x c++ - >>"$TMP/said" 2>&1 || failed="$failed $header"
done
is "every header of kernels/cuda compiles by itself" "$failed" ""

if command -v shellcheck >/dev/null
then
	ok "shellcheck" shellcheck -s sh -x -e SC1091,SC2016,SC2317,SC2034,SC3045 tests/*.sh tests/*.t tests/check/*.t
	for script in pipelines/*.sh tests/bench/*.sh .ci/run
	do
		test ! -e "$script" || ok "shellcheck $script" shellcheck -e SC1091,SC2016 "$script"
	done
	# Variables go between these and their lib.sh.
	ok "shellcheck tests/gpu" shellcheck -e SC1091,SC2016,SC2034,SC2154 tests/gpu/*.sh
else
	skip "shellcheck" "not installed"
fi

if command -v mandoc >/dev/null
then
	for page in man/*.[157]
	do
		test ! -e "$page" || is "mandoc -Tlint $page" "$(mandoc -Tlint -W warning "$page" 2>&1)" ""
	done
else
	skip "mandoc" "not installed"
fi

if command -v cppcheck >/dev/null
then
	# shellcheck disable=SC2086 # a list
	ok "cppcheck" cppcheck -q -j2 --std=c11 --error-exitcode=1 --enable=warning,portability --inline-suppr \
		--suppress=missingIncludeSystem --suppress=nullPointerArithmetic --suppress=compareBoolExpressionWithInt \
		--suppress=legacyUninitvar --suppress=uninitvar --suppress=internalAstError \
		--suppress=invalidPointerCast:kernels/cuda/*.h -D_GNU_SOURCE -DVERSION='"0"' \
		$includes -I"$TMP/build" libcommon formats kernels tools
else
	skip "cppcheck" "not installed"
fi
done_testing
