#!/bin/sh
# --help, the manual page and what is accepted agree, for every program.
. "$(dirname "$0")/lib.sh"
cd "$TMP" || exit

common='--help
--progress
--version
-q
-v'

# Options that a --help lists: "  -x, --name=ARG   text".
help_options()
{
	sed -n '/^Options:/,/^Exit/s/^  \(-[^ ]*\), \(--[a-z0-9-]*\).*/\1\n\2/p;
		/^Options:/,/^Exit/s/^  \(--*[a-zA-Z0-9-]*\).*/\1/p' "$1" | LC_ALL=C sort -u
}

# Options that a page describes: .It Fl x Ar ARG, .It Fl -name Ns = Ns Ar ARG.
man_options()
{
	grep '^\.It Fl' "$1" | man_flags
}

# Every word after Fl on a line, of one dash: letters; of two: a name.
man_flags()
{
	awk '{
		for (i = 1; i < NF; i++)
			if ($i == "Fl" || $i == ".Fl") {
				w = $(i + 1)
				if (w ~ /^-/)
					print "-" w
				else
					for (k = 1; k <= length(w); k++)
						print "-" substr(w, k, 1)
			}
	}' | LC_ALL=C sort -u
}

man_synopsis()
{
	sed -n '/^\.Sh SYNOPSIS/,/^\.Sh DESCRIPTION/p' "$1" | man_flags
}

# The same of a usage line; "[-nq]" is two letters.
help_synopsis()
{
	sed -n '1,/^$/p' "$1" | tr ' []|()' '[\n*]' | sed 's/=.*//' | awk '
		/^--[a-z]/ { print; next }
		/^-[a-zA-Z]/ { for (k = 2; k <= length($0); k++) print "-" substr($0, k, 1) }' | LC_ALL=C sort -u
}

without_common()
{
	printf '%s\n' "$common" >common
	LC_ALL=C comm -23 - common
}

full() { "$@" >/dev/full; }
closed() { "$@" >&-; }

for source in "$ROOT"/tools/*.c
do
	name=$(basename "$source" .c)
	program=$BIN/$name
	page=$ROOT/man/$name.1
	ok "$name: --help" must_fail 0 "$program" --help
	"$program" --help >help 2>err
	is "$name: --help says nothing on standard error" "$(cat err)" ""
	ok "$name: --help is at most 80 columns wide" sh -c '! grep -E "^.{81}" help'
	is "$name: --version" "$("$program" --version | grep -Ec "^$name \(onelayer\) [0-9]+\.[0-9]+\.[0-9]+$")" 1
	says "$name: an unknown option" 2 "^$name: unknown option --no-such-option" "$program" --no-such-option
	says "$name: an unknown letter" 2 "^$name: unknown option -Z" "$program" -Z
	if test -c /dev/full
	then
		says "$name: --help on a full disk" 2 "^$name: <stdout>: " full "$program" --help
	fi
	says "$name: --help on a closed standard output" 2 "^$name: <stdout>: " closed "$program" --help
	is "$name: every flag of the synopsis is an option" \
		"$(help_synopsis help | LC_ALL=C comm -23 - "$(help_options help >options; echo options)")" ""
	if ! test -e "$page"
	then
		ok "$name: has a manual page" test -e "$page"
		continue
	fi
	is "$name: the page's options are those of --help" "$(man_options "$page" | without_common)" \
		"$(help_options help | without_common)"
	is "$name: the page's synopsis is that of --help" "$(man_synopsis "$page" | without_common)" \
		"$(help_synopsis help | without_common)"
done

for page in "$ROOT"/man/*.1
do
	name=$(basename "$page" .1)
	ok "man/$name.1 has a program" test -e "$ROOT/tools/$name.c"
done
done_testing
