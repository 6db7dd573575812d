#include "cpu.h"

#include <string.h>

struct job {
	struct device *d;
	const struct operand *a;
	const struct weight *w;
	struct rows out;
	size_t tile, panel; /* rows and columns of a task */
	size_t n_panels;
};

/* Rows r0..r0+rows-1 and columns c0..c1-1 of the weight, of one panel. */
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
	const size_t r0 = i / job->n_panels * job->tile;
	const size_t c0 = i % job->n_panels * job->panel;

	return (struct piece){
		job, r0, least(job->tile, job->a->n - r0), c0, least(c0 + job->panel, job->w->n), slot
	};
}

/* Where column c of the part's first row goes. */
static float *out_at_column(const struct piece *p, size_t c)
{
	return rows_at(p->job->out, p->r0) + c;
}

static void add_bias(const struct piece *p)
{
	const float *bias = p->job->w->bias;

	for (size_t r = 0; bias && r < p->rows; r++)
		p->job->d->unit->add(out_at_column(p, p->c0) + r * p->job->out.stride, bias + p->c0,
		                     p->c1 - p->c0);
}

/* -------- the unit's loop */

/* c (rows, unit->panel) <- inputs k0..k0+k-1 of the weight's panel that begins at column c0. */
static void multiply_panel(const struct piece *p, size_t c0, size_t k0, size_t k, float *c,
                           size_t c_stride)
{
	const struct job *job = p->job;
	const struct unit *unit = job->d->unit;
	const struct weight *w = job->w;
	const size_t stride = operand_stride(job->d, w->k, w->dtype);
	const char *held =
		(const char *)w->data + (c0 * w->k + k0 * unit->panel) * dtype_size(w->dtype);
	float *block = job->d->slots[p->slot].scratch;

	if (w->dtype != DTYPE_F32)
		unit->widen(block, held, w->dtype, k * unit->panel);
	unit->multiply((const float *)job->a->p + p->r0 * stride + k0, stride, p->rows,
	               w->dtype == DTYPE_F32 ? (const float *)(const void *)held : block, c,
	               c_stride, k, k0 ? INTO_ADD : INTO_SET);
}

/* A panel of which only some columns are wanted, or exist. */
static void multiply_edge(const struct piece *p, size_t panel)
{
	const struct job *job = p->job;
	const size_t width = job->d->unit->panel, k = job->w->k;
	const size_t c0 = panel > p->c0 ? panel : p->c0, c1 = least(panel + width, p->c1);
	float *c = job->d->slots[p->slot].scratch + PARTIAL_SUM * width;

	for (size_t k0 = 0; k0 < k; k0 += PARTIAL_SUM)
		multiply_panel(p, panel, k0, least(PARTIAL_SUM, k - k0), c, width);
	for (size_t r = 0; r < p->rows; r++)
		memcpy(out_at_column(p, c0) + r * job->out.stride, c + r * width + (c0 - panel),
		       (c1 - c0) * sizeof *c);
}

static void unit_task(void *argument, size_t i, size_t slot)
{
	const struct job *job = argument;
	const struct piece p = piece_of(job, i, slot);
	const size_t width = job->d->unit->panel, k = job->w->k;
	const size_t whole = (p.c0 + width - 1) / width * width, end = p.c1 / width * width;

	for (size_t k0 = 0; k0 < k; k0 += PARTIAL_SUM)
		for (size_t c = whole; c < end; c += width)
			multiply_panel(&p, c, k0, least(PARTIAL_SUM, k - k0), out_at_column(&p, c),
			               job->out.stride);
	if (p.c0 < whole)
		multiply_edge(&p, p.c0 / width * width);
	if (p.c1 > end && end >= whole)
		multiply_edge(&p, end);
	add_bias(&p);
}

/* -------- oneDNN */

/* The library sees whole tiles and panels and dense matrices only: what it does, and so the bits,
 * changes with each of these, the distance between rows of the result included. */
static void onednn_task(void *argument, size_t i, size_t slot)
{
	const struct job *job = argument;
	const struct piece p = piece_of(job, i, slot);
	const struct weight *w = job->w;
	const size_t panel = p.c0 / job->panel * job->panel,
		     width = least(job->panel, w->n - panel);
	const struct matmul_shape shape = { job->tile, width, w->k, DTYPE_BF16 };
	const size_t a_room = (job->tile * w->k * sizeof(uint16_t) + 63) / 64 * 64;
	const size_t c_room = (job->tile * width * sizeof(float) + 63) / 64 * 64;
	char *memory = slot_tile(job->d, slot,
	                         a_room + c_room + matmul_scratch_len(job->d->matmuls, &shape));
	const uint16_t *a = (const uint16_t *)job->a->p + p.r0 * w->k,
		       *b = (const uint16_t *)w->data + panel * w->k;
	float *c = (float *)(void *)(memory + a_room);

	if (p.rows < job->tile) {
		memcpy(memory, a, p.rows * w->k * sizeof *a);
		memset(memory + p.rows * w->k * sizeof *a, 0,
		       (job->tile - p.rows) * w->k * sizeof *a);
		a = (const uint16_t *)(void *)memory;
	}
	matmul_run(job->d->matmuls, &shape, a, b, c, memory + a_room + c_room);
	for (size_t r = 0; r < p.rows; r++)
		memcpy(out_at_column(&p, p.c0) + r * job->out.stride,
		       c + r * width + (p.c0 - panel), (p.c1 - p.c0) * sizeof *c);
	add_bias(&p);
}

/* -------- the entries */

enum { MATMUL_PANEL = 512 };

void cpu_product(struct device *d, const struct operand *a, const struct weight *w, struct rows out,
                 size_t tile)
{
	const bool onednn = rounds_operands(d, w->dtype);
	struct job job = { d, a, w, out, tile, onednn ? MATMUL_PANEL : PANEL, 0 };

	job.n_panels = (w->n + job.panel - 1) / job.panel;
	workers_run(d->workers, (a->n + tile - 1) / tile * job.n_panels,
	            onednn ? onednn_task : unit_task, &job);
}

void cpu_product_add(struct device *d, const struct operand *a, const struct weight *w,
                     struct rows scratch, struct rows into, size_t tile)
{
	cpu_product(d, a, w, scratch, tile);
	cpu_add(d, into, scratch);
}

void cpu_product_act(struct device *d, const struct operand *a, const struct weight *w,
                     const struct gate *gate, struct operand packed, size_t tile)
{
	cpu_product(d, a, w, gate->scratch, tile);
	cpu_activate(d, gate->act, gate_rows(gate), up_rows(gate, sizeof(float)),
	             (struct rows){ 0 }, packed);
}
