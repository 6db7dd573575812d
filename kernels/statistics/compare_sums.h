/*
 * The loops of a comparison.  Sums are in double, in an order that depends on n alone.  Compiled for each vector unit of
 * the processor; all give the same bits.
 */
#ifndef COMPARE_SUMS_H
#define COMPARE_SUMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { COMPARE_BLOCK = 2048 };  /* the most elements of a call */

struct compare_sums {
	double aa, bb, ab, dd;  /* of a a, b b, a b, (a - b)^2; not finite where a value isn't */
};

struct compare_counts {
	double max;             /* the largest |a - b|; 0 where it can't be more than `known` */
	uint64_t same;          /* of the same bits */
	uint64_t outside;       /* not the same, and |a - b| > atol + rtol |a| */
};

/* Each: n elements at any address. */
struct compare_loops {
	/* Whether all bits are equal; if so, aa is a's sum of squares. */
	bool (*equal_f32)(const void *a, const void *b, size_t n, double *aa);
	bool (*equal_bf16)(const void *a, const void *b, size_t n, double *aa);
	bool (*equal_f64)(const void *a, const void *b, size_t n, double *aa);
	/* All of it.  The counts mean nothing where a sum isn't finite.  atol -1: no tolerance. */
	void (*two_f32)(const void *a, const void *b, size_t n, double atol, double rtol, double known,
	                struct compare_sums *s, struct compare_counts *c);
	/* Of bf16, without a tolerance. */
	void (*two_bf16)(const void *a, const void *b, size_t n, double known, struct compare_sums *s,
	                 struct compare_counts *c);
	void (*two_f64)(const void *a, const void *b, size_t n, double atol, double rtol, double known,
	                struct compare_sums *s, struct compare_counts *c);
	/* Whether some |a - b| of f32 may be `known` or more.  False is certain. */
	bool (*could_exceed)(const void *a, const void *b, size_t n, double known);
	/* Adds to ulp[k] how many pairs are k bits apart: 0, or 2^(k-1) to 2^k - 1 numbers of their type; 16: any type of a
	 * sign and 15 bits. */
	void (*ulps_16)(uint64_t ulp[33], const void *a, const void *b, size_t n);
	void (*ulps_f32)(uint64_t ulp[33], const void *a, const void *b, size_t n);
};

/* Those of a unit (kernels/cpu/unit.h). */
struct unit;
const struct compare_loops *compare_loops(const struct unit *unit);

#endif
