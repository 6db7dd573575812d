#include "cpu.h"

#include <string.h>

#include "view.h"

/* Inputs that are read of a panel's columns at a time, before they are turned into rows of the
 * panel. */
enum { BLOCK = 64, PANEL_MOST = 64 };

size_t cpu_weight_len(const struct device *d, size_t n, size_t k, enum dtype type)
{
	const size_t panel = d->unit->panel;

	if (!rounds_operands(d, type))
		n = (n + panel - 1) / panel * panel;
	return n * k * dtype_size(type);
}

struct job {
	const struct device *d;
	struct weight *w;
	size_t column; /* of the weight, where the view begins */
	const struct tensor_view *view;
};

/* from (n, k) to columns at..at+n-1 of (k, panel). */
static void turn(char *to, size_t panel, size_t at, const char *from, size_t n, size_t k,
                 size_t len)
{
	if (len == 2) {
		const uint16_t *h = (const uint16_t *)from;

		for (size_t i = 0; i < k; i++)
			for (size_t c = 0; c < n; c++)
				((uint16_t *)to)[i * panel + at + c] = h[c * k + i];
	} else {
		const float *f = (const float *)from;

		for (size_t i = 0; i < k; i++)
			for (size_t c = 0; c < n; c++)
				((float *)to)[i * panel + at + c] = f[c * k + i];
	}
}

/* The view's columns in one panel. */
static void put_panel(void *argument, size_t i, size_t slot)
{
	const struct job *job = argument;
	const struct weight *w = job->w;
	const size_t panel = job->d->unit->panel, len = dtype_size(w->dtype),
		     end = job->column + job->view->n;
	const size_t p0 = (job->column / panel + i) * panel;
	const size_t c0 = p0 > job->column ? p0 : job->column,
		     c1 = p0 + panel < end ? p0 + panel : end;
	char *to = (char *)w->data + p0 * w->k * len;
	float block[PANEL_MOST * BLOCK];

	(void)slot;
	for (size_t first = 0; first < w->k; first += BLOCK) {
		const size_t k = w->k - first < BLOCK ? w->k - first : BLOCK;
		char *rows = to + first * panel * len;

		view_read(block, w->dtype, job->view, c0 - job->column, c1 - c0, first, k);
		turn(rows, panel, c0 - p0, (const char *)block, c1 - c0, k, len);
		for (size_t r = 0; c1 == w->n && r < k; r++)
			memset(rows + (r * panel + c1 - p0) * len, 0, (p0 + panel - c1) * len);
	}
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
	const size_t panel = d->unit->panel;

	if (view->n == 0)
		return;
	if (rounds_operands(d, w->dtype))
		workers_run(d->workers, (view->n + PANEL - 1) / PANEL, put_rows, &job);
	else
		workers_run(d->workers, (column + view->n - 1) / panel - column / panel + 1,
		            put_panel, &job);
}

void cpu_vector_put(struct device *d, void *to, const struct tensor_view *view)
{
	(void)d;
	view_read(to, DTYPE_F32, view, 0, view->n, 0, 1);
}
