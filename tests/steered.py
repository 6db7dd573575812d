"""Interventions that the programs, the truth in double and Hugging Face's models make alike: for
make-steer-goldens.py and steer-accuracy.py."""
import os

import numpy as np

import accuracy
import truth

GOLDEN = os.path.join(accuracy.GOLDENS, "steer.json")
MODELS = {"mood": accuracy.MOOD,
          **{n: os.path.join(accuracy.MODELS, n) for n in ("llama-f32", "gemma2-f32")}}
# mode, strength, components of the basis, positions
CASES = (("add", 2.0, "0", "all"), ("add", -1.5, "1", "last"), ("ablate", 1.0, "0,1,2", "all"),
         ("project", 1.0, "0,1,2", "from:40"), ("clamp", 3.0, "1", "all"), ("set", 0.5, "2", "1-8"),
         ("zero", 0.75, "", "0,from:-3"))
ANCHOR = 24             # values kept of Hugging Face in double


def basis(width):
    """Three vectors in f32, with values in [-1, 1): the same for everyone."""
    raw = np.random.PCG64([77, width]).random_raw(3 * width)
    return ((raw >> 40).astype(np.float64) / 2.0 ** 23 - 1).astype("f4").reshape(3, width)


def picked(case, width):
    return basis(width)[[int(k) for k in case[2].split(",")]] if case[2] else None


def positions(text, n):
    """Which of n positions, as an array of truth values."""
    at = np.arange(n)
    chosen = np.zeros(n, bool)
    for part in text.split(","):
        if part == "all":
            chosen[:] = True
        elif part == "last":
            chosen[-1] = True
        elif part.startswith("from:"):
            k = int(part[5:])
            chosen |= at >= (k + n if k < 0 else k)
        else:
            a, _, b = part.partition("-")
            chosen |= (at >= int(a)) & (at <= int(b or a))
    return chosen


def layer(layers):
    """The stream is steered where it enters this one."""
    return layers // 2


class Steered(truth.Truth):
    """The truth with one intervention."""

    case = None

    def block(self, x, i, put):
        if self.case and i == layer(self.layers):
            x = self.steer(x)
        return super().block(x, i, put)

    def steer(self, x):
        mode, a, _, where = self.case
        v = picked(self.case, self.h)
        v = v.astype("f8") if v is not None else None
        b = np.linalg.qr(v.T)[0].T if v is not None else None
        if mode == "add":
            y = x + a * v[0]
        elif mode == "ablate":
            y = x - a * (x @ b.T) @ b
        elif mode == "project":
            y = (1 - a) * x + a * (x @ b.T) @ b
        elif mode == "clamp":
            unit = v[:1] / np.linalg.norm(v[0])
            y = x + (a - x @ unit.T) @ unit
        elif mode == "set":
            y = np.broadcast_to(a * v[0], x.shape)
        else:
            y = (1 - a) * x
        return np.where(positions(where, len(x))[:, None], y, x)


def places(layers):
    return [("resid_post", i) for i in range(layer(layers), layers)] + [("logits", None)]
