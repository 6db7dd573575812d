/*
 * The families of models, one row of data each: how config.json spells its facts, what holds where
 * a key is missing, and what the tensors are called.  Nothing else in the tree asks which family a
 * model is of.
 */
#ifndef FAMILY_H
#define FAMILY_H

#include <stdbool.h>
#include <stddef.h>

#include "model.h"

/* Keys of config.json; spellings of one are separated by '|', the first found counts.  NULL: the
 * family has none. */
struct family_keys {
	const char *width, *layers, *heads, *kv_heads, *head_width, *inner, *vocab, *context;
	const char *norm_eps, *activation, *theta, *rotary_part;
	const char *longrope;   /* other names of that rope_type */
};

struct family_flag {
	const char *key;        /* NULL: always `otherwise` */
	bool otherwise;         /* where the key is missing */
};

struct family_number {
	const char *key;        /* NULL: none; a null in the file is none too */
	double otherwise;
};

/* Layer i has a window iff `enabled`, the width isn't null, i >= first, and period doesn't divide
 * i + 1; a list "layer_types" in the file wins if `listed`. */
struct family_window {
	struct family_number width;
	struct family_flag enabled;
	struct family_number first;
	struct family_number period;    /* 0: every layer */
	bool listed;
	struct family_number theta;     /* by which its layers turn, unscaled; no key: as the others */
};

/* Layer i has experts iff there are any, step divides i + 1, and dense_layers doesn't list i. */
struct family_experts {
	struct family_number count, per_token, inner, step;
	const char *dense_layers;
	struct family_flag renormalize;
	struct family_number shared;    /* inner width of the expert that every token has */
};

/* A key whose value, other than null, false or missing, asks for what isn't there. */
struct family_refusal {
	const char *key, *why;
};

enum { FAMILY_REFUSALS = 2 };

/* Which of a role's columns a tensor holds. */
enum share {
	SHARE_ALL,
	SHARE_Q, SHARE_K, SHARE_V,
	SHARE_HEADS,            /* q, k and v of the first head, then of the second, ... */
	SHARE_GATE, SHARE_UP,
	SHARE_HEAD              /* of a norm's weights, those of head %h */
};

struct family_tensor {
	const char *name;       /* less prefix and ".weight"; %d: the layer, %e: the expert, %h: the head */
	enum role role;
	enum share share;
	bool transposed;        /* stored (k, n) */
	bool stacked;           /* (E, n, k), no ".weight"; taken where it is there */
};

struct family {
	const char *name;       /* config.json's model_type */
	const char *nested;     /* config.json has it all in this object; NULL: at its top */
	/* Before every name but the head's, spellings separated by '|'; files may leave it out. */
	const char *prefix;
	/* Up to one without a name; roles that the model doesn't have are passed over. */
	const struct family_tensor *tensors;
	const struct family_keys *keys;

	/* Where the key is missing; 0: n_heads key/value heads, width / n_heads. */
	size_t kv_heads, head_width, context, original_context;
	bool inner_optional;                    /* missing or null: 4 * width */
	double norm_eps, theta, rotary_part;    /* theta 0: nothing turns */
	const char *activation;

	enum norm_kind norm;
	bool norm_bias;                         /* of norms of the stream: they have a bias too */
	bool norm_plus_one, post_norms, gated;
	bool no_pre_norms;                      /* attention and MLP read the stream as it is */
	bool shared_norm;                       /* where parallel: one norm before both */
	enum qk_norm qk_norm;
	const char *qk_norm_key;                /* a flag that turns it on; NULL: it is */
	bool qk_norm_bias;
	enum rotary_pairing pairing;
	bool head_bias;
	bool positions;                         /* a learned table of `context` positions */
	bool embed_sqrt_width;                  /* embeddings are multiplied by sqrt(width) */
	struct family_flag parallel, qkv_bias, proj_bias, mlp_bias, tied;
	struct family_flag scaled, scaled_by_layer; /* q.k by 1 / sqrt(D), and by 1 / (layer + 1) */
	struct family_number scale_width;       /* in D's place */
	struct family_number scale;             /* of q.k, in the place of 1 / sqrt(D) */
	struct family_number embed_multiplier, residual_multiplier, logits_multiplier, logits_divisor;
	struct family_number attention_softcap, logits_softcap;
	struct family_window window;
	struct family_experts experts;
	struct family_refusal refused[FAMILY_REFUSALS]; /* as many as have a key */
};

/* The row of a model_type, or NULL. */
const struct family *family_find(const char *model_type);

/* All of them, up to one without a name. */
extern const struct family families[];

#endif
