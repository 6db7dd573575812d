/* Reductions of rows of logits, against long double and against sorting. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "logits.h"

enum { MOST = 5003 };

static uint64_t state = 1;

static double uniform(void)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (double)(state >> 11) / 9007199254740992.0;
}

static long double true_sum(const double *x, size_t n)
{
	long double most = -INFINITY, sum = 0;
	for (size_t i = 0; i < n; i++)
		most = (long double)x[i] > most ? (long double)x[i] : most;
	for (size_t i = 0; i < n; i++)
		sum += expl((long double)x[i] - most);
	return most + logl(sum);
}

static void fill(float *f, double *d, size_t n, double scale)
{
	for (size_t i = 0; i < n; i++) {
		f[i] = (float)(scale * (uniform() - 0.5));
		d[i] = (double)f[i];
	}
}

static void sums(float *f, double *d)
{
	static const double scales[] = { 0, 1e-3, 1, 30, 170, 180, 1e4, 1e30 };
	long double worst = 0, worst_f64 = 0;
	for (size_t s = 0; s < sizeof scales / sizeof *scales; s++)
		for (size_t n = 1; n <= MOST; n = n < 40 ? n + 1 : n * 5) {
			fill(f, d, n, scales[s]);
			long double want = true_sum(d, n), room = fabsl(want) > 1 ? fabsl(want) : 1;
			long double off = fabsl((long double)logits_sum(&(struct logits){ f, n, DTYPE_F32 }) - want) / room;
			worst = off > worst ? off : worst;
			off = fabsl((long double)logits_sum(&(struct logits){ d, n, DTYPE_F64 }) - want) / room;
			worst_f64 = off > worst_f64 ? off : worst_f64;
		}
	ok(worst <= 2e-7L, "f32 sums are good to 2e-7: %.3Lg", worst);
	ok(worst_f64 <= 1e-14L, "f64 sums are good to 1e-14: %.3Lg", worst_f64);

	/* Of x and 0, with x falling: exp alone. */
	worst = 0;
	for (double x = 0; x < 87; x += 0.0007) {
		float two[2] = { 0, (float)-x };
		double got = expm1(logits_sum(&(struct logits){ two, 2, DTYPE_F32 })), want = exp((double)two[1]);
		if (x < 15) /* below, what is added to 1 can't be seen again */
			worst = fmaxl(worst, fabsl((long double)(got - want) / (long double)want));
	}
	ok(worst <= 2e-7L, "exp is good to 2e-7: %.3Lg", worst);
}

static void special(void)
{
	float nan[5] = { 1, 2, 3, 4, NAN }, high[3] = { 1, INFINITY, 2 }, low[3] = { -INFINITY, -INFINITY, -INFINITY };
	float some[3] = { -INFINITY, 1, -INFINITY };
	ok(isnan(logits_sum(&(struct logits){ nan, 5, DTYPE_F32 })), "a NaN makes the sum NaN");
	ok(logits_sum(&(struct logits){ high, 3, DTYPE_F32 }) == (double)INFINITY, "an infinity makes it infinite");
	ok(logits_sum(&(struct logits){ low, 3, DTYPE_F32 }) == (double)-INFINITY, "nothing has no sum");
	ok(logits_sum(&(struct logits){ some, 3, DTYPE_F32 }) == 1, "what can't be adds nothing");
	struct token_value top[5];
	logits_top(&(struct logits){ nan, 5, DTYPE_F32 }, 0, 5, top);
	ok(top[0].id == 3 && top[4].id == 4, "NaN comes last");
}

static const float *sorted;

static int compare(const void *a, const void *b)
{
	uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
	if (sorted[i] != sorted[j])
		return sorted[i] > sorted[j] ? -1 : 1;
	return i < j ? -1 : 1;
}

static void orders(float *f, double *d)
{
	uint32_t *want = malloc(MOST * sizeof *want);
	struct token_value *top = malloc(MOST * sizeof *top), one;
	bool same = true, ranks = true;
	for (size_t n = 1; n <= MOST; n = n * 3 + 1) {
		for (size_t i = 0; i < n; i++) {
			/* many ties */
			f[i] = (float)(int)(uniform() * 9);
			d[i] = (double)f[i];
			want[i] = (uint32_t)i;
		}
		sorted = f;
		qsort(want, n, sizeof *want, compare);
		for (size_t k = 1; k <= n; k = k < 9 ? k + 1 : k * 7) {
			logits_top(&(struct logits){ f, n, DTYPE_F32 }, 3, k, top);
			for (size_t i = 0; i < k; i++)
				same &= top[i].id == want[i] && top[i].rank == i + 1 && top[i].logit == d[want[i]] &&
				        top[i].logprob == top[i].logit - 3;
			logits_token(&(struct logits){ d, n, DTYPE_F64 }, 3, want[k - 1], &one);
			ranks &= one.rank == k && one.id == want[k - 1];
		}
	}
	ok(same, "the largest, ties to the lower id");
	ok(ranks, "ranks");
	free(want);
	free(top);
}

int main(void)
{
	float *f = malloc(MOST * sizeof *f);
	double *d = malloc(MOST * sizeof *d);
	sums(f, d);
	special();
	orders(f, d);
	free(f);
	free(d);
	return done();
}
