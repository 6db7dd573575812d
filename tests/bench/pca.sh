#!/bin/sh
# pca, diffmean and moments: how fast rows are taken up, as a share of what binds.  That is OpenBLAS's product with all threads
# for those that sum products, and for moments a plain read of the file with all threads (plain-read.c); rounds of all
# alternate, the best of each counts.  And scikit-learn's IncrementalPCA on the same file where PYTHON (default python3) has it.
#
#   ROWS=16384 WIDTH=2048 K=64 tests/bench/pca.sh
set -e
root=$(cd "$(dirname "$0")/../.." && pwd)
BIN=${BIN:-$root/bin}
PYTHON=${PYTHON:-python3}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export BIN dir PYTHONPATH="$root/pipelines" ROWS="${ROWS:-16384}" WIDTH="${WIDTH:-2048}" K="${K:-64}"
if ! "$PYTHON" -c 'import numpy, msgpack, xxhash' 2>/dev/null
then
	echo "pca: skipped, no $PYTHON with numpy, msgpack and xxhash"
	exit 0
fi
${CC:-cc} -O3 -march=native -pthread -D_GNU_SOURCE -o "$dir/plain-read" "$root/tests/bench/plain-read.c"
"$PYTHON" - <<'END'
import os
import subprocess
import sys
import time

import numpy as np
from onelayer_tms import Frame, Reader, Writer

rows, width, k = (int(os.environ[n]) for n in ("ROWS", "WIDTH", "K"))
path, state = (os.path.join(os.environ["dir"], n) for n in ("in.tms", "state.tms"))
pca, diffmean, moments = (os.path.join(os.environ["BIN"], n) for n in ("pca", "diffmean", "moments"))
threads = len(os.sched_getaffinity(0))
rng = np.random.default_rng(0)
scale = (np.arange(1, width + 1) ** -0.5).astype("f4")
with Writer(path, {"kind": "acts", "order": "layer"}) as w:
    for a in range(0, rows, 512):
        n = min(512, rows - a)
        w.write(Frame("resid_post", 0, rng.standard_normal((n, width), "f4") * scale + 1,
                      samples=[{"id": str(a), "seq": a // 512, "len": n, "first": 0, "n": n, "label": "ab"[a // 512 % 2]}]))


def seconds(*command):
    start = time.monotonic()
    subprocess.run(command, check=True)
    return time.monotonic() - start


# What a product of the same library, kernels and number of threads allows.
os.environ.setdefault("OPENBLAS_CORETYPE", "SkylakeX" if "avx512vl" in open("/proc/cpuinfo").read() else "Haswell")
code = """
import ctypes, time
import numpy as np
blas = ctypes.CDLL("libopenblas.so.0")
blas.openblas_set_num_threads(%d)
n = 3072
a = np.random.standard_normal((n, n)); c = np.zeros((n, n))
i, one = ctypes.c_int(n), ctypes.c_double(1)
p = lambda x: x.ctypes.data_as(ctypes.c_void_p)
best = 1e9
for _ in range(2):
    t = time.monotonic()
    blas.dgemm_(b"N", b"T", ctypes.byref(i), ctypes.byref(i), ctypes.byref(i), ctypes.byref(one), p(a), ctypes.byref(i),
                p(a), ctypes.byref(i), ctypes.byref(one), p(c), ctypes.byref(i))
    best = min(best, time.monotonic() - t)
print(2 * n ** 3 / best / 1e9)
""" % threads


def product():
    return float(subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE).stdout)


def plain_read():
    said = subprocess.run([os.path.join(os.environ["dir"], "plain-read"), str(threads), "0", path], check=True, stdout=subprocess.PIPE)
    return float(said.stdout.split()[1])


# The first round warms the page cache.
rounds = [(product(), plain_read(), seconds(pca, "--partial", "-o", state, path),
           seconds(diffmean, "--pos", "a", "--neg", "b", "--partial", "-o", state, path),
           seconds(moments, "--partial", "-o", state, path)) for _ in range(6)][1:]
peak = max(r[0] for r in rounds)
plain, partial, difference, moment = (min(r[i] for r in rounds) for i in range(1, 5))
whole = seconds(pca, "-k", str(k), "-o", os.path.join(os.environ["dir"], "v.tms"), path)
gflop, megabytes = rows * width * (width + 1) / 1e9, rows * width * 4 / 1e6
print("%d rows of %d, %d threads: product %.1f GFLOP/s, plain read %.0f MB/s" % (rows, width, threads, peak, megabytes / plain))
for name, took in (("pca --partial", partial), ("diffmean --partial", difference)):
    print("  %-18s %7.3f s  %7.1f GFLOP/s  %6.0f MB/s  ratio %.2f of the product" % (
        name, took, gflop / took, megabytes / took, gflop / took / peak))
print("  %-18s %7.3f s                   %6.0f MB/s  ratio %.2f of the plain read" % (
    "moments --partial", moment, megabytes / moment, plain / moment))
print("  %-18s %7.3f s" % ("pca -k %d" % k, whole))

try:
    from sklearn.decomposition import IncrementalPCA
except ImportError:
    print("  scikit-learn: skipped, not installed for", sys.executable)
    sys.exit()
start = time.monotonic()
model, waiting = IncrementalPCA(k), []
for frame in Reader(path):
    waiting.append(frame.rows)
    if sum(map(len, waiting)) >= 5 * width:
        model.partial_fit(np.concatenate(waiting))
        waiting = []
if waiting and sum(map(len, waiting)) >= k:
    model.partial_fit(np.concatenate(waiting))
other = time.monotonic() - start
print("  IncrementalPCA                   %7.2f s: pca is %.1f times as fast" % (other, other / whole))
x = np.concatenate([f.rows for f in Reader(path)]).astype("f8")
x -= x.mean(0)
true = np.linalg.eigvalsh(x.T @ x / (len(x) - 1))[::-1][:k]
ours = next(f.rows[0] for f in Reader(os.path.join(os.environ["dir"], "v.tms")) if f.name == "explained_variance_")
print("  largest relative error of a variance: pca %.1e, IncrementalPCA %.1e" % (
    np.abs(ours / true - 1).max(), np.abs(model.explained_variance_ / true - 1).max()))
END
