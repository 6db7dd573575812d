#include "components.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lapack.h"
#include "memory.h"

enum { LANES = 8, GROUP = 4 };

uint64_t components_len(size_t width, size_t k)
{
	return ((uint64_t)width * width + (uint64_t)k * width + 128 * (uint64_t)width) * sizeof(double);
}

static int take_memory(struct components *c, size_t k, size_t width, struct error *e)
{
	double *p = mem_try((k * width + width + 3 * k + 8) * sizeof *p, "components", e);
	if (!p)
		return -1;
	*c = (struct components){ .k = k, .width = width, .memory = p, .vector = p };
	c->mean = p + k * width;
	c->variance = c->mean + width;
	c->ratio = c->variance + k;
	c->singular = c->ratio + k;
	return 0;
}

/* S + n mean mean^T: deviations from zero. */
static void add_mean(double *a, const double *mean, double n, size_t width)
{
	for (size_t i = 0; i < width; i++)
		for (size_t j = 0; j <= i; j++)
			a[i * width + j] += n * mean[i] * mean[j];
}

static double trace(const double *a, size_t width)
{
	double sum = 0, lost = 0;
	for (size_t i = 0; i < width; i++) {
		double v = a[i * width + i], s = sum + v;
		lost += v - (s - sum);
		sum = s;
	}
	return sum + lost;
}

/* By a power of two, so that no square of an element leaves the range of double.  The exponent taken out. */
static int scale(double *a, size_t width)
{
	double largest = 0;
	for (size_t i = 0; i < width; i++)
		largest = a[i * width + i] > largest ? a[i * width + i] : largest;
	int exponent = largest > 0 ? ilogb(largest) : 0;
	for (size_t i = 0; i < width; i++)
		for (size_t j = 0; j <= i; j++)
			a[i * width + j] = ldexp(a[i * width + j], -exponent);
	return exponent;
}

/* As scikit-learn's svd_flip(u_based_decision=False). */
static void orient(double *v, size_t width)
{
	size_t at = 0;
	for (size_t i = 1; i < width; i++)
		if (fabs(v[i]) > fabs(v[at]))
			at = i;
	if (v[at] < 0)
		for (size_t i = 0; i < width; i++)
			v[i] = -v[i];
}

static bool all_finite(const double *a, size_t width)
{
	for (size_t i = 0; i < width; i++)
		if (scatter_not_finite(a + i * width, DTYPE_F64, i + 1) <= i)
			return false;
	return true;
}

static int solve(struct components *c, double *a, bool center, struct error *e)
{
	double n = (double)c->n, divisor = center ? n - 1 : n;
	if (!center) {
		add_mean(a, c->mean, n, c->width);
		memset(c->mean, 0, c->width * sizeof *c->mean);
	}
	if (!all_finite(a, c->width))
		return error_set(e, "its values are so large that their squares leave the range of double precision");
	double total = trace(a, c->width);
	if (!(total > 0))
		return error_set(e, center ? "all %.0f rows are the same: there is no variance to find components of"
		                           : "all %.0f rows are zero: there is nothing to find components of", n);
	int exponent = scale(a, c->width);
	if (lapack_eigen(c->width, c->k, a, c->singular, c->vector, e) < 0)
		return -1;
	for (size_t i = 0; i < c->k; i++) {
		/* Zero comes out as a rounding error of either sign. */
		double s = c->singular[i] > 0 ? ldexp(c->singular[i], exponent) : 0;
		c->variance[i] = s / divisor;
		c->ratio[i] = s / total;
		c->singular[i] = sqrt(s);
		orient(c->vector + i * c->width, c->width);
	}
	return 0;
}

int components_find(struct components *c, struct scatter *s, size_t k, bool center, struct error *e)
{
	uint64_t n = scatter_rows(s);
	size_t width = s->width;
	double *a = NULL;
	int rc = 0;
	*c = (struct components){ 0 };
	if (n < 2 && center)
		rc = error_set(e, "has %llu row%s; variance needs two", (unsigned long long)n, n == 1 ? "" : "s");
	else if (k > n)
		rc = error_set(e, "has %llu rows, fewer than -k %zu components", (unsigned long long)n, k);
	else if (k > width)
		rc = error_set(e, "has %zu columns, fewer than -k %zu components", width, k);
	else
		rc = (a = mem_try(width * width * sizeof *a, "a covariance", e)) ? take_memory(c, k, width, e) : -1;
	if (rc == 0) {
		c->n = n;
		scatter_mean(s, 0, c->mean);
		memset(a, 0, width * width * sizeof *a);
		scatter_square(s, a);
	}
	scatter_close(s);
	if (rc == 0)
		rc = solve(c, a, center, e);
	free(a);
	if (rc < 0)
		components_release(c);
	return rc;
}

void components_release(struct components *c)
{
	free(c->memory);
	*c = (struct components){ 0 };
}

/* -------- projection */

static double sum_lanes(const double *lane)
{
	return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

/* Several vectors at once, so that x is read once for them; what one gives depends on no other. */
static void dot_group(const double *x, const double *v, size_t width, size_t n, double *to)
{
	double lane[GROUP][LANES] = { 0 };
	size_t i = 0;
	for (; i + LANES <= width; i += LANES)
		for (size_t g = 0; g < n; g++)
			for (size_t l = 0; l < LANES; l++)
				lane[g][l] += x[i + l] * v[g * width + i + l];
	for (size_t l = 0; i < width; i++, l++)
		for (size_t g = 0; g < n; g++)
			lane[g][l] += x[i] * v[g * width + i];
	for (size_t g = 0; g < n; g++)
		to[g] = sum_lanes(lane[g]);
}

void components_project(const struct components *c, const void *rows, enum dtype type, size_t n, void *to, enum dtype to_type)
{
	double *x = mem_alloc((c->width + c->k) * sizeof *x), *y = x + c->width;
	for (size_t r = 0; r < n; r++) {
		dtype_convert(x, DTYPE_F64, (const char *)rows + r * c->width * dtype_size(type), type, c->width);
		for (size_t i = 0; i < c->width; i++)
			x[i] -= c->mean[i];
		for (size_t i = 0; i < c->k; i += GROUP) {
			/* All groups but the last have a fixed size, which the compiler turns into plain code. */
			if (i + GROUP <= c->k)
				dot_group(x, c->vector + i * c->width, c->width, GROUP, y + i);
			else
				dot_group(x, c->vector + i * c->width, c->width, c->k - i, y + i);
		}
		dtype_convert((char *)to + r * c->k * dtype_size(to_type), to_type, y, DTYPE_F64, c->k);
	}
	free(x);
}
