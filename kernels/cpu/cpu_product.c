#include "cpu.h"

#include <string.h>

/* What becomes of a product's sums. */
enum finish {
	FINISH_ROWS, /* out = sums + bias */
	FINISH_ADD,  /* out += sums + bias */
	FINISH_ACT   /* packed = act(gate) * up, or act(up), of sums + bias */
};

struct job {
	struct device *d;
	const struct operand *a;
	const struct weight *w;
	enum finish finish;
	struct rows out;
	struct gate gate;
	struct operand packed;
	size_t width;         /* columns that tasks share: w->n, or those of up */
	size_t tile, columns; /* rows and columns of a task */
	size_t n_groups;
};

/* Rows r0..r0+rows-1 and columns c0..c1-1 of job->width. */
struct piece {
	const struct job *job;
	size_t r0, rows, c0, c1, slot;
};

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static struct piece piece_of(const struct job *job, size_t i, size_t slot)
{
	const size_t r0 = i / job->n_groups * job->tile;
	const size_t c0 = i % job->n_groups * job->columns;

	return (struct piece){
		job, r0, least(job->tile, job->a->n - r0), c0, least(c0 + job->columns, job->width), slot
	};
}

/* -------- what is done with sums while they are in cache */

/* Row r of the piece: sums of columns c0..c1-1, and where they are a gate's those of up. */
static void finish_row(const struct piece *p, size_t r, float *sums, float *up)
{
	const struct job *job = p->job;
	const struct unit *unit = job->d->unit;
	const float *bias = job->w->bias;
	const size_t n = p->c1 - p->c0;
	struct sink to;

	if (bias)
		unit->add(sums, bias + p->c0, n);
	if (bias && up)
		unit->add(up, bias + job->width + p->c0, n);
	switch (job->finish) {
	case FINISH_ROWS:
		memcpy(rows_at(job->out, r) + p->c0, sums, n * sizeof *sums);
		break;
	case FINISH_ADD:
		unit->add(rows_at(job->out, r) + p->c0, sums, n);
		break;
	case FINISH_ACT:
		to = operand_at(job->d, &job->packed, r);
		to.first = p->c0;
		unit->activate(job->gate.act, up ? sums : NULL, up ? up : sums, n, to);
	}
}

/* -------- our own loops */

/* Floats of a task's sums: with their inputs, they stay in the second-level cache. */
enum { SUMS = 80 << 10, SUMS_COLUMNS = 256, SPREAD_ROWS = 64 };

/* Rows of `from` of the operand times columns c0..c1-1 of the weight; where column c0's sums are. */
static float *multiply(const struct piece *p, size_t r0, size_t rows, size_t c0, size_t c1, float *sums, size_t stride)
{
	const struct job *job = p->job;
	const struct weight *w = job->w;
	const struct multiplier *m = multiplier_of(job->d, w->dtype);
	const struct sink a = operand_at(job->d, job->a, r0);
	const size_t first = c0 / m->lanes * m->lanes;
	const struct multiply product = {
		.a = a.h ? (const void *)a.h : (const void *)a.f,
		.a_stride = operand_stride(job->d, w->k, w->dtype),
		.rows = rows,
		.k = w->k,
		.b = w->data,
		.held = w->dtype,
		.first = first,
		.n = c1 - first,
		.c = sums,
		.c_stride = stride,
		.scratch = job->d->slots[p->slot].scratch,
	};

	m->multiply(&product);
	return sums + (c0 - first);
}

static void own_task(void *argument, size_t i, size_t slot)
{
	const struct job *job = argument;
	const struct piece p = piece_of(job, i, slot);
	const bool gated = job->finish == FINISH_ACT && job->gate.gated;
	const size_t room = (p.c1 - p.c0 + 31) / 16 * 16; /* of columns that begin amid a vector too */
	const size_t stride = ((gated ? 2 * room : room) / 16 | 1) * 16;
	const size_t block = least(SUMS / stride / 32 * 32, multiplier_of(job->d, job->w->dtype)->rows);
	float *sums = job->d->slots[slot].scratch + MULTIPLY_SCRATCH_LEN / sizeof *sums;

	for (size_t r0 = 0; r0 < p.rows; r0 += block) {
		const size_t rows = least(block, p.rows - r0), n = job->width;
		float *up = NULL, *at = multiply(&p, p.r0 + r0, rows, p.c0, p.c1, sums, stride);

		if (gated)
			up = multiply(&p, p.r0 + r0, rows, n + p.c0, n + p.c1, sums + room, stride);
		for (size_t r = 0; r < rows; r++)
			finish_row(&p, p.r0 + r0 + r, at + r * stride, up ? up + r * stride : NULL);
	}
}

