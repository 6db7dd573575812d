#!/usr/bin/env python3
"""Makes the tokenizer fixtures under tests/data/tokenizers with the `tokenizers` library (0.22).

    make-tokenizers.py DIR                 small tokenizers, a corpus of awkward lines, expected ids
    make-tokenizers.py --lines SEED N      only N other awkward lines (JSON strings) to stdout
    make-tokenizers.py --ids TOKENIZER     lines from stdin to ids on stdout
    make-tokenizers.py --spans TOKENIZER   the same as id:start:end, in characters of the text

DIR/corpus.jsonl.gz holds one JSON string a line; DIR/NAME/ids.gz the ids of each line with the
template's tokens, separated by spaces; DIR/NAME/text.gz the decoded ids of every 5th line.
The same seed gives the same files.
"""
import argparse
import collections
import gzip
import json
import pathlib
import random
import sys

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers,
                        pre_tokenizers, processors, trainers)

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CL100K = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
          r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN = CL100K.replace(r"\p{N}{1,3}", r"\p{N}")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{SHORT}|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{SHORT}|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
TEKKEN = O200K.replace(SHORT, "").replace(r"\p{N}{1,3}", r"\p{N}")
DEEPSEEK3 = [r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
             r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"
             r" ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]
DEEPSEEK2 = [r"[\r\n]", r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-Ֆ\u2126\u212a-\u212d]+",
             r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", "[一-龥ࠀ-一가-퟿]+"]
BLOOM = " ?[^(\\s|[.,!?…。，、।۔،])]+"
POSSESSIVE = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|"
              r"\s++$|\s*[\r\n]|\s+(?!\S)|\s")
KIMI = (r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*"
        r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}|"
        r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+|^\w\b|.$")

WORDS = """the of and to in is that for it with as was on be at by this are from have not or an they
which one had but what all were when we there can more if no out so up said their new time only some
could them other than then do first any my now such like our over man me even most made after also did
many before must through back years where much your way well down should because each just those people
how too little state good very make world still own see men work long get here between both life being
under never day same another know while last might us great old year off come since against go came
right used take three don't can't I'm you're they've he'll she'd it's WE'RE naïve café über Straße
Москва привет мир слово время 中文 世界 你好 日本語 ひらがな カタカナ 한국어 안녕하세요 العربية سلام עברית
ภาษาไทย हिन्दी नमस्ते தமிழ் ελληνικά κόσμος Việt Nam tiếng return int main(void) { } ; = == != -> =>
def self.x() import numpy as np # // /* */ printf("%d\\n"); <html> </div> http://www.example.org/a?b=c&d
0 1 2 10 42 100 1000 1984 2024 3.14159 1,000,000 0xFF 12345678 ½ ² Ⅷ ١٢٣ १२३ ... !!! ?! -- — “quoted”
""".split()

SCRIPTS = [(0x20, 0x7e), (0xa0, 0xff), (0x100, 0x24f), (0x250, 0x2af), (0x300, 0x36f),
           (0x370, 0x3ff), (0x400, 0x52f), (0x531, 0x589), (0x591, 0x5f4), (0x600, 0x6ff),
           (0x700, 0x74f), (0x900, 0x97f), (0x980, 0x9ff), (0xb80, 0xbff), (0xe01, 0xe5b),
           (0xf00, 0xfff), (0x10a0, 0x10ff), (0x1100, 0x11ff), (0x13a0, 0x13ff), (0x1e00, 0x1eff),
           (0x1f00, 0x1fff), (0x2000, 0x206f), (0x2070, 0x20bf), (0x2100, 0x218f), (0x2190, 0x22ff),
           (0x2460, 0x24ff), (0x3000, 0x30ff), (0x3130, 0x318f), (0x4e00, 0x9fff),
           (0xac00, 0xd7a3), (0xe000, 0xe010), (0xf900, 0xfaff), (0xfb00, 0xfb4f),
           (0xfe00, 0xfe0f), (0xff00, 0xffef), (0x10400, 0x104ff), (0x11930, 0x1193f),
           (0x105c0, 0x105ff), (0x1d400, 0x1d7ff), (0x1e900, 0x1e95f), (0x1f300, 0x1faff),
           (0x1f1e6, 0x1f1ff), (0x20000, 0x20100), (0x2f800, 0x2fa1d), (0x31350, 0x31360),
           (0xe0100, 0xe0110), (0x10fff0, 0x10ffff)]
