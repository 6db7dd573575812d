/*
 * The loops of a comparison.  Sums are in double, in an order that depends on n alone: eight lanes twice, then the lanes in
 * turn.  Compiled for each vector unit of the processor; all give the same bits.
 */
#ifndef COMPARE_SUMS_H
#define COMPARE_SUMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct compare_sums {
	double aa, bb, ab, dd;  /* of a a, b b, a b, (a - b)^2; not finite where a value isn't */
};

struct compare_counts {
	double max;             /* the largest |a - b| */
	uint64_t same;          /* of the same bits */
	uint64_t outside;       /* not the same, and |a - b| > atol + rtol |a| */
};

/* Each: n elements at any address. */
struct compare_loops {
	/* Whether all bits are equal; if so, s has a's sum in aa, bb and ab, and 0 in dd. */
	bool (*equal_f32)(const void *a, const void *b, size_t n, struct compare_sums *s);
	bool (*equal_bf16)(const void *a, const void *b, size_t n, struct compare_sums *s);
	bool (*equal_f64)(const void *a, const void *b, size_t n, struct compare_sums *s);
	/* All of it.  The counts mean nothing where a sum isn't finite.  atol -1: no tolerance. */
	void (*two_f32)(const void *a, const void *b, size_t n, double atol, double rtol, struct compare_sums *s,
	                struct compare_counts *c);
	void (*two_f64)(const void *a, const void *b, size_t n, double atol, double rtol, struct compare_sums *s,
	                struct compare_counts *c);
	/* How many numbers of the type lie from a to b; 16: any type of a sign and 15 bits. */
	void (*steps_16)(uint32_t *to, const void *a, const void *b, size_t n);
	void (*steps_f32)(uint32_t *to, const void *a, const void *b, size_t n);
};

/* Those for this processor. */
const struct compare_loops *compare_loops(void);

#endif
