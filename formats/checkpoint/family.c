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

static const struct family_keys phi3_keys = {
	.width = "hidden_size", .layers = "num_hidden_layers", .heads = "num_attention_heads",
	.kv_heads = "num_key_value_heads", .head_width = "head_dim", .inner = "intermediate_size",
	.vocab = "vocab_size", .context = "max_position_embeddings", .norm_eps = "rms_norm_eps",
	.activation = "hidden_act", .theta = "rope_theta",
	.rotary_part = "partial_rotary_factor", .longrope = "su|yarn",
};

static const struct family_keys olmoe_keys = {
	.width = "hidden_size", .layers = "num_hidden_layers", .heads = "num_attention_heads",
	.kv_heads = "num_key_value_heads", .inner = "intermediate_size",
	.vocab = "vocab_size", .context = "max_position_embeddings", .norm_eps = "rms_norm_eps",
	.activation = "hidden_act", .theta = "rope_theta",
};

static const struct family_keys starcoder2_keys = {
	.width = "hidden_size", .layers = "num_hidden_layers", .heads = "num_attention_heads",
	.kv_heads = "num_key_value_heads", .head_width = "head_dim", .inner = "intermediate_size",
	.vocab = "vocab_size", .context = "max_position_embeddings", .norm_eps = "norm_epsilon",
	.activation = "hidden_act", .theta = "rope_theta",
};

static const struct family_keys stablelm_keys = {
	.width = "hidden_size", .layers = "num_hidden_layers", .heads = "num_attention_heads",
	.kv_heads = "num_key_value_heads", .inner = "intermediate_size",
	.vocab = "vocab_size", .context = "max_position_embeddings", .norm_eps = "layer_norm_eps",
	.activation = "hidden_act", .theta = "rope_theta",
	.rotary_part = "partial_rotary_factor",
};

static const struct family_keys phi_keys = {
	.width = "hidden_size", .layers = "num_hidden_layers", .heads = "num_attention_heads",
	.kv_heads = "num_key_value_heads", .head_width = "head_dim", .inner = "intermediate_size",
	.vocab = "vocab_size", .context = "max_position_embeddings", .norm_eps = "layer_norm_eps",
	.activation = "hidden_act", .theta = "rope_theta",
	.rotary_part = "partial_rotary_factor",
};

static const struct family_keys cohere_keys = {
	.width = "hidden_size", .layers = "num_hidden_layers", .heads = "num_attention_heads",
	.kv_heads = "num_key_value_heads", .head_width = "head_dim", .inner = "intermediate_size",
	.vocab = "vocab_size", .context = "max_position_embeddings", .norm_eps = "layer_norm_eps",
	.activation = "hidden_act", .theta = "rope_theta",
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
	{ "layers.%d.mlp.shared_expert.gate_proj", .role = ROLE_SHARED_GATE_UP, .share = SHARE_GATE },
	{ "layers.%d.mlp.shared_expert.up_proj", .role = ROLE_SHARED_GATE_UP, .share = SHARE_UP },
	{ "layers.%d.mlp.shared_expert.down_proj", .role = ROLE_SHARED_DOWN },
	{ "layers.%d.mlp.shared_expert_gate", .role = ROLE_SHARED_GATE },
	{ "layers.%d.mlp.experts.gate_up_proj", .role = ROLE_EXPERT_GATE_UP, .stacked = true },
	{ "layers.%d.mlp.experts.down_proj", .role = ROLE_EXPERT_DOWN, .stacked = true },
	{ "layers.%d.mlp.experts.%e.gate_proj", .role = ROLE_EXPERT_GATE_UP, .share = SHARE_GATE },
	{ "layers.%d.mlp.experts.%e.up_proj", .role = ROLE_EXPERT_GATE_UP, .share = SHARE_UP },
	{ "layers.%d.mlp.experts.%e.down_proj", .role = ROLE_EXPERT_DOWN },
	{ 0 }
};

