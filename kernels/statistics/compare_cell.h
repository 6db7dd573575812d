/* Comparing the values of one cell: the run of elements over which sums are taken. */
#ifndef COMPARE_CELL_H
#define COMPARE_CELL_H

#include "compare.h"
#include "compare_sums.h"

enum { COMPARE_CELL = 8192 };   /* the most elements of a cell */

struct unit;

struct compare_means {
	struct compare_rules rules;
	const struct unit *unit;        /* unit.h */
	const struct compare_loops *loops;
};

/* One thread's. */
struct compare_memory {
	char wide[2][COMPARE_BLOCK * 8]; /* f32, or f64 */
	char narrow[2][COMPARE_BLOCK * 8]; /* the narrower of the two types */
};

/* i-th element's index is first + i / row * pitch + i % row. */
struct compare_cell {
	const char *a, *b;      /* at any address */
	size_t n, row;
	uint64_t first, pitch;
};

/* Adds to found all but the sums, which s receives.  p: the two types. */
void compare_cell(const struct compare_means *c, struct compare_memory *b, const struct compare_pair *p,
                  struct comparison *found, const struct compare_cell *cell, struct compare_sums *s);

#endif
