#!/usr/bin/env python3
"""Writes the small random checkpoints of tests/data/models, and wide ones, too large to keep.

Values come from the generator's raw bits, so that any NumPy writes the same files.
Usage: make-models.py DIR [NAME...]   (all that are kept, or those named; wide ones only when named)
"""
import os
import sys
import zlib

import numpy as np

from checkpoint import encode, write_model

DTYPE = {"bf16": ("BF16", "bfloat16"), "f16": ("F16", "float16"), "f32": ("F32", "float32")}


def normal(seed, name, shape, std):
    """About normal: the sum of a raw draw's four 16-bit parts, centred, of standard deviation std."""
    bits = np.random.PCG64([seed, zlib.crc32(name.encode())]).random_raw(int(np.prod(shape)))
    total = np.zeros(len(bits))
    for part in bits.view("<u2").reshape(-1, 4).T:
        total += part
    return ((total - 131070) * np.float32(std / 37837.2)).reshape(shape)


class Maker:
    def __init__(self, seed, dtype):
        self.seed, self.dtype, self.tensors = seed, DTYPE[dtype][0], {}

    def put(self, name, shape, std, mean=0.0, dtype=None):
        dtype = dtype or self.dtype
        data = lambda: encode(normal(self.seed, name, shape, std) + np.float32(mean), dtype)
        self.tensors[name] = (shape, dtype, data)

    def linear(self, name, n, k, bias=False, gain=1.0, transposed=False):
        self.put(name + ".weight", (k, n) if transposed else (n, k), gain * k ** -0.5)
        if bias:
            self.put(name + ".bias", (n,), 0.3)

    def norm(self, name, n, bias=False, mean=1.0):
        self.put(name + ".weight", (n,), 0.25, mean)
        if bias:
            self.put(name + ".bias", (n,), 0.2)


def llama_like(m, c):
    h, inner, layers, vocab = (c[k] for k in ("hidden_size", "intermediate_size", "num_hidden_layers",
                                              "vocab_size"))
    heads, kv = c["num_attention_heads"], c["num_key_value_heads"]
    d, family = c.get("head_dim") or h // heads, c["model_type"]
    gemma = family in ("gemma", "gemma2", "gemma3_text")
    sandwich = family in ("gemma2", "gemma3_text")
    mean = 0.0 if gemma else 1.0
    o_bias = c.get("attention_bias") or c.get("use_bias", False)
    qkv_bias = family in ("qwen2", "qwen2_moe") or o_bias or c.get("use_qkv_bias", False)
    bias = family in ("starcoder2", "stablelm")     # of norms
    m.put("model.embed_tokens.weight", (vocab, h), 0.3 if gemma else 1.0)
    for i in range(layers):
        p = f"model.layers.{i}."
        if family != "olmo2":
            m.norm(p + "input_layernorm", h, bias, mean=mean)
        if family == "phi3":
            m.linear(p + "self_attn.qkv_proj", (heads + 2 * kv) * d, h, gain=1.4)
        else:
            m.linear(p + "self_attn.q_proj", heads * d, h, qkv_bias, gain=1.5)
            m.linear(p + "self_attn.k_proj", kv * d, h, qkv_bias, gain=1.5)
            m.linear(p + "self_attn.v_proj", kv * d, h, qkv_bias)
        m.linear(p + "self_attn.o_proj", h, heads * d, o_bias)
        head_norms(m, p + "self_attn.", c, heads, kv, d)
        if family != "cohere" and not (family == "stablelm" and c["use_parallel_residual"]):
            m.norm(p + "post_attention_layernorm", h, bias, mean=mean)
        if sandwich:
            m.norm(p + "pre_feedforward_layernorm", h, mean=mean)
        if sandwich or family == "olmo2":
            m.norm(p + "post_feedforward_layernorm", h, mean=mean)
        if has_experts(c, i):
            experts(m, p, c)
        elif family == "phi3":
            m.linear(p + "mlp.gate_up_proj", 2 * inner, h)
            m.linear(p + "mlp.down_proj", h, inner, gain=1.5)
        elif family == "starcoder2":
            m.linear(p + "mlp.c_fc", inner, h, o_bias)
            m.linear(p + "mlp.c_proj", h, inner, o_bias, gain=1.5)
        else:
            gated(m, p + "mlp.", h, inner, c.get("mlp_bias", False))
    m.norm("model.norm", h, bias, mean=mean)
    if not c["tie_word_embeddings"]:
        m.linear("lm_head", vocab, h, gain=2.0)


