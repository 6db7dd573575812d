#include "sweep.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "loader.h"
#include "memory.h"

/* A frame of which some rows are in the block or still to come. */
struct open_frame {
	struct frame *f;
	enum dtype from;        /* the type its rows came in */
	void *rows;             /* as they came */
	size_t total, done;     /* rows; those of earlier batches */
	size_t batch_row;       /* where those of this batch begin */
	size_t n_here;          /* rows in this batch */
	struct open_frame *next;
};

/* Batch rows of one sample of one frame. */
struct owner {
	size_t row, n;
	const struct frame *f;
	const struct sample *s;
	uint32_t first;         /* position of the first */
};

struct pass {
	const struct sweep *s;
	size_t batch_rows, hold;
	struct block *block;
	struct loader *loader;
	struct carry *carry;            /* (hold) */
	size_t from, to;
	struct batch batch;
	size_t segment_capacity;
	struct owner *owners;           /* (n_owners) of the batch's rows, in order */
	size_t n_owners, owner_capacity;
	size_t layer;                   /* that runs */
	void *x;                        /* (batch_rows, H) */
	struct open_frame *first, **end;
	bool finished;                  /* the source has ended */
	void *site_rows[SITE_COUNT];    /* (batch_rows, width), made when first wanted */
	struct sweep_times times;
};

/* -------- memory */

static size_t site_row_len(const struct sweep *s, enum site site)
{
	size_t dim[FRAME_DIMS], width = 1;
	int n = site_shape(site, s->m, dim);
	for (int i = 0; i < n; i++)
		width *= dim[i];
	return width * (site == SITE_EXPERT_IDX ? sizeof(int32_t) : dtype_size(s->ops->work));
}

/* What grows with a batch: the block's, the rows themselves, and what is read of sites. */
static size_t batch_len(const struct sweep *s, size_t n_rows, const bool wanted[SITE_COUNT])
{
	size_t slots = s->filters ? 1 : workers_count(s->workers), a_row = s->m->width * dtype_size(s->ops->work);
	for (enum site site = 0; site < SITE_COUNT; site++)
		if (wanted[site] && !site_by_length(site))
			a_row += site_row_len(s, site);
	return n_rows * a_row + block_len(s->ops, s->device, s->m, slots, n_rows, wanted, s->filters) -
	       block_len(s->ops, s->device, s->m, slots, 0, wanted, s->filters);
}

/* Whether a device has room for the weights and batches of so many rows.  Long samples' keys and rotary tables come later,
 * and have a little here. */
static int check_room(const struct sweep *s, size_t weights, size_t n_rows, const bool wanted[SITE_COUNT], struct error *e)
{
	size_t slots = s->filters ? 1 : workers_count(s->workers);
	size_t len = weights + n_rows * s->m->width * dtype_size(s->ops->work) +
	             block_len(s->ops, s->device, s->m, slots, n_rows, wanted, s->filters);
	return s->ops->check_room(s->device, len + len / 32, "the layers' weights and a batch", e);
}

/* Rows a batch: as many tiles as fit the memory that DESIGN allows, whatever the data, and a device's.  With filters it depends
 * on the model alone. */
static size_t sweep_batch_rows(const struct sweep *s, size_t weights, const bool wanted[SITE_COUNT])
{
	struct error full;
	size_t memory = s->ops->batch_room(s->device);
	size_t slots = s->filters ? 1 : workers_count(s->workers), tile = s->ops->row_tile, tiles = 4 * slots > 8 ? 4 * slots : 8;
	while (tiles > 1 && (batch_len(s, tiles * tile, wanted) > memory || check_room(s, weights, tiles * tile, wanted, &full) < 0))
		tiles--;
	if (tiles > slots)      /* every thread the same number */
		tiles -= tiles % slots;
	return tile * tiles;
}

size_t sweep_arena_len(const struct sweep *s)
{
	size_t most = 0;
	for (size_t layer = s->from; layer < s->to; layer++) {
		const struct part *parts;
		size_t n = s->parts(s->context, layer, &parts);
		size_t len = layer_arena_len(s->ops, s->device, s->m, parts, n);
		most = len > most ? len : most;
	}
	return most;
}

/* -------- frames into a batch */

