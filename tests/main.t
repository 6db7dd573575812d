#!/bin/sh
# What every program owes the shell: exit statuses, messages, signals, files whole or not at all.
. "$(dirname "$0")/lib.sh"
cd "$TMP" || exit
toy=$UNIT/toy
test -x "$toy" || {
	echo "Bail out! $toy is not built"
	exit 1
}

hidden() { find . -name '.*.tmp'; }
wait_for() { i=0; until grep -q waiting "$1" 2>/dev/null || test $i -gt 200; do sleep 0.05; i=$((i + 1)); done; }

is "operands and lines" "$("$toy" -n1 a -- -b)" "$(printf 'operand a\noperand -b\nline 0')"
ok "status 1 is a negative answer" must_fail 1 "$toy" --status 1
says "an error is told once, after the program's name" 2 '^toy: object: what is wrong, what to do$' "$toy" --status 2
is "and nothing else is" "$("$toy" --status 2 2>&1)" "toy: object: what is wrong, what to do"
says "an unknown option" 2 "^toy: unknown option --bogus; 'toy --help'" "$toy" --bogus
is "--version" "$("$toy" --version | sed 's/[0-9.]*$/X/')" "toy (onelayer) X"
ok "--help fits 80 columns" sh -c '"$1" --help >help && ! grep -E ".{81}" help' - "$toy"
ok "--help lists an option with its argument" grep -Eq '^  --also=FILE +further outputs$' help

# -------- standard output

if test -c /dev/full
then
	full() { "$toy" "$@" >/dev/full; }
	says "a full disk" 2 '^toy: <stdout>: No space left' full -n 3
	says "a full disk, many lines" 2 '^toy: <stdout>: ' full -n 30000
	says "a full disk under --help" 2 '^toy: <stdout>: No space left' full --help
	says "a full disk under -o -" 2 '^toy: <stdout>: No space left' full -o -
else
	skip "a full disk" "no /dev/full"
fi
closed() { "$toy" "$@" >&-; }
says "a closed standard output" 2 '^toy: <stdout>: Bad file' closed -n 1
says "and with -o -" 2 '^toy: <stdout>: Bad file' closed -o -
ok "but not if nothing goes there" closed -o file
is "whose file is no other descriptor's" "$(cat file)" data
ok "all three closed" sh -c '"$1" -o file <&- >&- 2>&-' - "$toy"
sh -c '{ "$1" -n 1000000 2>said; echo $? >status; } | head -n 1 >/dev/null' - "$toy"
is "a reader that goes away ends it by SIGPIPE" "$(cat status)" 141
is "and it says nothing" "$(cat said)" ""
sh -c 'trap "" PIPE; { "$1" -n 1000000 2>said; echo $? >status; } | head -n 1 >/dev/null' - "$toy"
is "the same where the parent ignored SIGPIPE" "$(cat status)$(cat said)" 141

# -------- files

ok "two files" "$toy" -o one --also two
is "are written" "$(cat one two | tr -d '\n')" datadata
says "twice the same file" 2 '^toy: ./one: two outputs' "$toy" -o one --also ./one
says "a name that cannot be" 2 '^toy: no/file: No such file or directory' "$toy" -o no/file
is "nothing is left of these" "$(hidden)" ""
rm -f one two
ok "an error after" must_fail 2 "$toy" -o one --also no/two
is "leaves nothing under the name of the first" "$(ls one 2>/dev/null)$(hidden)" ""
ok "neither does a return without commit" "$toy" -o one --leave
is "nor its temporary file" "$(ls one 2>/dev/null)$(hidden)" ""
if test "$(id -u)" -ne 0
then
	echo old >locked
	chmod 444 locked
	ok "a file that may not be written stays" must_fail 2 "$toy" -o locked
fi
mkfifo fifo
cat fifo >from-fifo &
ok "a FIFO is written in place" "$toy" -o fifo
wait
is "and arrives" "$(cat from-fifo)" data

# -------- signals

for signal in TERM:143 INT:130 HUP:129 QUIT:131
do
	status=${signal#*:}
	signal=${signal%:*}
	rm -f one said advice
	# A shell's background process has SIGINT and SIGQUIT ignored, one under nohup SIGHUP, and ignored they stay: env undoes that.
	env --default-signal=INT,QUIT,HUP "$toy" -o one --also two --wait --advise >said 2>advice &
	wait_for said
	is "$signal: the temporary files are there before" "$(hidden | wc -l)" 2
	kill -s "$signal" $!
	wait $! 2>/dev/null
	is "$signal: it ends by the signal" $? "$status"
	is "$signal: nothing is left" "$(ls one 2>/dev/null)$(hidden)" ""
	is "$signal: advice is given, and nothing else" "$(cat advice)" 'toy: take\ncare'
done
sh -c '{ "$1" -n 100000 -o one; echo $? >status; } | :' - "$toy"
is "SIGPIPE leaves nothing either" "$(ls one 2>/dev/null)$(hidden)" ""
says "a file beyond ulimit -f is trouble like a full disk" 2 '^toy: <stdout>: ' sh -c 'ulimit -f 8; "$1" -n 100000 >lines' - "$toy"

# -------- standard error

is "a warning" "$("$toy" --warn 2>&1)" "toy: careful with 7"
is "a note with -v" "$("$toy" --warn -v 2>&1 | tail -n 1)" "toy: more"
is "neither with -q" "$("$toy" --warn -q 2>&1)" ""
is "advice follows an error" "$("$toy" --advise --status 2 2>&1)" "$(printf '%s\n' 'toy: object: what is wrong, what to do' 'toy: take\ncare')"
is "and no success" "$("$toy" --advise 2>&1)" ""
is "none with -q" "$("$toy" -q --advise --status 2 2>&1)" "toy: object: what is wrong, what to do"
is "no progress without a terminal" "$("$toy" -n 100000 2>&1 >/dev/null)" ""
ok "progress as JSON lines" sh -c '"$1" -n 100000 --progress json 2>&1 >/dev/null | tail -n 1 | grep -q "^{\"program\":\"toy\".*\"done\":99999,\"total\":100000,\"seconds\":[0-9.]*}$"' - "$toy"

done_testing
