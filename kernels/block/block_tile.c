#include "block_tile.h"

#include <stdlib.h>

#include "experts.h"
#include "memory.h"

void block_lap(const struct block *b, enum timer kind)
{
	if (b->timed)
		b->ops->lap(b->device, kind);
}

size_t block_n_tiles(const struct block *b, size_t n_rows)
{
	return (n_rows + b->tile_rows - 1) / b->tile_rows;
}

struct tile block_tile(struct block *b, size_t i, size_t slot)
{
	struct tile t = { b, &b->memory.tiles[b->barriers ? i : slot], &b->watches[slot], i * b->tile_rows,
	                  b->tile_rows };
	if (t.first + t.n > b->batch->x.n)
		t.n = b->batch->x.n - t.first;
	return t;
}

int block_take_dense(struct block *b, size_t len, struct error *e)
{
	if (len <= b->dense_len)
		return 0;
	free(b->dense);
	b->dense_len = 0;
	b->dense = mem_try(len, "rows of a changed site", e);
	if (!b->dense)
		return -1;
	b->dense_len = len;
	return 0;
}

static struct rows columns(struct rows from, size_t first, size_t width, const struct tile *t)
{
	return (struct rows){ (char *)from.p + first * dtype_size(t->b->ops->work), from.n, width, from.stride };
}

struct rows some_rows(struct rows rows, size_t skip, size_t n, const struct tile *t)
{
	return (struct rows){ (char *)rows.p + skip * rows.stride * dtype_size(t->b->ops->work), n, rows.width, rows.stride };
}

/* The tile's rows of something that spans the batch. */
static struct rows batch_rows(const struct tile *t, void *base, size_t width)
{
	return some_rows((struct rows){ base, t->b->batch->x.n, width, width }, t->first, t->n, t);
}

struct rows x_rows(const struct tile *t)
{
	return some_rows(t->b->batch->x, t->first, t->n, t);
}

struct rows buffer_rows(const struct tile *t, enum buffer which)
{
	size_t width = t->b->memory.width[which];
	return (struct rows){ t->memory->buffer[which], t->n, width, width };
}

bool has_experts(const struct block *b)
{
	return b->m->layer[b->layer->index].experts;
}

struct rows mlp_rows(const struct tile *t)
{
	return has_experts(t->b) ? experts_out(t->b->experts, t->first, t->n) : buffer_rows(t, BUFFER_DOWN);
}

struct rows site_rows(const struct tile *t, enum site site)
{
	const struct block *b = t->b;
	size_t q = q_width(b->m), kv = kv_width(b->m), inner = b->m->inner;
	switch (site) {
	case SITE_ATTN_NORM: case SITE_MLP_NORM: return buffer_rows(t, BUFFER_NORM);
	case SITE_Q: return columns(buffer_rows(t, BUFFER_QKV), 0, q, t);
	case SITE_K: return columns(buffer_rows(t, BUFFER_QKV), q, kv, t);
	case SITE_V: return columns(buffer_rows(t, BUFFER_QKV), q + kv, kv, t);
	case SITE_Q_ROT: return batch_rows(t, b->memory.q, q);
	case SITE_ATTN_CTX: return batch_rows(t, b->memory.ctx, q);
	case SITE_ATTN_PROJ: case SITE_ATTN_OUT: return buffer_rows(t, BUFFER_PROJ);
	case SITE_MLP_GATE: return columns(buffer_rows(t, BUFFER_GATE_UP), 0, inner, t);
	case SITE_MLP_UP: return columns(buffer_rows(t, BUFFER_GATE_UP), b->m->gated ? inner : 0, inner, t);
	case SITE_MLP_ACT: return buffer_rows(t, BUFFER_ACT);
	case SITE_ROUTER_LOGITS: return buffer_rows(t, BUFFER_ROUTER);
	case SITE_ROUTER_WEIGHTS: return experts_weights(b->experts, t->first, t->n);
	case SITE_MLP_OUT: return mlp_rows(t);
	default: return x_rows(t); /* resid_pre, resid_mid, resid_post */
	}
}