/* Norms before and after; those that a family lacks are passed over. */
static const struct family_tensor sandwich_tensors[] = {
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

static const struct family_tensor phi3_tensors[] = {
	{ "embed_tokens", .role = ROLE_EMBED },
	{ "norm", .role = ROLE_FINAL_NORM },
	{ "lm_head", .role = ROLE_HEAD },
	{ "layers.%d.input_layernorm", .role = ROLE_ATTN_NORM },
	{ "layers.%d.self_attn.qkv_proj", .role = ROLE_QKV },
	{ "layers.%d.self_attn.o_proj", .role = ROLE_ATTN_PROJ },
	{ "layers.%d.post_attention_layernorm", .role = ROLE_MLP_NORM },
	{ "layers.%d.mlp.gate_up_proj", .role = ROLE_GATE_UP },
	{ "layers.%d.mlp.down_proj", .role = ROLE_DOWN },
	{ 0 }
};

static const struct family_tensor mixtral_tensors[] = {
	{ "embed_tokens", .role = ROLE_EMBED },
	{ "norm", .role = ROLE_FINAL_NORM },
	{ "lm_head", .role = ROLE_HEAD },
	{ "layers.%d.input_layernorm", .role = ROLE_ATTN_NORM },
	{ "layers.%d.self_attn.q_proj", .role = ROLE_QKV, .share = SHARE_Q },
	{ "layers.%d.self_attn.k_proj", .role = ROLE_QKV, .share = SHARE_K },
	{ "layers.%d.self_attn.v_proj", .role = ROLE_QKV, .share = SHARE_V },
	{ "layers.%d.self_attn.o_proj", .role = ROLE_ATTN_PROJ },
	{ "layers.%d.post_attention_layernorm", .role = ROLE_MLP_NORM },
	{ "layers.%d.block_sparse_moe.gate", .role = ROLE_ROUTER },
	{ "layers.%d.block_sparse_moe.experts.%e.w1", .role = ROLE_EXPERT_GATE_UP, .share = SHARE_GATE },
	{ "layers.%d.block_sparse_moe.experts.%e.w3", .role = ROLE_EXPERT_GATE_UP, .share = SHARE_UP },
	{ "layers.%d.block_sparse_moe.experts.%e.w2", .role = ROLE_EXPERT_DOWN },
	{ 0 }
};

static const struct family_tensor starcoder2_tensors[] = {
	{ "embed_tokens", .role = ROLE_EMBED },
	{ "norm", .role = ROLE_FINAL_NORM },
	{ "lm_head", .role = ROLE_HEAD },
	{ "layers.%d.input_layernorm", .role = ROLE_ATTN_NORM },
	{ "layers.%d.self_attn.q_proj", .role = ROLE_QKV, .share = SHARE_Q },
	{ "layers.%d.self_attn.k_proj", .role = ROLE_QKV, .share = SHARE_K },
	{ "layers.%d.self_attn.v_proj", .role = ROLE_QKV, .share = SHARE_V },
	{ "layers.%d.self_attn.o_proj", .role = ROLE_ATTN_PROJ },
	{ "layers.%d.post_attention_layernorm", .role = ROLE_MLP_NORM },
	{ "layers.%d.mlp.c_fc", .role = ROLE_GATE_UP },
	{ "layers.%d.mlp.c_proj", .role = ROLE_DOWN },
	{ 0 }
};

static const struct family_tensor stablelm_tensors[] = {
	{ "embed_tokens", .role = ROLE_EMBED },
	{ "norm", .role = ROLE_FINAL_NORM },
	{ "lm_head", .role = ROLE_HEAD },
	{ "layers.%d.input_layernorm", .role = ROLE_ATTN_NORM },
	{ "layers.%d.self_attn.q_proj", .role = ROLE_QKV, .share = SHARE_Q },
	{ "layers.%d.self_attn.k_proj", .role = ROLE_QKV, .share = SHARE_K },
	{ "layers.%d.self_attn.v_proj", .role = ROLE_QKV, .share = SHARE_V },
	{ "layers.%d.self_attn.q_layernorm.norms.%h", .role = ROLE_Q_NORM, .share = SHARE_HEAD },
	{ "layers.%d.self_attn.k_layernorm.norms.%h", .role = ROLE_K_NORM, .share = SHARE_HEAD },
	{ "layers.%d.self_attn.o_proj", .role = ROLE_ATTN_PROJ },
	{ "layers.%d.post_attention_layernorm", .role = ROLE_MLP_NORM },
	{ "layers.%d.mlp.gate_proj", .role = ROLE_GATE_UP, .share = SHARE_GATE },
	{ "layers.%d.mlp.up_proj", .role = ROLE_GATE_UP, .share = SHARE_UP },
	{ "layers.%d.mlp.down_proj", .role = ROLE_DOWN },
	{ 0 }
};

static const struct family_tensor phi_tensors[] = {
	{ "embed_tokens", .role = ROLE_EMBED },
	{ "final_layernorm", .role = ROLE_FINAL_NORM },
	{ "lm_head", .role = ROLE_HEAD },
	{ "layers.%d.input_layernorm", .role = ROLE_ATTN_NORM },
	{ "layers.%d.self_attn.q_proj", .role = ROLE_QKV, .share = SHARE_Q },
	{ "layers.%d.self_attn.k_proj", .role = ROLE_QKV, .share = SHARE_K },
	{ "layers.%d.self_attn.v_proj", .role = ROLE_QKV, .share = SHARE_V },
	{ "layers.%d.self_attn.q_layernorm", .role = ROLE_Q_NORM },
	{ "layers.%d.self_attn.k_layernorm", .role = ROLE_K_NORM },
	{ "layers.%d.self_attn.dense", .role = ROLE_ATTN_PROJ },
	{ "layers.%d.mlp.fc1", .role = ROLE_GATE_UP },
	{ "layers.%d.mlp.fc2", .role = ROLE_DOWN },
	{ 0 }
};

/* Alone, and as the text model of one that sees pictures too. */
#define GEMMA3_FACTS \
	.tensors = sandwich_tensors, .keys = &gemma_keys, \
	.kv_heads = 4, .head_width = 256, \
	.context = 131072, .norm_eps = 1e-6, .theta = 1e6, .rotary_part = 1, \
	.norm = NORM_RMS, .norm_plus_one = true, .post_norms = true, .qk_norm = QK_NORM_HEAD, \
	.embed_sqrt_width = true, .gated = true, .activation = "gelu_pytorch_tanh", \
	.scaled = { .otherwise = true }, .scale_width = { "query_pre_attn_scalar", 256 }, \
	.qkv_bias = { "attention_bias", false }, .proj_bias = { "attention_bias", false }, \
	.tied = { "tie_word_embeddings", true }, \
	.logits_softcap = { "final_logit_softcapping", 0 }, \
	.window = { .width = { "sliding_window", 4096 }, .enabled = { .otherwise = true }, \
	            .period = { "sliding_window_pattern", 6 }, .listed = true, \
	            .theta = { "rope_local_base_freq", 10000 } }, \
	.refused = { { "use_bidirectional_attention", "attention to later tokens is not supported" } }

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
		.norm = NORM_RMS, .qk_norm = QK_NORM_HEAD, .gated = true, .activation = "silu",
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
		.norm = NORM_RMS, .qk_norm = QK_NORM_HEAD, .gated = true, .activation = "silu",
		.scaled = { .otherwise = true },
		.qkv_bias = { "attention_bias", false }, .proj_bias = { "attention_bias", false },
		.tied = { "tie_word_embeddings", false },
		.window = { .width = { "sliding_window", 4096 },
		            .enabled = { "use_sliding_window", false } },
		.experts = { .count = { "num_experts|num_local_experts", 128 }, .per_token = { "num_experts_per_tok", 8 },
		             .inner = { "moe_intermediate_size", 768 }, .step = { "decoder_sparse_step", 1 },
		             .dense_layers = "mlp_only_layers", .renormalize = { "norm_topk_prob", false } },
	},
	{
		.name = "gemma2", .prefix = "model.",
		.tensors = sandwich_tensors, .keys = &gemma_keys,
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
		            .period = { NULL, 2 }, .listed = true },
	},
	{
		.name = "gpt2", .prefix = "transformer.",
		.tensors = gpt2_tensors, .keys = &gpt2_keys,
		.inner_optional = true, .positions = true,
		.context = 1024, .norm_eps = 1e-5,
		.norm = NORM_LAYER, .norm_bias = true, .activation = "gelu_new",
		.scaled = { "scale_attn_weights", true },
		.scaled_by_layer = { "scale_attn_by_inverse_layer_idx", false },
		.qkv_bias = { .otherwise = true }, .proj_bias = { .otherwise = true },
		.mlp_bias = { .otherwise = true }, .tied = { "tie_word_embeddings", true },
	},
	{
		.name = "gpt_neox", .prefix = "gpt_neox.",
		.tensors = neox_tensors, .keys = &neox_keys,
		.context = 2048, .norm_eps = 1e-5, .theta = 10000, .rotary_part = 0.25,
		.norm = NORM_LAYER, .norm_bias = true, .activation = "gelu",
		.parallel = { "use_parallel_residual", true },
		.scaled = { .otherwise = true },
		.qkv_bias = { "attention_bias", true }, .proj_bias = { "attention_bias", true },
		.mlp_bias = { .otherwise = true }, .tied = { "tie_word_embeddings", false },
	},
	{
		.name = "phi3", .prefix = "model.",
		.tensors = phi3_tensors, .keys = &phi3_keys,
		.context = 4096, .original_context = 4096, .norm_eps = 1e-5, .theta = 10000, .rotary_part = 1,
		.norm = NORM_RMS, .gated = true, .activation = "silu",
		.scaled = { .otherwise = true },
		.tied = { "tie_word_embeddings", false },
		.window = { .width = { "sliding_window", 0 }, .enabled = { .otherwise = true } },
	},
	{
		.name = "mixtral", .prefix = "model.",
		.tensors = mixtral_tensors, .keys = &usual_keys,
		.kv_heads = 8,
		.context = 131072, .norm_eps = 1e-5, .theta = 1e6, .rotary_part = 1,
		.norm = NORM_RMS, .gated = true, .activation = "silu",
		.scaled = { .otherwise = true },
		.tied = { "tie_word_embeddings", false },
		.window = { .width = { "sliding_window", 0 }, .enabled = { .otherwise = true } },
		.experts = { .count = { "num_local_experts", 8 }, .per_token = { "num_experts_per_tok", 2 },
		             .inner = { "intermediate_size", 14336 }, .step = { NULL, 1 }, .renormalize = { .otherwise = true } },
	},
	{
		.name = "gemma3_text", .prefix = "model.",
		GEMMA3_FACTS,
	},
	{
		.name = "gemma3", .nested = "text_config",
		.prefix = "language_model.model.|model.language_model.",
		GEMMA3_FACTS,
	},
	{
		.name = "gemma", .prefix = "model.",
		.tensors = usual_tensors, .keys = &usual_keys,
		.kv_heads = 16, .head_width = 256,
		.context = 8192, .norm_eps = 1e-6, .theta = 10000, .rotary_part = 1,
		.norm = NORM_RMS, .norm_plus_one = true,
		.embed_sqrt_width = true, .gated = true, .activation = "gelu_pytorch_tanh",
		.scaled = { .otherwise = true },
		.qkv_bias = { "attention_bias", false }, .proj_bias = { "attention_bias", false },
		.tied = { "tie_word_embeddings", true },
	},
	{
		.name = "olmo2", .prefix = "model.",
		.tensors = sandwich_tensors, .keys = &usual_keys,
		.context = 2048, .norm_eps = 1e-5, .theta = 10000, .rotary_part = 1,
		.norm = NORM_RMS, .no_pre_norms = true, .post_norms = true, .qk_norm = QK_NORM_ROW,
		.gated = true, .activation = "silu",
		.scaled = { .otherwise = true },
		.qkv_bias = { "attention_bias", false }, .proj_bias = { "attention_bias", false },
		.tied = { "tie_word_embeddings", false },
	},
	{
		.name = "olmoe", .prefix = "model.",
		.tensors = usual_tensors, .keys = &olmoe_keys,
		.context = 4096, .norm_eps = 1e-5, .theta = 10000, .rotary_part = 1,
		.norm = NORM_RMS, .qk_norm = QK_NORM_ROW, .gated = true, .activation = "silu",
		.scaled = { .otherwise = true },
		.qkv_bias = { "attention_bias", false }, .proj_bias = { "attention_bias", false },
		.tied = { "tie_word_embeddings", false },
		.experts = { .count = { "num_experts", 64 }, .per_token = { "num_experts_per_tok", 8 },
		             .inner = { "intermediate_size", 2048 }, .step = { NULL, 1 }, .renormalize = { "norm_topk_prob", false } },
		.refused = { { "clip_qkv", "clipped queries, keys and values are not supported" } },
	},
	{
		.name = "granite", .prefix = "model.",
		.tensors = usual_tensors, .keys = &usual_keys,
		.context = 2048, .norm_eps = 1e-6, .theta = 10000, .rotary_part = 1,
		.norm = NORM_RMS, .gated = true, .activation = "silu",
		.scaled = { .otherwise = true }, .scale = { "attention_multiplier", 1 },
		.embed_multiplier = { "embedding_multiplier", 1 }, .residual_multiplier = { "residual_multiplier", 1 },
		.logits_divisor = { "logits_scaling", 1 },
		.qkv_bias = { "attention_bias", false }, .proj_bias = { "attention_bias", false },
		.mlp_bias = { "mlp_bias", false }, .tied = { "tie_word_embeddings", false },
	},
	{
		.name = "starcoder2", .prefix = "model.",
		.tensors = starcoder2_tensors, .keys = &starcoder2_keys,
		.kv_heads = 2,
		.context = 4096, .norm_eps = 1e-5, .theta = 10000, .rotary_part = 1,
		.norm = NORM_LAYER, .norm_bias = true, .activation = "gelu_pytorch_tanh",
		.scaled = { .otherwise = true },
		.qkv_bias = { "use_bias", true }, .proj_bias = { "use_bias", true },
		.mlp_bias = { "use_bias", true }, .tied = { "tie_word_embeddings", true },
		.window = { .width = { "sliding_window", 0 }, .enabled = { .otherwise = true } },
	},
	{
		.name = "stablelm", .prefix = "model.",
		.tensors = stablelm_tensors, .keys = &stablelm_keys,
		.kv_heads = 32,
		.context = 4096, .norm_eps = 1e-5, .theta = 10000, .rotary_part = 0.25,
		.norm = NORM_LAYER, .norm_bias = true, .shared_norm = true, .gated = true, .activation = "silu",
		.qk_norm = QK_NORM_HEADS, .qk_norm_key = "qk_layernorm",
		.parallel = { "use_parallel_residual", false },
		.scaled = { .otherwise = true },
		.qkv_bias = { "use_qkv_bias", false }, .tied = { "tie_word_embeddings", false },
	},
	{
		.name = "phi", .prefix = "model.",
		.tensors = phi_tensors, .keys = &phi_keys,
		.context = 2048, .norm_eps = 1e-5, .theta = 10000, .rotary_part = 0.5,
		.norm = NORM_LAYER, .norm_bias = true, .shared_norm = true, .activation = "gelu_new",
		.qk_norm = QK_NORM_HEAD, .qk_norm_key = "qk_layernorm", .qk_norm_bias = true,
		.parallel = { .otherwise = true },
		.scaled = { .otherwise = true },
		.qkv_bias = { .otherwise = true }, .proj_bias = { .otherwise = true },
		.mlp_bias = { .otherwise = true }, .head_bias = true, .tied = { "tie_word_embeddings", false },
	},
	{
		.name = "qwen2_moe", .prefix = "model.",
		.tensors = usual_tensors, .keys = &usual_keys,
		.kv_heads = 16,
		.context = 32768, .norm_eps = 1e-6, .theta = 10000, .rotary_part = 1,
		.norm = NORM_RMS, .gated = true, .activation = "silu",
		.scaled = { .otherwise = true },
		.qkv_bias = { "qkv_bias", true },
		.tied = { "tie_word_embeddings", false },
		.experts = { .count = { "num_experts", 60 }, .per_token = { "num_experts_per_tok", 4 },
		             .inner = { "moe_intermediate_size", 1408 }, .step = { "decoder_sparse_step", 1 },
		             .dense_layers = "mlp_only_layers", .renormalize = { "norm_topk_prob", false },
		             .shared = { "shared_expert_intermediate_size", 5632 } },
		.refused = { { "use_sliding_window", "versions of transformers disagree about which layers have a window" } },
	},
	{
		.name = "cohere", .prefix = "model.",
		.tensors = usual_tensors, .keys = &cohere_keys,
		.context = 8192, .norm_eps = 1e-5, .theta = 10000, .rotary_part = 1, .pairing = ROTARY_PAIRS,
		.norm = NORM_LAYER, .shared_norm = true, .gated = true, .activation = "silu",
		.qk_norm = QK_NORM_HEADS, .qk_norm_key = "use_qk_norm",
		.parallel = { .otherwise = true },
		.scaled = { .otherwise = true }, .logits_multiplier = { "logit_scale", 0.0625 },
		.qkv_bias = { "attention_bias", false }, .proj_bias = { "attention_bias", false },
		.tied = { "tie_word_embeddings", true },
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
