/*
 * Reading what stands before and after the layers, the output head above all, without a second copy of it.
 */
#ifndef OUTER_H
#define OUTER_H

#include "checkpoint.h"
#include "workers.h"

/* Copies of the outer parts of the wanted roles, without data: *parts, freed by the caller.  Their number. */
size_t outer_parts(const struct checkpoint *c, const bool wanted[ROLE_COUNT], struct part **parts);

/*
 * Reads the same parts and calls `put` exactly once for every piece of them.  A piece has at most 4 MiB (or 64 output columns)
 * and begins at a multiple of 64 columns; pieces of one part are read and put on all threads of w at once, through a
 * staging buffer each.  0; or -1 and e, put's error included.
 */
int outer_read(struct checkpoint *c, struct workers *w, const bool wanted[ROLE_COUNT], checkpoint_put *put, void *context,
               struct error *e) MUST_CHECK;

#endif
