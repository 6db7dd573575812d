/*
 * How a stream came to be: the header's `history`, an array of one map a program.  The only place that adds
 * to it.  No file names, no time, host or directory, so that the same work gives the same bytes.
 */
#ifndef HISTORY_H
#define HISTORY_H

#include <stddef.h>

#include "tms.h"

/*
 * Adds this program, its version, the step's back end and layers, and the options that its table marks.  A layer-run
 * that goes on where the last entry, otherwise the same, ended becomes one with it.  step may be NULL.
 */
void history_add(struct tms_header *h, const struct tms_step *step);

/*
 * The history of a stream made of n streams: the one they share or, where they differ, what they begin with in common
 * and then one map of this program with `inputs`, the distinct rests.
 */
void history_join(struct tms_header *to, const struct tms_header *const *from, size_t n);

#endif
