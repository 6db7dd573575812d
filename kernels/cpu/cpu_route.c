#include "cpu.h"

#include <math.h>
#include <string.h>

/* The largest of p that none of the n_chosen ids names; the lower id of equals.  NaN only when
 * nothing else is left. */
static size_t largest(const float *p, size_t n, const int32_t *chosen, size_t n_chosen)
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

/* In double: a few hundred numbers a row are no work, and a weight multiplies a whole expert. */
static void route_row(const float *x, size_t n, bool renormalize, size_t k, int32_t *ids,
                      float *weights)
{
	double max = -INFINITY, sum = 0, chosen = 0;

	for (size_t i = 0; i < n; i++)
		max = x[i] > max ? x[i] : max;
	for (size_t i = 0; i < n; i++)
		sum += exp(x[i] - max);
	for (size_t c = 0; c < k; c++) {
		ids[c] = (int32_t)largest(x, n, ids, c);
		chosen += exp(x[ids[c]] - max);
	}
	for (size_t c = 0; c < k; c++)
		weights[c] = (float)(exp(x[ids[c]] - max) / (renormalize ? chosen : sum));
}

void cpu_route(struct device *d, struct rows logits, bool renormalize, struct routing to)
{
	(void)d;
	for (size_t r = 0; r < logits.n; r++)
		route_row(rows_at(logits, r), logits.width, renormalize, to.k, to.ids + r * to.k,
		          (float *)to.weights + r * to.k);
}

void cpu_gather(struct device *d, struct operand to, const struct operand *from,
                const uint32_t *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct sink y = operand_at(d, &to, i), x = operand_at(d, from, list[i]);

		if (y.h)
			memcpy(y.h, x.h, from->k * sizeof *y.h);
		else
			memcpy(y.f, x.f, from->k * sizeof *y.f);
	}
}

void cpu_scatter(struct device *d, struct rows into, struct rows from, const uint32_t *list,
                 const void *factor, size_t n)
{
	for (size_t i = 0; i < n; i++)
		d->unit->add_scaled(rows_at(into, list[i]), rows_at(from, i),
		                    ((const float *)factor)[i], from.width);
}
