#include "steering.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

/* Sums run in so many lanes, whatever the vector unit: the order is part of the result. */
#define LANES 8
/* What is left of a unit vector once the ones before it are taken away: less is rounding, not direction. */
#define DEPENDENT 1e-6

static const char *const names[STEER_MODES] = { "add", "ablate", "project", "clamp", "set", "zero" };

enum steer_mode steer_mode_find(const char *name)
{
	int mode = 0;
	while (mode < STEER_MODES && strcmp(names[mode], name) != 0)
		mode++;
	return mode;
}

const char *steer_mode_name(enum steer_mode mode)
{
	return names[mode];
}

bool steer_mode_has_default(enum steer_mode mode)
{
	return mode != STEER_ADD && mode != STEER_CLAMP;
}

bool steer_mode_takes_basis(enum steer_mode mode)
{
	return mode == STEER_ABLATE || mode == STEER_PROJECT;
}

static double dot(const double *a, const double *b, size_t n)
{
	double lane[LANES] = { 0 };
	size_t i = 0;
	for (; i + LANES <= n; i += LANES)
		for (size_t k = 0; k < LANES; k++)
			lane[k] += a[i + k] * b[i + k];
	for (size_t k = 0; i < n; i++, k++)
		lane[k] += a[i] * b[i];
	return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

/* y += a x */
static void add_scaled(double *y, double a, const double *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		y[i] += a * x[i];
}

/* To length 1.  The length before, 0 where there is none; squares of f32's largest and smallest don't leave double. */
static double normalise(double *v, size_t n)
{
	double length = sqrt(dot(v, v, n));
	for (size_t i = 0; i < n && length > 0; i++)
		v[i] /= length;
	return length;
}

/* Gram-Schmidt, twice: once leaves what rounding put back of the vectors before. */
static int orthonormalise(struct steering *s, struct error *e)
{
	for (size_t k = 0; k < s->n; k++) {
		double *v = s->vector + k * s->width;
		for (int turn = 0; turn < 2; turn++) {
			for (size_t j = 0; j < k; j++) {
				const double *b = s->vector + j * s->width;
				add_scaled(v, -dot(b, v, s->width), b, s->width);
			}
			if (normalise(v, s->width) < DEPENDENT)
				return error_set(e, "vector %zu of %zu is a combination of those before it; leave it out", k,
				                 s->n);
		}
	}
	return 0;
}

static int check_vector(const struct steering *s, size_t k, bool direction, struct error *e)
{
	const double *v = s->vector + k * s->width;
	for (size_t i = 0; i < s->width; i++)
		if (!isfinite(v[i]))
			return error_set(e, "vector %zu has a value that is not finite at column %zu", k, i);
	double length = sqrt(dot(v, v, s->width));
	if (!isfinite(length))
		return error_set(e, "vector %zu is too large for its length to be computed", k);
	if (direction && !(length > 0))
		return error_set(e, "vector %zu is zero, which is no direction", k);
	return 0;
}

int steering_init(struct steering *s, enum steer_mode mode, const double *vectors, size_t n, size_t width, bool unit,
                  struct error *e)
{
	*s = (struct steering){ .mode = mode, .width = width, .n = n };
	if (mode == STEER_ZERO || !n) {
		s->n = 0;
		return 0;
	}
	bool basis = steer_mode_takes_basis(mode) || mode == STEER_CLAMP;
	s->vector = mem_try(n * width * sizeof *s->vector, "vectors", e);
	if (!s->vector)
		return -1;
	memcpy(s->vector, vectors, n * width * sizeof *s->vector);
	int status = 0;
	for (size_t k = 0; k < n && status == 0; k++) {
		status = check_vector(s, k, basis || unit, e);
		if (status == 0 && (basis || unit))
			normalise(s->vector + k * width, width);
	}
	if (status == 0 && basis)
		status = orthonormalise(s, e);
	if (status < 0)
		steering_release(s);
	return status;
}

void steering_release(struct steering *s)
{
	free(s->vector);
	s->vector = NULL;
}

size_t steering_scratch(const struct steering *s)
{
	return 2 * s->width;
}

/* part = P x */
static void project(const struct steering *s, const double *x, double *part)
{
	memset(part, 0, s->width * sizeof *part);
	for (size_t k = 0; k < s->n; k++) {
		const double *b = s->vector + k * s->width;
		add_scaled(part, dot(b, x, s->width), b, s->width);
	}
}

static void change(const struct steering *s, double alpha, double *x, double *part)
{
	size_t n = s->width;
	switch (s->mode) {
	case STEER_ADD:
		add_scaled(x, alpha, s->vector, n);
		break;
	case STEER_ABLATE:
		project(s, x, part);
		add_scaled(x, -alpha, part, n);
		break;
	case STEER_PROJECT:
		project(s, x, part);
		for (size_t i = 0; i < n; i++)
			x[i] = (1 - alpha) * x[i] + alpha * part[i];
		break;
	case STEER_CLAMP:
		add_scaled(x, alpha - dot(s->vector, x, n), s->vector, n);
		break;
	case STEER_SET:
		for (size_t i = 0; i < n; i++)
			x[i] = alpha * s->vector[i];
		break;
	default:
		/* 0 times an infinity is none. */
		for (size_t i = 0; i < n; i++)
			x[i] = alpha == 1 ? 0 : (1 - alpha) * x[i];
	}
}

void steering_rows(const struct steering *s, double alpha, void *rows, enum dtype dtype, size_t n, size_t stride,
                   double *scratch)
{
	if (alpha == 0 && s->mode != STEER_CLAMP && s->mode != STEER_SET)
		return;
	for (size_t r = 0; r < n; r++) {
		char *row = (char *)rows + r * stride * dtype_size(dtype);
		dtype_convert(scratch, DTYPE_F64, row, dtype, s->width);
		change(s, alpha, scratch, scratch + s->width);
		dtype_convert(row, dtype, scratch, DTYPE_F64, s->width);
	}
}
