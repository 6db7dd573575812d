#include "cpu.h"

#include <string.h>

#include "view.h"

/* Inputs that are read of a panel's columns at a time, before they are turned into rows of the
 * panel. */
enum { BLOCK = 128, PANEL_MOST = 64 };

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

typedef uint32_t four __attribute__((vector_size(16)));
typedef uint16_t eight __attribute__((vector_size(16)));

#if defined __clang__
#define SHUFFLE(type, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(type, a, b, ...) __builtin_shuffle(a, b, (type){ __VA_ARGS__ })
#endif

/* to (4, to_stride) = the transpose of from (4, from_stride), in elements of 4 bytes. */
static void turn_4(char *to, size_t to_stride, const char *from, size_t from_stride)
{
	four row[4], half[4];

	for (size_t i = 0; i < 4; i++)
		memcpy(&row[i], from + i * from_stride * 4, 16);
	for (size_t i = 0; i < 2; i++) {
		half[i] = SHUFFLE(four, row[i], row[i + 2], 0, 4, 1, 5);
		half[i + 2] = SHUFFLE(four, row[i], row[i + 2], 2, 6, 3, 7);
	}
	for (size_t i = 0; i < 4; i += 2) {
		row[i] = SHUFFLE(four, half[i], half[i + 1], 0, 4, 1, 5);
		row[i + 1] = SHUFFLE(four, half[i], half[i + 1], 2, 6, 3, 7);
	}
	for (size_t i = 0; i < 4; i++)
		memcpy(to + i * to_stride * 4, &row[i], 16);
}

/* The same for (8, 8) elements of 2 bytes. */
static void turn_8(char *to, size_t to_stride, const char *from, size_t from_stride)
{
	eight a[8], b[8];

	for (size_t i = 0; i < 8; i++)
		memcpy(&a[i], from + i * from_stride * 2, 16);
	for (int step = 0; step < 3; step++) {
		for (size_t i = 0; i < 4; i++) {
			b[2 * i] = SHUFFLE(eight, a[i], a[i + 4], 0, 8, 1, 9, 2, 10, 3, 11);
			b[2 * i + 1] = SHUFFLE(eight, a[i], a[i + 4], 4, 12, 5, 13, 6, 14, 7, 15);
		}
		memcpy(a, b, sizeof a);
	}
	for (size_t i = 0; i < 8; i++)
		memcpy(to + i * to_stride * 2, &a[i], 16);
}

/* from (n, k) to columns at..at+n-1 of rows of `panel` elements of len bytes, which may be pairs of inputs. */
static void turn(char *to, size_t panel, size_t at, const char *from, size_t n, size_t k, size_t len)
{
	const size_t side = len == 2 ? 8 : 4, whole_n = n / side * side, whole_k = k / side * side;

	to += at * len;
	for (size_t c = 0; c < whole_n; c += side)
		for (size_t i = 0; i < whole_k; i += side)
			(len == 2 ? turn_8 : turn_4)(to + (i * panel + c) * len, panel, from + (c * k + i) * len, k);
	for (size_t c = 0; c < n; c++)
		for (size_t i = c < whole_n ? whole_k : 0; i < k; i++)
			memcpy(to + (i * panel + c) * len, from + (c * k + i) * len, len);
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

/* from (n, k) to (n, k + 1) with zeros, in place. */
static void spread(void *rows, size_t n, size_t k, size_t len)
{
	for (size_t r = n; r-- > 0;) {
		char *to = (char *)rows + r * (k + 1) * len;

		memmove(to, (char *)rows + r * k * len, k * len);
		memset(to + k * len, 0, len);
	}
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
	float block[PANEL_MOST * (BLOCK + 1)];

	(void)slot;
	if (c1 == w->n && c1 < p0 + panel)
		clear_columns(to, m, c1 - p0, all_k, len);
	for (size_t first = 0; first < w->k; first += BLOCK) {
		const size_t k = w->k - first < BLOCK ? w->k - first : BLOCK;

		const size_t room = rounded(k, m->pair);

		view_read(block, w->dtype, job->view, c0 - job->column, c1 - c0, first, k);
		if (room > k)
			spread(block, c1 - c0, k, len);
		turn(to + first * panel * len, panel, c0 - p0, (const char *)block, c1 - c0, room / m->pair, len * m->pair);
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
