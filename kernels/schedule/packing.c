#include "packing.h"

#include <stdlib.h>

#include "memory.h"
#include "sweep.h"

struct packed *packed_open(const struct packing *p, struct error *e)
{
	const struct sweep *s = p->s;
	size_t width = s->m->width;
	struct packed *b = mem_zero(1, sizeof *b);
	void *x = s->ops->take(s->device, p->batch_rows * width * dtype_size(s->ops->work), "a batch", e);
	if (!x) {
		free(b);
		return NULL;
	}
	b->batch.x = (struct rows){ x, 0, width, width };
	return b;
}

static void traveller_free(struct traveller *t)
{
	if (t && t->rows != t->f->rows)
		free(t->rows);
	if (t)
		frame_free(t->f);
	free(t);
}

void packed_free(const struct packing *p, struct packed *b)
{
	if (!b)
		return;
	for (size_t i = 0; i < b->n_pieces; i++)
		if (b->pieces[i].last)
			traveller_free(b->pieces[i].t);
	p->s->ops->give(p->s->device, b->batch.x.p);
	free(b->batch.segments);
	free(b->pieces);
	free(b->owners);
	free(b);
}

void packing_release(struct packing *p)
{
	traveller_free(p->waiting);
	p->waiting = NULL;
}

/* -------- filling */

static size_t leaving_len(const struct packing *p, const struct traveller *t)
{
	return t->total * p->s->m->width * dtype_size(p->s->resid);
}

static int read_frame(struct packing *p, struct error *e)
{
	struct frame *f;
	int status = p->s->next(p->s->context, &f, e);
	if (status < 0)
		return -1;
	p->finished = status == 0;
	if (p->finished)
		return 0;
	struct traveller *t = mem_zero(1, sizeof *t);
	*t = (struct traveller){ .f = f, .from = f->dtype, .rows = f->rows, .total = frame_n_rows(f) };
	p->waiting = t;
	f->rows = NULL;
	f->dtype = p->s->resid;
	if (t->from == f->dtype) {
		f->rows = t->rows; /* turned in place: rows leave in the order they came */
		return 0;
	}
	return t->total ? frame_take_rows(f, leaving_len(p, t), e) : 0;
}

static uint64_t sample_number(const struct frame *f, const struct sample *s)
{
	/* Variants of one sample are samples of their own.  An id is only compared while a long sample's rows come in. */
	return s->seq * 0x10001 + (uint64_t)(f->variant + 1);
}

static void add_segment(struct packed *b, struct segment s)
{
	struct batch *batch = &b->batch;
	struct segment *last = batch->n_segments ? &batch->segments[batch->n_segments - 1] : NULL;
	if (last && last->sample == s.sample && last->first + last->n == s.first) {
		last->n += s.n;
		return;
	}
	mem_grow((void **)&batch->segments, &b->segment_capacity, batch->n_segments + 1, sizeof s);
	batch->segments[batch->n_segments++] = s;
}

static void add_owner(struct packed *b, struct owner o)
{
	mem_grow((void **)&b->owners, &b->owner_capacity, b->n_owners + 1, sizeof o);
	b->owners[b->n_owners++] = o;
	add_segment(b, (struct segment){ .sample = sample_number(o.f, o.s), .row = o.row, .n = o.n, .first = o.first,
	                                 .len = o.s->len });
}

/* The frame's next n rows follow as batch rows. */
static void add_rows(struct packed *b, struct traveller *t, size_t n)
{
	size_t at = 0, done = t->taken, row = b->batch.x.n;
	for (size_t i = 0; i < t->f->n_samples && at < done + n; i++) {
		const struct sample *s = &t->f->samples[i];
		size_t from = at > done ? at : done;
		size_t end = at + s->n < done + n ? at + s->n : done + n;
		if (from < end)
			add_owner(b, (struct owner){ row + (from - done), end - from, t->f, s, s->first + (uint32_t)(from - at) });
		at += s->n;
	}
	mem_grow((void **)&b->pieces, &b->piece_capacity, b->n_pieces + 1, sizeof *b->pieces);
	b->pieces[b->n_pieces++] = (struct piece){ t, done, n, row, done + n == t->total };
	t->taken += n;
	b->batch.x.n += n;
}

/* Rows of the frame that go into what is left of a batch.  A filter is given whole samples, as many as a batch holds; only
 * one that is longer than a batch is cut, at multiples of it. */
static size_t next_rows(const struct packing *p, const struct traveller *t, size_t room)
{
	size_t left = t->total - t->taken, at = 0, n = 0;
	if (!p->s->filters)
		return left < room ? left : room;
	for (size_t i = 0; i < t->f->n_samples && n < left; i++) {
		size_t end = at + t->f->samples[i].n;
		if (end > t->taken && end - t->taken > p->batch_rows)
			break;
		n = end > t->taken ? end - t->taken : n;
		at = end;
	}
	if (n == 0 && left)
		n = left < p->batch_rows ? left : p->batch_rows;
	return n <= room ? n : 0;
}

