#!/usr/bin/env python3
"""wide.py DIR DTYPE HIDDEN INNER LAYERS VOCAB [EXPERTS]: a model of random weights that is wide for its number of layers, as
models are that don't fit a device: a llama or, with EXPERTS, a qwen3_moe.  DTYPE is f32 or bf16.  The same arguments give the same bytes."""
import json, os, sys
import numpy as np

folder, dtype = sys.argv[1:3]
hidden, inner, layers, vocab, experts = (int(a) for a in (sys.argv[3:] + ["0"])[:5])
heads, groups, head = 4, 2, 16
size = {"f32": 4, "bf16": 2}[dtype]


def shapes():
    yield "model.embed_tokens.weight", (vocab, hidden)
    for i in range(layers):
        at = f"model.layers.{i}."
        yield at + "input_layernorm.weight", (hidden,)
        yield at + "post_attention_layernorm.weight", (hidden,)
        for name, n in ("q", heads), ("k", groups), ("v", groups):
            yield at + f"self_attn.{name}_proj.weight", (n * head, hidden)
        yield at + "self_attn.o_proj.weight", (hidden, heads * head)
        if experts:
            yield at + "self_attn.q_norm.weight", (head,)
            yield at + "self_attn.k_norm.weight", (head,)
            yield at + "mlp.gate.weight", (experts, hidden)
        for mlp in [f"mlp.experts.{x}." for x in range(experts)] or ["mlp."]:
            yield at + mlp + "gate_proj.weight", (inner, hidden)
            yield at + mlp + "up_proj.weight", (inner, hidden)
            yield at + mlp + "down_proj.weight", (hidden, inner)
    yield "model.norm.weight", (hidden,)
    yield "lm_head.weight", (vocab, hidden)


random = np.random.default_rng(7)
header, place = {}, 0
for name, shape in shapes():
    end = place + int(np.prod(shape)) * size
    header[name] = {"dtype": dtype.upper(), "shape": shape, "data_offsets": [place, end]}
    place = end
text = json.dumps(header).encode()
os.makedirs(folder, exist_ok=True)
with open(os.path.join(folder, "model.safetensors"), "wb") as f:
    f.write(len(text).to_bytes(8, "little") + text)
    for name, shape in shapes():
        x = random.standard_normal(shape, dtype=np.float32) / np.float32(np.sqrt(shape[-1])) if len(shape) == 2 else np.ones(shape, np.float32)
        f.write((x if dtype == "f32" else (x.view(np.uint32) >> 16).astype(np.uint16)).tobytes())
config = {
    "architectures": ["Qwen3MoeForCausalLM" if experts else "LlamaForCausalLM"],
    "model_type": "qwen3_moe" if experts else "llama",
    "vocab_size": vocab, "torch_dtype": {"f32": "float32", "bf16": "bfloat16"}[dtype], "hidden_size": hidden,
    "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": groups,
    "head_dim": head, "hidden_act": "silu", "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 5000.0,
    "rope_scaling": None, "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": False,
}
if experts:
    config.update({
        "num_experts": experts, "num_experts_per_tok": 2, "moe_intermediate_size": inner, "norm_topk_prob": True,
        "mlp_only_layers": [], "decoder_sparse_step": 1, "use_sliding_window": False,
    })
json.dump(config, open(os.path.join(folder, "config.json"), "w"))
