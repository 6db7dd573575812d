#!/usr/bin/env python3
"""Compares every site of the programs with the truth in double precision, and the errors with those
that Hugging Face makes in the checkpoint's dtype (recorded in tests/data/goldens).  Writes TAP.

Usage: accuracy.py [--ref-only | --cpu-only] [NAME...]      wide-* are made in TMPDIR when named
Needs NumPy, msgpack and xxhash; the programs are those of $BIN, or of bin/ beside tests/.
"""
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
import zlib

import numpy as np

import truth

HERE = os.path.dirname(os.path.abspath(__file__))
BIN = os.environ.get("BIN", os.path.join(HERE, "..", "bin"))
DATA = os.path.join(HERE, "data")
MOOD = os.path.join(HERE, "mood")
# Models whose checkpoint says the same as another's, in another spelling.
TWINS = {"llama-yarn-v5-bf16": "llama-yarn-bf16"}
LONG = 64               # tokens from which on a sample counts in the error
BLOCK = ("resid_pre attn_norm q k v q_rot k_rot attn_scores attn_probs attn_ctx attn_proj attn_out resid_mid "
         "mlp_norm mlp_gate mlp_up mlp_act router_logits router_weights expert_idx expert_out mlp_out "
         "resid_post").split()
BY_EXPERT = ("router_weights", "expert_idx", "expert_out")


def samples(config, wide=False):
    """Ragged samples, the same for everyone; one longer than any window or context."""
    result = []
    for length in (LONG, 80) if wide else (1, 2, 17, LONG, 97, 131):
        raw = np.random.PCG64([length, config["vocab_size"]]).random_raw(length)
        result.append({"id": f"n{length}", "input_ids": [int(x) for x in raw % config["vocab_size"]]})
    return result


def weights_sum(path):
    """The CRC-32 of a checkpoint's tensors: a golden belongs to one checkpoint."""
    total = 0
    for file in sorted(os.listdir(path)):
        if file.endswith(".safetensors"):
            with open(os.path.join(path, file), "rb") as f:
                total = zlib.crc32(f.read(), total)
    return total


def key(place):
    site, layer = place
    return site if layer is None else f"{site}.{layer}"


def rms(square, count):
    return float(np.sqrt(square / count)) if count else 0.0


class Errors:
    """Squared errors by site, layer and row, over the samples of LONG tokens or more."""

    def __init__(self, model):
        self.model = model
        self.error, self.size, self.count, self.moved = {}, {}, {}, {}
        self.largest_logit = 0.0
        self.faults = []

    def align(self, place, x, order):
        """Slots by ascending expert, so that two near-equal ones may stand in either order."""
        x = x.reshape(*order.shape, -1)
        return np.take_along_axis(x, order[:, :, None], 1).reshape(len(x), -1)

    def add(self, true, got, longest=True):
        keep = longest is False or len(true["embed", None]) >= LONG
        for place, t in true.items():
            site, layer = place
            if place not in got:
                self.faults.append(f"{key(place)} is missing")
                continue
            g = np.asarray(got[place], np.float64)
            if g.size != t.size:
                self.faults.append(f"{key(place)} has {g.size} values for {t.size}")
                continue
            g = g.reshape(t.shape)
            if site in BY_EXPERT:
                for slots, all_sites in ((1, true), (2, got)):
                    idx = np.asarray(all_sites["expert_idx", layer]).reshape(len(t), -1)
                    order = np.argsort(idx, -1, kind="stable")
                    if slots == 1:
                        t = self.align(place, t, order)
                    else:
                        g = self.align(place, g, order)
            if site == "expert_idx" and keep:
                self.moved.setdefault(layer, []).append((t != g).any(-1))
            t, g = t.reshape(len(t), -1), g.reshape(len(g), -1)
            seen = np.isfinite(t)
            if site == "attn_scores":
                # Another's eager path adds a large negative number where ours is -inf.
                hidden = ~seen & (g > -1e4)
                if hidden.any():
                    self.faults.append(f"{key(place)} has scores where the truth is masked")
                g = np.where(seen, g, 0)
            if not np.isfinite(g).all():
                self.faults.append(f"{key(place)} has values that are not finite")
            t = np.where(seen, t, 0)
            if keep:
                if site == "logits":
                    self.largest_logit = max(self.largest_logit, float(np.abs(g - t).max()))
                for store, x in ((self.error, (g - t) ** 2), (self.size, t * t), (self.count, seen)):
                    store.setdefault(place, []).append(x.sum(-1))

    def rows(self, store, place):
        return np.concatenate(store[place]).astype(np.float64)

    def by_row(self):
        """What a later comparison needs to leave rows out: squared errors and rerouted rows."""
        kept = {"error." + key(p): self.rows(self.error, p).astype(np.float32) for p in self.error}
        kept.update({f"moved.{layer}": np.concatenate(m) for layer, m in self.moved.items()})
        return kept

    def left_out(self, place, moved):
        """Rows that went to other experts in this layer or one before."""
        site, layer = place
        out = np.zeros(len(self.rows(self.count, place)), bool)
        for at, rows in moved.items():
            if layer is None and site != "embed" or layer is not None and at < layer + (site in AFTER_ROUTER):
                out |= rows
        return out

    def own_moved(self):
        return {layer: np.concatenate(m) for layer, m in self.moved.items()}

    def rms(self, place, out):
        keep = ~out
        return rms(self.rows(self.error, place)[keep].sum(), self.rows(self.count, place)[keep].sum())

    def truth_rms(self, place, out):
        keep = ~out
        return rms(self.rows(self.size, place)[keep].sum(), self.rows(self.count, place)[keep].sum())

    def record(self):
        moved = self.own_moved()
        absolute, relative = {}, {}
        for place in self.error:
            out = self.left_out(place, moved)
            absolute[key(place)] = self.rms(place, out)
            relative[key(place)] = absolute[key(place)] / (self.truth_rms(place, out) or 1)
        return {"rms": absolute, "relative": relative,
                "rerouted": {str(k): int(v.sum()) for k, v in moved.items()}}


