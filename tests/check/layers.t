#!/bin/sh
# The house rules that a compiler does not know: who includes whom, one file a library, lengths, unique names.
. "$(dirname "$0")/../lib.sh"
cd "$ROOT" || exit

# no_include NAME DIRECTORIES HEADERS...: no file of the directories includes one of the headers.
no_include()
{
	name=$1
	where=$2
	shift 2
	found=
	for header in "$@"
	do
		# shellcheck disable=SC2086 # several directories
		found=$found$(grep -rnF --include='*.[ch]' "#include \"${header##*/}\"" $where)
	done
	is "$name" "$found" ""
}

formats=$(find formats -name '*.h')
kernels=$(find kernels -name '*.h')
# shellcheck disable=SC2086 # lists of headers
{
	no_include "libcommon knows no formats" libcommon $formats
	no_include "libcommon knows no kernels" libcommon $kernels
	no_include "formats know no kernels" formats $kernels
	no_include "kernels know no formats" kernels $formats
}

for header in msgpack.h zstd.h xxhash.h archive.h jansson.h pcre2.h utf8proc.h dnnl.h lapacke.h cblas.h liburing.h
do
	n=$(grep -rlE --include='*.[ch]' "#include <([a-z]+/)?$header>" libcommon formats kernels tools | wc -l)
	ok "<$header> is included by one file at most" test "$n" -le 1
done

is "nobody but main.c prints or exits below tools/" "$(grep -rnE --include='*.c' '\b(exit|printf|puts|perror|abort)\(' \
	libcommon formats kernels | grep -vE '^libcommon/(main|memory|progress|option)\.c:')" ""
is "read, write, open and rename are called in libcommon" "$(grep -rnE --include='*.c' \
	'[^a-z_.>](read|write|open|pread|pwrite|rename|fopen)\(' tools formats kernels | grep -v '^[^:]*:[0-9]*:[/ ]\*')" ""
is "file names of the library are unique" "$(find libcommon formats kernels -type f -printf '%f\n' | sort | uniq -d)" ""
is "library files have at most 600 lines" "$(find libcommon formats kernels -name '*.[ch]' ! -name 'unicode_tables.c' \
	-exec awk 'END { if (NR > 600) print FILENAME, NR }' {} \;)" ""
is "tools have at most 300 lines" "$(find tools -name '*.c' -exec awk 'END { if (NR > 300) print FILENAME, NR }' {} \;)" ""
is "no fast-math" "$(grep -n -e '-ffast-math' -e '-Ofast' Makefile)" ""
is "tests are executable" "$(find tests -name '*.t' ! -perm -u+x)" ""
is "no unfinished notes" "$(grep -rnE --include='*.[ch]' '\b(TODO|FIXME|XXX)\b' libcommon formats kernels tools)" ""
done_testing
