#include "cpu.h"

#include <math.h>
#include <string.h>

/* NaN only where nothing else is left. */
static bool comes_before(float a, float b)
{
	return a > b || (isnan(b) && !isnan(a));
}

/* ids (k) of the largest, by falling value, the lower id of equals first. */
static void choose(const float *x, size_t n, size_t k, int32_t *ids)
{
	for (size_t i = 0, chosen = 0; i < n; i++) {
		size_t at = chosen;

		if (chosen == k && !comes_before(x[i], x[ids[k - 1]]))
			continue;
		for (; at > 0 && comes_before(x[i], x[ids[at - 1]]); at--)
			if (at < k)
				ids[at] = ids[at - 1];
		ids[at] = (int32_t)i;
		chosen += chosen < k;
	}
}

/* In double: a few hundred numbers a row are no work, and a weight multiplies a whole expert. */
static void route_row(const float *x, size_t n, bool renormalize, size_t k, int32_t *ids,
                      float *weights)
{
	double sum = 0;

	choose(x, n, k, ids);

	const double max = x[ids[0]];

	if (renormalize)
		for (size_t c = 0; c < k; c++)
			sum += exp(x[ids[c]] - max);
	else
		for (size_t i = 0; i < n; i++)
			sum += exp(x[i] - max);
	for (size_t c = 0; c < k; c++)
		weights[c] = (float)(exp(x[ids[c]] - max) / sum);
}

void cpu_route(struct device *d, struct rows logits, bool renormalize, struct routing to)
{
	(void)d;
	for (size_t r = 0; r < logits.n; r++)
		route_row(rows_at(logits, r), logits.width, renormalize, to.k, to.ids + r * to.k,
		          (float *)to.weights + r * to.k);
}

static void copy_woven(float *to, const float *from, size_t n, size_t lanes, size_t woven)
{
	for (size_t i = 0; i < n; i += lanes)
		memcpy(to + i * woven, from + i * woven, (n - i < lanes ? n - i : lanes) * sizeof *to);
}

void cpu_gather(struct device *d, struct operand to, const struct operand *from,
                const uint32_t *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct sink y = operand_at(d, &to, i), x = operand_at(d, from, list[i]);

		if (y.h)
			memcpy(y.h, x.h, from->k * sizeof *y.h);
		else
			copy_woven(y.f, x.f, from->k, operand_sinks(d, from).lanes, y.woven);
	}
}

void cpu_scatter(struct device *d, struct rows into, struct rows from, const uint32_t *list,
                 const void *factor, size_t n)
{
	for (size_t i = 0; i < n; i++)
		d->unit->add_scaled(rows_at(into, list[i]), rows_at(from, i),
		                    ((const float *)factor)[i], from.width);
}