AFTER_ROUTER = ("router_weights", "expert_idx", "expert_out", "mlp_out", "resid_post")


# -------- the programs


def reader():
    path = os.path.join(HERE, "..", "pipelines", "onelayer_tms.py")
    spec = importlib.util.spec_from_file_location("onelayer_tms", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_sites(paths, n_samples):
    """One dict of sites for each sample, of all frames of the files."""
    tms = reader()
    parts = [{} for _ in range(n_samples)]
    for path in paths:
        with tms.Reader(path) as stream:
            for frame in stream:
                for sample, rows in frame.per_sample():
                    if rows is not None and len(rows):
                        place = frame.site, frame.layer if frame.site in BLOCK else None
                        parts[sample["seq"]].setdefault(place, []).append((sample["first"], rows))
    return [{place: np.concatenate([r for _, r in sorted(list_, key=lambda x: x[0])]) for place, list_ in p.items()}
            for p in parts]


class Run:
    """One pass of a pipeline over the samples, its taps read back."""

    def __init__(self, path, model, data, directory, device, resid, sites):
        d = directory
        with open(os.path.join(d, "ids.jsonl"), "w") as f:
            f.writelines(json.dumps(s) + "\n" for s in data)
        inside = ",".join(s for s in BLOCK if s in sites)
        flags = f"--device {device}" + (f" --resid-dtype {resid}" if resid else "")
        script = (f"tok -f ids {d}/ids.jsonl | embed -m {path} {flags} --tap embed={d}/embed.tms | "
                  f"layer-run -m {path} {flags} --tap {inside}={d}/block.tms | tee {d}/resid.tms | "
                  f"unembed -m {path} --device {device} --tap final_norm,logits={d}/head.tms "
                  f"--nll --json > {d}/nll.jsonl && "
                  f"unembed -m {path} --device {device} --top 1 --pos all --json {d}/resid.tms > {d}/top.jsonl")
        env = dict(os.environ, PATH=os.path.abspath(BIN) + ":" + os.environ["PATH"])
        done = subprocess.run(["bash", "-o", "pipefail", "-c", script], env=env, stderr=subprocess.PIPE, text=True)
        self.failure = f"exit {done.returncode}: {done.stderr.strip()}" if done.returncode else None
        if self.failure:
            return
        self.sites = read_sites([f"{d}/{name}.tms" for name in ("embed", "block", "head")], len(data))
        self.nll = [json.loads(line) for line in open(f"{d}/nll.jsonl")]
        self.top = [json.loads(line) for line in open(f"{d}/top.jsonl")]


# -------- the rules


class Tap:
    def __init__(self):
        self.n, self.failed = 0, 0

    def ok(self, good, text, notes=()):
        self.n += 1
        self.failed += not good
        print(f"{'ok' if good else 'not ok'} {self.n} - {text}")
        for note in list(notes)[:12]:
            print(f"# {note}")
        sys.stdout.flush()


class Fixture:
    def __init__(self, tap, name, path):
        self.tap, self.name, self.path = tap, name, path
        self.model = truth.Truth(path)
        wide = name.startswith("wide")
        self.data = samples(self.model.config, wide)
        self.ids = [s["input_ids"] for s in self.data]
        self.true = [self.model.forward(ids) for ids in self.ids]
        golden = os.path.join(DATA, "goldens", TWINS.get(name, name))
        with open(golden + ".json") as f:
            self.golden = json.load(f)
        self.anchor = dict(np.load(golden + ".npz"))
        self.rival_moved = {int(k[6:]): v for k, v in self.anchor.items() if k.startswith("moved.")}

    def check_truth(self):
        """The truth is ours; Hugging Face's own in double pins it down."""
        if weights_sum(self.path) != self.golden["weights"]:
            self.tap.ok(False, f"{self.name}: the checkpoint is the golden's", ["run make-goldens.py again"])
        worst = 0.0
        for (site, layer), x in self.true[-1].items():
            y = self.anchor.get(key((site, layer)))
            if y is not None:
                x = x[-len(y):]
                worst = max(worst, float(np.sqrt(((x - y) ** 2).mean() / ((y * y).mean() + 1e-300))))
        self.tap.ok(worst < 1e-12 and self.anchor, f"{self.name}: the truth is Hugging Face's in double, to {worst:.0e}")

    def run(self, device, resid):
        sites = {site for t in self.true for site, _ in t}
        with tempfile.TemporaryDirectory() as d:
            run = Run(self.path, self.model, self.data, d, device, resid, sites)
        if run.failure:
            self.tap.ok(False, f"{self.name}: --device {device} runs", [run.failure])
            return None
        return run

    def rival_rms(self, place, out):
        stored = self.anchor.get("error." + key(place))
        if stored is None or not out.any():
            return self.golden["rms"][key(place)]
        return rms(stored[~out].sum(dtype=np.float64), self.count(place)[~out].sum())

    def count(self, place):
        return self.errors.rows(self.errors.count, place)

    def tally(self, run):
        self.errors = errors = Errors(self.model)
        for t, got in zip(self.true, run.sites):
            errors.add(t, got)
        moved = errors.own_moved()
        self.both = {layer: moved[layer] | self.rival_moved.get(layer, False) for layer in moved}
        return errors

    def ratios(self, places, factor, floor):
        """For each place its error over its limit, worst first."""
        found = []
        for place in places:
            out = self.errors.left_out(place, self.both)
            ours, theirs = self.errors.rms(place, out), self.rival_rms(place, out)
            limit = factor * theirs + floor * self.errors.truth_rms(place, out)
            ratio = ours / theirs if theirs else 1.0 if ours == 0 else float("inf")
            found.append((ours / limit if limit else float(ours > 0), ratio, key(place)))
        return sorted(found, reverse=True)

    def report(self, what, found):
        bad = [f for f in found if f[0] > 1]
        worst = found[0]
        self.tap.ok(not bad, f"{self.name}: {what}: {worst[1]:.2f} of Hugging Face's error at {worst[2]} "
                    f"({worst[0]:.2f} of the limit)", [f"{k}: {r:.2f} of Hugging Face's, {o:.2f} of the limit"
                                                      for o, r, k in bad])

    def check_cpu(self):
        run = self.run("cpu", "f32")
        if run is None:
            return
        errors = self.tally(run)
        self.tap.ok(not errors.faults, f"{self.name}: every site is there and masked as it should be", errors.faults)
        places = list(errors.error)
        resid = [p for p in places if p[0] == "resid_post"]
        f32 = self.golden["dtype"] == "f32"
        self.report("resid_post, stream in f32", self.ratios(resid, 1.25 if f32 else 1.0, 0))
        others = [p for p in places if p[0] not in ("resid_post", "expert_idx")]
        self.report("other sites", self.ratios(others, 1.1, 1e-6))
        self.check_short(run)
        if self.model.moe:
            ours = sum(int(m.sum()) for m in errors.own_moved().values())
            theirs = sum(self.golden["rerouted"].values())
            self.tap.ok(ours <= theirs, f"{self.name}: {ours} rows went to other experts, of Hugging Face's {theirs}")
        self.check_words(run)
        self.check_default()

    def check_short(self, run):
        """Samples of a few tokens: too few for a ratio, enough for a blunder."""
        bad = []
        for t, got, ids in zip(self.true, run.sites, self.ids):
            for place in self.errors.error:
                if len(ids) >= LONG or place[0] in ("attn_scores", "expert_idx", "expert_out", "router_weights"):
                    continue
                x, y = t[place], np.asarray(got[place], np.float64).reshape(t[place].shape)
                error, size = rms(((x - y) ** 2).sum(), x.size), rms((x * x).sum(), x.size)
                if error > 4 * self.golden["relative"][key(place)] * size + 1e-6 * size:
                    bad.append(f"{key(place)} of the sample of {len(ids)}: {error / size:.1e} relative")
        self.tap.ok(not bad, f"{self.name}: short samples", bad)

    def check_words(self, run):
        """Greedy next tokens, and the likelihood of the given ones."""
        wrong = sure = 0
        largest = max(float(np.abs(t["logits", None] - got["logits", None].reshape(t["logits", None].shape)).max())
                      for t, got in zip(self.true, run.sites))
        top = greedy(run.top, self.ids)
        for t, chosen in zip(self.true, top):
            order = np.sort(t["logits", None], -1)
            certain = order[:, -1] - order[:, -2] > 2 * largest
            best = t["logits", None].argmax(-1)
            sure += int(certain.sum())
            wrong += int((best != chosen)[certain].sum())
        self.tap.ok(wrong == 0, f"{self.name}: greedy next tokens, {sure} beyond doubt, {wrong} wrong")
        off = 0.0
        for t, ids, line in zip(self.true, self.ids, run.nll):
            off = max(off, abs(line["nll"] - truth.nll(t["logits", None], ids)) / max(len(ids) - 1, 1))
        self.tap.ok(off <= 2 * largest + 1e-6 and len(run.nll) == len(self.ids) + 1,
                    f"{self.name}: NLL within {off:.1e} nats a token")

    def check_default(self):
        run = self.run("cpu", None)
        if run is None:
            return
        self.tally(run)
        resid = [p for p in self.errors.error if p[0] == "resid_post"]
        f32 = self.golden["dtype"] == "f32"
        self.report("resid_post, default stream", self.ratios(resid, 1.25 if f32 else 1.05, 0))

    def check_ref(self):
        run = self.run("ref", "f64")
        if run is None:
            return
        errors = self.tally(run)
        worst, at = 0.0, ""
        for place in errors.error:
            none = np.zeros(len(self.count(place)), bool)
            ratio = errors.rms(place, none) / (errors.truth_rms(place, none) or 1)
            if ratio >= worst:
                worst, at = ratio, key(place)
        for t, got in zip(self.true, run.sites):
            for place in errors.error:
                if place[0] not in ("attn_scores", "expert_idx"):
                    y = got[place].reshape(t[place].shape)
                    ratio = float(np.sqrt(((y - t[place]) ** 2).mean() / ((t[place] ** 2).mean() + 1e-300)))
                    worst, at = max((worst, at), (ratio, key(place) + f" of the sample of {len(y)}"))
        self.tap.ok(worst < 1e-6 and not errors.faults, f"{self.name}: --device ref: {worst:.0e} at {at}", errors.faults)

    def check_twin(self):
        """Another spelling of the same model gives the same bits."""
        first, second = self.run("cpu", "f32"), None
        if first is not None:
            second = Fixture(self.tap, TWINS[self.name], os.path.join(DATA, "models", TWINS[self.name])).run("cpu", "f32")
        if second is None:
            return
        same = all(set(a) == set(b) and all(np.array_equal(a[p], b[p]) for p in a)
                   for a, b in zip(first.sites, second.sites))
        self.tap.ok(same, f"{self.name}: the same bits as {TWINS[self.name]}")


def greedy(lines, ids):
    """The first token of --top 1 at each position, by sample."""
    by_sample = [np.full(len(i), -1) for i in ids]
    index = {f"n{len(i)}": at for at, i in enumerate(ids)}
    for line in lines:
        by_sample[index[line["id"]]][line["pos"]] = line["top"][0]["token"]
    return by_sample


def main():
    arguments = [a for a in sys.argv[1:] if not a.startswith("--")]
    names = arguments or [*sorted(os.listdir(os.path.join(DATA, "models"))), "mood"]
    tap = Tap()
    for name in names:
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as scratch:
            path = MOOD if name == "mood" else os.path.join(DATA, "models", name)
            if name.startswith("wide"):
                subprocess.run([sys.executable, os.path.join(HERE, "make-models.py"), scratch, name], check=True)
                path = os.path.join(scratch, name)
            fixture = Fixture(tap, name, path)
            if name in TWINS:
                fixture.check_twin()
                continue
            fixture.check_truth()
            if "--ref-only" not in sys.argv:
                fixture.check_cpu()
            if "--cpu-only" not in sys.argv and not name.startswith("wide"):
                fixture.check_ref()
        print(f"# {name}: {time.monotonic() - start:.1f} s")
    print(f"1..{tap.n}")
    sys.exit(tap.failed > 0)


if __name__ == "__main__":
    main()
