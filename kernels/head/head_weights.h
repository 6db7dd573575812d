/*
 * Where the weights of what stands after the last layer lie, and how many rows a head takes at a time.
 *
 * On the device while they fit.  An output head that doesn't passes through a window (ops.h), and what that doesn't keep is copied
 * for each tile of rows: then a tile has as many rows as logits of HEAD_LOGITS_LEN bytes have.
 */
#ifndef HEAD_WEIGHTS_H
#define HEAD_WEIGHTS_H

#include "layer.h"

#define HEAD_LOGITS_LEN ((size_t)256 << 20)

struct head_weights {
	const struct ops *ops;
	struct device *device;
	struct layer after;             /* still to be put */
	struct layer_memory memory;
	size_t tile;                    /* rows at a time, a multiple of ops->expert_tile */
};

/* parts: of the final norm and, if `logits` are wanted, the head.  n_heads: how many will be opened (head_tile.h).  Says where the
 * head lies if not on the device.  -1 and e: memory is short; closed in either case. */
int head_weights_open(struct head_weights *h, const struct ops *ops, struct device *d, const struct model *m, const struct part *parts,
                      size_t n_parts, bool logits, size_t n_heads, struct error *e) MUST_CHECK;
/* All zeros is allowed. */
void head_weights_close(struct head_weights *h);

#endif
