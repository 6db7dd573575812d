/*
 * What stands after the last layer: the final norm and the output head, for those rows that somebody reads.
 *
 * Rows are gathered over samples and frames until they fill a tile (head_weights.h); then the whole tile is normed,
 * multiplied and read, and everything goes on in the order in which it came.  At most one tile of logits is in memory.
 * A row's bits depend on that row alone, so they depend neither on its tile-mates nor on when a tile is run.
 */
#ifndef HEAD_H
#define HEAD_H

#include "frame.h"
#include "head_weights.h"
#include "ops.h"
#include "site.h"

/* A row that is wanted, from head_add until it has been read. */
struct head_row {
	const struct frame *frame;
	const struct sample *sample;    /* of frame */
	uint32_t position;              /* in the sample; of a pooled row, the first of those it is made of */
};

/* Who reads.  Within a frame the calls come by row; calls of the next frame come after it. */
struct head_reader {
	void *context;
	/* Whether the row at that position has to be computed. */
	bool (*wants)(void *context, const struct frame *f, const struct sample *s, uint32_t position);
	/* Row i of the tile, i < head_weights.tile, with its logits (V) in the working type.  On any thread, in any order, for all wanted
	 * rows of a tile at once, before they are taken.  NULL without logits. */
	void (*reduce)(void *context, size_t i, const struct head_row *row, const void *logits);
	/* Row i of the tile again, one after another. */
	int (*take)(void *context, size_t i, const struct head_row *row, struct error *e);
	/*
	 * Rows first..first+n-1 of the frame, each handed over once: normed (n, H) and logits (n, V; NULL without) are
	 * theirs if they were wanted; else nothing is said of the values.  A frame without rows is passed with n = 0.  May
	 * be NULL; else the frames that readers see are the given ones cut (frame_cut) to rows of V values.
	 */
	int (*pass)(void *context, const struct frame *f, size_t first, size_t n, const void *normed, const void *logits,
	            struct error *e);
	/*
	 * Changes rows first..first+n-1 of the frame, (n, width), at final_norm and then at logits, in place, before anybody reads
	 * them.  Runs of neighbouring rows that were wanted, in their order.  NULL: nothing is changed.
	 */
	int (*change)(void *context, enum site site, const struct frame *f, size_t first, size_t n, void *rows, size_t width,
	              struct error *e);
	/* All rows that this frame has of the sample have been taken. */
	int (*sample_end)(void *context, const struct frame *f, const struct sample *s, struct error *e);
	/*
	 * For who has rows of its own beside these; each may be NULL.  sample_begin: the rows that this frame has of the sample
	 * are about to be gathered.  gathered: the row has become row i of the tile.  computed: the tile's n rows have been
	 * computed and none has been reduced.
	 */
	int (*sample_begin)(void *context, const struct frame *f, const struct sample *s, struct error *e);
	int (*gathered)(void *context, size_t i, const struct head_row *row, struct error *e);
	void (*computed)(void *context, size_t n);
};

struct head;

/*
 * weights: have final_norm and, if logits are read, head; borrowed, as all arguments are.  w: d's; host: for `reduce`, w or others
 * (backend_host_workers).  NULL and e if there is no memory for a tile's rows and logits.
 */
struct head *head_open(const struct ops *ops, struct device *d, const struct model *m, struct workers *w, struct workers *host,
                       const struct head_weights *weights, bool logits, const struct head_reader *reader, struct error *e)
	MUST_CHECK;

/* f: rows (n, H); stays the caller's and isn't needed afterwards.  0, or -1 when a reader failed. */
int head_add(struct head *h, const struct frame *f, struct error *e) MUST_CHECK;

/* Reads what is left.  0 or -1. */
int head_end(struct head *h, struct error *e) MUST_CHECK;

void head_close(struct head *h);

#endif
