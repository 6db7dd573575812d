#include "cpu.h"

#include <string.h>

#include "view.h"

/* Inputs that are read of a panel's columns at a time, before they are turned into rows of the
 * panel. */
enum { BLOCK = 64, PANEL_MOST = 64 };

static size_t rounded(size_t n, size_t multiple)
{
	return (n + multiple - 1) / multiple * multiple;
}

size_t cpu_weight_len(const struct device *d, size_t n, size_t k, enum dtype type)
{
	const struct multiplier *m = multiplier_of(d, type);

	return (m ? rounded(n, m->panel) * rounded(k, m->k_multiple) : n * k) * dtype_size(type);
}

struct job {
	const struct device *d;
	struct weight *w;
	size_t column; /* of the weight, where the view begins */
	const struct tensor_view *view;
};

/* from (n, k) to columns at..at+n-1 of a panel: (k / pair, panel, pair). */
static void turn(char *to, const struct multiplier *m, size_t at, const char *from, size_t n, size_t k, size_t len)
{
	const size_t pair = m->pair;

	if (len == 2) {
		const uint16_t *h = (const uint16_t *)from;

		for (size_t i = 0; i < k; i++)
			for (size_t c = 0; c < n; c++)
				((uint16_t *)to)[(i / pair * m->panel + at + c) * pair + i % pair] = h[c * k + i];
	} else {
		const float *f = (const float *)from;

		for (size_t i = 0; i < k; i++)
			for (size_t c = 0; c < n; c++)
				((float *)to)[i * m->panel + at + c] = f[c * k + i];
	}
}

/* Zeros in columns at.. of a panel, of all inputs. */
static void clear_columns(char *to, const struct multiplier *m, size_t at, size_t k, size_t len)
{
	for (size_t i = 0; i < k; i += m->pair)
		memset(to + (i * m->panel + at * m->pair) * len, 0, (m->panel - at) * m->pair * len);
}

/* Zeros in inputs k..end-1 of columns c0..c1-1 of a panel of 16-bit numbers. */
static void clear_inputs(char *to, const struct multiplier *m, size_t c0, size_t c1, size_t k, size_t end)
{
	for (size_t i = k; i < end; i++)
		for (size_t c = c0; c < c1; c++)
			((uint16_t *)to)[(i / m->pair * m->panel + c) * m->pair + i % m->pair] = 0;
}

/* The view's columns in one panel. */
static void put_panel(void *argument, size_t i, size_t slot)
{
	const struct job *job = argument;
	const struct weight *w = job->w;
	const struct multiplier *m = multiplier_of(job->d, w->dtype);
	const size_t panel = m->panel, len = dtype_size(w->dtype), end = job->column + job->view->n;
	const size_t all_k = rounded(w->k, m->k_multiple), p0 = (job->column / panel + i) * panel;
	const size_t c0 = p0 > job->column ? p0 : job->column, c1 = p0 + panel < end ? p0 + panel : end;
	char *to = (char *)w->data + p0 * all_k * len;
	float block[PANEL_MOST * BLOCK];

	(void)slot;
	if (c1 == w->n && c1 < p0 + panel)
		clear_columns(to, m, c1 - p0, all_k, len);
	for (size_t first = 0; first < w->k; first += BLOCK) {
		const size_t k = w->k - first < BLOCK ? w->k - first : BLOCK;

		view_read(block, w->dtype, job->view, c0 - job->column, c1 - c0, first, k);
		turn(to + first * panel * len, m, c0 - p0, (const char *)block, c1 - c0, k, len);
	}
	if (all_k > w->k)
		clear_inputs(to, m, c0 - p0, c1 - p0, w->k, all_k);
}

/* A panel's worth of the view's columns, as they are. */
static void put_rows(void *argument, size_t i, size_t slot)
{
	const struct job *job = argument;
	const struct weight *w = job->w;
	const size_t c0 = i * PANEL, n = job->view->n - c0 < PANEL ? job->view->n - c0 : PANEL;

	(void)slot;
	view_read((char *)w->data + (job->column + c0) * w->k * dtype_size(w->dtype), w->dtype,
	          job->view, c0, n, 0, w->k);
}

void cpu_weight_put(struct device *d, struct weight *w, size_t column,
                    const struct tensor_view *view)
{
	struct job job = { d, w, column, view };
	const struct multiplier *m = multiplier_of(d, w->dtype);

	if (view->n == 0)
		return;
	if (!m)
		workers_run(d->workers, (view->n + PANEL - 1) / PANEL, put_rows, &job);
	else
		workers_run(d->workers, (column + view->n - 1) / m->panel - column / m->panel + 1, put_panel, &job);
}

void cpu_vector_put(struct device *d, void *to, const struct tensor_view *view)
{
	(void)d;
	view_read(to, DTYPE_F32, view, 0, view->n, 0, 1);
}
