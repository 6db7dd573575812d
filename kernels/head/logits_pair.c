#include "logits_pair.h"

#include <math.h>
#include <stdlib.h>

#include "memory.h"

struct sum {
	double sum, lost;
};

static inline void add(struct sum *s, double value)
{
	double sum = s->sum + value;
	s->lost += fabs(s->sum) >= fabs(value) ? (s->sum - sum) + value : (value - sum) + s->sum;
	s->sum = sum;
}

/* An infinite sum has lost nothing that could be told. */
static inline double total(const struct sum *s)
{
	return isfinite(s->sum) ? s->sum + s->lost : s->sum;
}

static inline double at(const struct logits *l, size_t i)
{
	return l->dtype == DTYPE_F64 ? ((const double *)l->p)[i] : (double)((const float *)l->p)[i];
}

/* As logits_sum, to the last digits of a double. */
static double normaliser(const struct logits *l)
{
	double most = -INFINITY;
	struct sum sum = { 0 };
	for (size_t i = 0; i < l->n; i++) {
		double x = at(l, i);
		if (isnan(x))
			return NAN;
		most = x > most ? x : most;
	}
	if (isinf(most))
		return most;
	for (size_t i = 0; i < l->n; i++)
		add(&sum, exp(at(l, i) - most));
	return most + log(total(&sum));
}

/* exp(t) - 1 - t, which is never negative. */
static inline double beyond_linear(double t)
{
	if (fabs(t) >= 0.1)
		return expm1(t) - t;
	double s = 1;
	for (int i = 11; i >= 3; i--)
		s = 1 + t / i * s;
	return t * t / 2 * s;
}

static double divergence(const struct logits *p, double p_sum, const struct logits *q, double q_sum)
{
	struct sum mean = { 0 }, rest = { 0 };
	if (isnan(p_sum) || isnan(q_sum) || isinf(p_sum) || isinf(q_sum))
		return NAN;
	for (size_t i = 0; i < p->n; i++) {
		double share = exp(at(p, i) - p_sum);
		if (share > 0)
			add(&mean, share * (at(q, i) - at(p, i)));
	}
	double m = total(&mean);
	if (isinf(m))
		return INFINITY;
	for (size_t i = 0; i < p->n; i++) {
		double x = at(p, i) - p_sum, y = at(q, i), share = exp(x), t = y - at(p, i) - m;
		if (share == 0)
			add(&rest, exp(y - p_sum - m));
		else if (t < 1)
			add(&rest, share * beyond_linear(t));
		else    /* exp(t) by itself might overflow */
			add(&rest, exp(x + t) - share - share * t);
	}
	double more = total(&rest);
	return isinf(more) ? q_sum - p_sum - m : log1p(more);
}

static int by_id(const void *a, const void *b)
{
	const struct token_value *x = a, *y = b;
	return (x->id > y->id) - (x->id < y->id);
}

static void share_top(const struct logits *reference, const struct logits *ours, size_t k, struct divergence *d)
{
	struct token_value *a = mem_zero(2 * k, sizeof *a), *b = a + k;
	logits_top(reference, 0, k, a);
	logits_top(ours, 0, k, b);
	d->top1 = a[0].id == b[0].id;
	qsort(a, k, sizeof *a, by_id);
	qsort(b, k, sizeof *b, by_id);
	d->common = 0;
	for (size_t i = 0, j = 0; i < k && j < k;) {
		d->common += a[i].id == b[j].id;
		if (a[i].id <= b[j].id)
			i++;
		else
			j++;
	}
	free(a);
}

void logits_compare(const struct logits *reference, const struct logits *ours, size_t target, size_t k, struct divergence *d)
{
	double p_sum = normaliser(reference), q_sum = normaliser(ours);
	if (d->next) {
		d->target_reference = at(reference, target) - p_sum;
		d->target = at(ours, target) - q_sum;
	}
	if (!d->row)
		return;
	d->kl = divergence(reference, p_sum, ours, q_sum);
	d->reverse = divergence(ours, q_sum, reference, p_sum);
	share_top(reference, ours, k, d);
}
