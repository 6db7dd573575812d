#!/usr/bin/env python3
"""Adds a direction to every row of a residual stream, on its way from one layer-run to the next.

    layer-run -m MODEL --to 4 < in.tms | add-direction.py acts.tms 3 happy sad 1 | layer-run -m MODEL > out.tms

acts.tms holds one row a sample (layer-run --tap resid_post/last=acts.tms).  The direction is the mean of layer 3's
rows with the label happy less that with the label sad, over the first half of the samples; 1 is its multiplier.
"""
import sys

import numpy as np

from onelayer_tms import Reader, filter_stdin


def direction(path, layer, labels):
    found = []
    with Reader(path) as stream:
        for frame in stream:
            if frame.layer == layer:
                found += [(sample.get("label"), rows[0]) for sample, rows in frame.per_sample()]
    half = found[:len(found) // 2]
    pos, neg = (np.mean([row for label, row in half if label == wanted], axis=0, dtype=np.float64)
                for wanted in labels)
    return pos - neg


def main():
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    path, layer, pos, neg, alpha = sys.argv[1:]
    change = float(alpha) * direction(path, int(layer), (pos, neg))
    for frame in filter_stdin():
        frame.rows = (frame.f32() + change).astype(np.float32)


if __name__ == "__main__":
    main()
