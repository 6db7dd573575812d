#!/bin/sh
# Bad input to every program that reads a stream: cut off, a bit turned over, doubled, another's, no stream at all.
# Always exit 2 and one line that names the file and the place, and nothing under the output's name.
. "$(dirname "$0")/lib.sh"
need_python
cd "$TMP" || exit
export PYTHONPATH="$TESTS" PYTHONDONTWRITEBYTECODE=1
"$PYTHON" - <<'END'
import os, pty, random, re, shutil, subprocess
from tap import done, ok

MOOD, MODELS = os.environ["MOOD"], os.path.join(os.environ["TESTS"], "data", "models")
M = ["-m", MOOD]
random.seed(3)
# Cuts and turned bits for each program; a sanitized program takes ten times as long.
DENSITY = 6 if os.environ.get("SANITIZED") else 40


def make(name, command):
    with open(name, "wb") as f:
        subprocess.run(command, stdout=f, check=True)


with open("text.jsonl", "w") as f:
    f.write('{"text": "Leo met", "label": "a", "id": "0"}\n{"text": "the lake, Ivan", "label": "b", "id": "1"}\n'
            '{"text": "", "label": "b", "id": "2"}\n{"text": "so sad", "label": "a", "id": "3"}\n')
make("tokens", ["tok", *M, "text.jsonl"])
make("resid", ["embed", *M, "tokens"])
make("out", ["layer-run", *M, "resid"])
make("acts", ["layer-run", *M, "--tap", "resid_post@0/last=-", "resid"])
make("packed", ["tcat", "--zstd", "resid"])
make("logits", ["unembed", *M, "--logits", "out"])
make("direction", ["diffmean", "--pos", "a", "--neg", "b", "acts"])
make("state", ["diffmean", "--pos", "a", "--neg", "b", "--partial", "acts"])

# What reads it, the good stream, and the command but for the file; "O" is what must not be there in the end.
READERS = [
    ("tok -d", "tokens", ["tok", "-d", "-f", "ids", "-o", "O"]),
    ("embed", "tokens", ["embed", *M, "-o", "O"]),
    ("layer-run", "resid", ["layer-run", *M, "-j1", "--to", "1", "-o", "O", "--tap", "q@0=O2"]),
    ("layer-run of zstd", "packed", ["layer-run", *M, "-j1", "-n", "--tap", "k@0=O"]),
    ("unembed", "out", ["unembed", *M, "-j1", "-o", "O"]),
    ("pool", "resid", ["pool", "--mean", "-o", "O"]),
    ("steer", "resid", ["steer", "-q", "--vector", "direction", "--alpha", "1", "-o", "O"]),
    ("diffmean", "acts", ["diffmean", "--pos", "a", "--neg", "b", "-o", "O"]),
    ("diffmean --merge", "state", ["diffmean", "--merge", "-o", "O"]),
    ("pca", "acts", ["pca", "-k", "1", "-o", "O"]),
    ("moments", "acts", ["moments", "-o", "O"]),
    ("tcat", "acts", ["tcat", "-o", "O"]),
    ("tcat of zstd", "packed", ["tcat", "-o", "O"]),
    ("tcat of logits", "logits", ["tcat", "-o", "O"]),
    ("tcat of vectors", "direction", ["tcat", "-o", "O"]),
    ("tcat --merge", "resid", ["tcat", "--merge", "-o", "O"]),
    ("tcat --split", "resid", ["tcat", "--split", "2", "-o", "O%d"]),
    ("tcat --ids", "acts", ["tcat", "--ids", "1", "-o", "O"]),
    ("tcat --json", "tokens", ["tcat", "--json", "-o", "O"]),
    ("tcat --tsv", "acts", ["tcat", "--tsv", "-o", "O"]),
    ("tcat --summary", "acts", ["tcat", "--summary", "-o", "O"]),
    ("tcat --npy", "resid", ["tcat", "--npy", "O"]),
    ("tcat --safetensors", "acts", ["tcat", "--safetensors", "O"]),
]


def spread(n, k):
    return sorted({0, n - 1, *(random.randrange(n) for _ in range(k))})


