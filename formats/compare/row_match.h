/*
 * The rows of two tensor streams, brought together: by site and layer, variant, name, sample id and position.  Framing,
 * compression and history don't matter.  One pass; what one stream has and the other has not yet is held, up to a limit.
 */
#ifndef ROW_MATCH_H
#define ROW_MATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "diff.h"
#include "error.h"
#include "frame.h"
#include "workers.h"

/* Rows of one sample at consecutive positions, in both streams. */
struct matched {
	struct diff_item *item;
	const void *a, *b;
	enum dtype type_a, type_b;
	size_t n_rows, width;
	size_t heads;           /* the first of a row's dimensions, of two or more; else 1 */
	uint64_t first;         /* rows of the item before these */
	struct text id;
	uint64_t position;
};

struct row_match;

/*
 * variant: only that one of each stream (a name or a number from 0; a stream without variants is taken whole); NULL: all,
 * by name.  An item is added to `list` for every sequence of rows that is met.  NULL and e.
 */
struct row_match *row_match_open(const char *path_a, const char *path_b, const char *variant, struct workers *w,
                                 struct diff_list *list, struct error *e) MUST_CHECK;

/*
 * Reads on.  1: m (n) are the rows that came together, valid until the next call (n may be 0); 0: both streams have
 * ended with their trailers, and what was left without a counterpart is counted in the items; -1 and e, also where the
 * streams are not in the same order.
 */
int row_match_next(struct row_match *r, const struct matched **m, size_t *n, struct error *e) MUST_CHECK;

void row_match_close(struct row_match *r);

#endif
