#include "scatter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lapack.h"
#include "memory.h"

enum {
	PANEL = SCATTER_PANEL,
	MATRIX_BLOCK = 2048,    /* products of that many rows hide the reading and writing of S */
	DIAGONAL_BLOCK = 128,
	LANES = 8
};

size_t scatter_block(const struct scatter_kind *kind, size_t width)
{
	(void)width;
	return kind->matrix ? MATRIX_BLOCK : DIAGONAL_BLOCK;
}

static size_t n_panels(size_t width)
{
	return (width + PANEL - 1) / PANEL;
}

static size_t panel_width(size_t width, size_t p)
{
	size_t left = width - p * PANEL;
	return left < PANEL ? left : PANEL;
}

/* Where tile (i, j), j <= i, of panel_width(i) rows and panel_width(j) columns begins. */
static size_t tile_at(size_t width, size_t i, size_t j)
{
	return (size_t)PANEL * PANEL * (i * (i + 1) / 2) + panel_width(width, i) * PANEL * j;
}

/* Numbers in S; SIZE_MAX if they can't be counted. */
static size_t s_len(const struct scatter_kind *kind, size_t width)
{
	size_t square;
	if (!kind->matrix)
		return width;
	if (__builtin_mul_overflow(width + PANEL, width + PANEL, &square))
		return SIZE_MAX;
	size_t last = n_panels(width) - 1;
	return tile_at(width, last, last) + panel_width(width, last) * panel_width(width, last);
}

size_t scatter_len(const struct scatter_kind *kind, size_t width)
{
	size_t len = s_len(kind, width);
	if (len == SIZE_MAX || len > SIZE_MAX / 64 || width > SIZE_MAX / 1024)
		return SIZE_MAX;
	return (2 * len + width * (2 * kind->n_classes + 2 * kind->range)) * sizeof(double);
}

struct scatter *scatter_open(const struct scatter_kind *kind, size_t width, struct error *e)
{
	size_t len = scatter_len(kind, width), n = s_len(kind, width);
	double *p = len == SIZE_MAX ? NULL : mem_try_huge(len, "sums of products", e);
	if (len == SIZE_MAX)
		error_set(e, "rows of %zu columns are too wide for their products", width);
	if (!p)
		return NULL;
	memset(p, 0, len);
	struct scatter *s = mem_zero(1, sizeof *s);
	s->kind = *kind;
	s->width = width;
	s->memory = p;
	s->s = (struct kept){ p, p + n };
	p += 2 * n;
	for (size_t c = 0; c < kind->n_classes; c++, p += 2 * width)
		s->total[c] = (struct kept){ p, p + width };
	if (kind->range) {
		s->min = p;
		s->max = p + width;
		for (size_t i = 0; i < width; i++) {
			s->min[i] = INFINITY;
			s->max[i] = -INFINITY;
		}
	}
	return s;
}

void scatter_close(struct scatter *s)
{
	if (!s)
		return;
	free(s->memory);
	free(s);
}

/* -------- a block */

struct block {
	double *panels;                 /* (panels, n, panel width): the block less its mean */
	double *apart;                  /* (W) d, or zero where there is no class to join */
	double *squares;                /* (panels, n): of each row's part */
	double *tile;                   /* (threads, PANEL, PANEL): the work's */
	void *memory;
	size_t len;
	struct scatter *s;
	const char *rows;
	enum dtype type;
	size_t class, n;
	double weight;                  /* na nb / (na + nb) */
};

struct scatter_work {
	struct workers *workers;
	struct block block[2];          /* while the products of one are summed, the other is filled */
	size_t at;                      /* the one filled last */
	struct workers_job *products;   /* under way; NULL: none */
	double *tile;
};

struct scatter_work *scatter_work_open(struct workers *w)
{
	struct scatter_work *k = mem_zero(1, sizeof *k);
	k->workers = w;
	return k;
}

void scatter_settle(struct scatter_work *k)
{
	workers_end(k->workers, k->products);
	k->products = NULL;
}

