#!/bin/sh
# Installs what building and testing need and this machine lacks, with apt-get where there is one.  Says nothing
# when nothing is missing.  Package names differ between releases: the first that the release knows is taken.  What
# is not asked for, and tests skip without: Slurm.

# What is missing, as lines "what | package [package...]"; what stops the build begins with !.
missing()
{
	command -v cc >/dev/null || echo '!a C compiler | gcc libc6-dev'
	command -v g++ >/dev/null || echo '!a C++ compiler | g++'
	command -v make >/dev/null || echo '!make | make'
	command -v pkg-config >/dev/null || echo '!pkg-config | pkg-config pkgconf'
	{ pkg-config --exists msgpack-c || pkg-config --exists msgpack; } 2>/dev/null ||
		echo '!msgpack-c | libmsgpack-c-dev libmsgpack-dev'
	while read -r module package
	do
		pkg-config --exists "$module" 2>/dev/null || echo "!$module | $package"
	done <<-END
		libzstd libzstd-dev
		libxxhash libxxhash-dev
		libarchive libarchive-dev
		jansson libjansson-dev
		libpcre2-8 libpcre2-dev
		libutf8proc libutf8proc-dev
	END
	echo '#include <dnnl.h>' | cc -E - >/dev/null 2>&1 || echo '!oneDNN | libdnnl-dev libonednn-dev'
	echo '#include <openblas_config.h>' | cc -E - >/dev/null 2>&1 || echo '!OpenBLAS | libopenblas-dev'
	echo '#include <lapacke.h>' | cc -E - >/dev/null 2>&1 || echo '!LAPACKE | liblapacke-dev'
	for module in numpy msgpack xxhash
	do
		/usr/bin/python3 -c "import $module" 2>/dev/null || echo "python3 $module | python3-$module"
	done
	command -v prove >/dev/null || echo 'prove | perl'
	command -v mandoc >/dev/null || echo 'mandoc | mandoc'
	command -v jq >/dev/null || echo 'jq | jq'
	command -v gnuplot >/dev/null || echo 'gnuplot | gnuplot-nox'
	parallel --version 2>/dev/null | grep -q '^GNU' || echo 'GNU parallel | parallel'
	command -v rsync >/dev/null || echo 'rsync | rsync'
	PATH=$PATH:/usr/sbin:/sbin command -v sshd >/dev/null || echo 'sshd | openssh-server'
}

as_root()
{
	if test "$(id -u)" -eq 0
	then
		"$@"
	elif command -v sudo >/dev/null
	then
		sudo "$@"
	else
		return 1
	fi
}

# Of each line's packages the first that this release has; nothing and status 1 if one has none.
choose()
{
	echo "$1" | while IFS='|' read -r what candidates
	do
		chosen=
		for package in $candidates
		do
			if test -z "$chosen" && apt-cache show "$package" >/dev/null 2>&1
			then
				chosen=$package
			fi
		done
		test -n "$chosen" || exit 1
		echo "$chosen"
		case $what in *compiler*) echo libc6-dev ;; esac
	done
}

install()
{
	packages=$(choose "$1") || {
		as_root apt-get update -q || return
		packages=$(choose "$1") || return
	}
	# shellcheck disable=SC2086 # a list
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $packages
}

list=$(missing)
test -n "$list" || exit 0

echo 'missing:'
echo "$list" | sed 's/^!*/  /'
if command -v apt-get >/dev/null
then
	# Package lists older than the archive name files that are gone: update, once, and again.
	install "$list" || { as_root apt-get update -q && install "$list"; }
	list=$(missing)
fi
test -n "$list" || exit 0
{
	echo 'still missing, to be installed by hand (Debian names on the right):'
	echo "$list" | sed 's/^!*/  /'
} >&2
! echo "$list" | grep -q '^!'