int packing_fill(struct packing *p, struct packed *b, struct error *e)
{
	b->batch.n_segments = b->batch.x.n = b->n_pieces = b->n_owners = 0;
	while (b->batch.x.n < p->batch_rows) {
		if (!p->waiting && read_frame(p, e) < 0)
			return -1;
		struct traveller *t = p->waiting;
		if (!t)
			return 0;
		size_t n = next_rows(p, t, p->batch_rows - b->batch.x.n);
		if ((n == 0 && t->total) || (p->whole && t->taken == 0 && n < t->total && b->batch.x.n))
			return 0;
		add_rows(b, t, n);
		if (t->taken == t->total)
			p->waiting = NULL;
	}
	return 0;
}

bool packing_whole(const struct packing *p)
{
	return !p->waiting || p->waiting->taken == 0;
}

/* -------- rows in and out, by tile */

struct copy {
	const struct sweep *s;
	struct packed *b;
	bool out;
};

static void copy_rows(const struct copy *c, const struct piece *piece, size_t from, size_t end)
{
	const struct sweep *s = c->s;
	const struct traveller *t = piece->t;
	size_t width = s->m->width, row = from - piece->row + piece->first;
	struct rows rows = { (char *)c->b->batch.x.p + from * width * dtype_size(s->ops->work), end - from, width, width };
	if (c->out)
		s->ops->store(s->device, (char *)t->f->rows + row * width * dtype_size(s->resid), s->resid, rows);
	else
		s->ops->load(s->device, rows, (char *)t->rows + row * width * dtype_size(t->from), t->from);
}

static void copy_tile(void *argument, size_t i, size_t slot)
{
	const struct copy *c = argument;
	size_t tile = c->s->ops->row_tile, first = i * tile, end = first + tile;
	(void)slot;
	for (size_t k = 0; k < c->b->n_pieces; k++) {
		const struct piece *piece = &c->b->pieces[k];
		size_t from = piece->row > first ? piece->row : first;
		size_t to = piece->row + piece->n < end ? piece->row + piece->n : end;
		if (from < to)
			copy_rows(c, piece, from, to);
	}
}

static void copy_batch(const struct packing *p, struct packed *b, bool out)
{
	struct copy c = { p->s, b, out };
	size_t tile = p->s->ops->row_tile;
	workers_run(p->s->workers, (b->batch.x.n + tile - 1) / tile, copy_tile, &c);
}

void packed_load(const struct packing *p, struct packed *b)
{
	copy_batch(p, b, false);
}

int packed_store(const struct packing *p, struct packed *b, struct error *e)
{
	for (size_t i = 0; i < b->n_pieces; i++) {
		struct traveller *t = b->pieces[i].t;
		if (t->total && !t->f->rows && frame_take_rows(t->f, leaving_len(p, t), e) < 0)
			return -1;
	}
	copy_batch(p, b, true);
	b->stored = p->s->ops->mark(p->s->device);
	return 0;
}

void packed_arrive(const struct packing *p, const struct packed *b)
{
	p->s->ops->wait_for(p->s->device, b->stored);
}

void packed_forget_rows(struct packed *b)
{
	for (size_t i = 0; i < b->n_pieces; i++) {
		struct traveller *t = b->pieces[i].t;
		if (t->rows != t->f->rows)
			free(t->rows);
		free(t->f->rows);
		t->rows = t->f->rows = NULL;
	}
}

/* -------- frames */

bool packed_whole(const struct packed *b)
{
	for (size_t i = 0; i < b->n_pieces; i++)
		if (b->pieces[i].first != 0 || !b->pieces[i].last)
			return false;
	return true;
}

size_t packed_meta_len(const struct packed *b)
{
	size_t len = 0;
	for (size_t i = 0; i < b->n_pieces; i++)
		len += frame_meta_len(b->pieces[i].t->f);
	return len;
}

int packed_give(const struct packing *p, struct packed *b, size_t to, struct error *e)
{
	int status = 0;
	size_t n = b->n_pieces;
	b->n_pieces = 0;
	for (size_t i = 0; i < n; i++) {
		struct traveller *t = b->pieces[i].t;
		if (!b->pieces[i].last)
			continue;
		if (status < 0) {
			traveller_free(t);
			continue;
		}
		struct frame *f = t->f;
		if (t->rows != f->rows)
			free(t->rows);
		free(t);
		f->layer = (int)to;
		status = p->s->put(p->s->context, f, e);
	}
	return status;
}
