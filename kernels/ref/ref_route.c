#include "ref.h"

#include <math.h>
#include <string.h>

/* The largest of p that none of the n_chosen ids names; the lower id of equals.  NaN only when
 * nothing else is left. */
static size_t largest(const double *p, size_t n, const int32_t *chosen, size_t n_chosen)
{
	size_t best = n;

	for (size_t i = 0; i < n; i++) {
		bool taken = false;

		for (size_t c = 0; c < n_chosen; c++)
			taken |= chosen[c] == (int32_t)i;
		if (!taken && (best == n || p[i] > p[best] || (isnan(p[best]) && !isnan(p[i]))))
			best = i;
	}
	return best;
}

void ref_route(struct device *d, struct rows logits, bool renormalize, struct routing to)
{
	const size_t n = logits.width;

	(void)d;
	for (size_t r = 0; r < logits.n; r++) {
		const double *x = ref_row(logits, r);
		int32_t *ids = to.ids + r * to.k;
		double *weights = (double *)to.weights + r * to.k;
		double max = -INFINITY, sum = 0, chosen = 0;

		for (size_t i = 0; i < n; i++)
			max = x[i] > max ? x[i] : max;
		for (size_t i = 0; i < n; i++)
			sum += exp(x[i] - max);
		for (size_t c = 0; c < to.k; c++) {
			const size_t id = largest(x, n, ids, c);

			ids[c] = (int32_t)id;
			weights[c] = exp(x[id] - max) / sum;
			chosen += weights[c];
		}
		for (size_t c = 0; renormalize && c < to.k; c++)
			weights[c] /= chosen;
	}
}

void ref_gather(struct device *d, struct operand to, const struct operand *from,
                const uint32_t *list, size_t n)
{
	(void)d;
	for (size_t i = 0; i < n; i++)
		memcpy(ref_operand_row(&to, i), ref_operand_row(from, list[i]),
		       from->k * sizeof(double));
}

void ref_scatter(struct device *d, struct rows into, struct rows from, const uint32_t *list,
                 const void *factor, size_t n)
{
	const double *f = factor;

	(void)d;
	for (size_t i = 0; i < n; i++) {
		double *y = ref_row(into, list[i]);
		const double *x = ref_row(from, i);

		for (size_t c = 0; c < from.width; c++)
			y[c] += f[i] * x[c];
	}
}
