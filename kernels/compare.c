#include "compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "compare_sums.h"
#include "memory.h"

enum {
	CELL = 8192,            /* elements summed at a time, and, transposed, a tile of TILE by TILE */
	TILE = 64,
	TASK_CELLS = 64,
	QUEUE = 1024,           /* tasks in line before they are run */
	QUEUE_CELLS = 1 << 18,
	AHEAD = 32              /* tasks whose pages are asked for before their turn */
};

struct task {
	struct compare_pair pair;
	struct comparison found;
	struct compare_sums *sums; /* (n_cells) */
	size_t n_cells;
};

/* One thread's memory. */
struct bench {
	char raw[2][CELL * 8];          /* gathered tiles */
	char wide[2][CELL * 8];         /* f32, or f64 */
	char narrow[2][CELL * 8];       /* the narrower of the two types */
	uint32_t steps[CELL];
};

struct comparer {
	struct workers *workers;
	struct compare_rules rules;
	const struct compare_loops *loops;
	struct bench *bench;            /* (threads) */
	struct task *task;              /* (QUEUE) */
	size_t n_tasks, n_cells;
	size_t page;
};

/* A run of elements: i-th element's index is first + i / row * pitch + i % row. */
struct cell {
	const char *a, *b;
	size_t n, row;
	uint64_t first, pitch;
};

struct comparer *comparer_open(struct workers *w, const struct compare_rules *rules)
{
	struct comparer *c = mem_zero(1, sizeof *c);
	*c = (struct comparer){ .workers = w, .rules = *rules, .loops = compare_loops() };
	c->bench = mem_zero(workers_count(w), sizeof *c->bench);
	c->task = mem_zero(QUEUE, sizeof *c->task);
	c->page = (size_t)sysconf(_SC_PAGESIZE);
	return c;
}

void comparer_close(struct comparer *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n_tasks; i++)
		free(c->task[i].sums);
	free(c->bench);
	free(c->task);
	free(c);
}

/* -------- elements */

/* Bits of significand; integers are exact. */
static int precision(enum dtype type)
{
	static const int bits[DTYPE_COUNT] = {
		[DTYPE_F64] = 53, [DTYPE_F32] = 24, [DTYPE_F16] = 11, [DTYPE_BF16] = 8, [DTYPE_F8E4M3] = 4,
		[DTYPE_I32] = 64, [DTYPE_U32] = 64, [DTYPE_U8] = 64,
	};
	return bits[type];
}

static bool fits_f32(enum dtype type)
{
	return dtype_is_float(type) && type != DTYPE_F64;
}

/* Numbers in the order of the values that the bits stand for, a step apart for neighbours; +0 and -0 are both 0. */
static int64_t key(const char *values, enum dtype type, size_t i)
{
	uint64_t u64;
	uint32_t u32;
	int32_t i32;
	switch (type) {
	case DTYPE_F64:
		memcpy(&u64, values + i * 8, 8);
		return u64 >> 63 ? -(int64_t)(u64 & INT64_MAX) : (int64_t)u64;
	case DTYPE_I32:
		memcpy(&i32, values + i * 4, 4);
		return i32;
	case DTYPE_U32:
		memcpy(&u32, values + i * 4, 4);
		return u32;
	case DTYPE_F8E4M3:
		return (uint8_t)values[i] >> 7 ? -(int64_t)(values[i] & INT8_MAX) : values[i];
	default:
		return (uint8_t)values[i];
	}
}

/* Four tables, so that a count needn't wait for the one before it. */
static void count_steps(struct comparison *found, const uint32_t *steps, size_t n)
{
	uint32_t count[4][33] = { { 0 } };
	for (size_t i = 0; i < n; i++)
		count[i % 4][steps[i] ? 32 - __builtin_clz(steps[i]) : 0]++;
	for (int k = 0; k < 33; k++)
		found->ulp[k] += count[0][k] + count[1][k] + count[2][k] + count[3][k];
}