void scatter_work_close(struct scatter_work *k)
{
	if (!k)
		return;
	scatter_settle(k);
	for (size_t i = 0; i < 2; i++)
		free(k->block[i].memory);
	free(k->tile);
	free(k);
}

static size_t round_up(size_t n)
{
	return (n + 7) / 8 * 8;
}

static int take_memory(struct scatter_work *k, struct block *b, size_t width, size_t n, struct error *e)
{
	size_t rows = round_up(n), padded = round_up(width);
	size_t len = (rows * padded + padded + n_panels(width) * rows) * sizeof(double);
	if (!k->tile)
		k->tile = mem_try_huge(workers_count(k->workers) * PANEL * PANEL * sizeof(double), "products of rows", e);
	if (!k->tile)
		return -1;
	if (len > b->len) {
		free(b->memory);
		b->len = 0;
		b->memory = mem_try_huge(len, "a block of rows", e);
		if (!b->memory)
			return -1;
		b->len = len;
	}
	b->tile = k->tile;
	b->panels = b->memory;
	b->apart = b->panels + rows * padded;
	b->squares = b->apart + padded;
	return 0;
}

/* a += b; what the rounding loses is kept. */
static inline void add(double *sum, double *lost, double b)
{
	double a = *sum, s = a + b, part = s - a;
	*lost += (a - (s - part)) + (b - part);
	*sum = s;
}

/* Inlined into a function for each vector unit. */
#define LOOPS static inline __attribute__((always_inline))

