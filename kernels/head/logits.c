#include "logits.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Vectors that every processor's registers hold, so that the order of sums is the same on all of them. */
enum { LANES = 4 };
typedef float vec_f32 __attribute__((vector_size(4 * LANES)));
typedef int32_t vec_i32 __attribute__((vector_size(4 * LANES)));
typedef double vec_f64 __attribute__((vector_size(8 * LANES)));

double logits_at(const struct logits *l, size_t id)
{
	return l->dtype == DTYPE_F64 ? ((const double *)l->p)[id] : (double)((const float *)l->p)[id];
}

/* -------- the normaliser */

static inline vec_f32 select_f32(vec_i32 mask, vec_f32 yes, vec_f32 no)
{
	return (vec_f32)(((vec_i32)yes & mask) | ((vec_i32)no & ~mask));
}

/* LANES columns from column i on; behind the end -inf, which adds nothing. */
static inline vec_f32 load(const float *x, size_t n, size_t i)
{
	vec_f32 v = { -INFINITY, -INFINITY, -INFINITY, -INFINITY };
	if (n - i >= LANES)
		memcpy(&v, x + i, sizeof v);
	else
		memcpy(&v, x + i, (n - i) * sizeof *x);
	return v;
}

/*
 * exp(x) for x <= 0, and 0 below -87.  x = k log 2 + r with |r| <= log(2) / 2; Taylor's series to r^7 leaves 6e-9, so the
 * error is what rounding leaves.  Adding 1.5 * 2^23 rounds to the nearest k and has it in the low bits.
 */
static inline vec_f32 exp_f32(vec_f32 x)
{
	static const float round = 12582912.0f, log2e = 1.44269504f;
	/* log 2 in two parts; k times the first, which has 9 bits, is exact. */
	static const float high = 0.693359375f, low = -2.12194440e-4f;
	vec_i32 in_range = x >= -87.0f;
	x = select_f32(in_range, x, (vec_f32){ 0 });
	vec_f32 shifted = x * log2e + round, k = shifted - round;
	vec_f32 r = (x - k * high) - k * low;
	vec_f32 p = r * (1.0f / 5040) + 1.0f / 720;
	p = p * r + 1.0f / 120;
	p = p * r + 1.0f / 24;
	p = p * r + 1.0f / 6;
	p = p * r + 0.5f;
	p = p * (r * r) + r + 1.0f;
	/* 1.5 * 2^23 has only zeros in the nine bits that the shift keeps beside k. */
	vec_f32 scale = (vec_f32)(((vec_i32)shifted << 23) + (127 << 23));
	return select_f32(in_range, p * scale, (vec_f32){ 0 });
}

static bool largest_f32(const float *x, size_t n, float *largest)
{
	vec_f32 most = { -INFINITY, -INFINITY, -INFINITY, -INFINITY };
	vec_i32 nan = { 0 };
	for (size_t i = 0; i < n; i += LANES) {
		vec_f32 v = load(x, n, i);
		nan |= v != v;
		most = select_f32(v > most, v, most);
	}
	*largest = most[0];
	for (int lane = 1; lane < LANES; lane++)
		*largest = most[lane] > *largest ? most[lane] : *largest;
	return !(nan[0] | nan[1] | nan[2] | nan[3]);
}

static double sum_f32(const float *x, size_t n)
{
	float most;
	if (!largest_f32(x, n, &most))
		return NAN;
	if (isinf(most))
		return (double)most;
	vec_f64 sum = { 0 };
	for (size_t i = 0; i < n; i += LANES)
		sum += __builtin_convertvector(exp_f32(load(x, n, i) - most), vec_f64);
	return (double)most + log((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

static double sum_f64(const double *x, size_t n)
{
	double most = -INFINITY, sum = 0;
	for (size_t i = 0; i < n; i++) {
		if (isnan(x[i]))
			return NAN;
		most = x[i] > most ? x[i] : most;
	}
	if (isinf(most))
		return most;
	for (size_t i = 0; i < n; i++)
		sum += exp(x[i] - most);
	return most + log(sum);
}

double logits_sum(const struct logits *l)
{
	return l->dtype == DTYPE_F64 ? sum_f64(l->p, l->n) : sum_f32(l->p, l->n);
}

/* -------- the order */

/* Whether a comes before b. */
static inline bool before(const struct logits *l, uint32_t a, uint32_t b)
{
	double x = logits_at(l, a), y = logits_at(l, b);
	if (x != y && !(isnan(x) && isnan(y)))
		return isnan(y) || x > y;
	return a < b;
}

/* top[i], too early for its place in a heap that has the last of them in front, goes down. */
static void sift(const struct logits *l, struct token_value *top, size_t k, size_t i)
{
	uint32_t id = top[i].id;
	for (size_t child; (child = 2 * i + 1) < k; i = child) {
		if (child + 1 < k && before(l, top[child].id, top[child + 1].id))
			child++;
		if (!before(l, id, top[child].id))
			break;
		top[i].id = top[child].id;
	}
	top[i].id = id;
}

void logits_top(const struct logits *l, double sum, size_t k, struct token_value *top)
{
	for (size_t i = 0; i < k; i++)
		top[i].id = (uint32_t)i;
	for (size_t i = k / 2; i-- > 0;)
		sift(l, top, k, i);
	for (size_t i = k; i < l->n && k; i++) {
		if (!before(l, (uint32_t)i, top[0].id))
			continue;
		top[0].id = (uint32_t)i;
		sift(l, top, k, 0);
	}
	for (size_t left = k; left-- > 1;) {
		uint32_t last = top[0].id;
		top[0].id = top[left].id;
		top[left].id = last;
		sift(l, top, left, 0);
	}
	for (size_t i = 0; i < k; i++) {
		double logit = logits_at(l, top[i].id);
		top[i] = (struct token_value){ top[i].id, logit, logit - sum, i + 1 };
	}
}

void logits_token(const struct logits *l, double sum, uint32_t id, struct token_value *v)
{
	double logit = logits_at(l, id);
	*v = (struct token_value){ id, logit, logit - sum, 1 };
	for (size_t i = 0; i < l->n; i++)
		v->rank += before(l, (uint32_t)i, id);
}
