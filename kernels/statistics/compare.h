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
#include "error.h"
#include "frame.h"
#include "workers.h"

struct compare_rules {
	bool tolerant;          /* |a - b| <= atol + rtol |a| will do, as will two NaN; else bits must be equal */
	double atol, rtol;
};

/* Where one side's elements lie: in memory, at any address, or where p is NULL in a file, to be read piece by piece. */
struct compare_side {
	enum dtype type;
	const void *p;
	int fd;
	uint64_t offset;        /* of the first element, in bytes */
	const char *name;       /* of the file, for messages */
};

/* Values to be compared; (n_rows, width) in A. */
struct compare_pair {
	struct comparison *into;
	struct compare_side a, b;
	size_t n_rows, width;
	bool transposed;        /* b is (width, n_rows) */
	bool by_rows;           /* rows are summed one by one, so that it doesn't matter in what portions they come */
	bool argmax;            /* with by_rows: where is each row's largest value? */
	uint64_t first;         /* the index of the first element */
	struct text id;         /* whose rows they are, for the places; absent: nobody's */
	uint64_t position;      /* of the first row; those of the others follow */
};

struct comparer;

/* NULL and e where the processor hasn't the unit that the environment asks for (cpu/unit.h). */
struct comparer *comparer_open(struct workers *w, const struct compare_rules *rules, struct error *e) MUST_CHECK;

/*
 * Puts a pair in line; its memory or files must stay until comparer_flush (or comparer_close).  Pairs with one `into` are
 * taken as one row of elements after another, in the order given.  0; or -1 and e: a file couldn't be read, or is shorter
 * than it was.
 */
int comparer_add(struct comparer *c, const struct compare_pair *p, struct error *e) MUST_CHECK;

/* Compares all that is in line.  0 or -1, as above. */
int comparer_flush(struct comparer *c, struct error *e) MUST_CHECK;

void comparer_close(struct comparer *c);

#endif
