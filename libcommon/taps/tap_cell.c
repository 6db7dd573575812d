/* One tap's one site in one layer: how its rows are framed. */
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "tap_plan.h"

void tap_cell_open(struct cell *c, const struct taps *t, struct tap *tap, enum site s)
{
	*c = (struct cell){ .tap = tap, .site = s, .dtype = t->dtype };
	c->n_dims = site_shape(s, t->m, c->dim);
	if (tap->pool.kind != POOL_NONE)
		c->pooler = pooler_open(&tap->pool);
}

void tap_cell_release(struct cell *c)
{
	frame_cut_release(&c->cursor);
	free(c->rows);
	pooler_close(c->pooler);
	frame_free(c->pooled);
}

void tap_describe(struct frame *f, const struct cell *c, int layer, const struct frame *like, enum dtype dtype)
{
	f->site = text_of(site_name(c->site));
	f->layer = layer;
	f->dtype = dtype;
	memcpy(f->dim, c->dim, sizeof c->dim);
	f->n_dims = c->n_dims;
	f->variant = like->variant;
}

enum dtype tap_cell_dtype(const struct cell *c, enum dtype work)
{
	if (c->site == SITE_EXPERT_IDX)
		return DTYPE_I32;
	return c->dtype == DTYPE_NONE ? work : c->dtype;
}

size_t tap_cell_width(const struct cell *c)
{
	size_t n = 1;
	for (int i = 0; i < c->n_dims; i++)
		n *= c->dim[i];
	return n;
}

int tap_next_piece(struct cell *c, const struct frame *like, enum dtype dtype)
{
	if (!site_by_length(c->site)) {
		if (!c->width)
			c->width = tap_cell_width(c);
		return frame_cut(like, c->width * dtype_size(dtype), &c->cursor, &c->piece);
	}
	/* frame_cut with rows so long that no two samples share a piece would cut too finely: walk by sample. */
	if (c->cursor.sample == like->n_samples)
		return 0;
	const struct sample *s = &like->samples[c->cursor.sample];
	c->dim[1] = s->len;
	c->width = tap_cell_width(c);
	size_t row_len = c->width * dtype_size(dtype), room = row_len ? FRAME_ROWS_LEN / row_len : 1;
	size_t left = s->n - c->cursor.offset, n = left < room ? left : room ? room : 1;
	mem_grow((void **)&c->cursor.samples, &c->cursor.capacity, 1, sizeof *s);
	c->cursor.samples[0] = *s;
	c->cursor.samples[0].first += c->cursor.offset;
	c->cursor.samples[0].n = (uint32_t)n;
	c->piece = (struct frame){ .samples = c->cursor.samples, .n_samples = 1, .layer = -1, .variant = -1 };
	c->cursor.offset += (uint32_t)n;
	if (c->cursor.offset == s->n) {
		c->cursor.sample++;
		c->cursor.offset = 0;
	}
	return 1;
}

void tap_cell_begin(struct cell *c)
{
	c->cursor.sample = 0;
	c->cursor.offset = 0;
	c->cursor.started = 0;
}