static int read_frame(struct pass *p, struct error *e)
{
	struct frame *f;
	double start = clock_seconds();
	int status = p->s->next(p->s->context, &f, e);
	p->times.frames += clock_seconds() - start;
	if (status < 0)
		return -1;
	if (status == 0) {
		p->finished = true;
		return 0;
	}
	struct open_frame *o = mem_zero(1, sizeof *o);
	*o = (struct open_frame){ .f = f, .from = f->dtype, .rows = f->rows, .total = frame_n_rows(f) };
	*p->end = o;
	p->end = &o->next;
	f->rows = NULL;
	f->dtype = p->s->resid;
	if (o->from == f->dtype) {
		f->rows = o->rows; /* turned in place: rows leave in the order they came */
	} else if (o->total && frame_take_rows(f, o->total * p->s->m->width * dtype_size(f->dtype), e) < 0) {
		return -1;
	}
	return 0;
}

static uint64_t sample_number(const struct frame *f, const struct sample *s)
{
	/* Variants of one sample are samples of their own.  An id is only compared while a long sample's rows come in. */
	return s->seq * 0x10001 + (uint64_t)(f->variant + 1);
}

static void add_segment(struct pass *p, struct segment s)
{
	struct batch *b = &p->batch;
	struct segment *last = b->n_segments ? &b->segments[b->n_segments - 1] : NULL;
	if (last && last->sample == s.sample && last->first + last->n == s.first) {
		last->n += s.n;
		return;
	}
	mem_grow((void **)&b->segments, &p->segment_capacity, b->n_segments + 1, sizeof s);
	b->segments[b->n_segments++] = s;
}

/* The frame's next n rows follow as batch rows. */
static void add_rows(struct pass *p, struct open_frame *o, size_t n)
{
	size_t at = 0;
	o->batch_row = p->batch.x.n;
	o->n_here = n;
	for (size_t i = 0; i < o->f->n_samples && at < o->done + n; i++) {
		const struct sample *sample = &o->f->samples[i];
		size_t from = at > o->done ? at : o->done;
		size_t end = at + sample->n < o->done + n ? at + sample->n : o->done + n;
		if (from < end) {
			mem_grow((void **)&p->owners, &p->owner_capacity, p->n_owners + 1, sizeof *p->owners);
			p->owners[p->n_owners++] = (struct owner){ o->batch_row + (from - o->done), end - from, o->f, sample,
			                                           sample->first + (uint32_t)(from - at) };
			add_segment(p, (struct segment){ .sample = sample_number(o->f, sample),
			                                 .row = o->batch_row + (from - o->done), .n = end - from,
			                                 .first = sample->first + (uint32_t)(from - at), .len = sample->len });
		}
		at += sample->n;
	}
	p->batch.x.n += n;
}

/* Rows of the frame that go into what is left of a batch.  A filter is given whole samples, as many as a batch holds; only
 * one that is longer than a batch is cut, at multiples of it. */
static size_t next_rows(const struct pass *p, const struct open_frame *o, size_t room)
{
	size_t left = o->total - o->done, at = 0, n = 0;
	if (!p->s->filters)
		return left < room ? left : room;
	for (size_t i = 0; i < o->f->n_samples && n < left; i++) {
		size_t end = at + o->f->samples[i].n;
		if (end > o->done && end - o->done > p->batch_rows)
			break;
		n = end > o->done ? end - o->done : n;
		at = end;
	}
	if (n == 0 && left)
		n = left < p->batch_rows ? left : p->batch_rows;
	return n <= room ? n : 0;
}

/* Whole frames, but for the first, whose beginning may have been in the batch before, and the last, whose end may be in
 * the next: so batches are full whatever the frames are. */
static int fill_batch(struct pass *p, struct error *e)
{
	struct open_frame **at = &p->first;
	p->batch.n_segments = 0;
	p->n_owners = 0;
	p->batch.x.n = 0;
	while (p->batch.x.n < p->batch_rows) {
		if (!*at && (p->finished || read_frame(p, e) < 0))
			return p->finished ? 0 : -1;
		if (!*at)
			continue;
		size_t room = p->batch_rows - p->batch.x.n, n = next_rows(p, *at, room);
		if (n == 0 && (*at)->total)
			return 0;
		add_rows(p, *at, n);
		at = &(*at)->next;
	}
	return 0;
}

/* -------- rows in and out, by tile */

