#!/usr/bin/env python3
"""Compares steer between two layer-runs with the truth in double, and the errors with those of Hugging Face's models
in f32 with the same intervention in a forward hook (recorded by make-steer-goldens.py).  Writes TAP.

Usage: steer-accuracy.py [NAME...]    Needs NumPy, msgpack and xxhash.
"""
import json
import sys
import tempfile
import time

import numpy as np

import accuracy
import steered


def options(case, d):
    mode, a, components, where = case
    vector = f"--vector {d}/basis.npy --component {components}" if components else ""
    return f"--mode {mode} --alpha {a} {vector} --positions {where}"


class Pipeline:
    """One run to the steered layer; then one from there on for each case."""

    def __init__(self, path, model, data, d):
        self.path, self.model, self.data, self.d = path, model, data, d
        np.save(f"{d}/basis.npy", steered.basis(model.h))
        with open(f"{d}/ids.jsonl", "w") as f:
            f.writelines(json.dumps(s) + "\n" for s in data)
        at = steered.layer(model.layers)
        self.failure = accuracy.shell(
            f"cd {d} && tok -f ids ids.jsonl | embed -m {path} --resid-dtype f32 |"
            f" layer-run -m {path} --device cpu --resid-dtype f32 --to {at} >mid.tms")

    def sites(self, steering):
        """A run's resid_post and logits, or what went wrong."""
        failure = self.failure or accuracy.shell(
            f"cd {self.d} && steer {steering} mid.tms | layer-run -m {self.path} --device cpu --resid-dtype f32"
            f" --tap resid_post=block.tms | unembed -m {self.path} --device cpu -n --tap logits=head.tms")
        if failure:
            return None, failure
        return accuracy.read_sites([f"{self.d}/block.tms", f"{self.d}/head.tms"], len(self.data)), None


def check_case(tap, name, pipeline, golden):
    case, model = golden["case"], pipeline.model
    model.case = case
    wanted = steered.places(model.layers)
    true = [{p: sites[p] for p in wanted}
            for sites in (model.forward(s["input_ids"]) for s in pipeline.data)]
    anchor = true[-1]["resid_post", model.layers - 1][-1, :steered.ANCHOR]
    found, failure = pipeline.sites(options(case, pipeline.d))
    if failure:
        tap.ok(False, f"{name}: {case[0]}", [failure])
        return
    errors = accuracy.Errors()
    for t, got in zip(true, found):
        errors.add(t, got)
    notes, worst = list(errors.faults), 0.0
    if accuracy.relative(anchor, np.array(golden["anchor"])) > 1e-10:
        notes.append("the truth isn't Hugging Face's in double")
    for place in wanted:
        key, out = accuracy.key(place), errors.left_out(place, {})
        ours, theirs = errors.rms(errors.error, place, out), golden["rms"][key]
        floor = 0.0 if place[0] == "resid_post" else 1e-6 * errors.rms(errors.size, place, out)
        share = ours / ((1.25 if place[0] == "resid_post" else 1.1) * theirs + floor)
        worst = max(worst, ours / theirs)
        if share > 1:
            notes.append(f"{key}: {ours / theirs:.2f} of Hugging Face's error, {share:.2f} of the limit")
    tap.ok(not notes, f"{name}: {case[0]} at {case[3]}: {worst:.2f} of Hugging Face's error", notes)


def main():
    tap = accuracy.Tap()
    with open(steered.GOLDEN) as f:
        goldens = json.load(f)["models"]
    for name in sys.argv[1:] or goldens:
        start = time.monotonic()
        path = steered.MODELS[name]
        model = steered.Steered(path)
        if accuracy.weights_sum(path) != goldens[name]["weights"]:
            tap.ok(False, f"{name}: the checkpoint is the one that the golden was made from")
        with tempfile.TemporaryDirectory() as d:
            pipeline = Pipeline(path, model, accuracy.samples(model.config), d)
            for golden in goldens[name]["cases"]:
                check_case(tap, name, pipeline, golden)
        print(f"# {name}: {time.monotonic() - start:.1f} s")
    print(f"1..{tap.n}")
    sys.exit(tap.failed > 0)


if __name__ == "__main__":
    main()
