#include "compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compare_sums.h"
#include "io.h"
#include "memory.h"

enum {
	CELL = 8192,            /* elements summed at a time, and, transposed, a tile of TILE by TILE */
	TILE = 64,
	TASK_CELLS = 64,
	QUEUE = 1024,           /* tasks in line before they are run */
	QUEUE_CELLS = 1 << 18,
	AHEAD = 32,             /* tasks whose bytes are asked for before their turn */
	PIECE_LEN = 1 << 17     /* bytes of a side read at a time: both stay in the cache of a core */
};

struct task {
	struct compare_pair pair;
	struct comparison found;
	struct compare_sums *sums; /* (n_cells) */
	size_t n_cells;
	struct error *error;    /* why it couldn't be done; owned; NULL: it was */
};

/* One thread's memory. */
struct bench {
	char piece[2][PIECE_LEN];       /* of files */
	char raw[2][CELL * 8];          /* gathered tiles */
	char wide[2][COMPARE_BLOCK * 8]; /* f32, or f64 */
	char narrow[2][COMPARE_BLOCK * 8]; /* the narrower of the two types */
};

struct comparer {
	struct workers *workers;
	struct compare_rules rules;
	const struct compare_loops *loops;
	struct bench *bench;            /* (threads) */
	struct task *task;              /* (QUEUE) */
	size_t n_tasks, n_cells;
};

/* A run of elements: i-th element's index is first + i / row * pitch + i % row. */
struct cell {
	const char *a, *b;
	size_t n, row;
	uint64_t first, pitch;
};

/* Up to COMPARE_BLOCK elements of a cell, from `from` on. */
struct block {
	const struct cell *cell;
	const char *a, *b;
	size_t from, n;
	const char *wide[2];    /* both in f32, or in f64 */
	bool f32;
};

struct comparer *comparer_open(struct workers *w, const struct compare_rules *rules)
{
	struct comparer *c = mem_zero(1, sizeof *c);
	*c = (struct comparer){ .workers = w, .rules = *rules, .loops = compare_loops() };
	c->bench = mem_zero(workers_count(w), sizeof *c->bench);
	c->task = mem_zero(QUEUE, sizeof *c->task);
	return c;
}

void comparer_close(struct comparer *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n_tasks; i++) {
		free(c->task[i].sums);
		free(c->task[i].error);
	}
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

