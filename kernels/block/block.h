/*
 * One transformer block, written once over the operation table, for every family and back end.
 *
 * A batch is rows of many samples packed end to end.  The block turns them in place, as a list of steps: a
 * step is done for every tile of rows (one thread a tile) before a step that needs all rows (attention,
 * experts, a filter) begins.
 */
#ifndef BLOCK_H
#define BLOCK_H

#include "carry.h"
#include "layer.h"
#include "ops.h"
#include "site.h"

/* The rows that one run of the block turns.  segments cover 0..x.n-1 in order, without gaps. */
struct batch {
	struct rows x;                  /* (T, H) working type: resid_pre, and afterwards resid_post */
	struct segment *segments;       /* (n_segments); k and v are the block's to fill in */
	size_t n_segments;
};

/*
 * What this run wants at the sites of one layer.  At a site rows are first patched, then filtered, then read; what is read is
 * what all later steps see.  Reading changes no bit: rows are copied where they pass.
 */
struct sites {
	/* (T, width) working type (int32_t for expert_idx), dense, for each site that is read; NULL: not wanted.
	 * attn_scores and attn_probs are asked for afterwards, by block_scores. */
	void *read[SITE_COUNT];
	/* The same rows, put aside in the device's memory: (T, width) working type, dense, to be there after the block. */
	void *aside[SITE_COUNT];

	/* Changes rows first..first+rows.n-1 of the batch in place.  Called on any thread. */
	void (*patch)(void *context, enum site site, size_t first, struct rows rows);
	bool patched[SITE_COUNT];

	/* Changes all rows of the batch in place: (T, width) dense.  0 or -1 and e, which ends the run. */
	int (*filter)(void *context, enum site site, struct rows rows, struct error *e);
	bool filtered[SITE_COUNT];
	/* The same for attn_scores and attn_probs: rows of batch row `row` on, all of one sample of len tokens, (n, A, len). */
	int (*filter_scores)(void *context, enum site site, size_t row, struct rows rows, uint32_t len, struct error *e);

	bool plain;     /* unfused attention, as a patch or filter at attn_scores or attn_probs has it */
	void *context;
};

/* Thread-seconds by operation since the block was opened, or those of a device that takes its own, and floating-point operations
 * of the products. */
struct block_times {
	double product, attend, norm, rest;
	double product_flops;
};

struct block;

/*
 * Buffers for batches of at most max_rows rows, of which steps take tile_rows at a time: ops->row_tile, or max_rows, so that weights
 * behind a window are copied once for all of a batch.  wanted: the sites that any layer will read, patch or filter; with
 * barriers (filters), every tile of a batch has buffers of its own.  NULL and e if the memory (block_len) is
 * not to be had.
 */
struct block *block_open(const struct ops *ops, struct device *d, const struct model *m, struct workers *w, size_t max_rows,
                         size_t tile_rows, const bool wanted[SITE_COUNT], bool barriers, struct error *e) MUST_CHECK;

/* Before anything is opened: whether the back end has kernels for the model.  -1 and e, with the limit and a device without it. */
int block_can(const struct ops *ops, const struct model *m, struct error *e) MUST_CHECK;

/* Bytes that block_open takes. */
size_t block_len(const struct ops *ops, struct device *d, const struct model *m, size_t n_threads, size_t max_rows,
                 size_t tile_rows, const bool wanted[SITE_COUNT], bool barriers);

/*
 * Bytes of a device's memory that runs take besides, where samples are no longer than ops->row_tile tokens, or wholly in a batch:
 * rotary tables, attention scores in the plain, and for each of `held` layers the keys of two samples that batches cut.
 */
size_t block_run_len(const struct ops *ops, const struct model *m, size_t max_rows, size_t held, const bool wanted[SITE_COUNT]);

/* Turns the batch by one layer.  resid: the type that resid_post is rounded to.  What is read has arrived after a wait or a mark
 * (ops.h).  0, or -1 when memory for a long sample's keys is short, a filter failed or the device broke. */
int block_run(struct block *b, const struct layer *l, struct carry *carry, struct batch *batch, enum dtype resid,
              const struct sites *sites, struct error *e) MUST_CHECK;

/*
 * attn_scores or (probs) attn_probs, as changed, of batch rows row..row+n-1, which lie in one segment, after block_run and before the
 * next: to (n, A, len) in the working type.
 */
void block_scores(struct block *b, size_t row, size_t n, bool probs, void *to);

/* From here on a device that works behind the caller's back takes the times by its own clock, at the cost of an event an
 * operation; else they are the time that it took to ask for the work. */
void block_take_device_times(struct block *b);
/* A device's own: of what was done before the latest wait. */
void block_times(const struct block *b, struct block_times *t);

void block_close(struct block *b);

#endif