def head_norms(m, p, c, heads, kv, d):
    """Of queries and keys: for each head alike, each head its own, or all heads at once."""
    family = c["model_type"]
    for s, n in (("q", heads), ("k", kv)):
        if family in ("qwen3", "qwen3_moe"):
            m.norm(f"{p}{s}_norm", d, mean=1.3)
        elif family == "gemma3_text":
            m.norm(f"{p}{s}_norm", d, mean=0.3)
        elif family in ("olmo2", "olmoe"):
            m.norm(f"{p}{s}_norm", n * d, mean=1.3)
        elif c.get("use_qk_norm"):
            m.put(f"{p}{s}_norm.weight", (n, d), 0.25, 1.3)
        elif family == "stablelm" and c["qk_layernorm"]:
            for head in range(n):
                m.norm(f"{p}{s}_layernorm.norms.{head}", d, mean=1.3)


def has_experts(c, i):
    if c["model_type"] in ("mixtral", "olmoe"):
        return True
    return "num_experts" in c and i not in c["mlp_only_layers"] and (i + 1) % c["decoder_sparse_step"] == 0


def experts(m, p, c):
    h = c["hidden_size"]
    inner = c.get("moe_intermediate_size") or c["intermediate_size"]
    if c["model_type"] == "mixtral":
        p += "block_sparse_moe."
        m.linear(p + "gate", c["num_local_experts"], h, gain=2.0)
        for e in range(c["num_local_experts"]):
            m.linear(f"{p}experts.{e}.w1", inner, h)
            m.linear(f"{p}experts.{e}.w2", h, inner, gain=1.5)
            m.linear(f"{p}experts.{e}.w3", inner, h)
        return
    m.linear(p + "mlp.gate", c["num_experts"], h, gain=2.0)
    for e in range(c["num_experts"]):
        gated(m, f"{p}mlp.experts.{e}.", h, inner, False)
    if c["model_type"] == "qwen2_moe":
        gated(m, p + "mlp.shared_expert.", h, c["shared_expert_intermediate_size"], False)
        m.linear(p + "mlp.shared_expert_gate", 1, h, gain=2.0)


def gated(m, p, h, inner, bias):
    m.linear(p + "gate_proj", inner, h, bias)
    m.linear(p + "up_proj", inner, h, bias)
    m.linear(p + "down_proj", h, inner, bias, gain=1.5)


def gpt2(m, c, prefix=""):
    h, inner = c["n_embd"], c.get("n_inner") or 4 * c["n_embd"]
    m.put(prefix + "wte.weight", (c["vocab_size"], h), 0.5)
    m.put(prefix + "wpe.weight", (c["n_positions"], h), 0.3)
    for i in range(c["n_layer"]):
        p = f"{prefix}h.{i}."
        m.norm(p + "ln_1", h, True)
        m.linear(p + "attn.c_attn", 3 * h, h, True, 1.4, transposed=True)
        m.linear(p + "attn.c_proj", h, h, True, transposed=True)
        m.norm(p + "ln_2", h, True)
        m.linear(p + "mlp.c_fc", inner, h, True, transposed=True)
        m.linear(p + "mlp.c_proj", h, inner, True, 1.5, transposed=True)
    m.norm(prefix + "ln_f", h, True)


