"""What the tests of pca, diffmean and moments share: streams of given rows, and refusals; and what tap.py has."""
import os

import numpy as np
from onelayer_tms import Frame, Reader, Writer
from tap import done, ok, run


def refused(name, pattern, *args):
    """Exit status 2, a message with the pattern, and nothing under the output's name."""
    r = run(*args, "-o", "refused.tms")
    said = r.stderr.decode(errors="replace")
    ok(r.returncode == 2 and pattern in said and said.count("\n") == 1 and not os.path.exists("refused.tms"), name,
       (r.returncode, said))


def write(path, places, size=50, labels=None, order="layer", kind="acts", dtype=None, **header):
    """places: (site, layer, variant) -> rows; one row a sample, `size` of them a frame, or with labels one label a row."""
    with Writer(path, {"kind": kind, "order": order, **header}) as w:
        for (site, layer, variant), rows in places.items():
            for a in range(0, len(rows), size):
                some = rows[a:a + size]
                samples = [{"id": "s%d" % (a + i), "seq": a + i, "len": 3, "first": 2, "n": 1} for i in range(len(some))]
                for i, s in enumerate(samples):
                    if labels is not None and labels[a + i] is not None:
                        s["label"] = labels[a + i]
                w.write(Frame(site, layer, some, dtype, variant=variant, pool="last", samples=samples))


def vectors(data):
    """(site, layer, variant, name) -> array, of a program's output."""
    with open("vectors.tms", "wb") as f:
        f.write(data)
    with Reader("vectors.tms") as r:
        return {(f.site, f.layer, f.variant, f.name): f.rows[0].copy() for f in r}


def values(data):
    return {k: v.tobytes() for k, v in vectors(data).items()}


def rms(x):
    return np.sqrt((x.astype(np.longdouble) ** 2).mean(0))


def covariance(x):
    x = x.astype(np.longdouble)
    d = x - x.mean(0)
    return d.T @ d / (len(x) - 1)
