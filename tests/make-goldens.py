#!/usr/bin/env python3
"""Runs Hugging Face's models on the checkpoints of tests/data/models and records what the accuracy
tests compare with: its outputs in double (a few rows, which pin tests/truth.py down) and the rms
errors that it makes itself in the checkpoint's dtype.

Needs torch 2.9 and transformers 4.57.  Usage: make-goldens.py MODELS GOLDENS [NAME...]
`mood` is tests/mood, with words beside: token ids, likelihood and top tokens of a few prompts.
"""
import contextlib
import json
import os
import sys

import numpy as np
import torch
import transformers
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

import accuracy
import truth

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


class Double(TorchFunctionMode):
    """Wherever the code asks for float32, it gets float64."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.float:
            func = torch.Tensor.double
        swap = lambda x: torch.float64 if x is torch.float32 else x
        return func(*map(swap, args), **{k: swap(v) for k, v in (kwargs or {}).items()})


class OnlyDouble(TorchDispatchMode):
    """Fails where an operation gives floats that are not double."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(x, torch.Tensor) and x.is_floating_point() and x.dtype != torch.float64:
                raise RuntimeError(f"{func} gave {x.dtype}")
        return out


class Watch(TorchFunctionMode):
    """Reads what attention works with in code that has it all in one function: olmoe, qwen2_moe, stablelm."""

    def __init__(self, recorder):
        super().__init__()
        self.recorder = recorder

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        module = self.recorder.inside
        if module is None:
            return out
        if func is torch.nn.functional.scaled_dot_product_attention:
            self.recorder.turned(module, args[0], args[1])
        elif func is torch.matmul and module.onelayer_scores is None:
            self.recorder.turned(module, args[0], args[1].transpose(2, 3))
            module.onelayer_scores = out / module.head_dim ** 0.5
        elif func is torch.nn.functional.softmax:
            i, probs = module.onelayer_index, out.to(module.onelayer_scores.dtype)
            self.recorder.sites["attn_scores", i] = array(module.onelayer_scores)[0].transpose(1, 0, 2)
            self.recorder.sites["attn_probs", i] = array(probs)[0].transpose(1, 0, 2)
        return out


def array(x):
    return x.detach().to(torch.float64).numpy()


