#!/usr/bin/env python3
"""Makes the interventions of intervention.py with forward hooks on Hugging Face's models, in double and in the checkpoint's
dtype: rows that pin the truth down, and the rms errors that Hugging Face makes.

Needs what make-goldens.py needs.  Usage: make-intervention-goldens.py
"""
import importlib.util
import json
import os

import numpy as np
import torch
import transformers

import accuracy
import intervention

spec = importlib.util.spec_from_file_location("make_goldens", os.path.join(accuracy.HERE, "make-goldens.py"))
make_goldens = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_goldens)
Recorder = make_goldens.Recorder


def intervene(model, case, at, head_width):
    """Hooks that are run before those that record."""
    layer = model.base_model.layers[at]
    attention = layer.self_attn

    def rows(like):
        return torch.as_tensor(intervention.given(like.shape[-2], like.shape[-1])).to(like.dtype)

    def scale(module, args, out):
        return out * intervention.FACTOR

    def row(module, args, out):
        x = (out[0] if isinstance(out, tuple) else out).clone()
        if x.shape[-2] > intervention.POSITION:
            x[..., intervention.POSITION, :] = rows(x)[intervention.POSITION]
        return (x, *out[1:]) if isinstance(out, tuple) else x

    def head(module, args):
        x = args[0].clone()
        place = slice(intervention.HEAD * head_width, (intervention.HEAD + 1) * head_width)
        x[..., place] = rows(x)[:, place]
        return (x, *args[1:])

    if case == "scale":
        gemma = model.config.model_type == "gemma2"
        (layer.post_attention_layernorm if gemma else attention.o_proj).register_forward_hook(scale)
    elif case == "row":
        layer.register_forward_hook(row)
    else:
        attention.o_proj.register_forward_pre_hook(head)


def golden(name, case, anchors):
    path = intervention.path_of(name)
    model = intervention.Changed(path, case)
    ids = [s["input_ids"] for s in accuracy.samples(model.config)]

    class Changed(Recorder):
        def __init__(self, theirs):
            intervene(theirs, case, model.layer, model.d)
            super().__init__(theirs)

    make_goldens.Recorder = Changed
    dtype = make_goldens.DTYPES[model.ck.dtype()]
    double = make_goldens.run(path, torch.float64, "eager", ids)
    rival = make_goldens.run(path, dtype, "sdpa" if make_goldens.same_function(model.config) else "eager", ids)
    last = "resid_post", model.layers - 1
    anchors[f"{name}.{case}"] = double[-1][last][-8:]
    errors, worst = accuracy.Errors(), 0.0
    for i, d, r in zip(ids, double, rival):
        true = intervention.resid(model.forward(i), model.layer)
        worst = max([worst] + [accuracy.relative(d[place], x) for place, x in true.items()])
        errors.add(true, r)
    record = errors.record()
    print(f"{name}, {case}: numpy from double {worst:.1e}, own error {record['relative'][accuracy.key(last)]:.2e}", flush=True)
    return record["rms"]


def main():
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    record, anchors = {"torch": torch.__version__, "transformers": transformers.__version__}, {}
    for name in intervention.MODELS:
        path = intervention.path_of(name)
        record[name] = {"weights": accuracy.weights_sum(path), "dtype": intervention.Changed(path, "row").ck.dtype()}
        for case in intervention.CASES:
            record[name][case] = golden(name, case, anchors)
    np.savez_compressed(intervention.GOLDEN + ".npz", **anchors)
    with open(intervention.GOLDEN + ".json", "w") as f:
        json.dump(record, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