SPACES = [" ", "  ", "   ", "    ", "\t", "\t\t", "\n", "\n\n", "\r\n", "\r", " \n", "\n ", "\u00a0",
          "\u2003", "\u3000", "\u180e", "\u200b", "\u0085", "\u2028", "\x0b", "\x0c", "\x1c", "\ufeff"]
MARKED = ["<s>", "</s>", "<unk>", "<|a|>", "<|ab|>", "<|a", " <|a|> ", "  <|r|>  \n", "<|l|>", " \t<|l|>x",
          "<|w|>", "x<|w|>", " <|w|> ", "Ⅷ<|w|>", "½<|w|>", "<|w|>\u0301", "<|n|>", "É<|n|>", "<bos>",
          "<|r|>\n\n\n\nx", "<0x41>", "<0xE2>", "▁", "▁▁", "Ġ", "e\u0301", "ệ", "\u1e9b\u0323"]
EMOJI = ["👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "❤️", "🇩🇪🇫🇷", "☃", "1️⃣", "🤷🏼‍♂️", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"]
MARKS = "".join(chr(c) for c in range(0x300, 0x330)) + "\u0327\u0345\u05b0\u064b\u0483\u20d0"


def pick(r):
    """One bit of text of some awkward kind."""
    kind = r.randrange(16)
    if kind < 4:
        w = r.choice(WORDS)
        return r.choice([w, w, w, " " + w, " " + w, w.upper(), w.title()])
    if kind < 6:
        return r.choice(SPACES) * r.choice([1, 1, 1, 2, 5])
    if kind == 6:
        return str(r.randrange(10 ** r.randrange(1, 12)))
    if kind == 7:
        return r.choice(["'s", "'S", "'\u017f", "'LL", "'ve", "'Re", "'m", "n't", "’s", "'", "''d", "'x"])
    if kind < 10:
        lo, hi = r.choice(SCRIPTS)
        return "".join(chr(r.randint(lo, hi)) for _ in range(r.randrange(1, 7)))
    if kind == 10:
        return r.choice(MARKED)
    if kind == 11:
        return r.choice(EMOJI)
    if kind == 12:
        return r.choice("aeioEOnK각") + "".join(r.choice(MARKS) for _ in range(r.randrange(1, 5)))
    if kind == 13:
        return "".join(r.choice("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") for _ in range(r.randrange(1, 5)))
    if kind == 14:
        return chr(r.choice([0, 1, 7, 8, 0x1b, 0x7f, 0x80, 0x9f, 0xad, 0xfffd, 0xffff]))
    while True:
        c = r.randrange(0x32000)
        if not 0xd800 <= c < 0xe000:
            return chr(c)


def lines(seed, n):
    r = random.Random(seed)
    for _ in range(n):
        yield "".join(pick(r) for _ in range(r.choice([1, 1, 2, 3, 4, 6, 9, 14])))


def fixed_lines():
    yield from ["", " ", "  ", "\n", "a", "The quick brown fox jumps over the lazy dog.", "\u0000",
                "e\u0301" * 20, "a" + "\u0301\u0323" * 300, " " * 1000, "\n" * 1000 + " x", "ab" * 3000,
                "x \n \n\n  y", "don't you'll WE'VE i'd", "1234567890 12 345 6789",
                "'mthe 'llthe 'dthe I'dthe she'llthe I'mthe", "!\n/ //\n/ x!\n/\n", "a\r\r\nb\rx \r\n\r\n",
                "x\nthe\n x\nthe", "ǅǆ aǅ ǅa ǅǅ", "end.\nthe end.\n\n"]
    yield from SPACES + MARKED + EMOJI + WORDS
    for lo, hi in SCRIPTS:
        yield "".join(chr(c) for c in range(lo, min(hi, lo + 200) + 1))


def training_text():
    r = random.Random(7)
    for _ in range(4000):
        yield " ".join(r.choice(WORDS) for _ in range(12)) + r.choice(["", ".", "\n", " \n\n  x", "   "])


def rare_characters(n):
    """All but the n most frequent; the trainer's own limit breaks ties by chance."""
    count = collections.Counter("".join(training_text()))
    return sorted(count, key=lambda c: (-count[c], c))[n:]


CROSSING = ["n't", "don't", "1234", "12345", "  a", "   the", "\n\n ", " \n", "a1", "1a", "'s ", "e.", "!!\n",
            "\n\n", "\n\n\n", "中a", "a中", "x ", "é!", "²a", "Aa", "aB", "/\n", "  \n", "世1", ".the", "\tthe", "'mthe", "'llthe", "'dthe",
            "\nthe", "\r\r", "\r\n", "\r\r\n", "\rx", ".\n", "!\n/", "ǅǆ", "aǅ", "\n x"]


