/*
 * What a model is once its config has been read: the row of facts that the block is told, and the names of
 * the parts of a layer.  formats/ fills these, kernels/ reads them; neither knows the other.
 *
 * Dimensions:  T rows (tokens), H width of the stream, A heads, G key/value heads, D head width,
 * I inner width of the MLP, E experts, V vocabulary.
 */
#ifndef MODEL_H
#define MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dtype.h"
#include "error.h"

enum norm_kind { NORM_NONE, NORM_RMS, NORM_LAYER };

enum activation { ACT_SILU, ACT_GELU, ACT_GELU_TANH, ACT_GELU_QUICK, ACT_RELU, ACT_COUNT };

enum rotary_kind {
	ROTARY_DEFAULT, ROTARY_LINEAR, ROTARY_DYNAMIC, ROTARY_LLAMA3, ROTARY_YARN, ROTARY_LONGROPE
};

enum rotary_pairing {
	ROTARY_HALF,    /* dimension i turns with i + dims/2 */
	ROTARY_PAIRS    /* dimension 2i turns with 2i + 1 */
};

/* What is normed of q and k before they turn, and by which weights (n). */
enum qk_norm {
	QK_NORM_NONE,
	QK_NORM_HEAD,   /* each head by itself, all by the same weights: D */
	QK_NORM_HEADS,  /* each head by itself, by weights of its own: A D and G D */
	QK_NORM_ROW     /* all heads together: A D and G D */
};

/* Rotary position embedding.  Frequencies: kernels/block/rotary.h. */
struct rotary {
	enum rotary_kind kind;
	enum rotary_pairing pairing;
	size_t dims;                    /* the first dims of each head turn, even; the rest pass */
	double theta;
	double factor;
	size_t context;                 /* max_position_embeddings */
	size_t original_context;        /* llama3, yarn, longrope */
	double low_freq_factor, high_freq_factor;  /* llama3 */
	double beta_fast, beta_slow;    /* yarn */
	bool truncate;                  /* yarn */
	double mscale, mscale_all_dim;  /* yarn; 0: not given */
	double attention_factor;        /* yarn, longrope: multiplies cos and sin; 0: by the formula */
	double *long_factor, *short_factor; /* longrope: (dims/2) each; else NULL */
};

/* What may differ from layer to layer. */
struct layer_shape {
	size_t window;          /* a query sees this many keys, its own included; 0: all before it */
	int rotary;             /* index into model.rotary; -1: no rotation */
	bool experts;           /* a mixture of experts instead of one MLP */
	double scale_divisor;   /* divides attention_scale; 1 but for GPT-2's scale_attn_by_inverse_layer_idx */
};

enum { MODEL_ROTARIES = 2 };

struct model {
	char *name;             /* the directory's last part, or org/name */
	char fingerprint[17];   /* 16 hex digits, see checkpoint.h */
	const char *family;     /* "llama" */
	enum dtype dtype;       /* the checkpoint's: that of most of its layers' weights */

	size_t n_layers, width, n_heads, n_kv_heads, head_width, inner, vocab;
	size_t context;         /* positions a learned position table has; 0: any number */
	struct layer_shape *layer;  /* (n_layers) */

	enum norm_kind norm;    /* of every norm in the block and the final one */
	bool norm_plus_one;     /* weights are stored less one (Gemma) */
	double norm_eps;
	enum qk_norm qk_norm;
	bool pre_norms;         /* attention and MLP read the stream normed, else as it is */
	bool post_norms;        /* attention's and the MLP's output are normed before they are added */
	bool parallel;          /* attention and MLP both read resid_pre, and both are added to it */
	bool shared_norm;       /* with parallel: the MLP reads what attention reads, through its norm */
	double residual_multiplier; /* of what attention and the MLP add; 1 but for Granite */

	double attention_scale; /* multiplies q.k */
	double attention_softcap;   /* c tanh(s/c) on scores; 0: none */
	struct rotary rotary[MODEL_ROTARIES];
	size_t n_rotaries;

	bool gated;             /* the MLP is down(act(gate) * up), else down(act(up)) */
	enum activation activation;
	size_t n_experts, experts_per_token, expert_inner;
	bool expert_renormalize;    /* the chosen experts' probabilities are divided by their sum */
	size_t shared_inner;        /* of an expert that every token has, times the sigmoid of its own gate; 0: none */

	double embed_multiplier;    /* 1 but for Gemma and Granite */
	double logits_multiplier;   /* before the soft cap; 1 but for Granite and Cohere */
	double logits_softcap;      /* 0: none */
};

void model_release(struct model *m);

/* -------- the parts of a layer, and of what stands before and after the layers */

enum role {
	/* products: (n, k) weights, n their output columns */
	ROLE_QKV,               /* n = (A + 2G) D: q, then k, then v */
	ROLE_ATTN_PROJ,         /* n = H, k = A D */
	ROLE_GATE_UP,           /* n = 2 I: gate, then up (plain MLP: n = I, up alone) */
	ROLE_DOWN,              /* n = H, k = I */
	ROLE_ROUTER,            /* n = E */
	ROLE_EXPERT_GATE_UP,    /* one for each expert */
	ROLE_EXPERT_DOWN,
	ROLE_SHARED_GATE_UP,    /* of the expert that every token has */
	ROLE_SHARED_DOWN,
	ROLE_SHARED_GATE,       /* n = 1 */
	ROLE_HEAD,              /* n = V, k = H */
	ROLE_PRODUCTS,
	/* norms: vectors of n */
	ROLE_ATTN_NORM = ROLE_PRODUCTS,
	ROLE_Q_NORM, ROLE_K_NORM,       /* n by enum qk_norm */
	ROLE_ATTN_POST_NORM,
	ROLE_MLP_NORM,
	ROLE_MLP_POST_NORM,
	ROLE_FINAL_NORM,
	ROLE_NORMS_END,
	/* tables: (n, k) = (V or positions, H) */
	ROLE_EMBED = ROLE_NORMS_END,
	ROLE_POSITION,
	ROLE_COUNT
};

/*
 * A strided view of stored elements: output column c (0..n-1) and input i (0..k-1) lie at element
 *     first + c / group * group_stride + c % group * n_stride + i * k_stride
 * of data.  A plain (n, k) matrix: group = n, n_stride = k, k_stride = 1.
 */
struct tensor_view {
	const void *data;       /* NULL while only the shape is asked for */
	enum dtype dtype;
	size_t n, k;
	size_t first, group, group_stride, n_stride, k_stride;
};

/* One tensor's (or one slice of a fused tensor's) place in a layer. */
struct part {
	enum role role;
	bool bias;              /* the role's bias: view is (n, 1) */
	size_t expert;          /* of ROLE_EXPERT_*: which */
	size_t column;          /* where its n columns begin among the role's stacked columns */
	struct tensor_view view;
	const char *name;       /* the tensor's, for messages; borrowed */
};

/* Total columns n and inputs k of a role's stacked weight in this model: 0 where the model doesn't have it. */
void role_shape(const struct model *m, enum role role, size_t *n, size_t *k);

#endif