def broken(good):
    """(what, bytes)"""
    for at in spread(len(good), DENSITY):
        yield "cut at %d" % at, good[:at]
    for at in spread(len(good), DENSITY):
        turned = bytearray(good)
        turned[at] ^= 1 << random.randrange(8)
        yield "a bit of byte %d turned" % at, bytes(turned)
    for at in spread(len(good), DENSITY // 4):
        yield "3 bytes more at %d" % at, good[:at] + b"\x93\x01\xff" + good[at:]
        yield "3 bytes less at %d" % at, good[:at] + good[at + 3:]
    if b"resid_pre" in good:
        yield "a site that nobody knows", good.replace(b"resid_pre", b"resid_prE")
    yield "two streams", good + good
    yield "a byte more", good + b"\0"
    yield "a second header", good[:64] + good
    yield "text", b"Leo met Ivan\n"
    yield "JSON", b'{"text": "Leo"}\n'
    yield "zeros", bytes(500)
    yield "gzip", b"\x1f\x8b\x08" + bytes(99)


def remains():
    """What there is under the outputs' names, gone afterwards.  An empty directory is nothing."""
    found = []
    for f in os.listdir("."):
        if os.path.isdir(f) and f.startswith("O"):
            found += os.listdir(f)
            shutil.rmtree(f)
        elif f.startswith("O") or f.endswith(".tmp"):
            found.append(f)
            os.remove(f)
    return found


def wrong(command, status=2, place=r"byte \d|header|kind|order|version|model|empty|text|not a tensor stream|compressed|sample .* token ids"):
    """What of the manners the command lacks."""
    r = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    said = r.stderr.decode(errors="replace")
    lacks = []
    if r.returncode != status:
        lacks.append("exit status %d" % r.returncode)
    if said.count("\n") != 1 or not said.startswith(command[0] + ": "):
        lacks.append("not one line of its own")
    if command[-1] not in said and "no token ids" not in said:
        lacks.append("no file named")
    if place and not re.search(place, said):
        lacks.append("no place named")
    left = remains()
    if left:
        lacks.append("leaves %s" % left)
    return ["%s: %s: %s" % (" ".join(command), ", ".join(lacks), said)] if lacks else []


for name, source, command in READERS:
    with open(source, "rb") as f:
        good = f.read()
    r = subprocess.run([*command, source], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    ok(r.returncode == 0 and remains(), name + ": the whole stream is taken", r.stderr.decode())
    bad = []
    for what, data in broken(good):
        with open("broken", "wb") as f:
            f.write(data)
        bad += [what + ": " + w for w in wrong([*command, "broken"])]
    ok(not bad, name + ": nothing broken is", "\n".join(bad))

# Another model's stream, another kind, too early.
other = os.path.join(MODELS, "llama-f32")
bad = []
for command in (["layer-run", "-m", other, "-o", "O", "resid"], ["unembed", "-m", other, "-o", "O", "out"],
                ["unembed", *M, "-o", "O", "resid"], ["embed", *M, "-o", "O", "resid"], ["layer-run", *M, "-o", "O", "tokens"],
                ["layer-run", *M, "-o", "O", "acts"], ["unembed", *M, "-o", "O", "acts"], ["pool", "--last", "-o", "O", "tokens"],
                ["tok", "-d", *M, "-o", "O", "resid"], ["tcat", "-o", "O", "tokens", "resid"]):
    bad += wrong(command, place=None)
ok(not bad, "another model's stream, or one of another kind", "\n".join(bad))

# Tokens that the model hasn't, and lines that aren't what they should be.
INPUTS = [("x.ids", b"1 2\n1 99999\n"), ("x.jsonl", b'{"text": "a"}\n{"text":\n'), ("x.jsonl", b'{"text": "\\ud800"}\n'),
          ("x.jsonl", b'{"txt": "a"}\n'), ("x.jsonl", b'{"text": "a", "span": [[0, 9]]}\n'), ("x.jsonl", b'{"text": "a", "text": "b"}\n'),
          ("x.txt", b"a\n\xff\n"), ("x.ids", b"1 -2\n"), ("x.ids", b"4294967296\n"), ("x.jsonl", b'{"text": "a", "x": ' + b"[" * 99999)]
bad = []
for i, (name, data) in enumerate(INPUTS):
    name = "%d%s" % (i, name)
    with open(name, "wb") as f:
        f.write(data)
    if i:
        bad += wrong(["tok", *M, "-o", "O", name], place=r"line \d")
make("far", ["tok", "0x.ids"])
ok(not bad, "text that isn't what it should be", "\n".join(bad))
bad = wrong(["embed", *M, "-o", "O", "far"])
ok(not bad, "a token outside the vocabulary", "\n".join(bad))

# Models.
bad = []
for what, change in [("no tokenizer", lambda: os.remove("model/tokenizer.json")), ("no config", lambda: os.remove("model/config.json")),
                     ("no weights", lambda: os.remove("model/model.safetensors")),
                     ("weights cut short", lambda: os.truncate("model/model.safetensors", 1000000)),
                     ("weights cut in the header", lambda: os.truncate("model/model.safetensors", 100)),
                     ("no weights in the file", lambda: os.truncate("model/model.safetensors", 0)),
                     ("config cut short", lambda: os.truncate("model/config.json", 100)),
                     ("tokenizer cut short", lambda: os.truncate("model/tokenizer.json", 20000))]:
    shutil.rmtree("model", ignore_errors=True)
    shutil.copytree(MOOD, "model", symlinks=True)
    change()
    of_tok = "tokenizer" in what
    command = ["tok", "text.jsonl", "-o", "O"] if of_tok else ["layer-run", "resid", "-o", "O"]
    bad += [what + ": " + w for w in wrong([*command, "-m", "model"], place=None)]
shutil.rmtree("model")
for model in ("nowhere/at/all", "no/model", "text.jsonl"):
    bad += wrong(["layer-run", "resid", "-o", "O", "-m", model], place=None)
ok(not bad, "models with something missing", "\n".join(bad))

# Nothing asked for, or too much.
bad = []
for command, said in ((["embed", *M, "-n", "tokens"], "nothing would come out"), (["layer-run", *M, "-n", "resid"], "nothing would come out"),
                      (["unembed", *M, "-n", "out"], "nothing would come out"), (["embed", *M, "--variants", "999999999", "tokens"], "at most"),
                      (["unembed", *M, "--top", "999999", "out"], "vocabulary is 1024"), (["layer-run", *M, "--to", "9", "resid"], "has 6 layers"),
                      (["layer-run", *M, "--from", "1", "resid"], "layer 0 is next"), (["layer-run", *M, "-j", "0", "resid"], "at least 1"),
                      (["layer-run", *M, "--tap", "q@6=O", "resid"], "layers are 0 to 5"), (["layer-run", *M, "--ram", "1E", "resid"], "no size"),
                      (["layer-run", *M, "--ram", "0", "--spill", "nowhere", "resid"], "--spill nowhere")):
    r = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if r.returncode != 2 or said not in r.stderr.decode():
        bad.append(" ".join(command) + ": %d: " % r.returncode + r.stderr.decode())
ok(not bad, "what can't be done is told", "\n".join(bad))

# A terminal is no place for a stream, and a full disk for nothing.
bad = []
for command in (["tok", *M, "text.jsonl"], ["embed", *M, "tokens"], ["layer-run", *M, "resid"], ["unembed", *M, "--logits", "out"],
                ["pool", "--last", "resid"], ["tcat", "resid"], ["layer-run", *M, "--tap", "q=-", "resid"]):
    us, them = pty.openpty()
    r = subprocess.run(command, stdout=them, stderr=subprocess.PIPE)
    os.close(them)
    os.close(us)
    if r.returncode != 2 or b"terminal" not in r.stderr:
        bad.append(" ".join(command) + ": %d: " % r.returncode + r.stderr.decode())
ok(not bad, "no stream goes to a terminal", "\n".join(bad))
bad = []
if os.path.exists("/dev/full"):
    for command in (["tok", *M, "text.jsonl"], ["tok", "-d", *M, "tokens"], ["embed", *M, "tokens"], ["layer-run", *M, "resid"],
                    ["unembed", *M, "out"], ["unembed", *M, "--nll", "--json", "out"], ["pool", "--last", "resid"], ["tcat", "resid"],
                    ["tcat", "--json", "resid"], ["tcat", "--summary", "resid"], ["tcat", "--tsv", "resid"]):
        with open("/dev/full", "wb") as full:
            r = subprocess.run(command, stdout=full, stderr=subprocess.PIPE)
        if r.returncode != 2 or b"No space left" not in r.stderr:
            bad.append(" ".join(command) + ": %d: " % r.returncode + r.stderr.decode())
    ok(not bad, "a full disk is told", "\n".join(bad))

done()
END