def gpt_neox(m, c):
    h, inner = c["hidden_size"], c["intermediate_size"]
    m.put("gpt_neox.embed_in.weight", (c["vocab_size"], h), 1.0)
    for i in range(c["num_hidden_layers"]):
        p = f"gpt_neox.layers.{i}."
        m.norm(p + "input_layernorm", h, True)
        m.norm(p + "post_attention_layernorm", h, True)
        m.linear(p + "attention.query_key_value", 3 * h, h, True, 1.4)
        m.linear(p + "attention.dense", h, h, True)
        m.linear(p + "mlp.dense_h_to_4h", inner, h, True)
        m.linear(p + "mlp.dense_4h_to_h", h, inner, True, 1.5)
    m.norm("gpt_neox.final_layer_norm", h, True)
    m.linear("embed_out", c["vocab_size"], h, gain=2.0)


def phi(m, c):
    h, inner, d = c["hidden_size"], c["intermediate_size"], c["hidden_size"] // c["num_attention_heads"]
    m.put("model.embed_tokens.weight", (c["vocab_size"], h), 1.0)
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        m.norm(p + "input_layernorm", h, True)
        for s, heads, gain in (("q", "num_attention_heads", 1.5), ("k", "num_key_value_heads", 1.5),
                               ("v", "num_key_value_heads", 1.0)):
            m.linear(f"{p}self_attn.{s}_proj", c[heads] * d, h, True, gain)
        m.linear(p + "self_attn.dense", h, h, True)
        for s in "qk":
            if c["qk_layernorm"]:
                m.norm(f"{p}self_attn.{s}_layernorm", d, True, 1.3)
        m.linear(p + "mlp.fc1", inner, h, True)
        m.linear(p + "mlp.fc2", h, inner, True, 1.5)
    m.norm("model.final_layernorm", h, True)
    m.linear("lm_head", c["vocab_size"], h, True, 2.0)


def config(family, arch, dtype, **keys):
    return {"architectures": [arch], "model_type": family, "vocab_size": 199,
            "torch_dtype": DTYPE[dtype][1], **keys}


def llama(dtype, **keys):
    base = dict(hidden_size=64, intermediate_size=150, num_hidden_layers=3, num_attention_heads=4,
                num_key_value_heads=2, hidden_act="silu", max_position_embeddings=256, rms_norm_eps=1e-5,
                rope_theta=5000.0, rope_scaling=None, attention_bias=False, mlp_bias=False,
                tie_word_embeddings=False)
    base.update(keys)
    return config("llama", "LlamaForCausalLM", dtype, **base)


def derived(family, arch, dtype, drop=(), **keys):
    c = llama(dtype, **keys)
    c.update(model_type=family, architectures=[arch])
    for key in ("attention_bias", "mlp_bias", *drop):
        if key not in keys:
            del c[key]
    return c


def gpt2_config(dtype, **keys):
    base = dict(n_embd=64, n_layer=3, n_head=4, n_positions=136, n_ctx=136, n_inner=None,
                activation_function="gelu_new", layer_norm_epsilon=1e-5, scale_attn_weights=True,
                scale_attn_by_inverse_layer_idx=False, reorder_and_upcast_attn=False)
    base.update(keys)
    return config("gpt2", "GPT2LMHeadModel", dtype, **base)


def neox_config(dtype, **keys):
    base = dict(hidden_size=64, intermediate_size=200, num_hidden_layers=3, num_attention_heads=4,
                hidden_act="gelu", max_position_embeddings=256, layer_norm_eps=1e-5, rotary_pct=0.25,
                rotary_emb_base=5000, use_parallel_residual=True, attention_bias=True,
                tie_word_embeddings=False)
    base.update(keys)
    return config("gpt_neox", "GPTNeoXForCausalLM", dtype, **base)


def gemma2_config(dtype, **keys):
    return derived("gemma2", "Gemma2ForCausalLM", dtype, drop=("hidden_act",), attention_bias=False,
                   head_dim=24, hidden_activation="gelu_pytorch_tanh", query_pre_attn_scalar=40,
                   sliding_window=24, attn_logit_softcapping=5.0, final_logit_softcapping=6.0,
                   tie_word_embeddings=True, **keys)


