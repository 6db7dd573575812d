#!/bin/sh
# The house rules that a compiler does not know: who includes whom, one file a library, lengths, unique names.
. "$(dirname "$0")/../lib.sh"
cd "$ROOT" || exit

sources="--include=*.[ch] --include=*.cu --include=*.cc"

# no_include NAME DIRECTORIES HEADERS...: no file of the directories includes one of the headers.
no_include()
{
	name=$1
	where=$2
	shift 2
	found=
	for header in "$@"
	do
		# shellcheck disable=SC2086 # lists
		found=$found$(grep -rnF $sources "#include \"${header##*/}\"" $where)
	done
	is "$name" "$found" ""
}

# shellcheck disable=SC2086 # a list
is "the environment is read where CONTRIBUTING.md says" "$(grep -rlw $sources getenv libcommon formats kernels tools | sort | tr '\n' ' ')" \
	"formats/checkpoint/hub.c kernels/cpu/unit.c kernels/cuda/host/gpu_fake.cc kernels/cuda_module.c kernels/statistics/lapack.c libcommon/run/scratch.c "

formats=$(find formats -name '*.h')
kernels=$(find kernels -name '*.h')
# shellcheck disable=SC2086 # lists of headers
{
	no_include "libcommon knows no formats" libcommon $formats
	no_include "libcommon knows no kernels" libcommon $kernels
	no_include "formats know no kernels" formats $kernels
	no_include "kernels know no formats" kernels $formats
}

for header in msgpack.h zstd.h xxhash.h archive.h jansson.h pcre2.h utf8proc.h dnnl.h lapacke.h cblas.h liburing.h \
	cuda_runtime.h cublasLt.h mma.h cuda_bf16.h cuda_fp16.h
do
	# shellcheck disable=SC2086 # a list
	n=$(grep -rlE $sources "#include <([a-z]+/)?$header>" libcommon formats kernels tools | wc -l)
	ok "<$header> is included by one file at most" test "$n" -le 1
done

# kernels/cuda/host is a test's own device, and stops where it is misused.
is "nobody but main.c prints or exits below tools/" "$(grep -rnE --include='*.c' --include='*.cu' --include='*.cc' '\b(exit|printf|puts|perror|abort)\(' \
	libcommon formats kernels | grep -vE '^(libcommon/(main|memory|progress|option)\.c|kernels/cuda/host/.*):')" ""
is "read, write, open and rename are called in libcommon" "$(grep -rnE --include='*.c' --include='*.cu' --include='*.cc' \
	'[^a-z_.>](read|write|open|pread|pwrite|rename|fopen)\(' tools formats kernels | grep -vE '^([^:]*:[0-9]*:[/ ]\*|kernels/cuda/host/)')" ""
is "file names of the library are unique" "$(find libcommon formats kernels -type f -printf '%f\n' | sort | uniq -d)" ""
is "library files have at most 600 lines" "$(find libcommon formats kernels -type f ! -name '*.tsv' ! -name 'unicode_tables.c' \
	-exec awk 'END { if (NR > 600) print FILENAME, NR }' {} \;)" ""
is "tools have at most 300 lines" "$(find tools -name '*.c' -exec awk 'END { if (NR > 300) print FILENAME, NR }' {} \;)" ""
is "no fast-math" "$(grep -n -e '-ffast-math' -e '-Ofast' -e 'use.fast.math' Makefile)" ""
is "tests are executable" "$(find tests -name '*.t' ! -perm -u+x)" ""
is "no unfinished notes" "$(grep -rnE '\b(TODO|FIXME|XXX)\b' libcommon formats kernels tools)" ""
done_testing
