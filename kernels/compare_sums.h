/*
 * The sums that a comparison of two runs of numbers needs, in double, in an order that depends on n alone: eight
 * lanes, then the lanes in turn.  Compiled for each vector unit of the processor; all give the same bits.
 */
#ifndef COMPARE_SUMS_H
#define COMPARE_SUMS_H

#include <stddef.h>

struct compare_sums {
	double aa, bb, ab, dd;  /* of a a, b b, a b, (a - b)^2 */
};

/* Loops over n elements at any address.  A NaN or infinity among f32 values or bf16 ones makes aa or bb not finite. */
struct compare_loops {
	/* a[i]^2, the one sum that equal values need: bb and ab get it too, dd is 0. */
	void (*one_f32)(const void *a, size_t n, struct compare_sums *s);
	void (*one_bf16)(const void *a, size_t n, struct compare_sums *s);
	void (*one_f64)(const void *a, size_t n, struct compare_sums *s);
	void (*two_f32)(const void *a, const void *b, size_t n, struct compare_sums *s);
	void (*two_f64)(const void *a, const void *b, size_t n, struct compare_sums *s);
};

/* Those for this processor. */
const struct compare_loops *compare_loops(void);

#endif