class Recorder:
    """Hooks on every site of a model; `sites` as Truth.forward gives them."""

    def __init__(self, model):
        self.model, self.config, self.sites = model, model.config, {}
        self.family = self.config.model_type
        self.inside = None      # the attention that runs, where Watch is to look
        base = base_of(model)
        layers = base.h if self.family == "gpt2" else base.layers
        for i, layer in enumerate(layers):
            self.hook_layer(i, layer)
        last = {"gpt2": "ln_f", "gpt_neox": "final_layer_norm", "phi": "final_layernorm"}.get(self.family, "norm")
        self.after(getattr(base, last), "final_norm", None)
        layers[0].register_forward_pre_hook(lambda m, a: self.put("embed", None, a[0]))

    def put(self, site, layer, x):
        x = array(x)
        self.sites[site, layer] = x.reshape(-1, x.shape[-1])

    def after(self, module, site, layer, times=1.0):
        def hook(m, a, out):
            out = out[0] if isinstance(out, tuple) else out
            self.put(site, layer, out if times == 1.0 else out * times)
        module.register_forward_hook(hook)

    def before(self, module, site, layer):
        module.register_forward_pre_hook(lambda m, a: self.put(site, layer, a[0]))

    def hook_layer(self, i, layer):
        self.before(layer, "resid_pre", i)
        self.after(layer, "resid_post", i)
        if self.family == "gpt2":
            names = layer.ln_1, layer.attn, layer.attn.c_proj, layer.ln_2, layer.mlp
            self.fused(layer.attn.c_attn, i)
            self.plain_mlp(layer.mlp, layer.mlp.c_fc, layer.mlp.c_proj, i)
        elif self.family == "gpt_neox":
            names = (layer.input_layernorm, layer.attention, layer.attention.dense,
                     layer.post_attention_layernorm, layer.mlp)
            self.fused(layer.attention.query_key_value, i)
            self.plain_mlp(layer.mlp, layer.mlp.dense_h_to_4h, layer.mlp.dense_4h_to_h, i)
        else:
            mlp = layer.block_sparse_moe if self.family == "mixtral" else layer.mlp
            proj = layer.self_attn.dense if self.family == "phi" else layer.self_attn.o_proj
            # olmo2 has none before; cohere, phi and stablelm in parallel have one for both
            first = getattr(layer, "input_layernorm", None)
            second = getattr(layer, "pre_feedforward_layernorm", None) or \
                getattr(layer, "post_attention_layernorm", None) or first
            names = first, layer.self_attn, proj, second if first else None, mlp
            if self.family == "phi3":
                self.fused(layer.self_attn.qkv_proj, i)
            else:
                for s in "qkv":
                    self.after(getattr(layer.self_attn, s + "_proj"), s, i)
            if hasattr(mlp, "experts"):
                self.experts(mlp, i)
            elif self.family == "phi3":
                self.halves(layer.mlp.gate_up_proj, i)
                self.before(layer.mlp.down_proj, "mlp_act", i)
            elif self.family == "starcoder2":
                self.plain_mlp(layer.mlp, layer.mlp.c_fc, layer.mlp.c_proj, i)
            elif self.family == "phi":
                self.plain_mlp(layer.mlp, layer.mlp.fc1, layer.mlp.fc2, i)
            else:
                self.after(layer.mlp.gate_proj, "mlp_gate", i)
                self.after(layer.mlp.up_proj, "mlp_up", i)
                self.before(layer.mlp.down_proj, "mlp_act", i)
        norm1, attention, proj, norm2, mlp = names
        attention.onelayer_index = i
        attention.onelayer_scores = None
        if not hasattr(sys.modules[type(attention).__module__], "eager_attention_forward"):
            self.watch(attention)
        if norm1 is not None:
            self.after(norm1, "attn_norm", i)
            self.after(norm2, "mlp_norm", i)
        self.before(proj, "attn_ctx", i)
        self.after(proj, "attn_proj", i)
        if norm2 is not norm1 and not (self.family == "gpt_neox" and self.config.use_parallel_residual):
            self.before(norm2, "resid_mid", i)
        elif norm1 is None:
            self.before(mlp, "resid_mid", i)
        if hasattr(layer, "post_feedforward_layernorm"):
            self.after(layer.post_attention_layernorm, "attn_out", i)
            self.after(layer.post_feedforward_layernorm, "mlp_out", i)
        else:
            times = getattr(self.config, "residual_multiplier", 1.0)
            self.after(proj, "attn_out", i, times)
            self.after(mlp, "mlp_out", i, times)

    def watch(self, attention):
        def enter(m, a):
            self.inside, m.onelayer_scores = m, None

        def leave(m, a, out):
            self.inside = None
        attention.register_forward_pre_hook(enter)
        attention.register_forward_hook(leave)

    def turned(self, module, query, key):
        """Queries and repeated keys (1, heads, n, D) as attention takes them."""
        n, groups = query.shape[2], query.shape[1] // module.num_key_value_heads
        for site, x in (("q_rot", query), ("k_rot", key[:, ::groups])):
            self.put(site, module.onelayer_index, x.transpose(1, 2).reshape(n, -1))

    def halves(self, module, i):
        def hook(m, a, out):
            for site, x in zip(("mlp_gate", "mlp_up"), out.chunk(2, -1)):
                self.put(site, i, x)
        module.register_forward_hook(hook)

    def fused(self, module, i):
        def hook(m, a, out):
            n, width = out.shape[-2:]
            if self.family == "phi3":
                kv = self.config.num_key_value_heads * width // (self.config.num_attention_heads +
                                                                 2 * self.config.num_key_value_heads)
                parts = out.reshape(n, width).split([width - 2 * kv, kv, kv], 1)
            elif self.family == "gpt2":
                parts = out.reshape(n, 3, width // 3).unbind(1)
            else:
                parts = out.reshape(n, self.config.num_attention_heads, 3, -1).unbind(2)
            for site, x in zip("qkv", parts):
                self.put(site, i, x.reshape(n, -1))
        module.register_forward_hook(hook)

    def plain_mlp(self, mlp, up, down, i):
        self.after(up, "mlp_up", i)
        self.before(down, "mlp_act", i)

    def experts(self, mlp, i):
        """Routing as the module does it, from its own logits; each expert's output goes to its rows."""
        def routed(m, a, logits):
            weights = torch.softmax(logits, 1, dtype=torch.float32)
            weights, self.chosen = torch.topk(weights, mlp.top_k, dim=-1)
            if getattr(mlp, "norm_topk_prob", True):
                weights = weights / weights.sum(-1, keepdim=True)
            self.put("router_logits", i, logits)
            self.put("router_weights", i, weights.to(logits.dtype))
            self.put("expert_idx", i, self.chosen)
            shape = *self.chosen.shape, self.config.hidden_size
            self.expert_out = torch.full(shape, torch.nan, dtype=torch.float64)

        def expert(e):
            def hook(m, a, out):
                slot, row = torch.where((self.chosen == e).T)
                self.expert_out[row, slot] = out.detach().to(torch.float64)
            return hook

        mlp.gate.register_forward_hook(routed)
        for e, module in enumerate(mlp.experts):
            module.register_forward_hook(expert(e))
        mlp.register_forward_hook(lambda *_: self.put("expert_out", i, self.expert_out.flatten(1)))

    def attention(self, real):
        """Wraps an attention function: it is given turned queries and keys (1, heads, n, D)."""
        def wrapped(module, query, key, value, mask, **kwargs):
            i, n = module.onelayer_index, query.shape[2]
            if self.family != "gpt2":
                for site, x in (("q_rot", query), ("k_rot", key)):
                    self.put(site, i, x.transpose(1, 2).reshape(n, -1))
            out, probs = real(module, query, key, value, mask, **kwargs)
            if probs is not None:
                scores = array(self.scores(module, query, key, kwargs))
                self.sites["attn_scores", i] = scores[0].transpose(1, 0, 2)
                self.sites["attn_probs", i] = array(probs)[0].transpose(1, 0, 2)
            return out, probs
        return wrapped

    def scores(self, module, query, key, kwargs):
        """The steps of the eager function before its mask."""
        key = key.repeat_interleave(query.shape[1] // key.shape[1], 1)
        s = torch.matmul(query, key.transpose(2, 3))
        if self.family == "gpt2":
            s = s / torch.full([], key.shape[-1] ** 0.5, dtype=s.dtype)
            return s / (module.layer_idx + 1) if module.scale_attn_by_inverse_layer_idx else s
        s = s * kwargs["scaling"]
        cap = kwargs.get("softcap")
        return torch.tanh(s / cap) * cap if cap is not None else s


def base_of(model):
    return model.model if model.config.model_type == "gemma3_text" else model.base_model


def make_rotaries_anew(base):
    """A long sample leaves its frequencies behind, and a model is made before it computes in double."""
    for name in ("rotary_emb", "rotary_emb_local"):
        rotary = getattr(base, name, None)
        if rotary is not None:
            setattr(base, name, type(rotary)(rotary.config))


def run(path, dtype, implementation, samples):
    """One dict of sites for each sample, by Hugging Face's model in `dtype`."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype,
                                                 attn_implementation=implementation).eval()
    recorder = Recorder(model)
    code = sys.modules[type(model).__module__]
    real = getattr(code, "eager_attention_forward", None), ALL_ATTENTION_FUNCTIONS["sdpa"]
    if real[0]:
        code.eager_attention_forward = recorder.attention(real[0])
    ALL_ATTENTION_FUNCTIONS["sdpa"] = recorder.attention(real[1])
    results = []
    modes = contextlib.ExitStack()
    try:
        if dtype is torch.float64:
            torch.set_default_dtype(torch.float64)
            modes.callback(torch.set_default_dtype, torch.float32)
            modes.enter_context(OnlyDouble())
            modes.enter_context(Double())
        if not real[0]:
            modes.enter_context(Watch(recorder))
        for ids in [torch.tensor([s]) for s in samples]:
            make_rotaries_anew(base_of(model))
            recorder.sites = {}
            out = model(input_ids=ids, use_cache=False)
            recorder.put("logits", None, out.logits)
            results.append(recorder.sites)
    finally:
        modes.close()
        ALL_ATTENTION_FUNCTIONS["sdpa"] = real[1]
        if real[0]:
            code.eager_attention_forward = real[0]
    return results


def same_function(config):
    """Whether sdpa computes what the eager path does."""
    if config["model_type"] == "gpt2":
        return config["scale_attn_weights"] and not config["scale_attn_by_inverse_layer_idx"]
    return config["model_type"] != "gemma2"


def largest_difference(ours, theirs, name):
    """Of truth.py from Hugging Face in double: rms over rms, the worst site."""
    worst = 0.0
    for a, b in zip(ours, theirs):
        if set(a) != set(b):
            sys.exit(f"{name}: sites differ: {sorted(set(a) ^ set(b), key=str)}")
        for place in a:
            x, y = a[place], b[place].reshape(a[place].shape)
            seen = np.isfinite(x)
            if place[0] == "expert_idx" and not np.array_equal(x, y):
                sys.exit(f"{name}: experts differ")
            x, y = x[seen], y[seen]
            worst = max(worst, accuracy.relative(y, x))
    return worst


def anchors(sites, wide):
    """Rows to keep of Hugging Face in double: every site of the last row, resid_post of the last 8."""
    kept = {}
    for (site, layer), x in sites.items():
        rows = x[-8:] if site in ("resid_post", "logits") and not wide else x[-1:]
        if site in ("resid_post", "logits") if wide else site not in ("resid_pre", "attn_scores"):
            kept[site if layer is None else f"{site}.{layer}"] = rows
    return kept


def golden(models, goldens, name):
    path = accuracy.MOOD if name == "mood" else os.path.join(models, name)
    model = truth.Truth(path)
    wide = name.startswith("wide")
    samples = accuracy.samples(model.config, wide)
    ids = [s["input_ids"] for s in samples]
    ours = [model.forward(s) for s in ids]
    dtype = model.ck.dtype()
    theirs = run(path, torch.float64, "eager", ids)
    agree = largest_difference(ours, theirs, name)
    rival = run(path, DTYPES[dtype], "sdpa" if same_function(model.config) else "eager", ids)
    eager = run(path, DTYPES[dtype], "eager", ids)
    for r, e in zip(rival, eager):
        r.update({place: x for place, x in e.items() if place[0] in ("attn_scores", "attn_probs")})
    keep = anchors(theirs[-1], wide)
    tally = accuracy.Errors()
    for t, r in zip(ours, rival):
        tally.add(t, r)
    if model.moe:
        keep.update(tally.by_row())
    np.savez_compressed(os.path.join(goldens, name + ".npz"), **keep)
    record = {"weights": accuracy.weights_sum(path), "dtype": dtype,
              "torch": torch.__version__, "transformers": transformers.__version__,
              "attention": "sdpa" if same_function(model.config) else "eager",
              "numpy_from_double": agree, **tally.record()}
    with open(os.path.join(goldens, name + ".json"), "w") as f:
        json.dump(record, f, indent=1)
        f.write("\n")
    last = f"resid_post.{model.layers - 1}"
    print(f"{name}: numpy from double {agree:.1e}; own error at {last} "
          f"{record['relative'][last]:.2e}, logits {record['relative']['logits']:.2e}, "
          f"rerouted {record['rerouted']}", flush=True)


def words(goldens):
    """What the mood model makes of some prompts, in double."""
    tokenizer = AutoTokenizer.from_pretrained(accuracy.MOOD)
    lines = []
    for file in ("prompts.jsonl", "heldout.jsonl"):
        with open(os.path.join(accuracy.MOOD, file)) as f:
            lines += [json.loads(line) for line in f][::20]
    ids = [tokenizer(line["text"])["input_ids"] for line in lines]
    with open(os.path.join(goldens, "mood-words.jsonl"), "w") as f:
        for line, i, sites in zip(lines, ids, run(accuracy.MOOD, torch.float64, "eager", ids)):
            logits = sites["logits", None]
            top = np.argsort(-logits[-1])[:6]
            f.write(json.dumps({"id": line["id"], "text": line["text"], "input_ids": i,
                                "nll": truth.nll(logits, i), "top": top.tolist(),
                                "logits": logits[-1, top].tolist(),
                                "words": [tokenizer.decode([x]) for x in top]}) + "\n")


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    os.makedirs(sys.argv[2], exist_ok=True)
    for name in sys.argv[3:] or [*sorted(os.listdir(sys.argv[1])), "mood"]:
        if name not in accuracy.TWINS:  # transformers 4.57 cannot read them
            golden(sys.argv[1], sys.argv[2], name)
        if name == "mood":
            words(sys.argv[2])


if __name__ == "__main__":
    main()
