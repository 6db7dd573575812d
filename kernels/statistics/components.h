/*
 * Principal components of a scatter, in scikit-learn's terms, and projections onto them.
 */
#ifndef COMPONENTS_H
#define COMPONENTS_H

#include <stdbool.h>
#include <stddef.h>

#include "dtype.h"
#include "error.h"
#include "scatter.h"

struct components {
	size_t k, width;
	uint64_t n;             /* rows that they were made of */
	double *vector;         /* (k, W) of length 1, by falling variance; the entry of largest magnitude (the first of several)
	                           is positive */
	double *mean;           /* (W); zero without centering */
	double *variance;       /* (k) along each: eigenvalue of S / (n - 1); without centering the mean square, of S / n */
	double *ratio;          /* (k) of the variance of all */
	double *singular;       /* (k) singular values of the rows less their mean */
	void *memory;
};

/*
 * The first k, at most min(n, W).  Frees s as soon as it isn't needed.  0, or -1 and e: too few rows or columns, rows that
 * are all the same, values beyond the range of double, or no memory.
 */
int components_find(struct components *c, struct scatter *s, size_t k, bool center, struct error *e) MUST_CHECK;

/* Bytes that components_find takes beside s and at most. */
uint64_t components_len(size_t width, size_t k);

void components_release(struct components *c);

/*
 * to[r, i] = vector i . (row r - mean) for n rows (n, W) of a type, to (n, k) of f32 or f64.  Sums are in double and in an order
 * that depends on W alone.
 */
void components_project(const struct components *c, const void *rows, enum dtype type, size_t n, void *to, enum dtype to_type);

#endif
