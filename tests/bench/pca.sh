#!/bin/sh
# pca: how fast rows are taken up, against one thread's matrix product times the threads, and scikit-learn's
# IncrementalPCA on the same file where PYTHON (default python3) has it.
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
exec "$PYTHON" - <<'END'
import os
import subprocess
import time

import numpy as np
from onelayer_tms import Frame, Reader, Writer

rows, width, k = (int(os.environ[n]) for n in ("ROWS", "WIDTH", "K"))
path, state = (os.path.join(os.environ["dir"], n) for n in ("in.tms", "state.tms"))
pca = os.path.join(os.environ["BIN"], "pca")
threads = len(os.sched_getaffinity(0))
rng = np.random.default_rng(0)
scale = (np.arange(1, width + 1) ** -0.5).astype("f4")
with Writer(path, {"kind": "acts", "order": "layer"}) as w:
    for a in range(0, rows, 512):
        n = min(512, rows - a)
        w.write(Frame("resid_post", 0, rng.standard_normal((n, width), "f4") * scale + 1,
                      samples=[{"id": str(a), "seq": a // 512, "len": n, "first": 0, "n": n}]))


def seconds(*command):
    start = time.monotonic()
    subprocess.run(command, check=True)
    return time.monotonic() - start


# One run to warm the cache, then the best of three.
seconds(pca, "--partial", "-o", state, path)
partial = min(seconds(pca, "--partial", "-o", state, path) for _ in range(3))
whole = seconds(pca, "-k", str(k), "-o", os.path.join(os.environ["dir"], "v.tms"), path)
flop = rows * width * (width + 1)
print("pca: %d rows of %d, %d threads" % (rows, width, threads))
print("  rows taken up and state written  %7.2f s  %7.1f GFLOP/s  %6.0f MB/s" % (
    partial, flop / partial / 1e9, rows * width * 4 / partial / 1e6))
print("  with %d components               %7.2f s" % (k, whole))

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
for _ in range(4):
    t = time.monotonic()
    blas.dgemm_(b"N", b"T", ctypes.byref(i), ctypes.byref(i), ctypes.byref(i), ctypes.byref(one), p(a), ctypes.byref(i),
                p(a), ctypes.byref(i), ctypes.byref(one), p(c), ctypes.byref(i))
    best = min(best, time.monotonic() - t)
print(2 * n ** 3 / best / 1e9)
""" % threads
import sys
peak = float(subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE).stdout)
print("  the machine's product            %19.1f GFLOP/s: pca takes rows up at %.0f%% of it" % (
    peak, 100 * flop / partial / 1e9 / peak))

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
