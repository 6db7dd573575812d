#include "cpu.h"

#include <math.h>
#include <string.h>

void cpu_load(struct device *d, struct rows to, const void *from, enum dtype dtype)
{
	const size_t len = to.width * dtype_size(dtype);

	for (size_t r = 0; r < to.n; r++) {
		const char *p = (const char *)from + r * len;

		if (dtype == DTYPE_BF16 || dtype == DTYPE_F16)
			d->unit->widen(rows_at(to, r), p, dtype, to.width);
		else
			dtype_convert(rows_at(to, r), DTYPE_F32, p, dtype, to.width);
	}
}

void cpu_store(struct device *d, void *to, enum dtype dtype, struct rows from)
{
	const size_t len = from.width * dtype_size(dtype);

	for (size_t r = 0; r < from.n; r++) {
		char *p = (char *)to + r * len;

		if (dtype == DTYPE_BF16 || dtype == DTYPE_F16)
			d->unit->narrow(p, rows_at(from, r), dtype, from.width);
		else
			dtype_convert(p, dtype, rows_at(from, r), DTYPE_F32, from.width);
	}
}

void cpu_copy(struct device *d, struct rows to, struct rows from)
{
	(void)d;
	for (size_t r = 0; r < from.n; r++)
		memcpy(rows_at(to, r), rows_at(from, r), from.width * sizeof(float));
}

/* -------- pooling: a task is some columns of one pooled row */

enum { POOL_COLUMNS = 1024 };

struct pooling {
	const struct unit *unit;
	const struct pooled_row *list;
	const struct row_run *runs;
	struct rows from;
	double *to;
	size_t panels;
	bool largest;
};

static void pool_task(void *argument, size_t i, size_t slot)
{
	const struct pooling *p = argument;
	const struct pooled_row *row = &p->list[i / p->panels];
	const size_t first = i % p->panels * POOL_COLUMNS, left = p->from.width - first;
	const size_t width = left < POOL_COLUMNS ? left : POOL_COLUMNS;
	double *to = p->to + i / p->panels * p->from.width + first;
	bool begun = row->continues;

	(void)slot;
	for (size_t k = row->first; k < row->first + row->n; k++) {
		struct row_run run = p->runs[k];
		const float *x = rows_at(p->from, run.row) + first;

		if (!begun) {
			dtype_convert(to, DTYPE_F64, x, DTYPE_F32, width);
			x += p->from.stride;
			run.n--;
			begun = true;
		}
		p->unit->pool(to, x, p->from.stride, run.n, width, p->largest);
	}
}

void cpu_pool(struct device *d, bool largest, const struct pooled_row *list, size_t n,
              const struct row_run *runs, struct rows from, double *to)
{
	struct pooling p = { d->unit, list, runs, from, to,
		             (from.width + POOL_COLUMNS - 1) / POOL_COLUMNS, largest };

	workers_run(d->workers, n * p.panels, pool_task, &p);
}

static void round_f16(const struct unit *unit, float *x, size_t n)
{
	uint16_t part[256];

	for (size_t i = 0; i < n; i += ARRAY_LEN(part)) {
		const size_t m = n - i < ARRAY_LEN(part) ? n - i : ARRAY_LEN(part);

		unit->narrow(part, x + i, DTYPE_F16, m);
		unit->widen(x + i, part, DTYPE_F16, m);
	}
}

void cpu_round(struct device *d, struct rows rows, enum dtype dtype)
{
	for (size_t r = 0; r < rows.n && dtype != DTYPE_F32; r++) {
		if (dtype == DTYPE_BF16)
			d->unit->round(rows_at(rows, r), rows.width);
		else if (dtype == DTYPE_F16)
			round_f16(d->unit, rows_at(rows, r), rows.width);
		else
			dtype_round(rows_at(rows, r), DTYPE_F32, dtype, rows.width);
	}
}

static void put_row(const struct device *d, struct sink to, const float *from, size_t n)
{
	if (to.f != from)
		d->unit->put(to, from, n);
}

void cpu_pack(struct device *d, struct operand to, struct rows from)
{
	for (size_t r = 0; r < from.n; r++)
		put_row(d, operand_at(d, &to, r), rows_at(from, r), from.width);
}

void cpu_norm(struct device *d, const struct model *m, const struct norm *norm, size_t group,
              struct rows from, struct rows out, struct operand packed)
{
	const struct norm_row row = {
		.kind = m->norm,
		.width = from.width,
		.group = group,
		.weight = norm ? norm->weight : NULL,
		.bias = norm ? norm->bias : NULL,
		.period = norm ? norm->n : 0,
		.plus = m->norm_plus_one ? 1 : 0,
		.eps = m->norm_eps,
	};

	for (size_t r = 0; r < from.n; r++) {
		const struct sink to = out_at(d, out, &packed, r);

		if (m->norm == NORM_NONE)
			put_row(d, to, rows_at(from, r), from.width);
		else
			d->unit->norm(&row, rows_at(from, r), to);
	}
}

void cpu_activate(struct device *d, enum activation act, struct rows gate, struct rows up,
                  struct rows out, struct operand packed)
{
	for (size_t r = 0; r < up.n; r++)
		d->unit->activate(act, gate.p ? rows_at(gate, r) : NULL, rows_at(up, r), up.width,
		                  out_at(d, out, &packed, r));
}

void cpu_add(struct device *d, struct rows into, struct rows from)
{
	for (size_t r = 0; r < into.n; r++)
		d->unit->add(rows_at(into, r), rows_at(from, r), into.width);
}

void cpu_add_gated(struct device *d, struct rows into, struct rows from, struct rows gate)
{
	for (size_t r = 0; r < into.n; r++) {
		const float open = (float)(1 / (1 + exp(-(double)*rows_at(gate, r))));

		d->unit->add_scaled(rows_at(into, r), rows_at(from, r), open, into.width);
	}
}

void cpu_scale(struct device *d, struct rows x, double c)
{
	for (size_t r = 0; r < x.n; r++)
		d->unit->scale(rows_at(x, r), (float)c, x.width);
}

void cpu_softcap(struct device *d, struct rows x, double c)
{
	for (size_t r = 0; r < x.n; r++)
		d->unit->softcap(rows_at(x, r), x.width, (float)c);
}

void cpu_rotate(struct device *d, const struct rotary *r, const void *cos_table,
                const void *sin_table, size_t head_width, size_t p0, struct rows from,
                struct rows to)
{
	const size_t half = r->dims / 2;

	for (size_t i = 0; i < from.n; i++) {
		const float *c = (const float *)cos_table + (p0 + i) * half;
		const float *s = (const float *)sin_table + (p0 + i) * half;

		for (size_t head = 0; head < from.width; head += head_width)
			d->unit->rotate(r, c, s, head_width, rows_at(from, i) + head,
			                rows_at(to, i) + head);
	}
}
