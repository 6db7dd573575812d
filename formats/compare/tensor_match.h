/* Which tensors of two files or checkpoints belong together. */
#ifndef TENSOR_MATCH_H
#define TENSOR_MATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "diff.h"
#include "error.h"
#include "tensor_list.h"

struct tensor_pair {
	struct diff_item *item;
	const struct listed *a, *b;
	bool comparable;        /* value by value */
};

/*
 * Adds an item for every tensor of either list, with what types and shapes say of it.  pair (a->n) receives those that
 * both lists have; how many.  Two arrays in files of their own need no common name.
 */
size_t tensor_match(const struct tensor_list *a, const struct tensor_list *b, struct diff_list *to, struct tensor_pair *pair);

/* Whether the shape of the one is the other's turned. */
bool tensor_match_turned(const struct tensor_pair *t);

/*
 * For matrices: whether A's corner of up to 64 by 64 values looks like that of B's transpose, so that it is worth comparing
 * all of it: no lower cosine than 0.5, or values that have none.  1, 0, or -1 and e.
 */
int tensor_match_corner(const struct tensor_pair *t, struct error *e) MUST_CHECK;

#endif
