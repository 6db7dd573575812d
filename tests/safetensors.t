#!/bin/sh
# Headers of .safetensors files: good ones, and what is refused, in which words.
. "$(dirname "$0")/lib.sh"
need_python
cd "$TMP" || exit
"$PYTHON" - <<'END'
import json, os, re, struct, subprocess

count = 0
program = os.environ["UNIT"] + "/safetensors"


def said(raw):
    with open("x.safetensors", "wb") as f:
        f.write(raw)
    r = subprocess.run([program, "x.safetensors"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return r.stdout.decode() if r.returncode == 0 else f"exit status {r.returncode}: {r.stdout.decode()}"


def check(name, raw, pattern):
    global count
    count += 1
    got = said(raw)
    good = re.fullmatch(pattern, got)
    print("ok" if good else "not ok", count, "-", name)
    if not good:
        print(f"# got:  {got!r}\n# want: {pattern!r}")


def file(header, data=b"", length=None):
    if not isinstance(header, bytes):
        header = json.dumps(header).encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def tensor(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def refused(what):
    return r"refused: x\.safetensors: " + what + "\n"


two = {"b": tensor("BF16", [2, 3], 0, 12), "a": tensor("F32", [], 12, 16)}
start = 8 + len(json.dumps(two))
check("two tensors, in file order", file(two, bytes(16)),
      rf"2 tensors\nb BF16 bf16 \[2, 3\] {start} 12\na F32 f32 \[\] {start + 12} 4\n")
check("no tensor", file({}), r"0 tensors\n")
check("metadata is no tensor", file({"__metadata__": {"format": "pt"}}), r"0 tensors\n")
check("white space after the header", file(b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}    ', b"x"),
      r"1 tensors\na U8 u8 \[1\] \d+ 1\n")
check("empty tensors", file({"a": tensor("F32", [0, 5], 0, 0), "b": tensor("U8", [3], 0, 3),
                             "c": tensor("I64", [7, 0], 3, 3)}, bytes(3)),
      r"3 tensors\na F32 f32 \[0, 5\] \d+ 0\nb U8 u8 \[3\] \d+ 3\nc I64 none \[7, 0\] \d+ 0\n")
check("types of less than a byte", file({"a": tensor("F4", [6], 0, 3)}, bytes(3)), r"1 tensors\na F4 none \[6\] \d+ 3\n")

check("an empty file", b"", refused("0 bytes are no .safetensors file"))
check("seven bytes", bytes(7), refused("7 bytes are no .safetensors file"))
check("a length of zero", bytes(8), refused("line 1 column 0: .*"))
check("a length beyond the file", file(b"{}", length=3), refused("the header is 3 bytes long, the file 10; it is cut short"))
check("a length beyond all files", file(b"{}", length=2 ** 64 - 1),
      refused("is no .safetensors file, or a damaged one: its header would have 18446744073709551615 bytes, and 100000000 are the most"))
check("a header above the limit", file(b"{}", length=100000001), refused(".*its header would have 100000001 bytes, .*"))
check("text that is no JSON", file(b"hello"), refused("line 1 column .*"))
check("a list", file(b"[]"), refused("the header is an array where an object is due"))
check("text after the object", file(b"{}x"), refused("line 1 column .*"))
check("invalid UTF-8", file(b'{"\xff":1}'), refused("line 1 column .*"))
check("a name given twice", file(b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
                                 b'"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"x"), refused("line 1 .*"))
check("a tensor that is a number", file({"a": 3}),
      refused("tensor 'a': it is described by a number where an object is due"))
for key in ("dtype", "shape", "data_offsets"):
    entry = tensor("U8", [1], 0, 1)
    del entry[key]
    check(f"no {key}", file({"a": entry}, b"x"), refused(f"tensor 'a': '{key}' is missing"))
    entry[key] = None
    check(f"{key} null", file({"a": entry}, b"x"), refused(f"tensor 'a': '{key}' is missing"))
    entry[key] = 7
    check(f"{key} a number", file({"a": entry}, b"x"), refused(f"tensor 'a': '{key}' is a number .*"))
check("an unknown dtype", file({"a": tensor("F12", [2], 0, 3)}, bytes(3)), refused("tensor 'a': dtype 'F12' is unknown"))
check("half a byte", file({"a": tensor("F4", [3], 0, 1)}, b"x"),
      refused("tensor 'a': its F4 elements don't fill whole bytes"))
for dim in (-1, 1.5, "2", None, [1], 1e300):
    check(f"a dimension {dim!r}", file({"a": tensor("U8", [1, dim], 0, 1)}, b"x"),
          refused("tensor 'a': dimension 1 of its shape is no size"))
check("nine dimensions", file({"a": tensor("U8", [1] * 9, 0, 1)}, b"x"),
      refused("tensor 'a': it has 9 dimensions, at most 8 are read"))
check("a product that overflows", file({"a": tensor("U8", [2 ** 40, 2 ** 40], 0, 1)}, b"x"),
      refused("tensor 'a': its shape is too large for any file"))
check("a product that overflows to the right size", file({"a": tensor("F64", [2 ** 32, 2 ** 29], 0, 0)}),
      refused("tensor 'a': its shape is too large for any file"))
check("bytes that disagree with the shape", file({"a": tensor("F32", [2, 2], 0, 12)}, bytes(12)),
      refused(r"tensor 'a': F32 \[2, 2\] needs 16 bytes, its data_offsets give 12"))
for offsets in ([0], [0, 1, 2], [1, 0], [-1, 0], ["0", "1"], [0, 0.5], [None, 1]):
    check(f"data_offsets {offsets}", file({"a": {"dtype": "U8", "shape": [1], "data_offsets": offsets}}, b"x"),
          refused("tensor 'a': 'data_offsets' is not a begin and an end"))
check("a tensor beyond the file", file({"a": tensor("U8", [2], 0, 2)}, b"x"),
      refused("tensor 'a': it ends at byte 2 of the data, the file has 1; the file is cut short or damaged"))
check("overlap", file({"a": tensor("U8", [2], 0, 2), "b": tensor("U8", [2], 1, 3)}, bytes(3)),
      refused("tensor 'b': its bytes overlap those of another tensor, the file is damaged"))
check("the same bytes twice", file({"a": tensor("U8", [2], 0, 2), "b": tensor("U8", [2], 0, 2)}, bytes(2)),
      refused("tensor '[ab]': its bytes overlap those of another tensor, the file is damaged"))
check("a hole", file({"a": tensor("U8", [1], 0, 1), "b": tensor("U8", [1], 2, 3)}, bytes(3)),
      refused("tensor 'b': its bytes follow a hole, the file is damaged"))
check("a hole at the start", file({"a": tensor("U8", [1], 1, 2)}, bytes(2)),
      refused("tensor 'a': its bytes follow a hole, the file is damaged"))
check("bytes after the last tensor", file(two, bytes(17)), refused("1 bytes follow the last tensor, the file is damaged"))
check("deep nesting", file(b"[" * 100000), refused("line 1 column .*"))

whole = file(two, bytes(16))
cut = [n for n in range(len(whole)) if not said(whole[:n]).startswith("refused: ")]
count += 1
print("ok" if not cut else "not ok", count, "- cut at any byte it is refused", cut or "")
print(f"1..{count}")
END