/* Few rows: the weight is what has to be read, and all threads read it. */
static size_t columns_of(const struct job *job, const struct multiplier *m)
{
	return job->a->n <= SPREAD_ROWS ? 4 * m->panel : SUMS_COLUMNS / m->panel * m->panel;
}

/* -------- oneDNN */

/* The library sees whole tiles and panels and dense matrices only: what it does, and so the bits,
 * changes with each of these, the distance between rows of the result included. */
static void onednn_task(void *argument, size_t i, size_t slot)
{
	const struct job *job = argument;
	const struct piece p = piece_of(job, i, slot);
	const struct weight *w = job->w;
	const struct matmul_shape shape = { job->tile, p.c1 - p.c0, w->k, DTYPE_BF16 };
	const size_t a_room = (job->tile * w->k * sizeof(uint16_t) + 63) / 64 * 64;
	const size_t c_room = (job->tile * shape.n * sizeof(float) + 63) / 64 * 64;
	char *memory = slot_tile(job->d, slot, a_room + c_room + matmul_scratch_len(job->d->matmuls, &shape));
	const uint16_t *a = (const uint16_t *)job->a->p + p.r0 * w->k, *b = (const uint16_t *)w->data + p.c0 * w->k;
	float *c = (float *)(void *)(memory + a_room);

	if (p.rows < job->tile) {
		memcpy(memory, a, p.rows * w->k * sizeof *a);
		memset(memory + p.rows * w->k * sizeof *a, 0, (job->tile - p.rows) * w->k * sizeof *a);
		a = (const uint16_t *)(void *)memory;
	}
	matmul_run(job->d->matmuls, &shape, a, b, c, memory + a_room + c_room);
	for (size_t r = 0; r < p.rows; r++)
		finish_row(&p, p.r0 + r, c + r * shape.n, NULL);
}

/* -------- the entries */

enum { MATMUL_PANEL = 512 };

/* What is read beside a row's odd last input is zero, not what memory held before. */
static void fill_pairs(const struct job *job)
{
	for (size_t r = 0; r < job->a->n; r++)
		operand_at(job->d, job->a, r).h[job->w->k] = 0;
}

static void run(struct job *job, size_t tile)
{
	const struct multiplier *m = multiplier_of(job->d, job->w->dtype);

	/* Our own loops give the same bits for any tile: larger ones only widen weights less often. */
	job->tile = m ? ROW_TILE : tile;
	job->columns = m ? columns_of(job, m) : MATMUL_PANEL;
	job->n_groups = (job->width + job->columns - 1) / job->columns;
	if (m && m->pair == 2 && job->w->k % 2)
		fill_pairs(job);
	workers_run(job->d->workers, (job->a->n + job->tile - 1) / job->tile * job->n_groups,
	            m ? own_task : onednn_task, job);
}

bool cpu_finishes(const struct device *d)
{
	return !d->matmuls;
}

void cpu_product(struct device *d, const struct operand *a, const struct weight *w, struct rows out, size_t tile)
{
	struct job job = { .d = d, .a = a, .w = w, .finish = FINISH_ROWS, .out = out, .width = w->n };

	run(&job, tile);
}

void cpu_product_add(struct device *d, const struct operand *a, const struct weight *w, struct rows scratch,
                     struct rows into, size_t tile)
{
	struct job job = { .d = d, .a = a, .w = w, .finish = FINISH_ADD, .out = into, .width = w->n };

	(void)scratch;
	run(&job, tile);
}

void cpu_product_act(struct device *d, const struct operand *a, const struct weight *w, const struct gate *gate,
                     struct operand packed, size_t tile)
{
	struct job job = { .d = d, .a = a, .w = w, .finish = FINISH_ACT, .gate = *gate, .packed = packed,
		           .width = gate->gated ? w->n / 2 : w->n };

	if (multiplier_of(d, w->dtype)) {
		run(&job, tile);
		return;
	}
	/* oneDNN's panels of gate and of up do not meet in one task. */
	cpu_product(d, a, w, gate->scratch, tile);
	cpu_activate(d, gate->act, gate_rows(gate), up_rows(gate, sizeof(float)), (struct rows){ 0 }, packed);
}