def cross(data, spell, texts):
    """Adds merges that reach over the places where the regular expressions cut."""
    vocab, merges = data["model"]["vocab"], data["model"]["merges"]
    for text in texts:
        tok = models.BPE(vocab=vocab, merges=[tuple(m) for m in merges])
        parts = [t.value for t in tok.tokenize(spell(text))]
        while len(parts) > 1:
            joined = parts[0] + parts[1]
            if [parts[0], parts[1]] not in merges:
                merges.append([parts[0], parts[1]])
            vocab.setdefault(joined, len(vocab))
            parts[:2] = [joined]


def added(tok):
    tok.add_special_tokens([AddedToken("<s>", special=True), AddedToken("</s>", special=True)])
    tok.add_tokens([
        AddedToken("<|a|>", special=False, normalized=False), AddedToken("<|ab|>", normalized=True),
        AddedToken("<|r|>", rstrip=True, normalized=False), AddedToken("<|l|>", lstrip=True),
        AddedToken("<|w|>", single_word=True, normalized=False), AddedToken("É<|n|>", normalized=True)])


def spell_bytes(text):
    return "".join(p for p, _ in pre_tokenizers.ByteLevel(False, use_regex=False).pre_tokenize_str(text))


def template(before, after=()):
    parts = [*before, "$A", *after]
    ids = {"<s>": 0, "</s>": 1}
    return lambda tok: processors.TemplateProcessing(
        single=" ".join(parts), pair=" ".join(parts + ["$B"]),
        special_tokens=[(t, tok.token_to_id(t)) for t in ids])


def byte_level(pre, normalizer=None, size=900, post=None, ignore_merges=False, crossing=True, extra=None):
    tok = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer:
        tok.normalizer = normalizer
    tok.pre_tokenizer = pre
    trainer = trainers.BpeTrainer(vocab_size=size, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tok.train_from_iterator(training_text(), trainer)
    data = json.loads(tok.to_str())
    if crossing:
        cross(data, spell_bytes, CROSSING)
    tok = Tokenizer.from_str(json.dumps(data))
    tok.decoder = decoders.ByteLevel()
    added(tok)
    if extra:
        tok.add_tokens(extra)
    tok.post_processor = post(tok) if post else processors.ByteLevel(trim_offsets=False)
    return tok


def split(*patterns, regex=False):
    cuts = [pre_tokenizers.Split(Regex(p), "isolated") for p in patterns]
    return pre_tokenizers.Sequence(cuts + [pre_tokenizers.ByteLevel(False, use_regex=regex)])


def sentencepiece(normalizer, pre, decoder, post, fuse=True, fallback=True, crossing=(), bytes_from=0):
    tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=fuse, byte_fallback=fallback))
    tok.pre_tokenizer = pre_tokenizers.Metaspace(split=True)
    trainer = trainers.BpeTrainer(
        vocab_size=1300, show_progress=False,
        special_tokens=["<s>", "</s>", "<unk>"] + ["<0x%02X>" % i for i in range(bytes_from, 256)])
    rare = str.maketrans(dict.fromkeys(rare_characters(150), " "))
    tok.train_from_iterator((line.translate(rare) for line in training_text()), trainer)
    data = json.loads(tok.to_str())
    data["added_tokens"] = [t for t in data["added_tokens"] if not t["content"].startswith("<0x")]
    cross(data, lambda s: s.replace(" ", "▁"), crossing)
    data["pre_tokenizer"] = json.loads(pre.__getstate__()) if pre else None
    tok = Tokenizer.from_str(json.dumps(data))
    if normalizer:
        tok.normalizer = normalizer
    tok.decoder = decoder
    added(tok)
    if post:
        tok.post_processor = post(tok)
    return tok


def llama_decoder(strip=True):
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    return decoders.Sequence(steps + ([decoders.Strip(" ", 1, 0)] if strip else []))


