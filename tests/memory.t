#!/bin/sh
# Memory doesn't grow with the number of samples: the peak of each program at 1,000 and at 20,000 of them.
. "$(dirname "$0")/lib.sh"
need_python
test -z "${SANITIZED:-}" || skip_all "a sanitizer takes memory of its own"
cd "$TMP" || exit
export PYTHONDONTWRITEBYTECODE=1
"$PYTHON" - <<'END'
import os, subprocess

M = ["-m", os.environ["MOOD"]]
SMALL, LARGE = 1000, 20000
# Allocators, threads, and buffers that 1,000 samples do not fill; the rows of 20,000 are 39 MiB.
ROOM = 16 << 20
count = 0


def peak(command):
    """The most memory that it had, in bytes; None: it failed."""
    # Named, for a Popen that is dropped reaps its child.
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss << 10 if status == 0 else None


def streams(n):
    """Samples of 8 tokens each, and what the programs make of them."""
    at = "%d." % n
    with open(at + "jsonl", "w") as f:
        for i in range(n):
            f.write('{"label": "%s", "input_ids": [%s]}\n' % ("ab"[i % 2], ", ".join(str((7 * i + 13 * k) % 1000) for k in range(8))))
    return [
        ("tok", ["tok", "-f", "ids", at + "jsonl", "-o", at + "tok"]),
        ("embed", ["embed", *M, at + "tok", "-o", at + "resid"]),
        ("layer-run", ["layer-run", *M, "--ram", "1M", "--to", "2", at + "resid", "-o", at + "out"]),
        ("layer-run --hold, with taps", ["layer-run", *M, "--ram", "1M", "--hold", "2", "-n", at + "resid",
                                         "--tap", "resid_post@0-1/last=" + at + "last", "--tap", "q@0=" + at + "q"]),
        ("unembed --nll", ["unembed", *M, "--lens", "--nll", at + "out", "-o", at + "nll"]),
        ("unembed --top", ["unembed", *M, "--lens", "--top", "2", at + "out", "-o", at + "top"]),
        ("pool", ["pool", "--mean", at + "resid", "-o", at + "mean"]),
        ("tcat", ["tcat", at + "resid", "-o", at + "copy"]),
        ("tcat --json", ["tcat", "--json", at + "tok", "-o", at + "json"]),
        ("tcat --npy", ["tcat", "--npy", at + "npy", at + "last"]),
        ("tcat --safetensors", ["tcat", "--safetensors", at + "safetensors", at + "last"]),
        ("tcat --split", ["tcat", "--split", "3", at + "resid", "-o", at + "part-%d"]),
        ("tcat --merge", ["tcat", "--merge", at + "part-0", at + "part-1", at + "part-2", "-o", at + "merged"]),
        ("tcat --summary", ["tcat", "--summary", at + "last", "-o", at + "summary"]),
        ("tok -d", ["tok", "-d", *M, at + "tok", "-o", at + "text"]),
        ("diffmean", ["diffmean", "--pos", "a", "--neg", "b", at + "last", "-o", at + "direction"]),
        ("steer", ["steer", "-q", "--vector", "1000.direction", "--alpha", "1", at + "out", "-o", at + "steered"]),
        ("moments", ["moments", at + "last", "-o", at + "moments"]),
        ("pca", ["pca", "-k", "2", at + "last", "-o", at + "pca"]),
    ]


small = [peak(command) for _, command in streams(SMALL)]
for (name, command), before in zip(streams(LARGE), small):
    after = peak(command)
    count += 1
    good = before and after and after <= before + ROOM
    print("ok" if good else "not ok", count, "-", name)
    if not good:
        print("# %s: %s bytes with %d samples, %s with %d" % (" ".join(command), before, SMALL, after, LARGE))
print("1..%d" % count)
END
