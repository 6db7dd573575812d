/*
 * What a block holds: buffers of a tile, from the step that makes a value to the step that uses it, and buffers of
 * the whole batch.
 */
#ifndef BLOCK_MEMORY_H
#define BLOCK_MEMORY_H

#include "block.h"

/* Values that live within one tile; n rows of the working type. */
enum buffer {
	BUFFER_NORM,            /* (n, H) attn_norm or mlp_norm as rows, where a site wants them */
	BUFFER_QKV,             /* (n, (A + 2G) D) */
	BUFFER_PROJ,            /* (n, H) attention's output, where it is seen before it joins the stream */
	BUFFER_GATE_UP,         /* (n, 2I) or (n, I), the same; of the shared expert too */
	BUFFER_ACT,             /* (n, I), where a site wants it */
	BUFFER_DOWN,            /* (n, H) the MLP's output, the same */
	BUFFER_ROUTER,          /* (n, E) */
	BUFFER_SHARED_GATE,     /* (n, 1) */
	BUFFER_COUNT
};

struct tile_memory {
	void *buffer[BUFFER_COUNT];
	void *norm_operand;     /* (n, H) */
	void *act_operand;      /* (n, I), or the shared expert's */
};

struct block_memory {
	const struct ops *ops;
	struct device *device;
	void *all;
	size_t width[BUFFER_COUNT];     /* of a row; 0: never used */
	struct tile_memory *tiles;      /* (n_tiles) */
	size_t n_tiles;
	void *q;                        /* (T, A D) turned queries */
	void *ctx;                      /* (T, A D), where attn_ctx is wanted */
	void *ctx_operand;              /* (T, A D) */
	void *mlp_operand;              /* (T, H), only with experts */
	void *k, *v;                    /* (T, G D) of samples that lie within the batch */
};

/* Takes everything for batches of max_rows rows, of which n_tiles of tile_rows are in the making at a time.  -1 and e. */
int block_memory_take(struct block_memory *b, const struct ops *ops, struct device *d, const struct model *m,
                      size_t n_tiles, size_t tile_rows, size_t max_rows, const bool wanted[SITE_COUNT], struct error *e) MUST_CHECK;

/* Bytes of one tile's buffers, and of the batch's for n_rows. */
size_t block_tile_len(const struct ops *ops, struct device *d, const struct model *m, size_t tile_rows,
                      const bool wanted[SITE_COUNT]);
size_t block_batch_len(const struct ops *ops, struct device *d, const struct model *m, size_t n_rows,
                       const bool wanted[SITE_COUNT]);

void block_memory_release(struct block_memory *b);

/* Bytes of n rows of k as an operand of the widest type that the device has: layers of one model may differ. */
size_t operand_most(const struct ops *ops, struct device *d, size_t n, size_t k);

/* Columns of q, and of k or v. */
size_t q_width(const struct model *m);
size_t kv_width(const struct model *m);

#endif
