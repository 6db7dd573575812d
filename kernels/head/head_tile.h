/* A tile of rows on their way through the final norm and the output head. */
#ifndef HEAD_TILE_H
#define HEAD_TILE_H

#include "head_weights.h"
#include "ops.h"

struct head_tile {
	const struct ops *ops;
	struct device *device;
	const struct model *m;
	const struct layer *after;
	size_t tile;                    /* rows that there is room for */
	struct rows x;                  /* (tile, H) on the device; x.n: rows that were loaded */
	struct rows normed, logits;     /* (tile, H), (tile, V) on the host */
	struct rows device_normed, device_logits;       /* the same memory, where the device has none of its own */
	struct operand operand;
};

/* weights: have final_norm and, if logits are wanted, head; borrowed, as all arguments are.  0, or -1 and e: no memory; closed
 * in either case. */
int head_tile_open(struct head_tile *t, const struct ops *ops, struct device *d, const struct model *m,
                   const struct head_weights *weights, bool logits, struct error *e) MUST_CHECK;
/* Bytes of the device that it takes with so many rows. */
size_t head_tile_len(const struct ops *ops, struct device *d, const struct model *m, bool logits, size_t tile);
void head_tile_close(struct head_tile *t);

static inline void *head_tile_row(const struct head_tile *t, const struct rows *r, size_t i)
{
	return (char *)r->p + i * r->stride * dtype_size(t->ops->work);
}

static inline void *head_tile_normed(const struct head_tile *t, size_t i)
{
	return head_tile_row(t, &t->normed, i);
}

static inline void *head_tile_logits(const struct head_tile *t, size_t i)
{
	return head_tile_row(t, &t->logits, i);
}

/* Row i (H) of the stream; x.n stays the caller's. */
void head_tile_load(struct head_tile *t, size_t i, const void *from, enum dtype dtype);

/* Row i (V) of logits that are known already, to the host. */
void head_tile_load_logits(struct head_tile *t, size_t i, const void *from, enum dtype dtype);

/* x.n rows through the norm, and then, if logits are wanted, through the product and the soft cap. */
void head_tile_norm(struct head_tile *t);
void head_tile_product(struct head_tile *t, struct workers *w);

#endif