struct copy {
	struct pass *p;
	bool out;
};

static void copy_rows(const struct copy *c, const struct open_frame *o, size_t from, size_t end)
{
	const struct sweep *s = c->p->s;
	size_t width = s->m->width, row = from - o->batch_row + o->done;
	struct rows rows = { (char *)c->p->x + from * width * dtype_size(s->ops->work), end - from, width, width };
	if (c->out)
		s->ops->store(s->device, (char *)o->f->rows + row * width * dtype_size(s->resid), s->resid, rows);
	else
		s->ops->load(s->device, rows, (char *)o->rows + row * width * dtype_size(o->from), o->from);
}

static void copy_tile(void *argument, size_t i, size_t slot)
{
	const struct copy *c = argument;
	size_t tile = c->p->s->ops->row_tile, first = i * tile, end = first + tile;
	(void)slot;
	for (const struct open_frame *o = c->p->first; o; o = o->next) {
		size_t from = o->batch_row > first ? o->batch_row : first;
		size_t to = o->batch_row + o->n_here < end ? o->batch_row + o->n_here : end;
		if (o->n_here && from < to)
			copy_rows(c, o, from, to);
	}
}

static void copy_batch(struct pass *p, bool out)
{
	struct copy c = { p, out };
	size_t tile = p->s->ops->row_tile;
	workers_run(p->s->workers, (p->batch.x.n + tile - 1) / tile, copy_tile, &c);
	if (out)
		p->s->ops->wait(p->s->device);
}

/* -------- changes */

static void patch_rows(void *context, enum site site, size_t first, struct rows rows)
{
	struct pass *p = context;
	size_t element = dtype_size(p->s->ops->work);
	for (size_t i = 0; i < p->n_owners; i++) {
		const struct owner *o = &p->owners[i];
		size_t from = o->row > first ? o->row : first;
		size_t end = o->row + o->n < first + rows.n ? o->row + o->n : first + rows.n;
		if (from >= end)
			continue;
		struct rows part = { (char *)rows.p + (from - first) * rows.stride * element, end - from, rows.width, rows.stride };
		p->s->patch(p->s->context, p->layer, site, o->f, o->s, o->first + (uint32_t)(from - o->row), part);
	}
}

static int filter_rows(void *context, enum site site, struct rows rows, struct error *e)
{
	struct pass *p = context;
	size_t row_len = rows.width * dtype_size(p->s->ops->work);
	int status = 0;
	for (struct open_frame *o = p->first; o && status == 0; o = o->next) {
		struct frame piece = { .layer = -1, .variant = o->f->variant };
		piece.samples = frame_slice(o->f, o->done, o->n_here, &piece.n_samples);
		status = p->s->filter(p->s->context, p->layer, site, &piece, (char *)rows.p + o->batch_row * row_len, e);
		free(piece.samples);
	}
	return status;
}

/* One sample's rows; a sample that came in several frames is one segment, and belongs to its first here. */
static int filter_scores(void *context, enum site site, size_t row, struct rows rows, uint32_t len, struct error *e)
{
	struct pass *p = context;
	const struct owner *o = p->owners;
	while (o->row + o->n <= row)
		o++;
	struct sample sample = *o->s;
	struct frame piece = { .layer = -1, .variant = o->f->variant, .samples = &sample, .n_samples = 1 };
	sample.first = o->first + (uint32_t)(row - o->row);
	sample.n = (uint32_t)rows.n;
	sample.len = len;
	return p->s->filter(p->s->context, p->layer, site, &piece, rows.p, e);
}

/* -------- taps */

struct scores_of {
	struct block *block;
	size_t batch_row;
};

static void give_scores(void *context, size_t row, size_t n, bool probs, void *to)
{
	const struct scores_of *s = context;
	block_scores(s->block, s->batch_row + row, n, probs, to);
}

static int tap_layer(struct pass *p, size_t layer, const struct sites *sites, struct error *e)
{
	const struct sweep *s = p->s;
	bool any = false;
	for (enum site site = 0; site < SITE_COUNT; site++)
		any |= sites->read[site] != NULL;
	for (struct open_frame *o = p->first; any && o; o = o->next) {
		struct scores_of scores = { p->block, o->batch_row };
		struct tap_rows rows = { .work = s->ops->work, .scores = give_scores, .context = &scores };
		for (enum site site = 0; site < SITE_COUNT; site++)
			if (sites->read[site] && !site_by_length(site))
				rows.at[site] = (char *)sites->read[site] + o->batch_row * site_row_len(s, site);
		if (s->tap(s->context, layer, o->f, o->done, o->n_here, &rows, e) < 0)
			return -1;
	}
	return 0;
}

