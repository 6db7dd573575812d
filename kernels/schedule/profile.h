/*
 * What a run took, as lines of JSON.
 */
#ifndef PROFILE_H
#define PROFILE_H

#include "sweep.h"

/* Bytes moved, in the pass or in all. */
struct traffic {
	uint64_t weights, spill_written, spill_read;
};

/*
 * One line, closed by a newline: kind ("layers" or "total") with the range, rows, wall seconds (compute, frames, taps, stall),
 * read (seconds and bytes of weights), spilled bytes, thread-seconds by operation (with wait they are compute times the
 * threads; those of a device that takes its own are, with wait, the wall seconds), tokens a second, and
 * product_share: the part of the threads' time, or the device's, that went into matrix products, which is this run's rate over
 * that of the bare products.  all: spilled bytes so far, of which `before` were up to the last line, and receives them; weights of
 * this line.  The caller frees it.
 */
char *profile_line(const struct sweep *s, const char *kind, const struct sweep_times *t, const struct traffic *all,
                   struct traffic *before);

#endif
