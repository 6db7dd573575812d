#include "family.h"

#include <string.h>

static const struct family_keys usual_keys = {
	.width = "hidden_size", .layers = "num_hidden_layers", .heads = "num_attention_heads",
	.kv_heads = "num_key_value_heads", .head_width = "head_dim", .inner = "intermediate_size",
	.vocab = "vocab_size", .context = "max_position_embeddings", .norm_eps = "rms_norm_eps",
	.activation = "hidden_act", .theta = "rope_theta",
};

static const struct family_keys gemma_keys = {
	.width = "hidden_size", .layers = "num_hidden_layers", .heads = "num_attention_heads",
	.kv_heads = "num_key_value_heads", .head_width = "head_dim", .inner = "intermediate_size",
	.vocab = "vocab_size", .context = "max_position_embeddings", .norm_eps = "rms_norm_eps",
	.activation = "hidden_activation", .theta = "rope_theta",
};

static const struct family_keys gpt2_keys = {
	.width = "n_embd|hidden_size", .layers = "n_layer|num_hidden_layers",
	.heads = "n_head|num_attention_heads",
	.inner = "n_inner", .vocab = "vocab_size", .context = "n_positions|max_position_embeddings",
	.norm_eps = "layer_norm_epsilon", .activation = "activation_function",
};

static const struct family_keys neox_keys = {
	.width = "hidden_size", .layers = "num_hidden_layers", .heads = "num_attention_heads",
	.inner = "intermediate_size", .vocab = "vocab_size", .context = "max_position_embeddings",
	.norm_eps = "layer_norm_eps", .activation = "hidden_act", .theta = "rotary_emb_base",
	.rotary_part = "rotary_pct",
};

static const struct family_tensor usual_tensors[] = {
	{ "embed_tokens", .role = ROLE_EMBED },
	{ "norm", .role = ROLE_FINAL_NORM },
	{ "lm_head", .role = ROLE_HEAD },
	{ "layers.%d.input_layernorm", .role = ROLE_ATTN_NORM },
	{ "layers.%d.self_attn.q_proj", .role = ROLE_QKV, .share = SHARE_Q },
	{ "layers.%d.self_attn.k_proj", .role = ROLE_QKV, .share = SHARE_K },
	{ "layers.%d.self_attn.v_proj", .role = ROLE_QKV, .share = SHARE_V },
	{ "layers.%d.self_attn.q_norm", .role = ROLE_Q_NORM },
	{ "layers.%d.self_attn.k_norm", .role = ROLE_K_NORM },
	{ "layers.%d.self_attn.o_proj", .role = ROLE_ATTN_PROJ },
	{ "layers.%d.post_attention_layernorm", .role = ROLE_MLP_NORM },
	{ "layers.%d.mlp.gate_proj", .role = ROLE_GATE_UP, .share = SHARE_GATE },
	{ "layers.%d.mlp.up_proj", .role = ROLE_GATE_UP, .share = SHARE_UP },
	{ "layers.%d.mlp.down_proj", .role = ROLE_DOWN },
	{ "layers.%d.mlp.gate", .role = ROLE_ROUTER },
	{ "layers.%d.mlp.experts.gate_up_proj", .role = ROLE_EXPERT_GATE_UP, .stacked = true },
	{ "layers.%d.mlp.experts.down_proj", .role = ROLE_EXPERT_DOWN, .stacked = true },
	{ "layers.%d.mlp.experts.%e.gate_proj", .role = ROLE_EXPERT_GATE_UP, .share = SHARE_GATE },
	{ "layers.%d.mlp.experts.%e.up_proj", .role = ROLE_EXPERT_GATE_UP, .share = SHARE_UP },
	{ "layers.%d.mlp.experts.%e.down_proj", .role = ROLE_EXPERT_DOWN },
	{ 0 }
};