def phi3_config(dtype, **keys):
    factors = dict(type="su", short_factor=[1.0, 1.1, 1.2, 1.4, 1.7, 2.0], long_factor=[1.0, 1.3, 2.0, 3.1, 4.5, 6.0])
    return derived("phi3", "Phi3ForCausalLM", dtype, pad_token_id=1, partial_rotary_factor=0.75, sliding_window=40,
                   original_max_position_embeddings=64, rope_scaling=factors, num_hidden_layers=2,
                   intermediate_size=110, **keys)


def mixtral_config(dtype, **keys):
    return derived("mixtral", "MixtralForCausalLM", dtype, drop=("rope_scaling",), head_dim=20, sliding_window=24,
                   num_local_experts=5, num_experts_per_tok=2, **{**NARROW, "intermediate_size": 40, **keys})


def gemma3_config(dtype, **keys):
    return derived("gemma3_text", "Gemma3ForCausalLM", dtype, drop=("hidden_act",), attention_bias=False, head_dim=20,
                   hidden_activation="gelu_pytorch_tanh", query_pre_attn_scalar=40, sliding_window=24,
                   sliding_window_pattern=3, rope_theta=50000.0, rope_local_base_freq=3000.0,
                   rope_scaling=dict(rope_type="linear", factor=8.0), tie_word_embeddings=True,
                   **{**NARROW, "num_hidden_layers": 4, "intermediate_size": 80, **keys})


def layer_normed(family, arch, dtype, eps="layer_norm_eps", **keys):
    c = derived(family, arch, dtype, drop=("rms_norm_eps", "rope_scaling"), **{**NARROW, **keys})
    c[eps] = 1e-5
    return c


def qwen2_moe_config(dtype, **keys):
    return derived("qwen2_moe", "Qwen2MoeForCausalLM", dtype, drop=("rope_scaling",), num_experts=6, num_experts_per_tok=2,
                   moe_intermediate_size=30, shared_expert_intermediate_size=50, norm_topk_prob=False,
                   mlp_only_layers=[0], decoder_sparse_step=1, use_sliding_window=False, **{**NARROW, **keys})


def moe_config(dtype, **keys):
    return derived("qwen3_moe", "Qwen3MoeForCausalLM", dtype, attention_bias=False, head_dim=24,
                   num_experts=8, num_experts_per_tok=3, use_sliding_window=False,
                   **{"moe_intermediate_size": 40, **keys})


def v5(c):
    """The same config as transformers 5 spells it."""
    c = dict(c)
    c["dtype"] = c.pop("torch_dtype")
    c["rope_parameters"] = {**c.pop("rope_scaling"), "rope_theta": c.pop("rope_theta")}
    return c


NARROW = dict(hidden_size=48, intermediate_size=110, num_hidden_layers=2)
LINEAR = {"type": "linear", "factor": 4.0}
DYNAMIC = dict(rope_type="dynamic", factor=2.0)
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=64)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=64, beta_fast=8.0,
            beta_slow=1.0)


def mistral(dtype, **keys):
    return derived("mistral", "MistralForCausalLM", dtype, **keys)


def qwen(family, arch, dtype, **keys):
    base = dict(sliding_window=None, use_sliding_window=False, max_window_layers=3)
    return derived(family, arch, dtype, **{**base, **keys})


