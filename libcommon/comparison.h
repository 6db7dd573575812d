/*
 * What was found when the values of A and of B were compared, one by one.  A is the reference.
 */
#ifndef COMPARISON_H
#define COMPARISON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame.h"
#include "tally.h"

enum { COMPARISON_PLACES = 5 };

/*
 * Bucket 0: values that round to the same number of the narrower type though their bits differ (+0 and -0, or a
 * wider value and what it was rounded to); bucket k: 2^(k-1) to 2^k - 1 units in the last place.
 */
enum { COMPARISON_ULPS = 66 };

struct place {
	double difference;      /* |a - b|; infinite where one of them isn't finite */
	uint64_t index;         /* of the element, in A's order */
	double a, b;
	char *id;               /* the row's sample; owned; NULL: rows have none */
	uint64_t position, column;
};

struct comparison {
	uint64_t n;             /* pairs */
	uint64_t identical;     /* bit for bit, once widened to the wider of the two types */
	uint64_t outside;       /* not identical and, with tolerances, not within them */
	uint64_t nan[2], inf[2];/* in A, in B */
	uint64_t n_finite;      /* pairs of two finite values: what the sums are over */
	struct tally_sum aa, bb, ab, dd; /* of a a, b b, a b, (a - b)^2 */
	double max;             /* the largest |a - b|; infinite where just one of two is finite */
	uint64_t ulp[COMPARISON_ULPS];
	uint64_t n_rows, argmax_same;   /* rows whose largest value was looked for, and stands in the same place */
	struct place place[COMPARISON_PLACES]; /* (n_places): the largest differences, ties to the lower index */
	size_t n_places;
};

/* cos(A, B); 1 if all is identical or both are zero, NaN if one is zero or nothing finite was there. */
double comparison_cosine(const struct comparison *c);
/* The root of the mean square of A's values, and of the differences; 0 for none. */
double comparison_rms(const struct comparison *c);
double comparison_rms_difference(const struct comparison *c);
/* The second over the first; 0 if nothing differs. */
double comparison_relative(const struct comparison *c);

/* Whether a difference would be among the places kept. */
bool comparison_wants(const struct comparison *c, double difference, uint64_t index);
/* Puts it there.  p->id is taken over. */
void comparison_place(struct comparison *c, const struct place *p);

/* Adds what was found elsewhere, sums included; from's places are moved. */
void comparison_add(struct comparison *to, struct comparison *from);

void comparison_release(struct comparison *c);

#endif