static const struct family_tensor gemma2_tensors[] = {
	{ "embed_tokens", .role = ROLE_EMBED },
	{ "norm", .role = ROLE_FINAL_NORM },
	{ "lm_head", .role = ROLE_HEAD },
	{ "layers.%d.input_layernorm", .role = ROLE_ATTN_NORM },
	{ "layers.%d.self_attn.q_proj", .role = ROLE_QKV, .share = SHARE_Q },
	{ "layers.%d.self_attn.k_proj", .role = ROLE_QKV, .share = SHARE_K },
	{ "layers.%d.self_attn.v_proj", .role = ROLE_QKV, .share = SHARE_V },
	{ "layers.%d.self_attn.o_proj", .role = ROLE_ATTN_PROJ },
	{ "layers.%d.post_attention_layernorm", .role = ROLE_ATTN_POST_NORM },
	{ "layers.%d.pre_feedforward_layernorm", .role = ROLE_MLP_NORM },
	{ "layers.%d.mlp.gate_proj", .role = ROLE_GATE_UP, .share = SHARE_GATE },
	{ "layers.%d.mlp.up_proj", .role = ROLE_GATE_UP, .share = SHARE_UP },
	{ "layers.%d.mlp.down_proj", .role = ROLE_DOWN },
	{ "layers.%d.post_feedforward_layernorm", .role = ROLE_MLP_POST_NORM },
	{ 0 }
};

static const struct family_tensor gpt2_tensors[] = {
	{ "wte", .role = ROLE_EMBED },
	{ "wpe", .role = ROLE_POSITION },
	{ "ln_f", .role = ROLE_FINAL_NORM },
	{ "lm_head", .role = ROLE_HEAD },
	{ "h.%d.ln_1", .role = ROLE_ATTN_NORM },
	{ "h.%d.attn.c_attn", .role = ROLE_QKV, .transposed = true },
	{ "h.%d.attn.c_proj", .role = ROLE_ATTN_PROJ, .transposed = true },
	{ "h.%d.ln_2", .role = ROLE_MLP_NORM },
	{ "h.%d.mlp.c_fc", .role = ROLE_GATE_UP, .transposed = true },
	{ "h.%d.mlp.c_proj", .role = ROLE_DOWN, .transposed = true },
	{ 0 }
};

static const struct family_tensor neox_tensors[] = {
	{ "embed_in", .role = ROLE_EMBED },
	{ "final_layer_norm", .role = ROLE_FINAL_NORM },
	{ "embed_out", .role = ROLE_HEAD },
	{ "layers.%d.input_layernorm", .role = ROLE_ATTN_NORM },
	{ "layers.%d.attention.query_key_value", .role = ROLE_QKV, .share = SHARE_HEADS },
	{ "layers.%d.attention.dense", .role = ROLE_ATTN_PROJ },
	{ "layers.%d.post_attention_layernorm", .role = ROLE_MLP_NORM },
	{ "layers.%d.mlp.dense_h_to_4h", .role = ROLE_GATE_UP },
	{ "layers.%d.mlp.dense_4h_to_h", .role = ROLE_DOWN },
	{ 0 }
};

