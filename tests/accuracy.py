#!/usr/bin/env python3
"""Compares every site of the programs with the truth in double precision, and the errors with
those that Hugging Face makes in the checkpoint's dtype (recorded in tests/data/goldens).
Writes TAP.

Usage: accuracy.py [--device=cpu|ref|cuda] [NAME...]    (wide-* are made in TMPDIR when named)
Without --device: cpu and ref, ref not of wide-*.
Needs NumPy, msgpack and xxhash; the programs are those in $BIN, else in bin/ beside tests/.
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
BIN = os.path.abspath(os.environ.get("BIN", os.path.join(HERE, "..", "bin")))
MODELS = os.path.join(HERE, "data", "models")
GOLDENS = os.path.join(HERE, "data", "goldens")
MOOD = os.path.join(HERE, "mood")
DEVICE = next((a[len("--device="):] for a in sys.argv if a.startswith("--device=")), None)
# Checkpoints that say the same as another one, in another spelling.
TWINS = {"llama-yarn-v5-bf16": "llama-yarn-bf16", "gemma3-nested-bf16": "gemma3-bf16"}
LONG = 64               # a sample counts in the error from so many tokens on
# Ragged, over several tiles of 512 rows; 131 goes beyond every window and context.
LENGTHS = 1, 2, 17, LONG, 97, 33, 129, 3, 70, 111, 130, 90, 126, 136, 131
BLOCK = ("resid_pre attn_norm q k v q_rot k_rot attn_scores attn_probs attn_ctx attn_proj attn_out"
         " resid_mid mlp_norm mlp_gate mlp_up mlp_act router_logits router_weights expert_idx"
         " expert_out mlp_out resid_post").split()
BY_EXPERT = ("router_weights", "expert_idx", "expert_out")
AFTER_ROUTER = BY_EXPERT + ("mlp_out", "resid_post")


def samples(config, wide=False):
    """The same for everyone."""
    result = []
    for length in (LONG, 80) if wide else LENGTHS:
        raw = np.random.PCG64([length, config["vocab_size"]]).random_raw(length)
        ids = [int(x) for x in raw % config["vocab_size"]]
        result.append({"id": f"n{length}", "input_ids": ids})
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


def mean_root(square, count):
    return float(np.sqrt(square / count)) if count else 0.0


def relative(got, true):
    """rms of the error over rms of the truth."""
    error = mean_root(((got.reshape(true.shape) - true) ** 2).sum(), true.size)
    size = mean_root((true * true).sum(), true.size)
    return error / size if size else float(error > 0) and float("inf")


class Errors:
    """Squared errors by site, layer and row, over the samples of LONG tokens or more."""

    def __init__(self):
        self.error, self.size, self.count, self.moved = {}, {}, {}, {}
        self.faults = []

    def add(self, true, got):
        for place, t in true.items():
            g = got.get(place)
            if g is None or g.size != t.size:
                self.faults.append(f"{key(place)} has {g.size if g is not None else 'no'} values, "
                                   f"not {t.size}")
            else:
                self.add_site(place, true, got)

    def add_site(self, place, true, got):
        site, layer = place
        n = len(true[place])
        t, g = true[place].reshape(n, -1), got[place].reshape(n, -1).astype(np.float64)
        if site in BY_EXPERT:
            t, g = by_expert(t, true["expert_idx", layer]), by_expert(g, got["expert_idx", layer])
        seen = np.isfinite(t)
        # Where the truth is masked, eager attention has a large negative number.
        if (~seen & (g > -1e4)).any():
            self.faults.append(f"{key(place)} has scores where the truth is masked")
        t, g = np.where(seen, t, 0), np.where(seen, g, 0)
        if not np.isfinite(g).all():
            self.faults.append(f"{key(place)} has values that are not finite")
        if n < LONG:
            return
        if site == "expert_idx":
            self.moved.setdefault(layer, []).append((t != g).any(-1))
        for store, x in ((self.error, (g - t) ** 2), (self.size, t * t), (self.count, seen)):
            store.setdefault(place, []).append(x.sum(-1, dtype=np.float64))

    def rerouted(self):
        """By layer, which rows went to other experts than in the truth."""
        return {layer: np.concatenate(rows) for layer, rows in self.moved.items()}

    def left_out(self, place, rerouted):
        """Rows that went to other experts before this site."""
        site, layer = place
        out = np.zeros(sum(map(len, self.count[place])), bool)
        for at, rows in rerouted.items():
            if site != "embed" and (layer is None or at < layer + (site in AFTER_ROUTER)):
                out |= rows
        return out

    def rms(self, store, place, out):
        square, count = np.concatenate(store[place]), np.concatenate(self.count[place])
        return mean_root(square[~out].sum(), count[~out].sum())

    def by_row(self):
        """What leaving out rows later takes."""
        kept = {"error." + key(p): np.concatenate(e).astype(np.float32) for p, e in self.error.items()}
        kept.update({f"rerouted.{layer}": rows for layer, rows in self.rerouted().items()})
        return kept

    def record(self):
        rerouted = self.rerouted()
        absolute, share = {}, {}
        for place in self.error:
            out = self.left_out(place, rerouted)
            absolute[key(place)] = self.rms(self.error, place, out)
            share[key(place)] = absolute[key(place)] / (self.rms(self.size, place, out) or 1)
        return {"rms": absolute, "relative": share,
                "rerouted": {str(layer): int(rows.sum()) for layer, rows in rerouted.items()}}


def by_expert(x, idx):
    """Slots by ascending expert: two of nearly equal weight may stand in either order."""
    order = np.argsort(idx.reshape(len(x), -1), -1, kind="stable")
    slots = x.reshape(*order.shape, -1)
    return np.take_along_axis(slots, order[:, :, None], 1).reshape(len(x), -1)


# -------- the programs


def load_reader():
    path = os.path.join(HERE, "..", "pipelines", "onelayer_tms.py")
    spec = importlib.util.spec_from_file_location("onelayer_tms", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Reader


def read_sites(paths, n_samples):
    """One dict of sites for each sample, of all the frames of the files."""
    reader = load_reader()
    parts = [{} for _ in range(n_samples)]
    for path in paths:
        with reader(path) as stream:
            for frame in stream:
                place = frame.site, frame.layer if frame.site in BLOCK else None
                for sample, rows in frame.per_sample():
                    parts[sample["seq"]].setdefault(place, []).append((sample["first"], rows))
    return [{place: np.concatenate([rows for _, rows in sorted(found, key=lambda x: x[0])])
             for place, found in sites.items()} for sites in parts]


def shell(script):
    """None, or what went wrong."""
    env = dict(os.environ, PATH=BIN + ":" + os.environ["PATH"])
    done = subprocess.run(["bash", "-o", "pipefail", "-c", script], env=env, text=True,
                          stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    return f"exit {done.returncode}: {done.stderr.strip()}" if done.returncode else None


def json_lines(path):
    with open(path) as f:
        return [json.loads(line) for line in f]


class Run:
    """One pass of a pipeline over the samples, with its taps read back."""

    def __init__(self, path, data, device, resid, sites):
        resid = f"--resid-dtype {resid}" if resid else ""
        inside = ",".join(s for s in BLOCK if s in sites)
        with tempfile.TemporaryDirectory() as d:
            with open(f"{d}/ids.jsonl", "w") as f:
                f.writelines(json.dumps(s) + "\n" for s in data)
            self.failure = shell(
                f"cd {d} && tok -f ids ids.jsonl | embed -m {path} {resid} --tap embed=embed.tms |"
                f" layer-run -m {path} --device {device} {resid} --tap {inside}=block.tms >resid.tms &&"
                f" unembed -m {path} --device {device} --tap final_norm,logits=head.tms"
                f" --nll --json resid.tms >nll.jsonl &&"
                f" unembed -m {path} --device {device} --top 1 --pos all --json resid.tms >top.jsonl")
            if self.failure:
                return
            self.sites = read_sites([f"{d}/{n}.tms" for n in ("embed", "block", "head")], len(data))
            self.nll = json_lines(f"{d}/nll.jsonl")
            self.greedy = greedy(json_lines(f"{d}/top.jsonl"), data)


def greedy(lines, data):
    """The most likely next token at each position, by sample."""
    by_sample = {s["id"]: np.full(len(s["input_ids"]), -1) for s in data}
    for line in lines:
        by_sample[line["id"]][line["pos"]] = line["top"][0]["token"]
    return list(by_sample.values())


# -------- the rules


class Tap:
    def __init__(self):
        self.n = self.failed = 0

    def ok(self, good, text, notes=()):
        self.n += 1
        self.failed += not good
        print("ok" if good else "not ok", self.n, "-", text)
        for note in list(notes)[:12]:
            print("#", note.replace("\n", "\n# "))
        sys.stdout.flush()


class Fixture:
    def __init__(self, tap, name, path):
        self.tap, self.name, self.path = tap, name, path
        self.model = truth.Truth(path)
        self.data = samples(self.model.config, name.startswith("wide"))
        self.ids = [s["input_ids"] for s in self.data]
        self.true = [self.model.forward(ids) for ids in self.ids]
        with open(os.path.join(GOLDENS, name + ".json")) as f:
            self.golden = json.load(f)
        self.anchor = dict(np.load(os.path.join(GOLDENS, name + ".npz")))
        self.f32 = self.golden["dtype"] == "f32"

    def ok(self, good, text, notes=()):
        self.tap.ok(good, f"{self.name}: {text}", notes)

    def check_truth(self):
        """The truth is computed here; Hugging Face's own in double pins it down."""
        if weights_sum(self.path) != self.golden["weights"]:
            self.ok(False, "the checkpoint is the one that the golden was made from")
        rows = {key(place): x for place, x in self.true[-1].items()}
        worst = max(relative(rows[k][-len(y):], y) for k, y in self.anchor.items() if k in rows)
        self.ok(worst < 1e-12, f"the truth is Hugging Face's in double, to {worst:.0e}")

    def run(self, device, resid):
        sites = {site for site, _ in self.true[-1]}
        run = Run(self.path, self.data, device, resid, sites)
        if run.failure:
            self.ok(False, f"--device {device}, stream in {resid or 'the default'}", [run.failure])
            return None
        self.errors = Errors()
        for t, got in zip(self.true, run.sites):
            self.errors.add(t, got)
        return run

    def rival(self, place, out):
        """Hugging Face's rms error, with the same rows left out."""
        stored = self.anchor.get("error." + key(place))
        if stored is None:
            return self.golden["rms"][key(place)]
        count = np.concatenate(self.errors.count[place])
        return mean_root(stored[~out].sum(dtype=np.float64), count[~out].sum())

    def report(self, what, places, factor, floor=0.0):
        """Every error is at most factor times Hugging Face's, plus floor times the truth's rms."""
        rerouted = self.errors.rerouted()
        for layer in rerouted:
            rerouted[layer] = rerouted[layer] | self.anchor[f"rerouted.{layer}"]
        found = []
        for place in places:
            out = self.errors.left_out(place, rerouted)
            ours, theirs = self.errors.rms(self.errors.error, place, out), self.rival(place, out)
            limit = factor * theirs + floor * self.errors.rms(self.errors.size, place, out)
            share = ours / limit if limit else 0.0 if ours == 0 else float("inf")
            found.append((share, ours / theirs if theirs else share, key(place)))
        found.sort(reverse=True)
        share, ratio, at = found[0]
        self.ok(share <= 1, f"{what}: {ratio:.2f} of Hugging Face's error at {at}, "
                f"{share:.2f} of the limit",
                [f"{k}: {r:.2f} of Hugging Face's error, {s:.2f} of the limit"
                 for s, r, k in found if s > 1])

    def places(self, *sites):
        return [p for p in self.errors.error if p[0] in sites]

    def check_device(self, device):
        run = self.run(device, "f32")
        if run is None:
            return
        self.ok(not self.errors.faults, "every site is there, finite, and masked where it should be",
                self.errors.faults)
        self.report("resid_post, stream in f32", self.places("resid_post"), 1.25 if self.f32 else 1.0)
        others = [p for p in self.errors.error if p[0] not in ("resid_post", "expert_idx")]
        self.report("other sites", others, 1.1, 1e-6)
        self.check_short(run)
        if self.model.moe:
            ours = sum(int(rows.sum()) for rows in self.errors.rerouted().values())
            theirs = sum(self.golden["rerouted"].values())
            self.ok(ours <= theirs, f"{ours} rows went to other experts; Hugging Face's: {theirs}")
        self.check_words(run)
        if self.run(device, None):
            self.report("resid_post, default stream", self.places("resid_post"),
                        1.25 if self.f32 else 1.05)

    def check_short(self, run):
        """Samples of a few tokens: too few for a ratio, enough for a blunder."""
        bad = []
        for t, got in zip(self.true, run.sites):
            for place in self.errors.error:
                if len(t[place]) >= LONG or place[0] == "attn_scores" or place[0] in BY_EXPERT:
                    continue
                error = relative(got[place], t[place])
                if error > 4 * self.golden["relative"][key(place)] + 1e-6:
                    bad.append(f"{key(place)} of the sample of {len(t[place])}: {error:.1e}")
        self.ok(not bad, "short samples", bad)

    def check_words(self, run):
        """Greedy next tokens, and the likelihood of the given ones."""
        truths = [t["logits", None] for t in self.true]
        logits = [got["logits", None].reshape(t.shape) for t, got in zip(truths, run.sites)]
        largest = max(float(np.abs(t - x).max()) for t, x in zip(truths, logits))
        certain = wrong = 0
        for t, chosen in zip(truths, run.greedy):
            order = np.sort(t, -1)
            sure = order[:, -1] - order[:, -2] > 2 * largest
            certain += int(sure.sum())
            wrong += int((t.argmax(-1) != chosen)[sure].sum())
        self.ok(not wrong, f"greedy next tokens: {certain} beyond doubt, {wrong} wrong")
        off = max(abs(line["nll"] - truth.nll(t, ids)) / max(len(ids) - 1, 1)
                  for t, ids, line in zip(truths, self.ids, run.nll))
        self.ok(off <= 2 * largest + 1e-6 and len(run.nll) == len(self.ids) + 1,
                f"NLL within {off:.1e} nats a token")

    def check_ref(self):
        run = self.run("ref", "f64")
        if run is None:
            return
        worst = []
        for t, got in zip(self.true, run.sites):
            for place in t:
                if place not in got or got[place].size != t[place].size:
                    continue
                seen = np.isfinite(t[place])
                x = got[place].reshape(t[place].shape)
                worst.append((relative(np.where(seen, x, 0), np.where(seen, t[place], 0)),
                              f"{key(place)} of the sample of {len(x)}"))
        error, at = max(worst)
        self.ok(error < 1e-6 and not self.errors.faults, f"--device ref: {error:.0e} at {at}",
                self.errors.faults)


