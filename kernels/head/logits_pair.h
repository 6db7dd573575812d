/* Two rows of logits (V) of the same position: the divergence of their distributions, and the largest that they share. */
#ifndef LOGITS_PAIR_H
#define LOGITS_PAIR_H

#include "divergence.h"
#include "logits.h"

/*
 * d->row and d->next say what is asked; target is the token of d->next, and k (<= n) that of d->common.  The rest of d is set.
 * With x and y the logits of p (the reference) and q, and m = sum_i p_i (y_i - x_i):
 *	KL(p||q) = log sum_i p_i exp(y_i - x_i - m) = log(1 + sum_i p_i (exp(t_i) - 1 - t_i)),  t_i = y_i - x_i - m,
 * whose terms are all positive, so that nothing cancels: nearly equal rows have as many true digits as others, and no
 * divergence is below zero.  Compensated sums in double, by ascending column.
 */
void logits_compare(const struct logits *reference, const struct logits *ours, size_t target, size_t k, struct divergence *d);

#endif
