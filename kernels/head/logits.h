/*
 * What can be said of one row of logits (V): its normaliser, single values, ranks, the largest.  Every sum runs over
 * the columns in one fixed order, so that the same row gives the same bits wherever it is reduced.
 */
#ifndef LOGITS_H
#define LOGITS_H

#include <stddef.h>
#include <stdint.h>

#include "dtype.h"
#include "token_value.h"

struct logits {
	const void *p;          /* (n) */
	size_t n;               /* V */
	enum dtype dtype;       /* f32 or f64 */
};

/* One value. */
double logits_at(const struct logits *l, size_t id);

/*
 * log(sum_i exp(x_i)): x - logits_sum(x) are log-probabilities in nats.  Sums in double; of f32 the exponentials are good to
 * 2e-7, so the result is within 2e-7 of the true one.  NaN if any value is; -inf if all are.
 */
double logits_sum(const struct logits *l);

/* What is said of one token; sum is logits_sum(l). */
void logits_token(const struct logits *l, double sum, uint32_t id, struct token_value *v);

/* The same of the k largest (k <= n), by falling value, ties to the lower id; a NaN is below all numbers.  k = 1: argmax. */
void logits_top(const struct logits *l, double sum, size_t k, struct token_value *top);

#endif