def tokenizers():
    spaces = [AddedToken(" " * n, normalized=True) for n in range(24, 1, -1)]
    replace = normalizers.Replace(" ", "▁")
    individual = pre_tokenizers.Digits(individual_digits=True)
    level = pre_tokenizers.ByteLevel
    bos = template(["<s>"])
    seq = pre_tokenizers.Sequence
    yield "gpt2", byte_level(level(False))
    yield "neox", byte_level(level(False), normalizers.NFC(), extra=spaces)
    yield "llama3", byte_level(split(CL100K), ignore_merges=True, size=1300,
                               post=lambda t: processors.Sequence([processors.ByteLevel(), bos(t)]))
    yield "qwen", byte_level(split(QWEN), normalizers.NFC())
    yield "o200k", byte_level(split(O200K), ignore_merges=True)
    yield "tekken", byte_level(split(TEKKEN), post=template(["<s>"], ["</s>"]))
    yield "deepseek3", byte_level(split(*DEEPSEEK3), normalizers.Sequence([]))
    yield "deepseek2", byte_level(seq([pre_tokenizers.Split(Regex(p), "isolated") for p in DEEPSEEK2]
                                      + [individual, level(False, use_regex=False)]))
    yield "smollm2", byte_level(seq([individual, level(False, use_regex=True)]))
    yield "falcon", byte_level(seq([
        pre_tokenizers.Punctuation("contiguous"), level(False), pre_tokenizers.Digits(False),
        pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated")]))
    yield "bloom", byte_level(split(BLOOM))
    yield "possessive", byte_level(seq([
        pre_tokenizers.Split(Regex(POSSESSIVE), "removed", invert=True), level(True, use_regex=False)]),
        normalizers.NFKC())
    yield "kimi", byte_level(split(KIMI), normalizers.NFKD())
    yield "behaviors", byte_level(seq([
        pre_tokenizers.Split("the", "merged_with_previous"), pre_tokenizers.Split(Regex("[aeiou]"), "merged_with_next"),
        pre_tokenizers.Split(Regex(r"\d"), "contiguous", invert=True), pre_tokenizers.Split(Regex("[.,]|x*"), "removed"),
        pre_tokenizers.Split("\n", "merged_with_next", invert=True), level(False, use_regex=False)]),
        normalizers.Sequence([normalizers.NFD(), normalizers.Strip(), normalizers.Replace(Regex("[qQ]+"), "kw")]))
    yield "llama2", sentencepiece(normalizers.Sequence([normalizers.Prepend("▁"), replace]), None,
                                  llama_decoder(), bos)
    yield "mistral", sentencepiece(None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False),
                                   llama_decoder(), bos, crossing=["e the", "  a"])
    yield "gemma", sentencepiece(replace, pre_tokenizers.Split(" ", "merged_with_previous"),
                                 llama_decoder(False), bos, crossing=["e the", "d of", "\n\n", "中a b"])
    yield "metaspace", sentencepiece(None, pre_tokenizers.Metaspace(), decoders.Metaspace(), None,
                                     fuse=False, bytes_from=160)
    yield "nofallback", sentencepiece(normalizers.Sequence([normalizers.Lowercase(), replace]), None,
                                      llama_decoder(), template([], ["</s>"]), fallback=False)


def write_gz(path, text):
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, 0) as f:
        f.write(text.encode())


def build(where):
    corpus = list(fixed_lines()) + list(lines(1, 3200))
    where.mkdir(parents=True, exist_ok=True)
    write_gz(where / "corpus.jsonl.gz", "".join(json.dumps(s, ensure_ascii=False) + "\n" for s in corpus))
    for name, tok in tokenizers():
        (where / name).mkdir(exist_ok=True)
        data = json.loads(tok.to_str())
        (where / name / "tokenizer.json").write_text(json.dumps(data, ensure_ascii=False,
                                                                separators=(",", ":")))
        tok = Tokenizer.from_file(str(where / name / "tokenizer.json"))
        ids = [tok.encode(s).ids for s in corpus]
        write_gz(where / name / "ids.gz", "".join(" ".join(map(str, i)) + "\n" for i in ids))
        texts = [tok.decode(i, skip_special_tokens=False) for i in ids[::5]]
        write_gz(where / name / "text.gz", "".join(json.dumps(s, ensure_ascii=False) + "\n" for s in texts))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--lines", nargs=2, type=int)
    ap.add_argument("--ids")
    ap.add_argument("--spans")
    ap.add_argument("dir", nargs="?", type=pathlib.Path)
    a = ap.parse_args()
    if a.lines:
        for s in lines(*a.lines):
            print(json.dumps(s, ensure_ascii=False))
    elif a.ids or a.spans:
        tok = Tokenizer.from_file(a.ids or a.spans)
        for line in sys.stdin.buffer:
            e = tok.encode(json.loads(line))
            print(*(("%d" if a.ids else "%d:%d:%d") % ((i,) if a.ids else (i, *o))
                    for i, o in zip(e.ids, e.offsets)))
    else:
        build(a.dir)


if __name__ == "__main__":
    main()