static int want_sites(struct pass *p, size_t layer, struct sites *sites, struct error *e)
{
	bool wanted[SITE_COUNT];
	*sites = (struct sites){ 0 };
	p->s->wants(p->s->context, layer, wanted);
	for (enum site site = 0; site < SITE_COUNT; site++) {
		if (!wanted[site])
			continue;
		if (!p->site_rows[site]) {
			size_t len = site_by_length(site) ? 1 : p->batch_rows * site_row_len(p->s, site);
			p->site_rows[site] = mem_try(len, site_name(site), e);
			if (!p->site_rows[site])
				return -1;
		}
		sites->read[site] = p->site_rows[site];
	}
	sites->context = p;
	sites->patch = patch_rows;
	sites->filter = filter_rows;
	sites->filter_scores = filter_scores;
	sites->plain = p->s->plain;
	p->s->changes(p->s->context, layer, sites->patched, sites->filtered);
	return 0;
}

/* -------- a pass */

static int run_layers(struct pass *p, struct error *e)
{
	for (size_t layer = p->from; layer < p->to; layer++) {
		struct sites sites;
		if (want_sites(p, layer, &sites, e) < 0)
			return -1;
		double start = clock_seconds();
		p->layer = layer;
		if (p->batch.x.n &&
		    block_run(p->block, loader_layer(p->loader, layer), &p->carry[layer - p->from], &p->batch, p->s->resid,
		              &sites, e) < 0)
			return -1;
		double end = clock_seconds();
		p->times.compute += end - start;
		if (tap_layer(p, layer, &sites, e) < 0)
			return -1;
		p->times.taps += clock_seconds() - end;
	}
	return 0;
}

/* Frames leave in the order they came, when their last row has. */
static int give_frames(struct pass *p, struct error *e)
{
	for (struct open_frame *o = p->first; o; o = o->next)
		o->done += o->n_here;
	while (p->first && p->first->done == p->first->total) {
		struct open_frame *o = p->first;
		p->first = o->next;
		if (!p->first)
			p->end = &p->first;
		if (o->rows != o->f->rows)
			free(o->rows);
		o->f->layer = (int)p->to;
		struct frame *f = o->f;
		free(o);
		if (p->s->put(p->s->context, f, e) < 0)
			return -1;
	}
	return 0;
}

static int run_batches(struct pass *p, struct error *e)
{
	do {
		if (fill_batch(p, e) < 0)
			return -1;
		double start = clock_seconds();
		copy_batch(p, false);
		p->times.frames += clock_seconds() - start;
		if (run_layers(p, e) < 0)
			return -1;
		start = clock_seconds();
		copy_batch(p, true);
		p->times.rows += p->batch.x.n;
		if (give_frames(p, e) < 0)
			return -1;
		p->times.frames += clock_seconds() - start;
		if (p->s->tell)
			p->s->tell(p->s->context, p->from, p->times.rows);
	} while (!p->finished || p->first);
	return 0;
}

static int end_layers(struct pass *p, struct error *e)
{
	for (size_t layer = p->from; layer < p->to; layer++) {
		if (carry_unfinished(&p->carry[layer - p->from]))
			return error_set(e, "the stream ends within a sample: its last rows are missing");
		carry_release(&p->carry[layer - p->from]);
		if (p->s->layer_end(p->s->context, layer, e) < 0)
			return -1;
	}
	return 0;
}

static void add_times(struct sweep_times *total, const struct sweep_times *t)
{
	if (!total->seconds)
		*total = (struct sweep_times){ .from = t->from, .rows = t->rows };
	total->to = t->to;
	total->seconds += t->seconds;
	total->read += t->read;
	total->stall += t->stall;
	total->compute += t->compute;
	total->frames += t->frames;
	total->taps += t->taps;
	total->block.product += t->block.product;
	total->block.attend += t->block.attend;
	total->block.norm += t->block.norm;
	total->block.rest += t->block.rest;
	total->block.product_flops += t->block.product_flops;
}

