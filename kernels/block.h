/*
 * One transformer block, written once over the operation table, for every family and back end.
 *
 * A batch is rows of many samples packed end to end.  The block turns them in place, as a list of steps: a
 * step is done for every tile of rows (one thread a tile) before a step that needs all rows (attention,
 * experts, a filter) begins.
 */
#ifndef BLOCK_H
#define BLOCK_H

#include "layer.h"
#include "ops.h"
#include "site.h"

/* The rows that one run of the block turns.  segments cover 0..x.n-1 in order, without gaps. */
struct batch {
	struct rows x;                  /* (T, H) working type: resid_pre, and afterwards resid_post */
	struct segment *segments;       /* (n_segments); k and v are the block's to fill in */
	size_t n_segments;
};

/* Keys and values of samples whose rows are spread over several batches, for one layer. */
struct carry {
	struct carry_sample *samples;
	size_t n, capacity;
};
void carry_release(struct carry *c);
/* Whether some sample's last rows haven't come. */
bool carry_unfinished(const struct carry *c);

/* What this run wants at the sites of one layer.  Reading changes no bit: rows are copied where they pass. */
struct sites {
	/* (T, width) working type (int32_t for expert_idx), dense, for each site that is read; NULL: not wanted.
	 * attn_scores and attn_probs are asked for afterwards, by block_scores. */
	void *read[SITE_COUNT];
};

/* Thread-seconds by operation since the block was opened, and floating-point operations of the products. */
struct block_times {
	double product, attend, norm, rest;
	double product_flops;
};

struct block;

/*
 * Buffers for batches of at most max_rows rows.  wanted: the sites that any layer will read.  NULL and e if the memory
 * (block_memory) is not to be had.
 */
struct block *block_open(const struct ops *ops, struct device *d, const struct model *m, struct workers *w, size_t max_rows,
                         const bool wanted[SITE_COUNT], struct error *e) MUST_CHECK;

/* Bytes that block_open takes: fixed, and for each row of max_rows. */
void block_memory(const struct ops *ops, struct device *d, const struct model *m, size_t n_slots,
                  const bool wanted[SITE_COUNT], size_t *fixed, size_t *a_row);

/* Turns the batch by one layer.  resid: the type that resid_post is rounded to.  0, or -1 when memory for a long sample's
 * keys is short. */
int block_run(struct block *b, const struct layer *l, struct carry *carry, struct batch *batch, enum dtype resid,
              const struct sites *sites, struct error *e) MUST_CHECK;

/*
 * attn_scores or (probs) attn_probs of batch rows row..row+n-1, which lie in one segment, after block_run and before the
 * next: to (n, A, len) in the working type.
 */
void block_scores(struct block *b, size_t row, size_t n, bool probs, void *to);

void block_times(const struct block *b, struct block_times *t);

void block_close(struct block *b);

#endif
