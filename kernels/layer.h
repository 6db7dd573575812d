/*
 * One layer's weights, prepared for a back end: named views into one arena.
 */
#ifndef LAYER_H
#define LAYER_H

#include "ops.h"

struct layer {
	size_t index;
	struct weight qkv, attn_proj, gate_up, down, router;
	struct weight *expert_gate_up, *expert_down;    /* (E) */
	struct norm attn_norm, q_norm, k_norm, attn_post_norm, mlp_norm, mlp_post_norm;
	/* what stands after the last layer */
	struct norm final_norm;
	struct weight head;

	const struct ops *ops;
	struct device *device;
	void *arena;
	size_t arena_len;
};

/* Bytes of arena that a layer of these parts takes (data pointers may be NULL). */
size_t layer_arena_len(const struct ops *ops, struct device *d, const struct model *m, const struct part *parts,
                       size_t n_parts);

/* A layer of these parts in `arena` (the device's memory, borrowed, at least layer_arena_len); weights still to be put.
 * 0, or -1 when two parts of a role don't fit together. */
int layer_init(struct layer *l, const struct ops *ops, struct device *d, const struct model *m, size_t index,
               const struct part *parts, size_t n_parts, void *arena, size_t arena_len, struct error *e) MUST_CHECK;

/* Fills in one part, converting and packing.  `layer` is a struct layer *: fits checkpoint_read_layer's callback. */
int layer_put(void *layer, const struct part *part, struct error *e) MUST_CHECK;

void layer_release(struct layer *l);

#endif
