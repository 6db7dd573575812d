#include "ref.h"

#include <math.h>
#include <string.h>

static void norm_group(enum norm_kind kind, const double *x, size_t n, double eps, double *y)
{
	double mean = 0, square = 0;

	if (kind == NORM_LAYER) {
		for (size_t i = 0; i < n; i++)
			mean += x[i];
		mean /= (double)n;
	}
	for (size_t i = 0; i < n; i++)
		square += (x[i] - mean) * (x[i] - mean);

	const double deviation = sqrt(square / (double)n + eps);

	for (size_t i = 0; i < n; i++)
		y[i] = (x[i] - mean) / deviation;
}

void ref_norm(struct device *d, const struct model *m, const struct norm *norm, size_t group,
              struct rows from, struct rows out, struct operand packed)
{
	const double *weight = norm ? norm->weight : NULL, *bias = norm ? norm->bias : NULL;
	const double one = m->norm_plus_one ? 1 : 0;

	(void)d;
	for (size_t r = 0; r < from.n; r++) {
		const double *x = ref_row(from, r);
		double *y = ref_out_row(out, packed, r);

		if (m->norm == NORM_NONE) {
			memmove(y, x, from.width * sizeof *y);
			continue;
		}
		for (size_t c = 0; c + group <= from.width; c += group)
			norm_group(m->norm, x + c, group, m->norm_eps, y + c);
		for (size_t c = 0; weight && c < from.width; c++)
			y[c] *= weight[c % norm->n] + one;
		for (size_t c = 0; bias && c < from.width; c++)
			y[c] += bias[c % norm->n];
	}
}

static double activation(enum activation act, double x)
{
	switch (act) {
	case ACT_SILU:
		return x / (1 + exp(-x));
	case ACT_GELU:
		return 0.5 * x * erfc(-x / M_SQRT2);
	case ACT_GELU_TANH:
		return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
	case ACT_GELU_QUICK:
		return x / (1 + exp(-1.702 * x));
	case ACT_RELU:
		return x < 0 ? 0 : x; /* NaN stays NaN */
	case ACT_COUNT:
		break;
	}
	return x;
}

void ref_activate(struct device *d, enum activation act, struct rows gate, struct rows up,
                  struct rows out, struct operand packed)
{
	(void)d;
	for (size_t r = 0; r < up.n; r++) {
		const double *g = gate.p ? ref_row(gate, r) : NULL, *u = ref_row(up, r);
		double *y = ref_out_row(out, packed, r);

		for (size_t c = 0; c < up.width; c++)
			y[c] = g ? activation(act, g[c]) * u[c] : activation(act, u[c]);
	}
}

void ref_add(struct device *d, struct rows into, struct rows from)
{
	(void)d;
	for (size_t r = 0; r < into.n; r++) {
		double *y = ref_row(into, r);
		const double *x = ref_row(from, r);

		for (size_t c = 0; c < into.width; c++)
			y[c] += x[c];
	}
}

void ref_add_gated(struct device *d, struct rows into, struct rows from, struct rows gate)
{
	(void)d;
	for (size_t r = 0; r < into.n; r++) {
		double *y = ref_row(into, r);
		const double *x = ref_row(from, r), open = 1 / (1 + exp(-*ref_row(gate, r)));

		for (size_t c = 0; c < into.width; c++)
			y[c] += open * x[c];
	}
}

void ref_scale(struct device *d, struct rows x, double c)
{
	(void)d;
	for (size_t r = 0; r < x.n; r++) {
		double *row = ref_row(x, r);

		for (size_t i = 0; i < x.width; i++)
			row[i] *= c;
	}
}

void ref_softcap(struct device *d, struct rows x, double c)
{
	(void)d;
	for (size_t r = 0; r < x.n; r++) {
		double *row = ref_row(x, r);

		for (size_t i = 0; i < x.width; i++)
			row[i] = c * tanh(row[i] / c);
	}
}

void ref_rotate(struct device *d, const struct rotary *rotary, const void *cos_table,
                const void *sin_table, size_t head_width, size_t p0, struct rows from,
                struct rows to)
{
	const size_t half = rotary->dims / 2;
	const bool pairs = rotary->pairing == ROTARY_PAIRS;

	(void)d;
	for (size_t r = 0; r < from.n; r++) {
		const double *c = (const double *)cos_table + (p0 + r) * half;
		const double *s = (const double *)sin_table + (p0 + r) * half;

		for (size_t head = 0; head < from.width; head += head_width) {
			const double *x = ref_row(from, r) + head;
			double *y = ref_row(to, r) + head;

			memmove(y, x, head_width * sizeof *y);
			for (size_t i = 0; i < half; i++) {
				const size_t a = pairs ? 2 * i : i,
					     b = pairs ? 2 * i + 1 : i + half;
				const double xa = y[a], xb = y[b];

				y[a] = xa * c[i] - xb * s[i];
				y[b] = xb * c[i] + xa * s[i];
			}
		}
	}
}
