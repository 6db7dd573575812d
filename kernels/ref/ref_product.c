#include "ref.h"

/*
 * A task is ROWS rows by COLUMNS columns: the columns' weights stay in the cache while the rows go
 * by.  Each element is eight running sums over k, added in a fixed order, so the blocks change no
 * bit.
 */
enum { ROWS = 64, COLUMNS = 16, LANES = 8 };

struct job {
	const struct operand *a;
	const struct weight *w;
	struct rows out;
	size_t n_column_blocks;
};

static double dot(const double *a, const double *b, size_t n)
{
	double lane[LANES] = { 0 };
	size_t i = 0;

	for (; i + LANES <= n; i += LANES)
		for (size_t l = 0; l < LANES; l++)
			lane[l] += a[i + l] * b[i + l];
	for (size_t l = 0; i < n; i++, l++)
		lane[l] += a[i] * b[i];
	return ((lane[0] + lane[4]) + (lane[2] + lane[6])) +
	       ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

static void product_block(void *argument, size_t i, size_t slot)
{
	const struct job *job = argument;
	const struct weight *w = job->w;
	const double *weights = w->data, *bias = w->bias;
	const size_t r0 = i / job->n_column_blocks * ROWS, c0 = i % job->n_column_blocks * COLUMNS;
	const size_t r1 = r0 + ROWS < job->a->n ? r0 + ROWS : job->a->n;
	const size_t c1 = c0 + COLUMNS < w->n ? c0 + COLUMNS : w->n;

	(void)slot;
	for (size_t r = r0; r < r1; r++) {
		const double *row = ref_operand_row(job->a, r);
		double *out = ref_row(job->out, r);

		for (size_t c = c0; c < c1; c++)
			out[c] = dot(row, weights + c * w->k, w->k) + (bias ? bias[c] : 0);
	}
}

void ref_product(struct device *d, const struct operand *a, const struct weight *w, struct rows out,
                 size_t tile)
{
	const size_t row_blocks = (a->n + ROWS - 1) / ROWS,
		     column_blocks = (w->n + COLUMNS - 1) / COLUMNS;
	struct job job = { a, w, out, column_blocks };

	(void)tile;
	workers_run(d->workers, row_blocks * column_blocks, product_block, &job);
}

void ref_product_add(struct device *d, const struct operand *a, const struct weight *w,
                     struct rows scratch, struct rows into, size_t tile)
{
	ref_product(d, a, w, scratch, tile);
	ref_add(d, into, scratch);
}

void ref_product_act(struct device *d, const struct operand *a, const struct weight *w,
                     const struct gate *gate, struct operand packed, size_t tile)
{
	ref_product(d, a, w, gate->scratch, tile);
	ref_activate(d, gate->act, gate_rows(gate), up_rows(gate, sizeof(double)),
	             (struct rows){ 0 }, packed);
}