/* How many numbers of the narrower type lie between a and b, of n pairs of finite values; n_same of them have equal bits. */
static void count_ulps(const struct comparer *c, struct bench *b, struct comparison *found, const char *const keys[2],
                       enum dtype type, size_t n, uint64_t n_same)
{
	found->ulp[0] -= n_same;
	if (type == DTYPE_F32 || type == DTYPE_BF16 || type == DTYPE_F16) {
		(type == DTYPE_F32 ? c->loops->steps_f32 : c->loops->steps_16)(b->steps, keys[0], keys[1], n);
		count_steps(found, b->steps, n);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		int64_t x = key(keys[0], type, i), y = key(keys[1], type, i);
		uint64_t d = x > y ? (uint64_t)x - (uint64_t)y : (uint64_t)y - (uint64_t)x;
		found->ulp[d ? 64 - __builtin_clzll(d) : 0]++;
	}
}

static double value(const char *wide, bool f32, size_t i)
{
	float f;
	double d;
	if (f32) {
		memcpy(&f, wide + i * 4, 4);
		return (double)f;
	}
	memcpy(&d, wide + i * 8, 8);
	return d;
}

static bool close_enough(const struct compare_rules *r, double a, double b)
{
	if (!r->tolerant)
		return false;
	return a == b || (isnan(a) && isnan(b)) || (isfinite(a) && isfinite(b) && fabs(a - b) <= r->atol + r->rtol * fabs(a));
}

/* Keeps the largest differences of a cell.  Few cells have one that is larger than those of the cells before. */
static void keep_places(const struct comparer *c, struct comparison *found, const struct cell *cell,
                        const char *const wide[2], bool f32)
{
	size_t size = f32 ? 4 : 8;
	for (size_t i = 0; i < cell->n; i++) {
		double a = value(wide[0], f32, i), b = value(wide[1], f32, i);
		double d = isfinite(a) && isfinite(b) ? fabs(a - b) : INFINITY;
		if (found->n_places == COMPARISON_PLACES && d < found->place[COMPARISON_PLACES - 1].difference)
			continue;
		struct place p = { .difference = d, .a = a, .b = b,
		                   .index = cell->first + i / cell->row * cell->pitch + i % cell->row };
		if (comparison_wants(found, d, p.index) && memcmp(wide[0] + i * size, wide[1] + i * size, size) != 0 &&
		    !close_enough(&c->rules, a, b))
			comparison_place(found, &p);
	}
}

/*
 * Tells what isn't finite, and puts zeros (of the narrower type: equal ones) in the place of pairs in which something isn't.
 * How many pairs.
 */
static size_t drop_unusual(const struct comparer *c, struct comparison *found, char *const wide[2], bool f32, size_t n,
                           uint64_t *n_same)
{
	size_t size = f32 ? 4 : 8, dropped = 0;
	for (size_t i = 0; i < n; i++) {
		double v[2] = { value(wide[0], f32, i), value(wide[1], f32, i) };
		if (isfinite(v[0]) && isfinite(v[1]))
			continue;
		bool same = memcmp(wide[0] + i * size, wide[1] + i * size, size) == 0;
		bool out = !same && !close_enough(&c->rules, v[0], v[1]);
		*n_same += same;
		found->outside += out;
		found->max = out ? INFINITY : found->max;
		dropped++;
		for (int side = 0; side < 2; side++) {
			found->nan[side] += isnan(v[side]);
			found->inf[side] += isinf(v[side]) != 0;
			memset(wide[side] + i * size, 0, size);
		}
	}
	return dropped;
}

/* -------- cells */

static void widen(struct bench *b, const struct compare_pair *p, const struct cell *cell, bool f32)
{
	enum dtype to = f32 ? DTYPE_F32 : DTYPE_F64;
	dtype_convert(b->wide[0], to, cell->a, p->type_a, cell->n);
	dtype_convert(b->wide[1], to, cell->b, p->type_b, cell->n);
}

/* The values in the narrower type: as they are, or rounded to it.  From the wide ones, where these have been changed. */
static enum dtype narrow_to(struct bench *b, const struct compare_pair *p, const struct cell *cell, bool f32, bool changed,
                            const char *keys[2])
{
	enum dtype narrow = precision(p->type_b) < precision(p->type_a) ? p->type_b : p->type_a;
	enum dtype wide = f32 ? DTYPE_F32 : DTYPE_F64;
	const enum dtype type[] = { p->type_a, p->type_b };
	const char *from[] = { cell->a, cell->b };
	for (int side = 0; side < 2; side++) {
		keys[side] = from[side];
		if (changed || type[side] != narrow) {
			dtype_convert(b->narrow[side], narrow, b->wide[side], wide, cell->n);
			keys[side] = b->narrow[side];
		}
	}
	return narrow;
}

