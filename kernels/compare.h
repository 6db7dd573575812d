/*
 * Comparing the values of A and B, all of them, on several threads.  What is found doesn't depend on how many: sums
 * are taken over cells of a fixed size and added in the order of the elements.
 */
#ifndef COMPARE_H
#define COMPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comparison.h"
#include "dtype.h"
#include "frame.h"
#include "workers.h"

struct compare_rules {
	bool tolerant;          /* |a - b| <= atol + rtol |a| will do, as will two NaN; else bits must be equal */
	double atol, rtol;
};

/* Values to be compared; (n_rows, width) in A. */
struct compare_pair {
	struct comparison *into;
	const void *a, *b;      /* at any address */
	enum dtype type_a, type_b;
	size_t n_rows, width;
	bool transposed;        /* b is (width, n_rows) */
	bool by_rows;           /* rows are summed one by one, so that it doesn't matter in what portions they come */
	bool argmax;            /* with by_rows: where is each row's largest value? */
	bool mapped;            /* both lie in mapped files: their pages are asked for ahead */
	uint64_t first;         /* the index of the first element */
	struct text id;         /* whose rows they are, for the places; absent: nobody's */
	uint64_t position;      /* of the first row; those of the others follow */
};

struct comparer;

struct comparer *comparer_open(struct workers *w, const struct compare_rules *rules);

/*
 * Puts a pair in line; its memory must stay until comparer_flush (or comparer_close).  Pairs with one `into` are taken as
 * one row of elements after another, in the order given.
 */
void comparer_add(struct comparer *c, const struct compare_pair *p);

/* Compares all that is in line. */
void comparer_flush(struct comparer *c);

void comparer_close(struct comparer *c);

#endif