const struct family families[] = {
	{
		.name = "llama", .prefix = "model.",
		.tensors = usual_tensors, .keys = &usual_keys,
		.context = 2048, .norm_eps = 1e-6, .theta = 10000, .rotary_part = 1,
		.norm = NORM_RMS, .gated = true, .activation = "silu",
		.scaled = { .otherwise = true },
		.qkv_bias = { "attention_bias", false }, .proj_bias = { "attention_bias", false },
		.mlp_bias = { "mlp_bias", false }, .tied = { "tie_word_embeddings", false },
	},
	{
		.name = "mistral", .prefix = "model.",
		.tensors = usual_tensors, .keys = &usual_keys,
		.kv_heads = 8,
		.context = 131072, .norm_eps = 1e-6, .theta = 10000, .rotary_part = 1,
		.norm = NORM_RMS, .gated = true, .activation = "silu",
		.scaled = { .otherwise = true },
		.tied = { "tie_word_embeddings", false },
		.window = { .width = { "sliding_window", 4096 }, .enabled = { .otherwise = true } },
	},
	{
		.name = "qwen2", .prefix = "model.",
		.tensors = usual_tensors, .keys = &usual_keys,
		.kv_heads = 32,
		.context = 32768, .norm_eps = 1e-6, .theta = 10000, .rotary_part = 1,
		.norm = NORM_RMS, .gated = true, .activation = "silu",
		.scaled = { .otherwise = true },
		.qkv_bias = { .otherwise = true },
		.tied = { "tie_word_embeddings", false },
		.window = { .width = { "sliding_window", 4096 },
		            .enabled = { "use_sliding_window", false },
		            .first = { "max_window_layers", 28 }, .listed = true },
	},
	{
		.name = "qwen3", .prefix = "model.",
		.tensors = usual_tensors, .keys = &usual_keys,
		.kv_heads = 32, .head_width = 128,
		.context = 32768, .norm_eps = 1e-6, .theta = 10000, .rotary_part = 1,
		.norm = NORM_RMS, .qk_norm = true, .gated = true, .activation = "silu",
		.scaled = { .otherwise = true },
		.qkv_bias = { "attention_bias", false }, .proj_bias = { "attention_bias", false },
		.tied = { "tie_word_embeddings", false },
		.window = { .width = { "sliding_window", 4096 },
		            .enabled = { "use_sliding_window", false },
		            .first = { "max_window_layers", 28 }, .listed = true },
	},
	{
		.name = "qwen3_moe", .prefix = "model.",
		.tensors = usual_tensors, .keys = &usual_keys,
		.kv_heads = 4,
		.context = 32768, .norm_eps = 1e-6, .theta = 10000, .rotary_part = 1,
		.norm = NORM_RMS, .qk_norm = true, .gated = true, .activation = "silu",
		.scaled = { .otherwise = true },
		.qkv_bias = { "attention_bias", false }, .proj_bias = { "attention_bias", false },
		.tied = { "tie_word_embeddings", false },
		.window = { .width = { "sliding_window", 4096 },
		            .enabled = { "use_sliding_window", false } },
		.experts = { { "num_experts|num_local_experts", 128 }, { "num_experts_per_tok", 8 },
		             { "moe_intermediate_size", 768 }, { "decoder_sparse_step", 1 },
		             "mlp_only_layers", { "norm_topk_prob", false } },
	},
	{
		.name = "gemma2", .prefix = "model.",
		.tensors = gemma2_tensors, .keys = &gemma_keys,
		.kv_heads = 4, .head_width = 256,
		.context = 8192, .norm_eps = 1e-6, .theta = 10000, .rotary_part = 1,
		.norm = NORM_RMS, .norm_plus_one = true, .post_norms = true,
		.embed_sqrt_width = true, .gated = true, .activation = "gelu_pytorch_tanh",
		.scaled = { .otherwise = true }, .scale_width = { "query_pre_attn_scalar", 256 },
		.qkv_bias = { "attention_bias", false }, .proj_bias = { "attention_bias", false },
		.tied = { "tie_word_embeddings", true },
		.attention_softcap = { "attn_logit_softcapping", 50 },
		.logits_softcap = { "final_logit_softcapping", 30 },
		.window = { .width = { "sliding_window", 4096 }, .enabled = { .otherwise = true },
		            .period = 2, .listed = true },
	},
	{
		.name = "gpt2", .prefix = "transformer.",
		.tensors = gpt2_tensors, .keys = &gpt2_keys,
		.inner_optional = true, .positions = true,
		.context = 1024, .norm_eps = 1e-5,
		.norm = NORM_LAYER, .activation = "gelu_new",
		.scaled = { "scale_attn_weights", true },
		.scaled_by_layer = { "scale_attn_by_inverse_layer_idx", false },
		.qkv_bias = { .otherwise = true }, .proj_bias = { .otherwise = true },
		.mlp_bias = { .otherwise = true }, .tied = { "tie_word_embeddings", true },
	},
	{
		.name = "gpt_neox", .prefix = "gpt_neox.",
		.tensors = neox_tensors, .keys = &neox_keys,
		.context = 2048, .norm_eps = 1e-5, .theta = 10000, .rotary_part = 0.25,
		.norm = NORM_LAYER, .activation = "gelu",
		.parallel = { "use_parallel_residual", true },
		.scaled = { .otherwise = true },
		.qkv_bias = { "attention_bias", true }, .proj_bias = { "attention_bias", true },
		.mlp_bias = { .otherwise = true }, .tied = { "tie_word_embeddings", false },
	},
	{ 0 }
};

const struct family *family_find(const char *model_type)
{
	for (const struct family *f = families; f->name; f++)
		if (!strcmp(f->name, model_type))
			return f;
	return NULL;
}
