#!/usr/bin/env python3
"""Interventions beside the same ones made by forward hooks on Hugging Face's models: a site scaled by a filter, a row
replaced, one head's rows replaced.  The truth is in double precision; our rms error at resid_post is compared with the one that
Hugging Face makes (tests/data/goldens/interventions.json, by make-intervention-goldens.py).  Writes TAP.

Needs NumPy, msgpack and xxhash; the programs are those in $BIN, else in bin/ beside tests/.
"""
import json
import os
import sys
import tempfile

import numpy as np

import accuracy
import truth

HERE = accuracy.HERE
GOLDEN = os.path.join(accuracy.GOLDENS, "interventions")
MODELS = "mood", "llama-f32", "gemma2-f32"
CASES = "scale", "row", "head"
POSITION, HEAD, FACTOR = 5, 2, 2.0


def path_of(name):
    return accuracy.MOOD if name == "mood" else os.path.join(accuracy.MODELS, name)


def layer_of(model):
    return (model.layers - 1) // 2


def given(n, width):
    """The rows of a sample of n tokens that take others' place: the same for everyone, exact in bf16."""
    raw = np.random.PCG64([n, width]).random_raw(n * width) >> np.uint64(57)
    return (raw.astype(np.float64).reshape(n, width) - 64) / 64


class Changed(truth.Truth):
    """The truth with one of CASES."""

    def __init__(self, path, case):
        super().__init__(path)
        self.case, self.layer = case, layer_of(self)

    def attention(self, x, i, put):
        ctx = super().attention(x, i, put)
        if self.case == "head" and i == self.layer:
            ctx = ctx.copy()
            at = slice(HEAD * self.d, (HEAD + 1) * self.d)
            ctx[:, at] = given(len(x), ctx.shape[1])[:, at]
        return ctx

    def scaled(self, y, name, site):
        here = f"layers.{self.layer}.{site}"
        return y * FACTOR if self.case == "scale" and name == here else y

    def linear(self, x, name):
        y = super().linear(x, name)
        return y if self.gemma else self.scaled(y, name, "self_attn.o_proj")

    def norm(self, x, name):
        y = super().norm(x, name)
        return self.scaled(y, name, "post_attention_layernorm") if self.gemma else y

    def block(self, x, i, put):
        y = super().block(x, i, put)
        if self.case == "row" and i == self.layer and len(y) > POSITION:
            y = y.copy()
            y[POSITION] = given(len(y), y.shape[1])[POSITION]
            put("resid_post", y)
        return y


def resid(sites, layer):
    """resid_post from that layer on."""
    return {place: x for place, x in sites.items() if place[0] == "resid_post" and place[1] >= layer}


def write_rows(file, samples, site, layer, width):
    spec = accuracy.importlib.util.spec_from_file_location(
        "onelayer_tms", os.path.join(HERE, "..", "pipelines", "onelayer_tms.py"))
    module = accuracy.importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    lens = [len(s["input_ids"]) for s in samples]
    rows = np.concatenate([given(n, width) for n in lens]).astype(np.float32)
    shape = (len(rows), 1, width) if site == "attn_ctx" else (len(rows), width)
    metas = [{"id": s["id"], "seq": i, "len": n, "first": 0, "n": n} for i, (s, n) in enumerate(zip(samples, lens))]
    with module.Writer(file, {"kind": "acts"}) as out:
        out.write(module.Frame(site, layer, rows.reshape(shape), "f32", samples=metas))


def ours(path, case, model, samples):
    """resid_post of every sample, or what went wrong."""
    layer = layer_of(model)
    with tempfile.TemporaryDirectory() as d:
        with open(f"{d}/ids.jsonl", "w") as f:
            f.writelines(json.dumps(s) + "\n" for s in samples)
        with open(f"{d}/scale.py", "w") as f:
            f.write(f"from onelayer_tms import filter_stdin\nfor f in filter_stdin():\n    f.rows = f.rows * f.rows.dtype.type({FACTOR})\n")
        if case == "scale":
            option = f"--filter \"attn_out@{layer}=PYTHONPATH='{HERE}/../pipelines' '{sys.executable}' {d}/scale.py\""
        elif case == "row":
            write_rows(f"{d}/rows.tms", samples, "resid_post", layer, model.h)
            option = f"--patch resid_post@{layer}/pos:{POSITION}={d}/rows.tms"
        else:
            write_rows(f"{d}/rows.tms", samples, "attn_ctx", layer, model.heads * model.d)
            option = f"--patch attn_ctx@{layer}/head:{HEAD}={d}/rows.tms"
        failure = accuracy.shell(
            f"cd {d} && tok -f ids ids.jsonl | embed -m {path} --resid-dtype f32 |"
            f" layer-run -m {path} --resid-dtype f32 {option} --tap resid_post@{layer}--1=post.tms >resid.tms")
        return failure or accuracy.read_sites([f"{d}/post.tms"], len(samples))


def main():
    tap = accuracy.Tap()
    with open(GOLDEN + ".json") as f:
        golden = json.load(f)
    anchors = np.load(GOLDEN + ".npz")
    for name in MODELS:
        path = path_of(name)
        tap.ok(accuracy.weights_sum(path) == golden[name]["weights"], f"{name}: the checkpoint is the goldens'")
        plain = None
        for case in CASES:
            model = Changed(path, case)
            samples = accuracy.samples(model.config)
            true = [resid(model.forward(s["input_ids"]), model.layer) for s in samples]
            last = "resid_post", model.layers - 1
            off = accuracy.relative(true[-1][last][-8:], anchors[f"{name}.{case}"])
            tap.ok(off < 1e-12, f"{name}, {case}: the truth is that of Hugging Face with hooks in double, to {off:.0e}")
            if plain is None:
                plain = truth.Truth(path).forward(samples[-1]["input_ids"])[last]
            tap.ok(accuracy.relative(true[-1][last], plain) > 1e-2, f"{name}, {case}: something is changed")
            got = ours(path, case, model, samples)
            if isinstance(got, str):
                tap.ok(False, f"{name}, {case}", [got])
                continue
            errors = accuracy.Errors()
            for t, g in zip(true, got):
                errors.add(t, g)
            tap.ok(not errors.faults, f"{name}, {case}: every row is there", errors.faults)
            rms = errors.record()["rms"]
            limit = 1.25 if golden[name]["dtype"] == "f32" else 1.0
            ratios = {k: v / golden[name][case][k] for k, v in rms.items()}
            tap.ok(max(ratios.values()) <= limit, f"{name}, {case}: {max(ratios.values()):.2f} of Hugging Face's error "
                   f"in {golden[name]['dtype']}", [f"{k}: {v:.2f}" for k, v in ratios.items()])
    print(f"1..{tap.n}")
    sys.exit(tap.failed > 0)


if __name__ == "__main__":
    main()
