/*
 * The schedule: for each layer, load; for each batch, read, block, write; swap.
 *
 * Layers are loaded one after another on a thread of their own while the ones before them compute.  A pass takes
 * every frame of the stream through the `hold` layers that are resident.  The sweep knows no files: the
 * caller gives frames, takes frames and fills layers, and hooks (hooks.h) read and change rows on their way.
 */
#ifndef SWEEP_H
#define SWEEP_H

#include "block.h"
#include "frame.h"
#include "hooks.h"
#include "run_state.h"

/* One pass, or the sum of all. */
struct sweep_times {
	size_t from, to;                /* layers from..to-1 */
	uint64_t rows;
	double seconds;                 /* wall time of the pass */
	double read;                    /* loading these layers took, on the loading thread */
	double stall;                   /* of the wall time: waiting for weights */
	/* Of the wall time: the block; reading and writing frames; taps.  On a device that takes its own times compute is the device's,
	 * and the others go on beside it. */
	double compute, frames, taps;
	struct block_times block;       /* thread-seconds; seconds of a device that takes them itself */
};

struct sweep {
	const struct ops *ops;
	struct device *device;
	const struct model *m;
	struct workers *workers;
	size_t from, to;                /* layers from..to-1; none: frames pass as they are */
	size_t first;                   /* where it begins: `from`, or a later pass's first, where a run goes on */
	size_t hold;                    /* layers resident at a time, at least 1; fewer where a device has no room for them */
	enum dtype resid;               /* what rows are rounded to after every layer */

	void *context;
	size_t (*parts)(void *context, size_t layer, const struct part **parts);
	/* Fills a layer by layer_put.  Called on the loading thread. */
	int (*load)(void *context, struct layer *l, struct error *e);
	/* The next frame that enters this pass, checked: rows (n, H) of a floating-point type.  1, 0 at the end, or -1. */
	int (*next)(void *context, struct frame **f, struct error *e);
	/* Takes over a frame that leaves this pass: resid_pre of layer `to` of the pass. */
	int (*put)(void *context, struct frame *f, struct error *e);
	/* A pass is over: what was put comes next. */
	int (*turn)(void *context, const struct sweep_times *times, struct error *e);
	/* Taps, patches and filters.  With `filters` (any filter in any layer) a batch ends with a frame, or where frame pieces of
	 * sweep_piece_rows do, so that what a filter sees doesn't depend on threads or memory. */
	const struct hooks *hooks;
	bool filters;
	bool plain;                     /* unfused attention in every layer */
	bool timed;                     /* sweep_times.block is to be a device's own (block_take_device_times) */
	/* Of a run that can be resumed, which is told between batches how far the pass is; all rows then leave the device in
	 * every pass.  May be NULL. */
	struct run_state *state;
	/* Rows done in the pass that began with layer `from`.  May be NULL. */
	void (*tell)(void *context, size_t from, uint64_t rows);
};

/* 0 or -1.  total receives the sums. */
int sweep_run(const struct sweep *s, struct sweep_times *total, struct error *e) MUST_CHECK;

#endif