bool next_run(const struct tile *t, size_t *segment, struct run *r)
{
	const struct batch *batch = t->b->batch;
	while (*segment < batch->n_segments && batch->segments[*segment].row + batch->segments[*segment].n <= t->first)
		++*segment;
	if (*segment == batch->n_segments || batch->segments[*segment].row >= t->first + t->n)
		return false;
	const struct segment *s = &batch->segments[*segment];
	size_t from = s->row > t->first ? s->row : t->first;
	size_t end = s->row + s->n < t->first + t->n ? s->row + s->n : t->first + t->n;
	*r = (struct run){ s, &t->b->segment_table[*segment], from - t->first, end - from, s->first + (from - s->row) };
	++*segment;
	return true;
}

struct rows key_rows(const struct tile *t, const struct run *r, void *base)
{
	size_t width = kv_width(t->b->m);
	return some_rows((struct rows){ base, 0, width, width }, r->position, r->n, t);
}

struct operand tile_operand(const struct tile *t, void *p, const struct weight *w)
{
	return (struct operand){ p, t->n, w->k, w->dtype };
}

struct operand batch_operand(const struct tile *t, void *p, const struct weight *w)
{
	size_t before = t->b->ops->operand_len(t->b->device, t->first, w->k, w->dtype);
	return (struct operand){ (char *)p + before, t->n, w->k, w->dtype };
}

/* -------- sites */

bool site_wanted(const struct block *b, enum site s)
{
	return b->sites->read[s] || b->sites->aside[s] || b->sites->patched[s] || b->sites->filtered[s];
}

static void *dense_at(const struct tile *t, void *base, size_t row, size_t width)
{
	return (char *)base + (t->first + row) * width * dtype_size(t->b->ops->work);
}

void copy_site(const struct tile *t, enum site site, void *dense, enum direction direction)
{
	const struct ops *ops = t->b->ops;
	struct run r;
	size_t segment = 0;
	struct rows all = { 0 };
	bool by_run = site == SITE_K_ROT;
	if (!by_run)
		all = site_rows(t, site);
	for (bool more = true; more && (!by_run || next_run(t, &segment, &r)); more = by_run) {
		struct rows rows = by_run ? key_rows(t, &r, r.segment->k) : all;
		void *at = dense_at(t, dense, by_run ? r.skip : 0, rows.width);
		if (direction == OUT)
			ops->store(t->b->device, at, ops->work, rows);
		else if (direction == ASIDE)
			ops->copy(t->b->device, (struct rows){ at, rows.n, rows.width, rows.width }, rows);
		else
			ops->load(t->b->device, rows, at, ops->work);
	}
}

/* Rows first.. of the batch, given to the patches where they can be written. */
static void patch_rows(const struct tile *t, enum site site, size_t first, struct rows rows)
{
	struct block *b = t->b;
	struct rows here = rows;
	if (!b->ops->host) {
		mem_grow((void **)&b->patched, &b->patched_len, rows.n * rows.width * dtype_size(b->ops->work), 1);
		here = (struct rows){ b->patched, rows.n, rows.width, rows.width };
		b->ops->store(b->device, here.p, b->ops->work, rows);
		b->ops->wait(b->device);
	}
	b->sites->patch(b->sites->context, site, first, here);
	if (!b->ops->host)
		b->ops->load(b->device, rows, here.p, b->ops->work);
}

static void patch_site(const struct tile *t, enum site site)
{
	struct run r;
	if (site != SITE_K_ROT) {
		patch_rows(t, site, t->first, site_rows(t, site));
		return;
	}
	for (size_t segment = 0; next_run(t, &segment, &r);)
		patch_rows(t, site, t->first + r.skip, key_rows(t, &r, r.segment->k));
}

void at_site(const struct tile *t, enum site site)
{
	const struct sites *sites = t->b->sites;
	if (sites->patched[site])
		patch_site(t, site);
	if (sites->read[site] && !sites->filtered[site])
		copy_site(t, site, sites->read[site], OUT);
	if (sites->aside[site] && !sites->filtered[site])
		copy_site(t, site, sites->aside[site], ASIDE);
}
