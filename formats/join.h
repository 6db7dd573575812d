/*
 * Several tensor streams as one: one after the other, or back in the order of the data set.  A stream of
 * several layers stays one that goes layer by layer.  Holds at most a few frames of each input.
 */
#ifndef JOIN_H
#define JOIN_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"
#include "tms.h"

struct join;

/*
 * Opens n files (n = 0: standard input).  merge: samples come by ascending `seq` within each layer, site and
 * variant; the inputs must each be so ordered and go layer by layer.  Kinds and models must be the same.
 */
struct join *join_open(char **files, size_t n, bool merge, struct error *e) MUST_CHECK;

/* Of all together: the names of all variants, the joined history. */
const struct tms_header *join_header(const struct join *j);

/* The next frame, the caller's.  1, 0 after the last (every input ended with its trailer), -1. */
int join_next(struct join *j, struct frame **f, struct error *e) MUST_CHECK;

/* Puts the input's name and the frame before e.  Returns -1. */
int join_in_frame(const struct join *j, struct error *e);

void join_close(struct join *j);

#endif