/* Equal bytes of one type need but one sum, and are read once.  False: they aren't equal, or not finite. */
static bool equal_cell(const struct comparer *c, struct bench *b, const struct compare_pair *p, const struct cell *cell,
                       struct compare_sums *s)
{
	size_t len = cell->n * dtype_size(p->type_a);
	bool same;
	/* Where all differs, a few bytes say so. */
	if (p->type_a != p->type_b || memcmp(cell->a, cell->b, len < 64 ? len : 64) != 0)
		return false;
	switch (p->type_a) {
	case DTYPE_F32:
		same = c->loops->equal_f32(cell->a, cell->b, cell->n, s);
		break;
	case DTYPE_BF16:
		same = c->loops->equal_bf16(cell->a, cell->b, cell->n, s);
		break;
	case DTYPE_F64:
		same = c->loops->equal_f64(cell->a, cell->b, cell->n, s);
		break;
	default:
		if (memcmp(cell->a, cell->b, len) != 0)
			return false;
		dtype_convert(b->wide[0], DTYPE_F64, cell->a, p->type_a, cell->n);
		same = c->loops->equal_f64(b->wide[0], b->wide[0], cell->n, s);
	}
	return same && isfinite(s->aa);
}

static void compare_cell(const struct comparer *c, struct bench *b, const struct compare_pair *p,
                         struct comparison *found, const struct cell *cell, struct compare_sums *s)
{
	found->n += cell->n;
	found->n_finite += cell->n;
	if (equal_cell(c, b, p, cell, s)) {
		found->identical += cell->n;
		return;
	}
	bool f32 = fits_f32(p->type_a) && fits_f32(p->type_b), finite = true;
	double atol = c->rules.tolerant ? c->rules.atol : -1, rtol = c->rules.tolerant ? c->rules.rtol : 0;
	char *const wide[2] = { b->wide[0], b->wide[1] };
	const char *const seen[2] = { b->wide[0], b->wide[1] };
	const char *keys[2];
	struct compare_counts counts = { 0 };
	uint64_t n_same = 0;
	size_t dropped = 0;
	widen(b, p, cell, f32);
	(f32 ? c->loops->two_f32 : c->loops->two_f64)(wide[0], wide[1], cell->n, atol, rtol, s, &counts);
	if (!isfinite(s->aa) || !isfinite(s->bb)) {
		keep_places(c, found, cell, seen, f32);
		dropped = drop_unusual(c, found, wide, f32, cell->n, &n_same);
		finite = false;
		(f32 ? c->loops->two_f32 : c->loops->two_f64)(wide[0], wide[1], cell->n, atol, rtol, s, &counts);
	}
	found->n_finite -= dropped;
	found->identical += counts.same - dropped + n_same;
	found->outside += counts.outside;
	if (finite && counts.outside && comparison_wants(found, counts.max, cell->first))
		keep_places(c, found, cell, seen, f32);
	found->max = counts.max > found->max ? counts.max : found->max;
	enum dtype narrow = narrow_to(b, p, cell, f32, !finite, keys);
	count_ulps(c, b, found, keys, narrow, cell->n, counts.same);
}

/* The elements from first on, of n that are one after another. */
static size_t compare_run(const struct comparer *c, struct bench *b, struct task *t, size_t from, size_t n,
                          struct compare_sums *s)
{
	const struct compare_pair *p = &t->pair;
	size_t n_cells = 0;
	for (size_t i = from; i < from + n; i += CELL, n_cells++) {
		size_t k = from + n - i < CELL ? from + n - i : CELL;
		const struct cell cell = { (const char *)p->a + i * dtype_size(p->type_a),
			                   (const char *)p->b + i * dtype_size(p->type_b), k, k, p->first + i, 0 };
		compare_cell(c, b, p, &t->found, &cell, s + n_cells);
	}
	return n_cells;
}

/* -------- rows */

