#include "compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compare_cell.h"
#include "io.h"
#include "memory.h"
#include "unit.h"

enum {
	CELL = COMPARE_CELL,    /* transposed: a tile of TILE by TILE */
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
	struct compare_memory memory;
};

struct comparer {
	struct workers *workers;
	struct compare_means means;
	struct bench *bench;            /* (threads) */
	struct task *task;              /* (QUEUE) */
	size_t n_tasks, n_cells;
};

struct comparer *comparer_open(struct workers *w, const struct compare_rules *rules, struct error *e)
{
	struct bf16_products unused;
	const struct unit *unit = unit_choose(&unused, e);
	if (!unit)
		return NULL;
	struct comparer *c = mem_zero(1, sizeof *c);
	*c = (struct comparer){ .workers = w, .means = { *rules, unit, compare_loops(unit) } };
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
			const struct compare_cell cell = { at_a + at * dtype_size(p->a.type), at_b + at * dtype_size(p->b.type), m, m,
				                   p->first + from + i + at, 0 };
			compare_cell(&c->means, &b->memory, p, &t->found, &cell, s + n_cells);
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
		dtype_convert(b->memory.wide[0], DTYPE_F64, from, s->type, n);
		for (size_t k = 0; k < n; k++) {
			double v;
			memcpy(&v, b->memory.wide[0] + k * sizeof v, sizeof v);
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
			const struct compare_cell cell = { b->raw[0], b->raw[1], n_rows * n_columns, n_columns,
				                   p->first + row * p->width + column, p->width };
			compare_cell(&c->means, &b->memory, p, &t->found, &cell, t->sums + n_cells);
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
