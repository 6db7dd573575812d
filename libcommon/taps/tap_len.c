#include "tap_len.h"

#include <stdlib.h>

#include "memory.h"
#include "tap_plan.h"

/* One tap's one site, in the first layer that has it: other layers' frames differ by the layer's number. */
struct measured {
	struct cell cell;
	int layer;
	uint64_t n_layers;
	struct tms_writer *writer;
	uint64_t held;                  /* bytes of its largest piece */
};

struct tap_len {
	const struct taps *t;
	enum dtype work;
	struct measured *cells;
	size_t n_cells;
	uint64_t empty;                 /* bytes of a stream without frames */
};

static int cell_open(struct tap_len *l, struct tap *tap, enum site s, const struct tms_step *step, struct error *e)
{
	struct measured m = { .layer = -1 };
	for (int layer = step->from; layer < step->to; layer++) {
		if (!tap_reads(tap, l->t->m, s, layer))
			continue;
		m.layer = m.n_layers++ ? m.layer : layer;
	}
	if (!m.n_layers)
		return 0;
	m.writer = tms_measure(tap->stream->target, &l->t->header, step, e);
	if (!m.writer)
		return -1;
	tap_cell_open(&m.cell, l->t, tap, s);
	l->cells[l->n_cells++] = m;
	return 0;
}

struct tap_len *tap_len_open(struct taps *t, const struct tms_header *header, const struct tms_step *step, enum dtype dtype,
                             enum dtype work, struct error *e)
{
	struct tap_len *l = mem_zero(1, sizeof *l);
	*l = (struct tap_len){ .t = t, .work = work };
	t->dtype = dtype;
	taps_take_header(t, header);
	l->cells = mem_zero(t->n_taps * SITE_COUNT, sizeof *l->cells);
	struct tms_writer *empty = tms_measure("taps", &t->header, step, e);
	if (!empty) {
		tap_len_close(l);
		return NULL;
	}
	l->empty = tms_measured(empty);
	tms_abort(empty);
	for (size_t i = 0; i < t->n_taps; i++) {
		for (enum site s = 0; s < SITE_COUNT; s++) {
			if (cell_open(l, &t->taps[i], s, step, e) == 0)
				continue;
			tap_len_close(l);
			return NULL;
		}
	}
	return l;
}

static int add_rows(struct measured *m, const struct frame *f, enum dtype dtype, struct error *e)
{
	struct cell *c = &m->cell;
	tap_cell_begin(c);
	while (tap_next_piece(c, f, dtype)) {
		tap_describe(&c->piece, c, m->layer, f, dtype);
		c->piece.rows = NULL;
		size_t len = frame_rows_len(&c->piece);
		m->held = len > m->held ? len : m->held;
		if (site_by_length(c->site) && !len)
			continue;
		if (tms_write(m->writer, &c->piece, e) < 0)
			return -1;
	}
	return 0;
}

/* One row for each sample that ends in the frame. */
static int add_pooled(struct measured *m, const struct frame *f, enum dtype dtype, struct error *e)
{
	struct frame pooled = { .samples = mem_zero(f->n_samples, sizeof *pooled.samples) };
	int status = 0;
	tap_describe(&pooled, &m->cell, m->layer, f, dtype);
	for (size_t i = 0; i < f->n_samples && status == 0; i++) {
		const struct sample *s = &f->samples[i];
		struct sample *to = &pooled.samples[pooled.n_samples];
		if (s->first + s->n < s->len)
			continue;
		*to = *s;
		pooled.n_samples++;
		status = pool_range(&m->cell.tap->pool, s, &to->first, &to->n, e);
	}
	pooled.pool = text_of(m->cell.tap->pool_text);
	if (status == 0 && pooled.n_samples)
		status = tms_write(m->writer, &pooled, e);
	free(pooled.samples);
	return status;
}

int tap_len_add(struct tap_len *l, const struct frame *f, struct error *e)
{
	bool any = frame_n_rows(f) > 0;
	int status = 0;
	for (size_t i = 0; i < l->n_cells && status == 0; i++) {
		struct measured *m = &l->cells[i];
		enum dtype dtype = tap_cell_dtype(&m->cell, l->work);
		if (m->cell.tap->pool.kind == POOL_NONE)
			status = add_rows(m, f, dtype, e);
		else if (any)
			status = add_pooled(m, f, dtype, e);
	}
	return status;
}

size_t tap_len_n(const struct tap_len *l)
{
	return l->t->n_streams;
}

const char *tap_len_target(const struct tap_len *l, size_t i)
{
	return l->t->streams[i].target;
}

uint64_t tap_len_bytes(const struct tap_len *l, size_t i)
{
	uint64_t len = l->empty;
	for (size_t k = 0; k < l->n_cells; k++) {
		const struct measured *m = &l->cells[k];
		if (m->cell.tap->stream == &l->t->streams[i])
			len += m->n_layers * (tms_measured(m->writer) - l->empty);
	}
	return len;
}

enum dtype tap_len_dtype(const struct tap_len *l)
{
	return l->t->dtype;
}

uint64_t tap_len_held(const struct tap_len *l)
{
	uint64_t held = 0;
	for (size_t i = 0; i < l->n_cells; i++)
		held += l->cells[i].held;
	return held;
}

void tap_len_close(struct tap_len *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->n_cells; i++) {
		tap_cell_release(&l->cells[i].cell);
		tms_abort(l->cells[i].writer);
	}
	free(l->cells);
	free(l);
}