MODELS = {
    "llama-bf16": llama("bf16"),
    "llama-f32": llama("f32", **NARROW),
    "llama-f16": llama("f16", tie_word_embeddings=True, rope_scaling=LINEAR, **NARROW),
    "llama-llama3-f32": llama("f32", attention_bias=True, mlp_bias=True, head_dim=24, rope_scaling=LLAMA3,
                              tie_word_embeddings=True, max_position_embeddings=512, **NARROW),
    "llama-dynamic-bf16": llama("bf16", max_position_embeddings=32, attention_bias=True,
                                rope_scaling=DYNAMIC, **NARROW),
    "llama-yarn-bf16": llama("bf16", head_dim=32, rope_scaling=YARN, **NARROW),
    "llama-yarn-v5-bf16": v5(llama("bf16", head_dim=32, rope_scaling=YARN, **NARROW)),
    "mistral-bf16": mistral("bf16", head_dim=24, num_key_value_heads=1, sliding_window=19),
    "mistral-f32": mistral("f32", head_dim=20, sliding_window=70, **NARROW),
    "qwen2-bf16": qwen("qwen2", "Qwen2ForCausalLM", "bf16", sliding_window=24, use_sliding_window=True,
                       max_window_layers=1, tie_word_embeddings=True),
    "qwen3-bf16": qwen("qwen3", "Qwen3ForCausalLM", "bf16", attention_bias=True, head_dim=32),
    "qwen3-f32": qwen("qwen3", "Qwen3ForCausalLM", "f32", attention_bias=False, head_dim=32, **NARROW),
    "gpt2-f32": gpt2_config("f32", n_embd=48, n_layer=2),
    "gpt2-bf16": gpt2_config("bf16", n_inner=150),
    "gpt2-scaled-f32": gpt2_config("f32", n_embd=48, n_inner=90, scale_attn_by_inverse_layer_idx=True),
    "gemma2-bf16": gemma2_config("bf16", num_hidden_layers=4),
    "gemma2-f32": gemma2_config("f32", **NARROW),
    "neox-f16": neox_config("f16"),
    "neox-f32": neox_config("f32", rotary_pct=0.5, **NARROW),
    "neox-sequential-bf16": neox_config("bf16", rotary_pct=1.0, use_parallel_residual=False),
    "qwen3-moe-bf16": moe_config("bf16", norm_topk_prob=True, mlp_only_layers=[0], decoder_sparse_step=1),
    "qwen3-moe-f32": moe_config("f32", norm_topk_prob=False, mlp_only_layers=[], decoder_sparse_step=2,
                                hidden_size=48, intermediate_size=110, num_hidden_layers=4,
                                moe_intermediate_size=26),
    "phi3-bf16": phi3_config("bf16"),
    "mixtral-bf16": mixtral_config("bf16"),
    "gemma3-bf16": gemma3_config("bf16"),
    "gemma3-nested-bf16": gemma3_config("bf16"),
    "gemma-bf16": derived("gemma", "GemmaForCausalLM", "bf16", drop=("rope_scaling",), attention_bias=False, head_dim=20,
                          num_key_value_heads=1, tie_word_embeddings=True,
                          **{**NARROW, "hidden_act": "gelu_pytorch_tanh"}),
    "olmo2-bf16": derived("olmo2", "Olmo2ForCausalLM", "bf16", attention_bias=False, head_dim=16, **NARROW),
    "olmoe-bf16": derived("olmoe", "OlmoeForCausalLM", "bf16", attention_bias=False, num_experts=6, num_experts_per_tok=3,
                          norm_topk_prob=False, clip_qkv=None, **{**NARROW, "intermediate_size": 30}),
    "granite-bf16": derived("granite", "GraniteForCausalLM", "bf16", attention_bias=True, mlp_bias=True, head_dim=16,
                            embedding_multiplier=3.0, attention_multiplier=0.17, residual_multiplier=0.35,
                            logits_scaling=1.7, tie_word_embeddings=True, **NARROW),
    "starcoder2-bf16": layer_normed("starcoder2", "Starcoder2ForCausalLM", "bf16", "norm_epsilon", sliding_window=24,
                                    use_bias=True, hidden_act="gelu_pytorch_tanh", tie_word_embeddings=True, head_dim=16),
    "stablelm-bf16": layer_normed("stablelm", "StableLmForCausalLM", "bf16", partial_rotary_factor=0.5,
                                  use_qkv_bias=False, qk_layernorm=True, use_parallel_residual=True),
    "stablelm-sequential-f16": layer_normed("stablelm", "StableLmForCausalLM", "f16", partial_rotary_factor=0.25,
                                            use_qkv_bias=True, qk_layernorm=False, use_parallel_residual=False,
                                            hidden_size=64),
    "phi-bf16": layer_normed("phi", "PhiForCausalLM", "bf16", partial_rotary_factor=0.5, qk_layernorm=True,
                             hidden_act="gelu_new"),
    "qwen2-moe-bf16": qwen2_moe_config("bf16"),
    "cohere-bf16": layer_normed("cohere", "CohereForCausalLM", "bf16", attention_bias=False, use_qk_norm=True,
                                logit_scale=0.4, tie_word_embeddings=True, head_dim=16),
}
SHARDED = {"llama-bf16": 2}
SEED = {"llama-yarn-v5-bf16": "llama-yarn-bf16", "gemma3-nested-bf16": "gemma3-bf16"}      # the same tensors
PREFIX = {"gpt2-bf16": "transformer."}
NESTED = {"gemma3-nested-bf16"}                         # as multimodal models have their text part
SPARE_HEAD = {"qwen2-bf16"}                             # a tied head that is stored all the same
BUFFERS = {"llama-bf16", "gpt2-bf16", "neox-f16"}       # tensors of old checkpoints, to be left alone
WIDTHS = dict(vocab_size=64, hidden_size=2048, intermediate_size=8192, num_hidden_layers=1,
              num_attention_heads=16, num_key_value_heads=4, rope_theta=500000.0)
