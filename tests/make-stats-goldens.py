#!/usr/bin/env python3
"""Makes data/goldens/pca.npz: rows, and what scikit-learn's PCA(svd_solver="full") finds in them.

    python3 make-stats-goldens.py data/goldens

Needs scikit-learn (1.7 made the file here); make test does not.
"""
import os
import sys

import numpy as np
from sklearn.decomposition import PCA

CASES = {
    # rows, columns, components, offset of the mean in units of the spread
    "tall": (400, 40, 12, 3.0),
    "square": (60, 60, 20, 0.0),
    "wide": (24, 70, 20, 1.0),
    "all": (50, 9, 9, 0.5),
}

out = {}
rng = np.random.RandomState(4)
for name, (n, width, k, offset) in CASES.items():
    # Falling scales keep the components apart, so that each is determined.
    scale = 0.8 ** np.arange(min(n, width, 30))
    rows = rng.standard_normal((n, len(scale))) * scale @ np.linalg.qr(rng.standard_normal((width, len(scale))))[0].T
    rows = (rows + 1e-3 * rng.standard_normal(rows.shape) + offset).astype(np.float32)
    found = PCA(k, svd_solver="full").fit(rows.astype(np.float64))
    out[name + ".rows"] = rows
    for key in ("components_", "mean_", "explained_variance_", "explained_variance_ratio_", "singular_values_"):
        out[name + "." + key] = getattr(found, key)
    out[name + ".transformed"] = found.transform(rows[:10].astype(np.float64))
np.savez_compressed(os.path.join(sys.argv[1], "pca.npz"), **out)