/* How many numbers of the narrower type lie between a and b, of n pairs of finite values; n_same of them have equal bits. */
static void count_ulps(const struct comparer *c, struct comparison *found, const char *const keys[2], enum dtype type,
                       size_t n, uint64_t n_same)
{
	found->ulp[0] -= n_same;
	if (type == DTYPE_F32 || type == DTYPE_BF16 || type == DTYPE_F16) {
		(type == DTYPE_F32 ? c->loops->ulps_f32 : c->loops->ulps_16)(found->ulp, keys[0], keys[1], n);
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

/* Keeps the largest differences of a block.  Few blocks have one that is larger than those before. */
static void keep_places(const struct comparer *c, struct comparison *found, const struct block *k)
{
	const struct cell *cell = k->cell;
	size_t size = k->f32 ? 4 : 8;
	for (size_t i = 0; i < k->n; i++) {
		double a = value(k->wide[0], k->f32, i), b = value(k->wide[1], k->f32, i);
		double d = isfinite(a) && isfinite(b) ? fabs(a - b) : INFINITY;
		if (found->n_places == COMPARISON_PLACES && d < found->place[COMPARISON_PLACES - 1].difference)
			continue;
		size_t at = k->from + i;
		struct place p = { .difference = d, .a = a, .b = b,
		                   .index = cell->first + at / cell->row * cell->pitch + at % cell->row };
		if (comparison_wants(found, d, p.index) && memcmp(k->wide[0] + i * size, k->wide[1] + i * size, size) != 0 &&
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

static const char *widen(char *to, const char *from, enum dtype type, bool f32, size_t n)
{
	enum dtype wide = f32 ? DTYPE_F32 : DTYPE_F64;
	if (type == wide)
		return from;
	dtype_convert(to, wide, from, type, n);
	return to;
}

/* The values in the narrower type: as they are, or rounded to it.  From the wide ones, where these have been changed. */
static enum dtype narrow_to(struct bench *b, const struct compare_pair *p, const struct block *k, bool changed,
                            const char *keys[2])
{
	const enum dtype type[] = { p->a.type, p->b.type }, wide = k->f32 ? DTYPE_F32 : DTYPE_F64;
	enum dtype narrow = precision(type[1]) < precision(type[0]) ? type[1] : type[0];
	const char *from[] = { k->a, k->b };
	for (int side = 0; side < 2; side++) {
		keys[side] = from[side];
		if (changed || type[side] != narrow) {
			dtype_convert(b->narrow[side], narrow, k->wide[side], wide, k->n);
			keys[side] = b->narrow[side];
		}
	}
	return narrow;
}

/* Equal bytes of one type need but one sum, and are read once.  False: they aren't equal, or not finite. */
static bool equal_block(const struct comparer *c, struct bench *b, enum dtype type, const struct block *k,
                        struct compare_sums *s)
{
	size_t len = k->n * dtype_size(type);
	double aa = 0;
	bool same;
	/* Where all differs, a few bytes say so. */
	if (memcmp(k->a, k->b, len < 64 ? len : 64) != 0)
		return false;
	switch (type) {
	case DTYPE_F32:
		same = c->loops->equal_f32(k->a, k->b, k->n, &aa);
		break;
	case DTYPE_BF16:
		same = c->loops->equal_bf16(k->a, k->b, k->n, &aa);
		break;
	case DTYPE_F64:
		same = c->loops->equal_f64(k->a, k->b, k->n, &aa);
		break;
	default:
		if (memcmp(k->a, k->b, len) != 0)
			return false;
		dtype_convert(b->wide[0], DTYPE_F64, k->a, type, k->n);
		same = c->loops->equal_f64(b->wide[0], b->wide[0], k->n, &aa);
	}
	*s = (struct compare_sums){ aa, aa, aa, 0 };
	return same && isfinite(aa);
}

static void compare_block(const struct comparer *c, struct bench *b, const struct compare_pair *p,
                          struct comparison *found, struct block *k, struct compare_sums *s)
{
	void (*two)(const void *, const void *, size_t, double, double, double, struct compare_sums *, struct compare_counts *) =
		k->f32 ? c->loops->two_f32 : c->loops->two_f64;
	double atol = c->rules.tolerant ? c->rules.atol : -1, rtol = c->rules.tolerant ? c->rules.rtol : 0;
	/* What a difference has to reach to be told: with fewer places than there could be, any will do. */
	double known = found->n_places == COMPARISON_PLACES ? found->place[COMPARISON_PLACES - 1].difference : 0;
	struct compare_counts counts;
	uint64_t n_same = 0;
	size_t dropped = 0;
	bool finite;
	k->wide[0] = widen(b->wide[0], k->a, p->a.type, k->f32, k->n);
	k->wide[1] = widen(b->wide[1], k->b, p->b.type, k->f32, k->n);
	two(k->wide[0], k->wide[1], k->n, atol, rtol, known, s, &counts);
	finite = isfinite(s->aa) && isfinite(s->bb);
	if (!finite) {
		keep_places(c, found, k);
		for (int side = 0; side < 2; side++)
			if (k->wide[side] != b->wide[side])
				memcpy(b->wide[side], k->wide[side], k->n * (k->f32 ? 4 : 8));
		k->wide[0] = b->wide[0];
		k->wide[1] = b->wide[1];
		dropped = drop_unusual(c, found, (char *const[]){ b->wide[0], b->wide[1] }, k->f32, k->n, &n_same);
		two(k->wide[0], k->wide[1], k->n, atol, rtol, 0, s, &counts);
	}
	found->n_finite -= dropped;
	found->identical += counts.same - dropped + n_same;
	found->outside += counts.outside;
	if (finite && counts.outside && comparison_wants(found, counts.max, k->cell->first))
		keep_places(c, found, k);
	found->max = counts.max > found->max ? counts.max : found->max;
	const char *keys[2];
	enum dtype narrow = narrow_to(b, p, k, !finite, keys);
	count_ulps(c, found, keys, narrow, k->n, counts.same);
}

static void compare_cell(const struct comparer *c, struct bench *b, const struct compare_pair *p,
                         struct comparison *found, const struct cell *cell, struct compare_sums *s)
{
	size_t size_a = dtype_size(p->a.type), size_b = dtype_size(p->b.type);
	*s = (struct compare_sums){ 0 };
	found->n += cell->n;
	found->n_finite += cell->n;
	for (size_t from = 0; from < cell->n; from += COMPARE_BLOCK) {
		struct block k = { .cell = cell, .a = cell->a + from * size_a, .b = cell->b + from * size_b, .from = from,
			           .n = cell->n - from < COMPARE_BLOCK ? cell->n - from : COMPARE_BLOCK,
			           .f32 = fits_f32(p->a.type) && fits_f32(p->b.type) };
		struct compare_sums part;
		if (p->a.type == p->b.type && equal_block(c, b, p->a.type, &k, &part))
			found->identical += k.n;
		else
			compare_block(c, b, p, found, &k, &part);
		s->aa += part.aa;
		s->bb += part.bb;
		s->ab += part.ab;
		s->dd += part.dd;
	}
}

/* -------- pieces */

/* Whether the elements are there; if not, the task has an error. */
static bool read_side(struct task *t, void *to, const struct compare_side *s, size_t first, size_t n)
{
	struct error e;
	size_t size = dtype_size(s->type);
	if (io_read_at(s->fd, to, n * size, s->offset + (uint64_t)first * size, s->name, &e) == 0)
		return true;
	t->error = mem_alloc(sizeof *t->error);
	*t->error = e;
	return false;
}

/* Elements of a side, in memory or read into `piece`; NULL: they can't be read. */
static const char *piece_of(struct task *t, char *piece, const struct compare_side *s, size_t first, size_t n)
{
	if (s->p)
		return (const char *)s->p + first * dtype_size(s->type);
	return read_side(t, piece, s, first, n) ? piece : NULL;
}

/* How many elements are read at a time: whole cells. */
static size_t piece_size(const struct compare_pair *p)
{
	size_t a = dtype_size(p->a.type), b = dtype_size(p->b.type);
	return PIECE_LEN / ((a > b ? a : b) * CELL) * CELL;
}

/* The elements from `from` on, of n that are one after another.  How many cells they were. */
static size_t compare_run(const struct comparer *c, struct bench *b, struct task *t, size_t from, size_t n,
                          struct compare_sums *s)
{
	const struct compare_pair *p = &t->pair;
	size_t n_cells = 0, piece = piece_size(p);
	for (size_t i = 0; i < n; i += piece) {
		size_t k = n - i < piece ? n - i : piece;
		const char *at_a = piece_of(t, b->piece[0], &p->a, from + i, k);
		const char *at_b = at_a ? piece_of(t, b->piece[1], &p->b, from + i, k) : NULL;
		if (!at_b)
			return n_cells;
		for (size_t at = 0; at < k; at += CELL, n_cells++) {
			size_t m = k - at < CELL ? k - at : CELL;
			const struct cell cell = { at_a + at * dtype_size(p->a.type), at_b + at * dtype_size(p->b.type), m, m,
				                   p->first + from + i + at, 0 };
			compare_cell(c, b, p, &t->found, &cell, s + n_cells);
		}
	}
	return n_cells;
}

/* -------- rows */

/* NaN counts as the largest, as NumPy has it; ties to the first. */
static size_t argmax(struct bench *b, struct task *t, const struct compare_side *s, size_t row, size_t width)
{
	double best = -INFINITY;
	size_t at = 0;
	for (size_t i = 0; i < width; i += COMPARE_BLOCK) {
		size_t n = width - i < COMPARE_BLOCK ? width - i : COMPARE_BLOCK;
		const char *from = piece_of(t, b->piece[0], s, row * width + i, n);
		if (!from)
			return 0;
		dtype_convert(b->wide[0], DTYPE_F64, from, s->type, n);
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
	for (size_t r = 0; r < p->n_rows && !t->error; r++) {
		uint64_t same = t->found.identical;
		s += compare_run(c, b, t, r * p->width, p->width, s);
		if (!p->argmax)
			continue;
		t->found.n_rows++;
		t->found.argmax_same += t->found.identical - same == p->width ||
			argmax(b, t, &p->a, r, p->width) == argmax(b, t, &p->b, r, p->width);
	}
}

/* Gathers b's columns into the order of A's rows. */
static void gather(struct bench *b, struct task *t, size_t n_all, size_t row, size_t column, size_t n_rows, size_t n_columns)
{
	const struct compare_pair *p = &t->pair;
	size_t size_a = dtype_size(p->a.type), size_b = dtype_size(p->b.type);
	const char *from;
	for (size_t r = 0; r < n_rows; r++)
		if ((from = piece_of(t, b->piece[0], &p->a, (row + r) * p->width + column, n_columns)))
			memcpy(b->raw[0] + r * n_columns * size_a, from, n_columns * size_a);
	for (size_t k = 0; k < n_columns && !t->error; k++) {
		char *to = b->raw[1] + k * size_b;
		if (!(from = piece_of(t, b->piece[1], &p->b, (column + k) * n_all + row, n_rows)))
			return;
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
			gather(b, t, n_all, row, column, n_rows, n_columns);
			if (t->error)
				return;
			const struct cell cell = { b->raw[0], b->raw[1], n_rows * n_columns, n_columns,
				                   p->first + row * p->width + column, p->width };
			compare_cell(c, b, p, &t->found, &cell, t->sums + n_cells);
		}
	}
}

/* -------- tasks */

/* Asks for a task's bytes before their turn, where they are one after another in files. */
static void ask(const struct task *t)
{
	const struct compare_pair *p = &t->pair;
	const struct compare_side *side[] = { &p->a, &p->b };
	for (int i = 0; i < 2; i++)
		if (!side[i]->p && !(p->transposed && i == 1))
			io_will_need(side[i]->fd, side[i]->offset, p->n_rows * p->width * dtype_size(side[i]->type));
}

static void run_task(void *argument, size_t i, size_t slot)
{
	struct comparer *c = argument;
	struct task *t = &c->task[i];
	if (i + AHEAD < c->n_tasks)
		ask(&c->task[i + AHEAD]);
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
}

int comparer_flush(struct comparer *c, struct error *e)
{
	int rc = 0;
	for (size_t i = 0; i < c->n_tasks && i < AHEAD; i++)
		ask(&c->task[i]);
	workers_run(c->workers, c->n_tasks, run_task, c);
	for (size_t i = 0; i < c->n_tasks; i++) {
		struct task *t = &c->task[i];
		if (rc == 0 && t->error) {
			*e = *t->error;
			rc = -1;
		}
		if (rc == 0)
			fold(t);
		free(t->sums);
		free(t->error);
	}
	c->n_tasks = c->n_cells = 0;
	return rc;
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

static int add_task(struct comparer *c, const struct compare_pair *p, struct error *e)
{
	size_t n = cells_of(p);
	if (!n && !p->n_rows)
		return 0;
	struct task *t = &c->task[c->n_tasks++];
	*t = (struct task){ .pair = *p, .n_cells = n, .sums = mem_zero(n ? n : 1, sizeof *t->sums) };
	c->n_cells += n;
	return c->n_tasks == QUEUE || c->n_cells >= QUEUE_CELLS ? comparer_flush(c, e) : 0;
}

static struct compare_side from_element(const struct compare_side *s, size_t first)
{
	struct compare_side later = *s;
	later.p = s->p ? (const char *)s->p + first * dtype_size(s->type) : NULL;
	later.offset += (uint64_t)first * dtype_size(s->type);
	return later;
}

/* Elements one after another, in tasks of equal size. */
static int add_elements(struct comparer *c, const struct compare_pair *p, struct error *e)
{
	struct compare_pair part = *p;
	const size_t n = p->n_rows * p->width, most = TASK_CELLS * CELL;
	int rc = 0;
	part.n_rows = 1;
	for (size_t i = 0; i < n && rc == 0; i += most) {
		part.width = n - i < most ? n - i : most;
		part.a = from_element(&p->a, i);
		part.b = from_element(&p->b, i);
		part.first = p->first + i;
		rc = add_task(c, &part, e);
	}
	return rc;
}

int comparer_add(struct comparer *c, const struct compare_pair *p, struct error *e)
{
	if (!p->by_rows && !p->transposed)
		return add_elements(c, p, e);
	struct compare_pair part = *p;
	size_t step = p->transposed ? TILE : TASK_CELLS * CELL / (p->width + CELL / TASK_CELLS);
	int rc = 0;
	step = step ? step : 1;
	for (size_t i = 0; i < p->n_rows && rc == 0; i += step) {
		part.n_rows = p->n_rows - i < step ? p->n_rows - i : step;
		part.a = from_element(&p->a, i * p->width);
		part.b = from_element(&p->b, i * (p->transposed ? 1 : p->width));
		part.first = p->first + i * p->width;
		/* Nobody asks for the positions of a transposed tensor: its number of rows stands there. */
		part.position = p->transposed ? p->n_rows : p->position + i;
		rc = add_task(c, &part, e);
	}
	return rc;
}