WIDE = {
    "wide-f32": llama("f32", **WIDTHS),
    "wide-bf16": llama("bf16", **WIDTHS),
    "wide-gpt2-f32": gpt2_config("f32", vocab_size=64, n_embd=2048, n_layer=1, n_head=16),
}


def add_buffers(m, c):
    def constant(name, value, dtype):
        value = np.asarray(value)
        m.tensors[name] = (value.shape, dtype, encode(value, dtype))

    causal = np.tril(np.ones((9, 9), bool))[None, None]
    for i in range(c.get("n_layer") or c["num_hidden_layers"]):
        if c["model_type"] == "gpt2":
            constant(f"transformer.h.{i}.attn.bias", causal, "BOOL")
            constant(f"transformer.h.{i}.attn.masked_bias", -1e4, "F32")
        elif c["model_type"] == "gpt_neox":
            p = f"gpt_neox.layers.{i}.attention."
            constant(p + "bias", causal, "BOOL")
            constant(p + "masked_bias", -1e4, "F16")
            constant(p + "rotary_emb.inv_freq", [1.0, 0.5], "F32")
        else:
            constant(f"model.layers.{i}.self_attn.rotary_emb.inv_freq", [9, 9, 9], "F32")


def make(directory, name):
    c = {**MODELS, **WIDE}[name]
    stored = c.get("dtype") or c["torch_dtype"]
    dtype = next(k for k, names in DTYPE.items() if names[1] == stored)
    m = Maker(zlib.crc32(SEED.get(name, name).encode()), dtype)
    if c["model_type"] == "gpt2":
        gpt2(m, c, PREFIX.get(name, ""))
    elif c["model_type"] == "gpt_neox":
        gpt_neox(m, c)
    elif c["model_type"] == "phi":
        phi(m, c)
    else:
        llama_like(m, c)
    if name in SPARE_HEAD:
        m.tensors["lm_head.weight"] = m.tensors["model.embed_tokens.weight"]
    if name in BUFFERS:
        add_buffers(m, c)
    if name in NESTED:
        c = {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "text_config": c}
        m.tensors = {"language_model." + tensor: x for tensor, x in m.tensors.items()}
    write_model(os.path.join(directory, name), c, m.tensors, SHARDED.get(name, 1))


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for name in sys.argv[2:] or MODELS:
        make(sys.argv[1], name)


if __name__ == "__main__":
    main()
