#!/usr/bin/env python3
"""Writes formats/unicode_tables.c by asking the `tokenizers` library about every code point.

What a tokenizer does must not depend on the Unicode version that some other library was built
with, so the properties are read from the reference implementation's own behaviour.
Needs: tokenizers (0.22), unicodedata2 16.0.  Usage: make-unicode-tables.py > unicode_tables.c
"""
import sys

import unicodedata2 as ucd
from tokenizers import Regex, normalizers, pre_tokenizers

CATEGORIES = ("Cn Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So "
              "Zs Zl Zp Cc Cf Cs Co").split()
SCRIPTS = "Han Hiragana Katakana Hangul Thai Latin Cyrillic".split()
CPS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
ALL = "".join(map(chr, CPS))


def matched(pattern):
    split = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    for piece, _ in split.pre_tokenize_str(ALL):
        yield from map(ord, piece)


def properties():
    gc, script, punct, number, word = {}, {}, set(CPS), set(), set()
    for i, name in enumerate(CATEGORIES):
        if name not in ("Cs", "Cn"):
            gc.update((c, i) for c in matched(r"\p{%s}+" % name))
    for i, name in enumerate(SCRIPTS):
        script.update((c, i + 1) for c in matched(r"\p{%s}+" % name))
    for piece, _ in pre_tokenizers.Punctuation("removed").pre_tokenize_str(ALL):
        punct.difference_update(map(ord, piece))
    for i, (piece, _) in enumerate(pre_tokenizers.Digits(False).pre_tokenize_str(ALL)):
        if i % 2:                       # code point 0 is no number, so the odd pieces are
            number.update(map(ord, piece))
    for piece, _ in pre_tokenizers.Whitespace().pre_tokenize_str(
            " ".join("a" + chr(c) for c in CPS)):
        if len(piece) == 2 and piece[0] == "a":
            word.add(ord(piece[1]))
    word.update(range(ord("a"), ord("a") + 1))
    for c in range(0x110000):
        if 0xD800 <= c < 0xE000:
            yield CATEGORIES.index("Cs")
        else:
            yield (gc.get(c, 0) | (c in number) << 5 | (c in word) << 6 | (c in punct) << 7
                   | script.get(c, 0) << 8)


def inert():
    """Code points that normal forms of a newer Unicode would touch and the library leaves."""
    nfd, nfkd = normalizers.NFD(), normalizers.NFKD()
    found = set()
    for c in CPS:
        s, parts = chr(c), ucd.decomposition(chr(c))
        if parts and nfkd.normalize_str(s) == s:
            found.add(c)
            if not parts.startswith("<"):
                found.update(p for p in (int(x, 16) for x in parts.split()) if p > 0x10000)
        if ucd.combining(s):
            over, above = "a" + s + "\u0334", "a\u0315" + s
            if nfd.normalize_str(over) == over and nfd.normalize_str(above) == above:
                found.add(c)
    return sorted(found)


def runs(values):
    last = None
    for at, v in enumerate(values):
        if v != last:
            yield at, v
        last = v


def lines(items, per):
    return "\n".join("\t" + " ".join(items[i:i + per]) for i in range(0, len(items), per))


def main():
    table = ["%#x," % (at << 11 | v) for at, v in runs(properties())]
    marks, quiet = [], inert()
    for c in quiet:
        if marks and marks[-1][1] == c - 1:
            marks[-1][1] = c
        else:
            marks.append([c, c])
    print("/* Made by tests/make-unicode-tables.py; see unicode.h for the layout. */")
    print('#include "unicode_tables.h"\n')
    print("const uint32_t unicode_runs[] = {\n%s\n};" % lines(table, 8))
    print("const size_t unicode_n_runs = sizeof unicode_runs / sizeof *unicode_runs;\n")
    print("const uint32_t unicode_inert[][2] = {\n%s\n};"
          % lines(["{%#x, %#x}," % tuple(m) for m in marks], 4))
    print("const size_t unicode_n_inert = sizeof unicode_inert / sizeof *unicode_inert;")


if __name__ == "__main__":
    sys.exit(main())
