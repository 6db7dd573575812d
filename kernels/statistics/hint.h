/*
 * What a difference looks like: the mistakes that are made when a model is written down anew each leave a mark of their
 * own in the first rows that differ.
 */
#ifndef HINT_H
#define HINT_H

#include <stddef.h>
#include <stdint.h>

#include "compare.h"
#include "dtype.h"
#include "site.h"

enum {
	HINT_ROWS = 64,
	HINT_VALUES = 1 << 20   /* no more values than these are kept of each side */
};

/* A difference of less than this part of the values is rounding. */
static const double HINT_LEAST = 1e-3;

/* Rows (n, width) that differ, in double. */
struct hint_rows {
	double *a, *b;
	uint64_t position[HINT_ROWS];
	size_t n, width, heads;
};

/* Keeps those of n_rows rows (n_rows, width) that differ, as long as there is room.  Rows of another width than those
 * kept already are passed over. */
void hint_rows_take(struct hint_rows *h, const void *a, enum dtype type_a, const void *b, enum dtype type_b,
                    size_t n_rows, size_t width, size_t heads, uint64_t position);
void hint_rows_release(struct hint_rows *h);

/*
 * One sentence, the caller's; NULL: it looks like nothing that is known.
 *   embed, resid_pre          B = c A: embedding scale
 *   norms                     mean (b - a)^2 of every row is 1: the weight with and without 1 added
 *   q_rot, k_rot              norms of pairs (i, i + d/2) or (2i, 2i + 1) are equal: RoPE base or scaling; norms of heads
 *                             are, but of neither kind of pair: half-split against interleaved
 *   attn_scores, logits       b = c tanh(a / c), either way, or both capped: soft cap
 *   any                       B = c A
 */
char *hint_of_rows(enum site s, const struct hint_rows *h);

/*
 * The same of a checkpoint's matrix or vector: rows permuted as half-split and interleaved rotation have them, 1 added
 * (by `name`, to a norm's weight only), or B = c A.  Rows are read as they are needed.  0 and *hint, or -1 and e.
 */
int hint_of_weight(char **hint, const char *name, const struct compare_side *a, const struct compare_side *b, size_t n_rows,
                   size_t width, struct error *e) MUST_CHECK;

#endif
