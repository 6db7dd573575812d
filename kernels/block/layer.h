/*
 * One layer's weights, prepared for a back end: named views into memory of its own.
 */
#ifndef LAYER_H
#define LAYER_H

#include "ops.h"

/* Bytes that a layer's parts take. */
struct layer_len {
	size_t vectors;         /* biases and norms: of the device's memory */
	size_t weights;         /* matrices: of the device's too or, behind a window (ops.h), of the host's */
	size_t column;          /* the longest column of a matrix */
};

/* Of the device's memory, at least this part is a window's where it can be, so that tiles of weights are large. */
enum { WINDOW_SHARE = 8 };

struct layer_memory {
	void *vectors, *weights;
	struct layer_len len;
	bool on_host;           /* weights */
};

struct layer {
	size_t index;
	struct weight qkv, attn_proj, gate_up, down, router;
	struct weight *expert_gate_up, *expert_down;    /* (E) */
	struct weight shared_gate_up, shared_down, shared_gate;
	struct norm attn_norm, q_norm, k_norm, attn_post_norm, mlp_norm, mlp_post_norm;
	/* what stands after the last layer */
	struct norm final_norm;
	struct weight head;

	const struct ops *ops;
	struct device *device;
	struct layer_memory memory;
};

/* For a layer of these parts (data pointers may be NULL). */
struct layer_len layer_len(const struct ops *ops, struct device *d, const struct model *m, const struct part *parts, size_t n_parts);
/* What holds either. */
struct layer_len layer_len_most(struct layer_len a, struct layer_len b);

/* Memory for a layer, told as `what`.  -1 and e: there isn't as much, and none is taken. */
int layer_memory_take(struct layer_memory *to, const struct ops *ops, struct device *d, struct layer_len len, bool on_host,
                      const char *what, struct error *e) MUST_CHECK;
/* All zeros is allowed. */
void layer_memory_give(struct layer_memory *x, const struct ops *ops, struct device *d);

/* A layer of these parts in `memory` (borrowed); weights still to be put.  0, or -1 when that is too small. */
int layer_init(struct layer *l, const struct ops *ops, struct device *d, const struct model *m, size_t index,
               const struct part *parts, size_t n_parts, const struct layer_memory *memory, struct error *e) MUST_CHECK;

/* Fills in one part, converting and packing.  `layer` is a struct layer *: fits checkpoint_read_layer's callback. */
int layer_put(void *layer, const struct part *part, struct error *e) MUST_CHECK;

void layer_release(struct layer *l);

#endif