LOOPS double sum_of_squares(const double *x, size_t n)
{
	double lane[LANES] = { 0 };
	size_t i = 0;
	for (; i + LANES <= n; i += LANES)
		for (size_t k = 0; k < LANES; k++)
			lane[k] += x[i + k] * x[i + k];
	for (size_t k = 0; i < n; i++, k++)
		lane[k] += x[i] * x[i];
	return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

/* One panel of columns of a block. */
struct panel {
	const struct block *b;
	size_t number, first, w;        /* its columns are first..first+w-1 */
	double mean[PANEL];
	double squares[PANEL];          /* sums of them, where S is a diagonal */
};

/* Row r of the panel, widened. */
LOOPS void widen(const struct panel *p, size_t r, double *to)
{
	const struct block *b = p->b;
	const void *from = b->rows + (r * b->s->width + p->first) * dtype_size(b->type);
	const float *f32 = from;
	if (b->type == DTYPE_F32)
		for (size_t c = 0; c < p->w; c++)
			to[c] = f32[c];
	else
		dtype_convert(to, DTYPE_F64, from, b->type, p->w);
}

LOOPS void add_range(const struct panel *p, size_t r, const double *x)
{
	double *min = p->b->s->min + p->first, *max = p->b->s->max + p->first;
	for (size_t c = 0; c < p->w; c++) {
		min[c] = x[c] < min[c] ? x[c] : min[c];
		max[c] = x[c] > max[c] ? x[c] : max[c];
	}
	p->b->squares[p->number * p->b->n + r] = sum_of_squares(x, p->w);
}

/* The mean as the first row and the mean distance from it: of rows that are all the same it is that row exactly. */
LOOPS void find_mean(struct panel *p)
{
	double x[PANEL], origin[PANEL], sum[PANEL] = { 0 };
	widen(p, 0, origin);
	for (size_t r = 0; r < p->b->n; r++) {
		widen(p, r, x);
		if (p->b->s->kind.range)
			add_range(p, r, x);
		for (size_t c = 0; c < p->w; c++)
			sum[c] += x[c] - origin[c];
	}
	for (size_t c = 0; c < p->w; c++)
		p->mean[c] = origin[c] + sum[c] / (double)p->b->n;
}

/*
 * Deviations from the mean; what mean they still have is then added to it.  That is of its rounding's size, and their products
 * would change by its square only.
 */
LOOPS void subtract_mean(struct panel *p)
{
	const struct block *b = p->b;
	double row[PANEL], left[PANEL] = { 0 };
	memset(p->squares, 0, sizeof p->squares);
	for (size_t r = 0; r < b->n; r++) {
		double *x = b->s->kind.matrix ? b->panels + b->n * p->first + r * p->w : row;
		widen(p, r, x);
		for (size_t c = 0; c < p->w; c++) {
			x[c] -= p->mean[c];
			left[c] += x[c];
		}
		for (size_t c = 0; !b->s->kind.matrix && c < p->w; c++)
			p->squares[c] += x[c] * x[c];
	}
	for (size_t c = 0; c < p->w; c++)
		p->mean[c] += left[c] / (double)b->n;
}

static void measure(struct panel *p)
{
	find_mean(p);
	subtract_mean(p);
}

#if defined __x86_64__
/* No fma: a sum rounds the same everywhere. */
static __attribute__((target("avx2"))) void measure_avx2(struct panel *p)
{
	find_mean(p);
	subtract_mean(p);
}
#define measure (__builtin_cpu_supports("avx2") ? measure_avx2 : measure)
#endif

static void panel_task(void *argument, size_t number, size_t slot)
{
	(void)slot;
	struct block *b = argument;
	struct scatter *s = b->s;
	struct panel p = { .b = b, .number = number, .first = number * PANEL, .w = panel_width(s->width, number) };
	measure(&p);
	const struct kept *total = &s->total[b->class];
	double before = (double)s->n[b->class];
	for (size_t c = 0; c < p.w; c++) {
		size_t i = p.first + c;
		double d = before > 0 ? p.mean[c] - (total->sum[i] + total->lost[i]) / before : 0;
		add(&total->sum[i], &total->lost[i], p.mean[c] * (double)b->n);
		if (s->kind.matrix)
			b->apart[i] = d;
		else
			add(&s->s.sum[i], &s->s.lost[i], p.squares[c] + b->weight * d * d);
	}
}

/* Tasks are numbered along the rows of tiles: (0,0) (1,0) (1,1) (2,0) ... */
static void tile_of(size_t task, size_t *i, size_t *j)
{
	size_t row = 0;
	while (task > row)
		task -= ++row;
	*i = row;
	*j = task;
}

static void tile_task(void *argument, size_t task, size_t slot)
{
	struct block *b = argument;
	struct scatter *s = b->s;
	size_t i, j;
	tile_of(task, &i, &j);
	size_t p = panel_width(s->width, i), q = panel_width(s->width, j), at = tile_at(s->width, i, j);
	double *tile = b->tile + slot * PANEL * PANEL;
	const double *x = b->panels + b->n * i * PANEL, *y = b->panels + b->n * j * PANEL;
	if (i == j)
		lapack_square(p, b->n, x, tile);
	else
		lapack_product(p, q, b->n, x, y, tile);
	for (size_t r = 0; r < p; r++) {
		double scale = b->weight * b->apart[i * PANEL + r];
		const double *d = b->apart + j * PANEL, *from = tile + r * q;
		double *sum = s->s.sum + at + r * q, *lost = s->s.lost + at + r * q;
		size_t n = i == j ? r + 1 : q;
		for (size_t c = 0; c < n; c++)
			add(&sum[c], &lost[c], from[c] + scale * d[c]);
	}
}

static void add_norms(struct block *b)
{
	struct scatter *s = b->s;
	size_t panels = n_panels(s->width);
	for (size_t r = 0; r < b->n; r++) {
		double sum = 0;
		for (size_t p = 0; p < panels; p++)
			sum += b->squares[p * b->n + r];
		add(&s->norm, &s->norm_lost, sqrt(sum));
	}
}

int scatter_add(struct scatter *s, struct scatter_work *k, size_t class, const void *rows, enum dtype type, size_t n,
                struct error *e)
{
	if (!n || !s->width)
		return 0;
	if (k->products)
		k->at ^= 1;
	struct block *b = &k->block[k->at];
	if (take_memory(k, b, s->width, n, e) < 0)
		return -1;
	double before = (double)s->n[class];
	b->s = s;
	b->rows = rows;
	b->type = type;
	b->class = class;
	b->n = n;
	b->weight = before * (double)n / (before + (double)n);
	size_t panels = n_panels(s->width);
	workers_run(k->workers, panels, panel_task, b);
	if (s->kind.range)
		add_norms(b);
	s->n[class] += n;
	if (s->kind.matrix) {
		/* The products of the block before may still be joining the same S. */
		scatter_settle(k);
		k->products = workers_begin(k->workers, panels * (panels + 1) / 2, tile_task, b);
	}
	return 0;
}

/* -------- two states */

static void join_matrix(struct scatter *to, const struct scatter *from, const double *apart, double weight, bool whole)
{
	for (size_t i = 0; i < n_panels(to->width); i++) {
		for (size_t j = 0; j <= i; j++) {
			size_t p = panel_width(to->width, i), q = panel_width(to->width, j), at = tile_at(to->width, i, j);
			for (size_t x = 0; x < p * q; x++) {
				double d = weight * apart[i * PANEL + x / q] * apart[j * PANEL + x % q];
				double v = whole ? from->s.sum[at + x] + from->s.lost[at + x] : 0;
				add(&to->s.sum[at + x], &to->s.lost[at + x], v + d);
			}
		}
	}
}

static void join_class(struct scatter *to, const struct scatter *from, size_t c, double *apart)
{
	double na = (double)to->n[c], nb = (double)from->n[c];
	const struct kept *a = &to->total[c], *b = &from->total[c];
	double weight = na > 0 && nb > 0 ? na * nb / (na + nb) : 0;
	for (size_t i = 0; i < to->width; i++) {
		double total = b->sum[i] + b->lost[i];
		apart[i] = weight > 0 ? total / nb - (a->sum[i] + a->lost[i]) / na : 0;
		add(&a->sum[i], &a->lost[i], total);
	}
	/* The scatter within classes is added once, with the first class. */
	if (to->kind.matrix)
		join_matrix(to, from, apart, weight, c == 0);
	for (size_t i = 0; !to->kind.matrix && i < to->width; i++)
		add(&to->s.sum[i], &to->s.lost[i],
		    (c == 0 ? from->s.sum[i] + from->s.lost[i] : 0) + weight * apart[i] * apart[i]);
	to->n[c] += from->n[c];
}

void scatter_join(struct scatter *to, const struct scatter *from)
{
	double *apart = mem_zero(to->width + 1, sizeof *apart);
	for (size_t c = 0; c < to->kind.n_classes; c++)
		join_class(to, from, c, apart);
	for (size_t i = 0; to->kind.range && i < to->width; i++) {
		to->min[i] = from->min[i] < to->min[i] ? from->min[i] : to->min[i];
		to->max[i] = from->max[i] > to->max[i] ? from->max[i] : to->max[i];
	}
	add(&to->norm, &to->norm_lost, from->norm + from->norm_lost);
	free(apart);
}

/* -------- what was found */

void scatter_mean(const struct scatter *s, size_t class, double *mean)
{
	for (size_t i = 0; i < s->width; i++)
		mean[i] = (s->total[class].sum[i] + s->total[class].lost[i]) / (double)s->n[class];
}

uint64_t scatter_rows(const struct scatter *s)
{
	uint64_t n = 0;
	for (size_t c = 0; c < s->kind.n_classes; c++)
		n += s->n[c];
	return n;
}

/* Row r of the lower triangle: r + 1 numbers, written to `to` or (take) read from there. */
static void triangle_row(const struct scatter *s, size_t r, double *to, bool take)
{
	size_t i = r / PANEL;
	for (size_t j = 0; j <= i; j++) {
		size_t q = panel_width(s->width, j), at = tile_at(s->width, i, j) + r % PANEL * q;
		size_t n = i == j ? r % PANEL + 1 : q;
		for (size_t c = 0; c < n; c++) {
			if (take)
				s->s.sum[at + c] = to[j * PANEL + c];
			else
				to[j * PANEL + c] = s->s.sum[at + c] + s->s.lost[at + c];
		}
	}
}

void scatter_square(const struct scatter *s, double *a)
{
	for (size_t r = 0; r < s->width; r++)
		triangle_row(s, r, a + r * s->width, false);
}

void scatter_diagonal(const struct scatter *s, double *diagonal)
{
	for (size_t r = 0; r < s->width; r++) {
		size_t i = r / PANEL, c = r % PANEL;
		size_t at = s->kind.matrix ? tile_at(s->width, i, i) + c * panel_width(s->width, i) + c : r;
		diagonal[r] = s->s.sum[at] + s->s.lost[at];
	}
}

int scatter_check(const struct scatter *s, struct error *e)
{
	double *at = mem_alloc((s->width + 1) * sizeof *at);
	bool fits = isfinite(s->norm + s->norm_lost);
	scatter_diagonal(s, at);
	fits &= scatter_not_finite(at, DTYPE_F64, s->width) == s->width;
	for (size_t c = 0; c < s->kind.n_classes; c++) {
		if (!s->n[c])
			continue;
		scatter_mean(s, c, at);
		fits &= scatter_not_finite(at, DTYPE_F64, s->width) == s->width;
	}
	free(at);
	return fits ? 0 : error_set(e, "its values are so large that their squares leave the range of double precision");
}

double scatter_along(const struct scatter *s, const double *u)
{
	double *row = mem_alloc((s->width + 1) * sizeof *row);
	double sum = 0, lost = 0;
	for (size_t r = 0; r < s->width; r++) {
		triangle_row(s, r, row, false);
		double beside = 0, beside_lost = 0;
		for (size_t c = 0; c < r; c++)
			add(&beside, &beside_lost, row[c] * u[c]);
		add(&sum, &lost, u[r] * (2 * (beside + beside_lost) + row[r] * u[r]));
	}
	free(row);
	return sum + lost;
}

size_t scatter_n_panels(const struct scatter *s)
{
	return n_panels(s->width);
}

static size_t panel_rows(const struct scatter *s, size_t panel, double *at, bool take)
{
	size_t n = 0;
	for (size_t r = panel * PANEL; r < panel * PANEL + panel_width(s->width, panel); r++) {
		if (at)
			triangle_row(s, r, at + n, take);
		n += r + 1;
	}
	return n;
}

size_t scatter_panel(const struct scatter *s, size_t panel, double *to)
{
	return panel_rows(s, panel, to, false);
}

void scatter_take_panel(struct scatter *s, size_t panel, const double *from)
{
	panel_rows(s, panel, (double *)from, true);
}

/* -------- finite or not */

/* All exponent bits set. */
#define NOT_FINITE(type, mask) ({ \
	const type *v_ = values; \
	size_t i_ = 0, found_ = n; \
	for (; i_ + 64 <= n; i_ += 64) { \
		type any_ = 0; \
		for (size_t k_ = 0; k_ < 64; k_++) \
			any_ |= (type)((v_[i_ + k_] & (mask)) == (mask)); \
		if (any_) \
			break; \
	} \
	for (; i_ < n && found_ == n; i_++) \
		if ((v_[i_] & (mask)) == (mask)) \
			found_ = i_; \
	found_; \
})

size_t scatter_not_finite(const void *values, enum dtype type, size_t n)
{
	switch (type) {
	case DTYPE_F64: return NOT_FINITE(uint64_t, 0x7ff0000000000000u);
	case DTYPE_F32: return NOT_FINITE(uint32_t, 0x7f800000u);
	case DTYPE_BF16: return NOT_FINITE(uint16_t, 0x7f80u);
	case DTYPE_F16: return NOT_FINITE(uint16_t, 0x7c00u);
	case DTYPE_F8E4M3: return NOT_FINITE(uint8_t, 0x7fu);
	default: return n;
	}
}
