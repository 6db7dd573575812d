"""The forward pass in double precision, in NumPy, with every site of every layer.

Written from the definitions of the models, in the plainest form, and shares nothing with the C
programs; tests/make-goldens.py checks that it agrees with Hugging Face's code run in double.
"""
import math

import numpy as np

from checkpoint import Checkpoint

F = np.float64


def silu(x):
    return x / (1 + np.exp(-x))


def gelu(x):
    return 0.5 * x * (1 + np.frompyfunc(math.erf, 1, 1)(x / math.sqrt(2)).astype(F))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


ACTIVATION = {"silu": silu, "gelu": gelu, "gelu_new": gelu_tanh, "gelu_pytorch_tanh": gelu_tanh}


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def softcap(x, cap):
    return cap * np.tanh(x / cap) if cap else x


def rms_norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def layer_norm(x, weight, bias, eps):
    d = x - x.mean(-1, keepdims=True)
    y = d / np.sqrt((d * d).mean(-1, keepdims=True) + eps) * weight
    return y if bias is None else y + bias


def frequencies(rope, n):
    """Radians a position for each pair, and the factor of cos and sin, for a sample of n tokens."""
    kind, d, theta, f = rope["type"], rope["dims"], rope["theta"], rope.get("factor")
    i = np.arange(0, d, 2, dtype=F) / d
    context = rope["context"]
    original = rope.get("original_max_position_embeddings") or context
    if kind == "dynamic":
        theta *= (f * max(n, context) / context - (f - 1)) ** (d / (d - 2))
    inv = theta ** -i
    if kind == "linear":
        return inv / f, 1.0
    if kind == "llama3":
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        wave = 2 * math.pi / inv
        s = (original / wave - low) / (high - low)
        middle = (1 - s) * inv / f + s * inv
        inv = np.where(wave > original / low, inv / f, np.where(wave < original / high, inv, middle))
        return inv, 1.0
    if kind == "yarn":
        def turns(r):
            return d * math.log(original / (r * 2 * math.pi)) / (2 * math.log(theta))
        low = max(math.floor(turns(rope.get("beta_fast") or 32)), 0)
        high = min(math.ceil(turns(rope.get("beta_slow") or 1)), d - 1)
        ramp = np.clip((np.arange(d // 2) - low) / (high - low), 0, 1)
        return inv / f * ramp + inv * (1 - ramp), rope.get("attention_factor") or 0.1 * math.log(f) + 1
    if kind == "longrope":
        f = context / original
        factor = rope.get("attention_factor") or math.sqrt(1 + math.log(f) / math.log(original))
        return inv / np.array(rope["long_factor" if n > original else "short_factor"], F), factor
    return inv, 1.0


def rotate(x, rope):
    """x (n, heads, D): the first dims of each head turn, dimension i with i + dims/2, or 2i with 2i + 1."""
    if rope is None:
        return x
    n, half = x.shape[0], rope["dims"] // 2
    inv, factor = frequencies(rope, n)
    angle = np.arange(n, dtype=F)[:, None, None] * inv
    c, s = np.cos(angle) * factor, np.sin(angle) * factor
    a, b, rest = x[..., :half], x[..., half:2 * half], x[..., 2 * half:]
    if rope["pairs"]:
        a, b = x[..., 0:2 * half:2], x[..., 1:2 * half:2]
        return np.concatenate([np.stack([a * c - b * s, b * c + a * s], -1).reshape(*x.shape[:2], -1), rest], -1)
    return np.concatenate([a * c - b * s, b * c + a * s, rest], -1)


EPS = {"gpt2": "layer_norm_epsilon", "gpt_neox": "layer_norm_eps", "starcoder2": "norm_epsilon",
       "stablelm": "layer_norm_eps", "phi": "layer_norm_eps", "cohere": "layer_norm_eps"}
WINDOWED = ("mistral", "qwen2", "qwen3", "gemma2", "phi3", "mixtral", "gemma3_text", "starcoder2")
TIED = ("gpt2", "gemma", "gemma2", "gemma3_text", "starcoder2", "cohere")


class Truth:
    """forward(ids) -> {(site, layer or None): (n, width) float64}; attn_* are (n, heads, n)."""

    def __init__(self, path):
        self.ck = Checkpoint(path)
        c = self.config = self.ck.config
        self.family = c["model_type"]
        gpt2, neox = self.family == "gpt2", self.family == "gpt_neox"
        self.h = c["n_embd" if gpt2 else "hidden_size"]
        self.layers = c["n_layer" if gpt2 else "num_hidden_layers"]
        self.heads = c["n_head" if gpt2 else "num_attention_heads"]
        self.kv = c.get("num_key_value_heads") or self.heads
        self.d = c.get("head_dim") or self.h // self.heads
        self.eps = c[EPS.get(self.family, "rms_norm_eps")]
        self.gemma = self.family in ("gemma", "gemma2", "gemma3_text")
        self.sandwich = self.family in ("gemma2", "gemma3_text")
        self.bare = self.family == "olmo2"          # attention and MLP read the stream itself
        self.plain = self.family in ("gpt2", "gpt_neox", "starcoder2", "phi")
        act = c.get("activation_function") or c.get("hidden_activation") or c["hidden_act"]
        self.act = ACTIVATION[act]
        self.one_norm = self.family in ("phi", "cohere") or self.family == "stablelm" and c["use_parallel_residual"]
        self.parallel = self.one_norm or neox and c["use_parallel_residual"]
        self.moe = self.family in ("qwen3_moe", "mixtral", "olmoe", "qwen2_moe")
        self.branch = c.get("residual_multiplier", 1.0)
        self.rope = None if gpt2 else self.read_rope(c)

    def read_rope(self, c):
        given = c.get("rope_scaling") or c.get("rope_parameters") or {}
        theta = given.get("rope_theta") or c.get("rope_theta") or c.get("rotary_emb_base")
        part = c.get("rotary_pct") or c.get("partial_rotary_factor") or 1.0
        kind = given.get("rope_type") or given.get("type") or "default"
        kind = "longrope" if kind == "su" else kind
        rope = dict(given, type=kind, theta=theta, dims=int(self.d * part), context=c["max_position_embeddings"],
                    pairs=self.family == "cohere")
        if "original_max_position_embeddings" in c:
            rope["original_max_position_embeddings"] = c["original_max_position_embeddings"]
        return rope

    def rope_of(self, layer):
        """Gemma 3's layers with a window turn by a theta of their own, and unscaled."""
        if self.family == "gemma3_text" and self.window(layer):
            return dict(self.rope, type="default", theta=self.config["rope_local_base_freq"])
        return self.rope

    def window(self, layer):
        c = self.config
        size = c.get("sliding_window")
        if not size or self.family not in WINDOWED:
            return None
        if self.family == "gemma3_text":
            return size if (layer + 1) % c["sliding_window_pattern"] else None
        if self.family in ("qwen2", "qwen3"):
            return size if c["use_sliding_window"] and layer >= c["max_window_layers"] else None
        return None if self.family == "gemma2" and layer % 2 else size

    def linear(self, x, name):
        w, b = self.ck.get(name + ".weight"), self.ck.get(name + ".bias", missing=True)
        y = x @ (w if self.family == "gpt2" else w.T)
        return y if b is None else y + b

    def norm(self, x, name):
        w, b = self.ck.get(name + ".weight"), self.ck.get(name + ".bias", missing=True)
        if self.family in EPS:
            return layer_norm(x, w, b, self.eps)
        return rms_norm(x, w + 1 if self.gemma else w, self.eps)

    def norm_heads(self, x, p, s):
        """x (n, heads, D), queries or keys: each head by itself; in OLMo all together."""
        if self.family in ("olmo2", "olmoe"):
            return self.norm(x.reshape(len(x), -1), f"{p}{s}_norm").reshape(x.shape)
        if self.family == "stablelm" and self.config["qk_layernorm"]:
            heads = [layer_norm(x[:, a], self.ck.get(f"{p}{s}_layernorm.norms.{a}.weight"), None, self.eps)
                     for a in range(x.shape[1])]
            return np.stack(heads, 1)
        if self.family == "phi" and self.config["qk_layernorm"]:
            return self.norm(x, f"{p}{s}_layernorm")
        if self.family in ("qwen3", "qwen3_moe", "gemma3_text") or self.config.get("use_qk_norm"):
            return self.norm(x, f"{p}{s}_norm")
        return x

    def names(self, i):
        if self.family == "gpt2":
            p = f"h.{i}."
            return p + "ln_1", p + "attn.c_proj", p + "ln_2", p + "mlp.c_fc", p + "mlp.c_proj"
        p = f"layers.{i}."
        if self.family == "gpt_neox":
            return (p + "input_layernorm", p + "attention.dense", p + "post_attention_layernorm",
                    p + "mlp.dense_h_to_4h", p + "mlp.dense_4h_to_h")
        if self.family == "phi":
            return p + "input_layernorm", p + "self_attn.dense", None, p + "mlp.fc1", p + "mlp.fc2"
        second = "pre_feedforward_layernorm" if self.sandwich else "post_attention_layernorm"
        if self.family == "starcoder2":
            return p + "input_layernorm", p + "self_attn.o_proj", p + second, p + "mlp.c_fc", p + "mlp.c_proj"
        return (p + "input_layernorm", p + "self_attn.o_proj", p + second,
                p + "mlp.up_proj", p + "mlp.down_proj")

    def qkv(self, x, i):
        n, h, d = len(x), self.h, self.d
        if self.family == "gpt2":
            y = self.linear(x, f"h.{i}.attn.c_attn")
            parts = y[:, :h], y[:, h:2 * h], y[:, 2 * h:]
        elif self.family == "gpt_neox":
            y = self.linear(x, f"layers.{i}.attention.query_key_value").reshape(n, self.heads, 3, d)
            parts = y[:, :, 0], y[:, :, 1], y[:, :, 2]
        elif self.family == "phi3":
            y = self.linear(x, f"layers.{i}.self_attn.qkv_proj")
            parts = np.split(y, [self.heads * d, (self.heads + self.kv) * d], 1)
        else:
            parts = [self.linear(x, f"layers.{i}.self_attn.{s}_proj") for s in "qkv"]
        return [p.reshape(n, -1, d) for p in parts]

    def score_scale(self, i):
        c = self.config
        if self.sandwich:
            return c["query_pre_attn_scalar"] ** -0.5
        if self.family == "granite":
            return c["attention_multiplier"]
        scale = self.d ** -0.5 if c.get("scale_attn_weights", True) else 1.0
        return scale / (i + 1) if c.get("scale_attn_by_inverse_layer_idx") else scale

    def attention(self, x, i, put):
        n = len(x)
        q, k, v = self.qkv(x, i)
        for site, rows in zip(("q", "k", "v"), (q, k, v)):
            put(site, rows.reshape(n, -1))
        q, k = (self.norm_heads(x, f"layers.{i}.self_attn.", s) for s, x in (("q", q), ("k", k)))
        rope = self.rope_of(i)
        q, k = rotate(q, rope), rotate(k, rope)
        if self.rope:
            put("q_rot", q.reshape(n, -1))
            put("k_rot", k.reshape(n, -1))
        at, window = np.arange(n), self.window(i)
        seen = at[None, :] <= at[:, None]
        if window:
            seen &= at[None, :] > at[:, None] - window
        scores, probs, ctx = np.empty((n, self.heads, n)), np.empty((n, self.heads, n)), np.empty(q.shape)
        for a in range(self.heads):
            g = a * self.kv // self.heads
            s = q[:, a] @ k[:, g].T * self.score_scale(i)
            s = softcap(s, self.config.get("attn_logit_softcapping"))
            scores[:, a] = np.where(seen, s, -np.inf)
            probs[:, a] = softmax(scores[:, a])
            ctx[:, a] = probs[:, a] @ v[:, g]
        put("attn_scores", scores)
        put("attn_probs", probs)
        put("attn_ctx", ctx.reshape(n, -1))
        return ctx.reshape(n, -1)

    def has_experts(self, i):
        c = self.config
        return self.moe and i not in c.get("mlp_only_layers", ()) and (i + 1) % c.get("decoder_sparse_step", 1) == 0

    def gated(self, x, gate, up, down):
        return self.linear(self.act(self.linear(x, gate)) * self.linear(x, up), down)

    def experts(self, x, i, put):
        c, p, names = self.config, f"layers.{i}.mlp.", ("gate_proj", "up_proj", "down_proj")
        if self.family == "mixtral":
            p, names = f"layers.{i}.block_sparse_moe.", ("w1", "w3", "w2")
        logits = self.linear(x, p + "gate")
        top = c["num_experts_per_tok"]
        probs = softmax(logits)
        idx = np.argsort(-probs, -1, kind="stable")[:, :top]
        weights = np.take_along_axis(probs, idx, -1)
        if self.family == "mixtral" or c["norm_topk_prob"]:
            weights = weights / weights.sum(-1, keepdims=True)
        out = np.empty((len(x), top, self.h), F)
        for e in range(c.get("num_experts") or c["num_local_experts"]):
            row, slot = np.nonzero(idx == e)
            out[row, slot] = self.gated(x[row], *(f"{p}experts.{e}.{name}" for name in names))
        put("router_logits", logits)
        put("router_weights", weights)
        put("expert_idx", idx)
        put("expert_out", out.reshape(len(x), -1))
        total = (weights[:, :, None] * out).sum(1)
        if self.family == "qwen2_moe":
            gate = 1 / (1 + np.exp(-self.linear(x, p + "shared_expert_gate")))
            total = total + gate * self.gated(x, *(f"{p}shared_expert.{name}" for name in names))
        return total

    def mlp(self, x, i, put):
        if self.has_experts(i):
            return self.experts(x, i, put)
        _, _, _, up_name, down_name = self.names(i)
        if self.family == "phi3":
            gate, up = np.split(self.linear(x, f"layers.{i}.mlp.gate_up_proj"), 2, 1)
        else:
            up = self.linear(x, up_name)
        if self.plain:
            h = self.act(up)
        elif self.family == "phi3":
            put("mlp_gate", gate)
            h = self.act(gate) * up
        else:
            gate = self.linear(x, up_name.replace("up_proj", "gate_proj"))
            put("mlp_gate", gate)
            h = self.act(gate) * up
        put("mlp_up", up)
        put("mlp_act", h)
        return self.linear(h, down_name)

    def block(self, x, i, put):
        norm1, proj, norm2, _, _ = self.names(i)
        put("resid_pre", x)
        y = x
        if not self.bare:
            y = self.norm(x, norm1)
            put("attn_norm", y)
        a = self.linear(self.attention(y, i, put), proj)
        put("attn_proj", a)
        if self.sandwich or self.bare:
            a = self.norm(a, f"layers.{i}.post_attention_layernorm")
        a = a * self.branch
        put("attn_out", a)
        mid = x + a
        if not self.parallel:
            put("resid_mid", mid)
        if self.bare:
            y = mid
        else:
            y = self.norm(x if self.parallel else mid, norm1 if self.one_norm else norm2)
            put("mlp_norm", y)
        m = self.mlp(y, i, put)
        if self.sandwich or self.bare:
            m = self.norm(m, f"layers.{i}.post_feedforward_layernorm")
        m = m * self.branch
        put("mlp_out", m)
        put("resid_post", mid + m)
        return mid + m

    def embed(self, ids):
        name = {"gpt2": "wte", "gpt_neox": "embed_in"}.get(self.family, "embed_tokens")
        self.table = self.ck.get(name + ".weight")
        x = self.table[ids]
        if self.family == "gpt2":
            x = x + self.ck.get("wpe.weight")[:len(ids)]
        return x * (math.sqrt(self.h) if self.gemma else self.config.get("embedding_multiplier", 1.0))

    def head(self, x):
        c = self.config
        name = {"gpt2": "ln_f", "gpt_neox": "final_layer_norm", "phi": "final_layernorm"}.get(self.family, "norm")
        y = self.norm(x, name)
        tied = c.get("tie_word_embeddings", self.family in TIED)
        name = "embed_out" if self.family == "gpt_neox" else "lm_head"
        w = self.table if tied else self.ck.get(name + ".weight")
        logits = y @ w.T
        if self.family == "phi":
            logits = logits + self.ck.get("lm_head.bias")
        logits = logits * c.get("logit_scale", 1.0) / c.get("logits_scaling", 1.0)
        return y, softcap(logits, c.get("final_logit_softcapping"))

    def forward(self, ids):
        sites = {}
        x = self.embed(np.asarray(ids))
        sites["embed", None] = x
        for i in range(self.layers):
            x = self.block(x, i, lambda site, rows, i=i: sites.__setitem__((site, i), rows))
        sites["final_norm", None], sites["logits", None] = self.head(x)
        return sites


def nll(logits, ids):
    """Nats of ids[1:] in all, given the logits of each position."""
    z = logits[:-1] - logits[:-1].max(-1, keepdims=True)
    chosen = np.take_along_axis(z, np.asarray(ids)[1:, None], -1)[:, 0]
    return float((np.log(np.exp(z).sum(-1)) - chosen).sum())