static void take_block_times(struct pass *p, const struct block_times *before)
{
	struct block_times t;
	block_times(p->block, &t);
	t.product -= before->product;
	t.attend -= before->attend;
	t.norm -= before->norm;
	t.rest -= before->rest;
	t.product_flops -= before->product_flops;
	p->times.block = t;
}

static int run_pass(struct pass *p, struct sweep_times *total, struct error *e)
{
	struct block_times before;
	block_times(p->block, &before);
	double start = clock_seconds();
	p->times = (struct sweep_times){ .from = p->from, .to = p->to };
	if (loader_wait(p->loader, p->to, &p->times.read, e) < 0)
		return -1;
	p->times.stall = clock_seconds() - start;
	p->finished = false;
	if (run_batches(p, e) < 0 || end_layers(p, e) < 0)
		return -1;
	loader_release(p->loader, p->to);
	p->times.seconds = clock_seconds() - start;
	take_block_times(p, &before);
	add_times(total, &p->times);
	return p->s->turn(p->s->context, &p->times, e);
}

static void pass_release(struct pass *p)
{
	while (p->first) {
		struct open_frame *o = p->first;
		p->first = o->next;
		if (o->rows != o->f->rows)
			free(o->rows);
		frame_free(o->f);
		free(o);
	}
	for (size_t i = 0; p->carry && i < p->hold; i++)
		carry_release(&p->carry[i]);
	for (enum site site = 0; site < SITE_COUNT; site++)
		free(p->site_rows[site]);
	free(p->carry);
	free(p->batch.segments);
	free(p->owners);
	p->s->ops->give(p->s->device, p->x);
	block_close(p->block);
	loader_close(p->loader);
}

/* No layer: frames go through as they are. */
static int pass_frames(const struct sweep *s, struct error *e)
{
	struct frame *f;
	int more;
	while ((more = s->next(s->context, &f, e)) > 0)
		if (s->put(s->context, f, e) < 0)
			return -1;
	return more;
}

static void all_sites(const struct sweep *s, bool any[SITE_COUNT])
{
	for (size_t layer = s->from; layer < s->to; layer++) {
		bool wanted[SITE_COUNT] = { false }, patched[SITE_COUNT] = { false }, filtered[SITE_COUNT] = { false };
		s->wants(s->context, layer, wanted);
		s->changes(s->context, layer, patched, filtered);
		for (enum site site = 0; site < SITE_COUNT; site++)
			any[site] |= wanted[site] || patched[site] || filtered[site];
		any[SITE_ATTN_SCORES] |= s->plain;
	}
}

int sweep_run(const struct sweep *s, struct sweep_times *total, struct error *e)
{
	struct pass p = { .s = s };
	bool any[SITE_COUNT] = { false };
	*total = (struct sweep_times){ .from = s->from, .to = s->to };
	if (s->from >= s->to)
		return pass_frames(s, e);
	all_sites(s, any);
	p.end = &p.first;
	p.hold = s->hold < s->to - s->from ? s->hold : s->to - s->from;
	size_t arena_len = sweep_arena_len(s), weights = loader_arenas(s, p.hold) * arena_len;
	p.batch_rows = sweep_batch_rows(s, weights, any);
	if (check_room(s, weights, p.batch_rows, any, e) < 0)
		return -1;
	p.carry = mem_zero(p.hold, sizeof *p.carry);
	for (size_t i = 0; i < p.hold; i++)
		p.carry[i] = (struct carry){ .ops = s->ops, .device = s->device };
	p.x = s->ops->take(s->device, p.batch_rows * s->m->width * dtype_size(s->ops->work), "a batch", e);
	p.batch.x = (struct rows){ p.x, 0, s->m->width, s->m->width };
	p.block = p.x ? block_open(s->ops, s->device, s->m, s->workers, p.batch_rows, any, s->filters, e) : NULL;
	p.loader = p.block ? loader_open(s, p.hold, arena_len, e) : NULL;
	int status = p.loader ? 0 : -1;
	for (p.from = s->from; status == 0 && p.from < s->to; p.from = p.to) {
		p.to = p.from + p.hold < s->to ? p.from + p.hold : s->to;
		status = run_pass(&p, total, e);
	}
	pass_release(&p);
	return status;
}