/* NaN counts as the largest, as NumPy has it; ties to the first. */
static size_t argmax(struct bench *b, const char *row, enum dtype type, size_t width)
{
	double best = -INFINITY;
	size_t at = 0;
	for (size_t i = 0; i < width; i += CELL) {
		size_t n = width - i < CELL ? width - i : CELL;
		dtype_convert(b->wide[0], DTYPE_F64, row + i * dtype_size(type), type, n);
		for (size_t k = 0; k < n; k++) {
			double v = value(b->wide[0], false, k);
			if (v > best || (isnan(v) && !isnan(best))) {
				best = v;
				at = i + k;
			}
		}
	}
	return at;
}

static void compare_rows(const struct comparer *c, struct bench *b, struct task *t)
{
	const struct compare_pair *p = &t->pair;
	struct compare_sums *s = t->sums;
	for (size_t r = 0; r < p->n_rows; r++) {
		uint64_t same = t->found.identical;
		s += compare_run(c, b, t, r * p->width, p->width, s);
		if (!p->argmax)
			continue;
		t->found.n_rows++;
		size_t at = r * p->width;
		t->found.argmax_same += t->found.identical - same == p->width ||
			argmax(b, (const char *)p->a + at * dtype_size(p->type_a), p->type_a, p->width) ==
			argmax(b, (const char *)p->b + at * dtype_size(p->type_b), p->type_b, p->width);
	}
}

/* Gathers b's columns into the order of A's rows. */
static void gather(struct bench *b, const struct compare_pair *p, size_t n_all, size_t row, size_t column, size_t n_rows,
                   size_t n_columns)
{
	size_t size_a = dtype_size(p->type_a), size_b = dtype_size(p->type_b);
	for (size_t r = 0; r < n_rows; r++)
		memcpy(b->raw[0] + r * n_columns * size_a, (const char *)p->a + ((row + r) * p->width + column) * size_a,
		       n_columns * size_a);
	for (size_t k = 0; k < n_columns; k++) {
		const char *from = (const char *)p->b + ((column + k) * n_all + row) * size_b;
		char *to = b->raw[1] + k * size_b;
		for (size_t r = 0; r < n_rows; r++, to += n_columns * size_b, from += size_b)
			/* Sizes that the compiler knows are moves. */
			switch (size_b) {
			case 2:
				memcpy(to, from, 2);
				break;
			case 4:
				memcpy(to, from, 4);
				break;
			default:
				memcpy(to, from, size_b);
			}
	}
}

/* A task has n_rows of n_all rows, from p->first on; b is (width, n_all). */
static void compare_transposed(const struct comparer *c, struct bench *b, struct task *t, size_t n_all)
{
	const struct compare_pair *p = &t->pair;
	size_t n_cells = 0;
	for (size_t row = 0; row < p->n_rows; row += TILE) {
		size_t n_rows = p->n_rows - row < TILE ? p->n_rows - row : TILE;
		for (size_t column = 0; column < p->width; column += TILE, n_cells++) {
			size_t n_columns = p->width - column < TILE ? p->width - column : TILE;
			gather(b, p, n_all, row, column, n_rows, n_columns);
			const struct cell cell = { b->raw[0], b->raw[1], n_rows * n_columns, n_columns,
				                   p->first + row * p->width + column, p->width };
			compare_cell(c, b, p, &t->found, &cell, t->sums + n_cells);
		}
	}
}

/* -------- tasks */

/* MADV_WILLNEED begins to read what isn't in memory; MADV_POPULATE_READ maps many pages for the price of one. */
static void advise(const struct comparer *c, const struct task *t, int advice)
{
	const struct compare_pair *p = &t->pair;
	const void *side[] = { p->a, p->b };
	const enum dtype type[] = { p->type_a, p->type_b };
	for (int i = 0; i < 2 && p->mapped && !p->transposed; i++) {
		uintptr_t from = (uintptr_t)side[i] / c->page * c->page;
		size_t len = (uintptr_t)side[i] + p->n_rows * p->width * dtype_size(type[i]) - from;
		unsigned char there = 0;
		if (advice == MADV_WILLNEED && (mincore((void *)from, c->page, &there) < 0 || there & 1))
			continue;
		(void)madvise((void *)from, len, advice);
	}
}