def check_twin(tap, name):
    """Another spelling of the same model gives the same bits."""
    first = Fixture(tap, TWINS[name], os.path.join(MODELS, TWINS[name]))
    sites = {site for site, _ in first.true[-1]}
    runs = [Run(os.path.join(MODELS, n), first.data, DEVICE or "cpu", "f32", sites) for n in (name, TWINS[name])]
    failures = [r.failure for r in runs if r.failure]
    same = not failures and all(
        set(a) == set(b) and all(np.array_equal(a[p], b[p]) for p in a)
        for a, b in zip(*(r.sites for r in runs)))
    tap.ok(same, f"{name}: the same bits as {TWINS[name]}", failures)


def check_mood(tap):
    """The trained model with its tokenizer: ids, likelihood and top tokens of some prompts."""
    want = json_lines(os.path.join(GOLDENS, "mood-words.jsonl"))
    device = f"--device {DEVICE or 'cpu'}"
    with tempfile.TemporaryDirectory() as d:
        with open(f"{d}/text.jsonl", "w") as f:
            f.writelines(json.dumps({"id": w["id"], "text": w["text"]}) + "\n" for w in want)
        failure = shell(f"cd {d} && tok -m {MOOD} text.jsonl >t.tms && tcat --json t.tms >ids.jsonl &&"
                        f" embed -m {MOOD} t.tms | layer-run -m {MOOD} {device} >r.tms &&"
                        f" unembed -m {MOOD} {device} --nll --json r.tms >nll.jsonl &&"
                        f" unembed -m {MOOD} {device} --top 5 --json r.tms >top.jsonl")
        if failure:
            tap.ok(False, "mood: text in, words out", [failure])
            return
        ids, nll, top = (json_lines(f"{d}/{n}.jsonl") for n in ("ids", "nll", "top"))
    tap.ok([x["input_ids"] for x in ids] == [w["input_ids"] for w in want], "mood: token ids")
    off = max(abs(x["nll"] - w["nll"]) / len(w["input_ids"]) for x, w in zip(nll, want))
    tap.ok(off < 0.01, f"mood: NLL within {off:.1e} nats a token")
    wrong = []
    for x, w in zip(top, want):
        for i, token in enumerate(w["top"][:5]):
            clear = min(abs(w["logits"][i] - y) for j, y in enumerate(w["logits"]) if j != i) > 0.2
            if clear and x["top"][i]["token"] != token:
                wrong.append(f"{w['id']}: {w['words'][i]!r} is not number {i + 1}")
    tap.ok(not wrong, "mood: top tokens", wrong)


def check(tap, name, scratch):
    path = MOOD if name == "mood" else os.path.join(MODELS, name)
    if name.startswith("wide"):
        path = os.path.join(scratch, name)
        maker = os.path.join(HERE, "make-models.py")
        subprocess.run([sys.executable, maker, scratch, name], check=True)
    fixture = Fixture(tap, name, path)
    fixture.check_truth()
    if DEVICE != "ref":
        fixture.check_device(DEVICE or "cpu")
    if DEVICE == "ref" or not DEVICE and not name.startswith("wide"):
        fixture.check_ref()
    if name == "mood":
        check_mood(tap)


def main():
    names = [a for a in sys.argv[1:] if not a.startswith("--")]
    tap = Tap()
    for name in names or [*sorted(os.listdir(MODELS)), "mood"]:
        start = time.monotonic()
        if name in TWINS:
            check_twin(tap, name)
            continue
        with tempfile.TemporaryDirectory() as scratch:
            check(tap, name, scratch)
        print(f"# {name}: {time.monotonic() - start:.1f} s")
    print(f"1..{tap.n}")
    sys.exit(tap.failed > 0)


if __name__ == "__main__":
    main()
