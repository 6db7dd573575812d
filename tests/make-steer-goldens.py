#!/usr/bin/env python3
"""Runs Hugging Face's models with interventions made by forward hooks, and records what
steer-accuracy.py compares with: the rms errors of its f32, and a few numbers of its double.

Needs torch 2.9 and transformers 4.57.  Usage: make-steer-goldens.py
"""
import contextlib
import importlib.util
import json
import os

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM

import accuracy
import steered


def load_maker():
    path = os.path.join(accuracy.HERE, "make-goldens.py")
    spec = importlib.util.spec_from_file_location("make_goldens", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


maker = load_maker()


def hook(case, width, dtype):
    """As people write it: in the model's own type."""
    mode, a, _, where = case
    v = steered.picked(case, width)
    v = torch.from_numpy(v).to(dtype) if v is not None else None
    b = torch.linalg.qr(v.T)[0].T if v is not None else None

    def pre(module, args, kwargs):
        x = args[0]
        if mode == "add":
            y = x + a * v[0]
        elif mode == "ablate":
            y = x - a * (x @ b.T) @ b
        elif mode == "project":
            y = (1 - a) * x + a * (x @ b.T) @ b
        elif mode == "clamp":
            unit = v[:1] / v[0].norm()
            y = x + (a - x @ unit.T) @ unit
        elif mode == "set":
            y = (a * v[0]).expand_as(x)
        else:
            y = (1 - a) * x
        at = torch.from_numpy(steered.positions(where, x.shape[-2]))
        return (torch.where(at[:, None], y, x), *args[1:]), kwargs
    return pre


def run(path, dtype, implementation, samples, case):
    """resid_post and logits of each sample."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, attn_implementation=implementation).eval()
    layers = model.base_model.layers
    at = steered.layer(len(layers))
    layers[at].register_forward_pre_hook(hook(case, model.config.hidden_size, dtype), with_kwargs=True)
    found = {}

    def after(i):
        def keep(module, args, out):
            x = maker.array(out[0] if isinstance(out, tuple) else out)
            found["resid_post", i] = x.reshape(-1, x.shape[-1])
        return keep
    for i in range(at, len(layers)):
        layers[i].register_forward_hook(after(i))
    results = []
    with contextlib.ExitStack() as modes:
        if dtype is torch.float64:
            torch.set_default_dtype(torch.float64)
            modes.callback(torch.set_default_dtype, torch.float32)
            modes.enter_context(maker.OnlyDouble())
            modes.enter_context(maker.Double())
        rotary = type(model.base_model.rotary_emb)
        for ids in samples:
            model.base_model.rotary_emb = rotary(model.config)
            found = {}
            out = model(input_ids=torch.tensor([ids]), use_cache=False)
            found["logits", None] = maker.array(out.logits)[0]
            results.append(found)
    return results


def golden(name, path, case):
    model = steered.Steered(path)
    model.case = case
    samples = [s["input_ids"] for s in accuracy.samples(model.config)]
    wanted = steered.places(model.layers)
    ours = [{p: sites[p] for p in wanted} for sites in map(model.forward, samples)]
    # What the embedding gives in double is that of the f32 table; steering begins behind it.
    double = run(path, torch.float64, "eager", samples, case)
    implementation = "sdpa" if maker.same_function(model.config) else "eager"
    single = run(path, torch.float32, implementation, samples, case)
    agree = max(accuracy.relative(d[p], t[p]) for d, t in zip(double, ours) for p in wanted)
    if agree > 1e-11:
        raise SystemExit(f"{name} {case}: truth.py is {agree:.1e} from Hugging Face in double")
    errors = accuracy.Errors()
    for t, s in zip(ours, single):
        errors.add(t, s)
    anchor = double[-1]["resid_post", model.layers - 1][-1, :steered.ANCHOR]
    print(f"{name} {case[0]}: numpy from double {agree:.1e}, own error at logits "
          f"{errors.record()['relative']['logits']:.2e}", flush=True)
    return {"case": list(case), "numpy_from_double": agree, "anchor": anchor.tolist(),
            "rms": errors.record()["rms"], "relative": errors.record()["relative"]}


def main():
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    record = {"torch": torch.__version__, "transformers": transformers.__version__, "models": {}}
    for name, path in steered.MODELS.items():
        record["models"][name] = {"weights": accuracy.weights_sum(path),
                                  "cases": [golden(name, path, c) for c in steered.CASES]}
    with open(steered.GOLDEN, "w") as f:
        json.dump(record, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
