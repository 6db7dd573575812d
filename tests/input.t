#!/bin/sh
# Samples from lines, JSON lines, ids, documents, and the same inside archives.
. "$(dirname "$0")/lib.sh"
cd "$TMP" || exit
printf 'one\ntwo\r\n\n\303\251 x\n\000nul' >a.txt
cat >b.jsonl <<'END'
{"id": 1.50, "text": "h\u00e9 \ud83d\ude00\u0000", "label": 12345678901234567890123, "span": [[0,2],[3,4]], "x": {"y":[1,{"z":null}]}}

{"text":"x","id":null,"label":"l","target":"t","foil":-1e5}
{"text":""}
END
printf '1 2 3\n\n{"input_ids":[4,5],"label":"q"}\n7' >c.ids
: >empty

lines='0 id="0" text="one"
1 id="1" text="two\u000d"
2 id="2" text=""
3 id="3" text="é x"
4 id="4" text="\u0000nul"'
json='0 id="1.50" label="12345678901234567890123" text="hé 😀\u0000" span=0-2 span=3-4
1 id="1" label="l" target="t" foil="-1e5" text="x"
2 id="2" text=""'
numbers='0 id="0" ids=1,2,3
1 id="1" ids=
2 id="2" label="q" ids=4,5
3 id="3" ids=7'
is "lines end at a newline only, and U+0000 is text" "$("$UNIT/input" a.txt)" "$lines"
is "JSON lines" "$("$UNIT/input" b.jsonl)" "$json"
is "ids" "$("$UNIT/input" c.ids)" "$numbers"
is "standard input" "$("$UNIT/input" <a.txt)" "$lines"
is "an object in the first line says that it is JSON lines" "$("$UNIT/input" <b.jsonl)" "$json"
is "input_ids in the first line say that it is ids" \
	"$(printf '{"input_ids":[1]}\n2\n' | "$UNIT/input")" "$(printf '0 id="0" ids=1\n1 id="1" ids=2')"
is "an empty file has no lines" "$("$UNIT/input" empty)" ""
is "an empty file is an empty document" "$("$UNIT/input" -f doc empty)" '0 id="empty" text=""'
is "another field" "$(echo '{"q": "x", "text": 1}' | "$UNIT/input" -k q)" '0 id="0" text="x"'
is "two files are one data set" "$("$UNIT/input" c.ids b.jsonl | tail -n 1)" '6 id="6" text=""'
is "JSON lines taken as text" "$(echo '{' | "$UNIT/input" -f text)" '0 id="0" text="{"'

both="$("$UNIT/input" a.txt b.jsonl empty)"
docs="$("$UNIT/input" -f doc a.txt b.jsonl empty)"
tar cf x.tar a.txt b.jsonl empty
tar czf x.tgz a.txt b.jsonl empty
set -- x.tar x.tgz
if command -v zstd >/dev/null
then
	zstd -q x.tar -o x.tar.zst
	set -- "$@" x.tar.zst
fi
if test -n "$PYTHON"
then
	"$PYTHON" -c 'import zipfile
with zipfile.ZipFile("x.zip", "w", zipfile.ZIP_DEFLATED) as z:
    [z.write(n) for n in ("a.txt", "b.jsonl", "empty")]'
	set -- "$@" x.zip
fi
for archive
do
	is "$archive: members are files" "$("$UNIT/input" "$archive")" "$both"
	is "$archive: from a pipe" "$("$UNIT/input" <"$archive")" "$both"
	is "$archive: members are documents" "$("$UNIT/input" -f doc "$archive")" "$docs"
done
mkdir dir
ln -s a.txt link
tar cf odd.tar dir link c.ids
is "directories and links in an archive are passed over" "$("$UNIT/input" odd.tar)" "$numbers"
gzip -k b.jsonl
is "a compressed file" "$("$UNIT/input" b.jsonl.gz)" "$json"
head -c 2000 x.tar >cut.tar
says "a cut archive" 2 '^input: cut.tar: ' "$UNIT/input" cut.tar
mkdir ends
tar cf ends/two.tar c.ids b.jsonl
head -c 1024 ends/two.tar >ends/between.tar
gzip -k ends/between.tar
head -c "$(($(wc -c <ends/two.tar) - 512))" ends/two.tar >ends/zeros.tar
for archive in ends/between.tar ends/between.tar.gz
do
	says "$archive: cut between two members" 2 "^input: $archive: is cut: the blocks of zeros" "$UNIT/input" "$archive"
done
says "cut between two members, from a pipe" 2 "^input: <stdin>: is cut" sh -c 'cat ends/between.tar | "$UNIT/input"'
ok "some zeros less are none the worse" "$UNIT/input" ends/zeros.tar
if test -n "$PYTHON"
then
	"$PYTHON" - <<'END'
import zipfile
with zipfile.ZipFile("ends/whole.zip", "w") as z:
    z.write("c.ids")
    z.write("b.jsonl")
    z.comment = b"a remark"
with open("ends/whole.zip", "rb") as f:
    data = f.read()
start, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
for name, n in (("members", start), ("directory", start + 30), ("record", end), ("records", end + 12), ("comment", len(data) - 1)):
    with open("ends/%s.zip" % name, "wb") as f:
        f.write(data[:n])
END
	ok "a zip archive with a comment" "$UNIT/input" ends/whole.zip
	gzip -k ends/whole.zip
	ok "compressed once more" "$UNIT/input" ends/whole.zip.gz
	ok "from a pipe" sh -c 'cat ends/whole.zip | "$UNIT/input"'
	says "a zip archive cut after its members" 2 "^input: ends/members.zip: " "$UNIT/input" ends/members.zip
	for cut in directory record records comment
	do
		says "a zip archive cut: $cut" 2 "^input: ends/$cut.zip: is cut: the record that ends" "$UNIT/input" ends/$cut.zip
		says "a zip archive cut: $cut, from a pipe" 2 "^input: <stdin>: is cut: the record that ends" \
			sh -c "cat ends/$cut.zip | '$UNIT/input'"
	done
else
	skip "zip archives that were cut" "no Python"
fi
tok -f ids -o tokens.tms c.ids
says "a tensor stream" 2 '^input: tokens.tms: is a tensor stream, not text; tok -d .* tcat' "$UNIT/input" tokens.tms
says "a tensor stream as a document" 2 'is a tensor stream' "$UNIT/input" -f doc tokens.tms
says "tok, given a tensor stream" 2 '^tok: <stdin>: is a tensor stream' sh -c 'tok -m "$MOOD" <tokens.tms'
head -c 100 b.jsonl.gz >cut.gz
says "a cut compressed file" 2 '^input: cut.gz: ' "$UNIT/input" cut.gz

# refused PATTERN LINE [FORMAT]: the message names file and line.
refused()
{
	printf 'ok\n' >bad
	test "$#" -lt 3 || printf '%s\n' '{"text":"", "input_ids":[]}' >bad
	# shellcheck disable=SC2059 # escapes are meant
	printf "$2" >>bad
	# shellcheck disable=SC2086 # a word or two
	says "${3-text}: $1" 2 "^input: bad: line 2: .*$1" "$UNIT/input" -f ${3-text} bad
}
refused 'byte 3 is not valid UTF-8' 'ab\377\n'
refused 'byte 1 is not valid UTF-8' '\355\240\200\n'
refused 'byte 1 is not valid UTF-8' '\300\200\n'
refused 'byte 2 is not valid UTF-8' 'a\342\202'
refused 'a lone surrogate' '{"text":"\\ud800"}\n' jsonl
refused 'a lone surrogate' '{"text":"\\ud800\\u0041"}\n' jsonl
refused 'a lone surrogate' '{"text":"\\udc00"}\n' jsonl
refused "column 19: a second 'text'" '{"text":"a","text":"b"}' jsonl
refused "no 'text'; --field" '{"texx":"a"}' jsonl
refused "no 'text'; its input_ids are read with -f ids" '{"input_ids":[1]}' jsonl
refused "'text' is not a string" '{"text":1}' jsonl
refused "'id' is not a string or a number" '{"text":"","id":[]}' jsonl
refused 'a control character' '{"text":"a\tb"}' jsonl
refused 'something after the object' '{"text":"a"} x' jsonl
refused 'not a JSON object' '[1]' jsonl
refused 'not a JSON value' '{"text":"a","x":01}' jsonl
refused 'not a JSON value' '{"text":"a","x":NaN}' jsonl
refused 'a string without its end' '{"text":"a' jsonl
refused 'ends after the last of 3 characters' '{"text":"a\303\251c","span":[[0,4]]}' jsonl
refused 'ends before it starts' '{"text":"abc","span":[[2,1]]}' jsonl
refused 'nested too deeply' "{\"x\":$(awk 'BEGIN { while (i++ < 300) printf "[" }')" jsonl
refused "no 'input_ids'" '{"text":"abc"}' ids
refused 'a number that is not in range' '{"input_ids":[4294967295]}' ids
refused 'a number that is not in range' '{"input_ids":[-1]}' ids
refused 'column 3: not a token id' '1 -2' ids
refused 'column 1: not a token id' '99999999999' ids
refused 'ends after the last of 2 ids' '{"input_ids":[1,2],"span":[[0,3]]}' ids
says "a first line with a brace that opens no object" 2 'line 1: .*-f text takes lines as they are' \
	sh -c 'echo "{x" | "$1"' - "$UNIT/input"
says "no file" 2 '^input: none: No such file' "$UNIT/input" none
says "a directory" 2 'is a directory' "$UNIT/input" dir
says "no format" 2 'auto, text, jsonl, ids or doc' "$UNIT/input" -f x a.txt

# Memory does not grow with the data: 300 MB through 64 MB of address space.
if test -z "$SANITIZED"
then
	# shellcheck disable=SC3045 # in dash and bash it is defined
	is "300 MB of lines in little memory" "$(awk 'BEGIN { while (i++ < 3000) printf "%0100000d\n", i }' |
		(ulimit -v 64000 && "$UNIT/input") | grep -c '')" 3000
fi
done_testing
