#include "ref.h"

#include <math.h>

/* Queries that a task takes. */
enum { QUERIES = 16 };

/* Scores that are kept at a time: the softmax is built up over blocks of keys, so memory doesn't
 * grow with the sample. */
enum { KEYS = 256 };

static double score(const struct attention *a, const double *q, const double *k)
{
	double sum = 0;

	for (size_t i = 0; i < a->head_width; i++)
		sum += q[i] * k[i];
	sum *= a->scale;
	return a->softcap > 0 ? a->softcap * tanh(sum / a->softcap) : sum;
}

static size_t first_key(const struct attention *a, size_t position)
{
	return a->window && position >= a->window ? position - a->window + 1 : 0;
}

/* One query of one head over its visible keys, from j on; max and sum are the softmax's so far, y
 * its unnormed values. */
static void attend_query(const struct attention *a, const double *q, const double *k,
                         const double *v, size_t stride, size_t j, size_t end, double *y)
{
	double max = -INFINITY, sum = 0, s[KEYS];

	for (size_t i = 0; i < a->head_width; i++)
		y[i] = 0;
	for (size_t n; j < end; j += n) {
		n = end - j < KEYS ? end - j : KEYS;

		double top = max;

		for (size_t b = 0; b < n; b++) {
			s[b] = score(a, q, k + (j + b) * stride);
			top = s[b] > top ? s[b] : top;
		}

		const double shrink = max == top ? 1 : exp(max - top);

		max = top;
		sum *= shrink;
		for (size_t i = 0; i < a->head_width; i++)
			y[i] *= shrink;
		for (size_t b = 0; b < n; b++) {
			const double p = exp(s[b] - max), *row = v + (j + b) * stride;

			sum += p;
			for (size_t i = 0; i < a->head_width; i++)
				y[i] += p * row[i];
		}
	}
	for (size_t i = 0; i < a->head_width; i++)
		y[i] /= sum;
}

struct job {
	const struct attention *a;
	const struct segment *s;
	struct rows q, out;
	struct operand packed;
};

static void attend_task(void *argument, size_t i, size_t slot)
{
	const struct job *job = argument;
	const struct attention *a = job->a;
	const struct segment *s = job->s;
	const size_t head = i % a->n_heads, q0 = i / a->n_heads * QUERIES;
	const size_t q1 = q0 + QUERIES < s->n ? q0 + QUERIES : s->n;
	const size_t group = head / (a->n_heads / a->n_kv_heads), width = a->head_width;

	(void)slot;
	for (size_t r = q0; r < q1; r++) {
		const size_t position = s->first + r;

		attend_query(a, ref_row(job->q, s->row + r) + head * width,
		             (const double *)s->k + group * width,
		             (const double *)s->v + group * width, a->n_kv_heads * width,
		             first_key(a, position), position + 1,
		             ref_out_row(job->out, job->packed, s->row + r) + head * width);
	}
}

void ref_attend(struct device *d, const struct attention *a, const struct segment *segments,
                size_t n_segments, struct rows q, struct rows out, struct operand packed)
{
	for (size_t i = 0; i < n_segments; i++) {
		struct job job = { a, &segments[i], q, out, packed };

		workers_run(d->workers, (segments[i].n + QUERIES - 1) / QUERIES * a->n_heads,
		            attend_task, &job);
	}
}

static void softmax(double *s, size_t n)
{
	double max = -INFINITY, sum = 0;

	for (size_t i = 0; i < n; i++)
		max = s[i] > max ? s[i] : max;
	for (size_t i = 0; i < n; i++) {
		s[i] = exp(s[i] - max);
		sum += s[i];
	}
	for (size_t i = 0; i < n; i++)
		s[i] /= sum;
}

/* The keys that query i0 + i of the segment sees: begin..end-1. */
static size_t visible(const struct attention *a, const struct segment *s, size_t i, size_t *end)
{
	*end = s->first + i + 1;
	return first_key(a, s->first + i);
}

static void hide(double *x, size_t len, size_t begin, size_t end, double value)
{
	for (size_t j = 0; j < len; j++)
		if (j < begin || j >= end)
			x[j] = value;
}

void ref_scores(struct device *d, const struct attention *a, const struct segment *s, struct rows q,
                size_t i0, size_t n, bool probs, void *x)
{
	const size_t width = a->head_width, rep = a->n_heads / a->n_kv_heads;

	(void)d;
	for (size_t i = 0; i < n; i++)
		for (size_t head = 0; head < a->n_heads; head++) {
			size_t end, begin = visible(a, s, i0 + i, &end);
			const double *row = ref_row(q, s->row + i0 + i) + head * width;
			const double *k = (const double *)s->k + head / rep * width;
			double *y = (double *)x + (i * a->n_heads + head) * s->len;

			hide(y, s->len, begin, end, probs ? 0 : -INFINITY);
			for (size_t j = begin; j < end; j++)
				y[j] = score(a, row, k + j * a->n_kv_heads * width);
			if (probs)
				softmax(y + begin, end - begin);
		}
}

void ref_softmax(struct device *d, const struct attention *a, const struct segment *s, size_t i0,
                 size_t n, void *x)
{
	(void)d;
	for (size_t r = 0; r < n * a->n_heads; r++) {
		size_t end, begin = visible(a, s, i0 + r / a->n_heads, &end);
		double *y = (double *)x + r * s->len;

		hide(y, s->len, begin, end, 0);
		softmax(y + begin, end - begin);
	}
}

void ref_mix(struct device *d, const struct attention *a, const struct segment *s, const void *x,
             size_t i0, size_t n, struct rows out)
{
	const size_t width = a->head_width, rep = a->n_heads / a->n_kv_heads;

	(void)d;
	for (size_t r = 0; r < n * a->n_heads; r++) {
		const size_t i = i0 + r / a->n_heads, head = r % a->n_heads;
		size_t end, begin = visible(a, s, i, &end);
		const double *p = (const double *)x + r * s->len;
		double *y = ref_row(out, s->row + i) + head * width;

		for (size_t c = 0; c < width; c++)
			y[c] = 0;
		for (size_t j = begin; j < end; j++) {
			const double *v = (const double *)s->v + (j * a->n_kv_heads + head / rep) * width;

			for (size_t c = 0; c < width; c++)
				y[c] += p[j] * v[c];
		}
	}
}