static void run_task(void *argument, size_t i, size_t slot)
{
	struct comparer *c = argument;
	struct task *t = &c->task[i];
	if (i + AHEAD < c->n_tasks)
		advise(c, &c->task[i + AHEAD], MADV_WILLNEED);
#ifdef MADV_POPULATE_READ
	advise(c, t, MADV_POPULATE_READ);
#endif
	if (t->pair.transposed)
		compare_transposed(c, &c->bench[slot], t, (size_t)t->pair.position);
	else if (t->pair.by_rows)
		compare_rows(c, &c->bench[slot], t);
	else
		compare_run(c, &c->bench[slot], t, 0, t->pair.n_rows * t->pair.width, t->sums);
}

/* Puts a task's findings to those before it. */
static void fold(struct task *t)
{
	const struct compare_pair *p = &t->pair;
	struct comparison *into = p->into;
	for (size_t k = 0; k < t->n_cells; k++) {
		tally_add(&into->aa, t->sums[k].aa, 0);
		tally_add(&into->bb, t->sums[k].bb, 0);
		tally_add(&into->ab, t->sums[k].ab, 0);
		tally_add(&into->dd, t->sums[k].dd, 0);
	}
	for (size_t k = 0; k < t->found.n_places; k++) {
		struct place *at = &t->found.place[k];
		if (p->id.p && comparison_wants(into, at->difference, at->index)) {
			at->id = mem_slice(p->id.p, p->id.len);
			at->position = p->position + (at->index - p->first) / p->width;
			at->column = (at->index - p->first) % p->width;
		}
	}
	comparison_add(into, &t->found);
	free(t->sums);
}

void comparer_flush(struct comparer *c)
{
	for (size_t i = 0; i < c->n_tasks && i < AHEAD; i++)
		advise(c, &c->task[i], MADV_WILLNEED);
	workers_run(c->workers, c->n_tasks, run_task, c);
	for (size_t i = 0; i < c->n_tasks; i++)
		fold(&c->task[i]);
	c->n_tasks = c->n_cells = 0;
}

static size_t parts(size_t n, size_t of)
{
	return n / of + (n % of != 0);
}

static size_t cells_of(const struct compare_pair *p)
{
	if (p->transposed)
		return parts(p->n_rows, TILE) * parts(p->width, TILE);
	return p->by_rows ? p->n_rows * parts(p->width, CELL) : parts(p->n_rows * p->width, CELL);
}

static void add_task(struct comparer *c, const struct compare_pair *p)
{
	size_t n = cells_of(p);
	if (!n && !p->n_rows)
		return;
	struct task *t = &c->task[c->n_tasks++];
	*t = (struct task){ .pair = *p, .n_cells = n, .sums = mem_zero(n ? n : 1, sizeof *t->sums) };
	c->n_cells += n;
	if (c->n_tasks == QUEUE || c->n_cells >= QUEUE_CELLS)
		comparer_flush(c);
}

void comparer_add(struct comparer *c, const struct compare_pair *p)
{
	struct compare_pair part = *p;
	size_t size_a = dtype_size(p->type_a), size_b = dtype_size(p->type_b);
	size_t step = p->by_rows ? TASK_CELLS * CELL / (p->width + CELL / TASK_CELLS) : p->transposed ? TILE : 0;
	if (!step && !p->by_rows && !p->transposed) {
		part.width = p->n_rows * p->width;
		part.n_rows = 1;
		for (size_t i = 0, n = part.width; i < n; i += TASK_CELLS * CELL) {
			part.width = n - i < TASK_CELLS * CELL ? n - i : TASK_CELLS * CELL;
			part.a = (const char *)p->a + i * size_a;
			part.b = (const char *)p->b + i * size_b;
			part.first = p->first + i;
			add_task(c, &part);
		}
		return;
	}
	step = step ? step : 1;
	for (size_t i = 0; i < p->n_rows; i += step) {
		part.n_rows = p->n_rows - i < step ? p->n_rows - i : step;
		part.a = (const char *)p->a + i * p->width * size_a;
		part.b = (const char *)p->b + i * (p->transposed ? 1 : p->width) * size_b;
		part.first = p->first + i * p->width;
		/* Nobody asks for the positions of a transposed tensor: its number of rows stands there. */
		part.position = p->transposed ? p->n_rows : p->position + i;
		add_task(c, &part);
	}
}
