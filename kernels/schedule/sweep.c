#include "sweep.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "loader.h"
#include "memory.h"
#include "packing.h"
#include "shares.h"
#include "tapping.h"

struct pass {
	const struct sweep *s;
	struct packing packing;
	struct packed *current;         /* the batch that runs */
	struct packed *kept, **kept_end; /* batches whose rows stay on the device from pass to pass, in order */
	struct packed *work;            /* the one that frames are packed into */
	struct packed *leaving;         /* one whose rows are on their way to its frames while the next runs, or NULL */
	struct packed *other;           /* to take turns with work; NULL: rows have left before the next come */
	bool keeps;                     /* further batches may be kept */
	size_t kept_meta, reserve;      /* bytes of their frames' samples; bytes of the device that are left free */
	size_t hold;
	struct block *block;
	struct loader *loader;
	struct carry *carry;            /* (hold) */
	size_t from, to;
	size_t layer;                   /* that runs */
	struct tapping *tapping;
	struct sweep_times times;
};

/* -------- changes */

static void patch_rows(void *context, enum site site, size_t first, struct rows rows)
{
	struct pass *p = context;
	size_t element = dtype_size(p->s->ops->work);
	for (size_t i = 0; i < p->current->n_owners; i++) {
		const struct owner *o = &p->current->owners[i];
		size_t from = o->row > first ? o->row : first;
		size_t end = o->row + o->n < first + rows.n ? o->row + o->n : first + rows.n;
		if (from >= end)
			continue;
		struct rows part = { (char *)rows.p + (from - first) * rows.stride * element, end - from, rows.width, rows.stride };
		patches_apply(p->s->hooks->patches, site, (int)p->layer, o->s, o->f->variant, o->first + (uint32_t)(from - o->row),
		              part.n, part.p, part.width, part.stride, p->s->ops->work);
	}
}

static int filter_rows(void *context, enum site site, struct rows rows, struct error *e)
{
	struct pass *p = context;
	size_t row_len = rows.width * dtype_size(p->s->ops->work);
	int status = 0;
	for (size_t i = 0; i < p->current->n_pieces && status == 0; i++) {
		const struct piece *o = &p->current->pieces[i];
		struct frame piece = { .layer = -1, .variant = o->t->f->variant };
		piece.samples = frame_slice(o->t->f, o->first, o->n, &piece.n_samples);
		status = filters_run(p->s->hooks->filters, site, (int)p->layer, &piece, p->s->ops->work,
		                     (char *)rows.p + o->row * row_len, e);
		free(piece.samples);
	}
	return status;
}

/* One sample's rows; a sample that came in several frames is one segment, and belongs to its first here. */
static int filter_scores(void *context, enum site site, size_t row, struct rows rows, uint32_t len, struct error *e)
{
	struct pass *p = context;
	const struct owner *o = p->current->owners;
	while (o->row + o->n <= row)
		o++;
	struct sample sample = *o->s;
	struct frame piece = { .layer = -1, .variant = o->f->variant, .samples = &sample, .n_samples = 1 };
	sample.first = o->first + (uint32_t)(row - o->row);
	sample.n = (uint32_t)rows.n;
	sample.len = len;
	return filters_run(p->s->hooks->filters, site, (int)p->layer, &piece, p->s->ops->work, rows.p, e);
}

/* -------- a pass */

static int want_sites(struct pass *p, size_t layer, struct sites *sites, struct error *e)
{
	*sites = (struct sites){ .context = p, .patch = patch_rows, .filter = filter_rows, .filter_scores = filter_scores,
	                         .plain = p->s->plain };
	patches_wanted(p->s->hooks->patches, (int)layer, sites->patched);
	filters_wanted(p->s->hooks->filters, (int)layer, sites->filtered);
	return tapping_want(p->tapping, layer, sites, e);
}

static int run_layers(struct pass *p, struct error *e)
{
	for (size_t layer = p->from; layer < p->to; layer++) {
		struct sites sites;
		if (want_sites(p, layer, &sites, e) < 0)
			return -1;
		double start = clock_seconds();
		p->layer = layer;
		if (p->current->batch.x.n &&
		    block_run(p->block, loader_layer(p->loader, layer), &p->carry[layer - p->from], &p->current->batch,
		              p->s->resid, &sites, e) < 0)
			return -1;
		double end = clock_seconds();
		p->times.compute += end - start;
		if (tapping_run(p->tapping, p->block, layer, p->current, &sites, e) < 0)
			return -1;
		p->times.taps += clock_seconds() - end;
	}
	return 0;
}

/* -------- batches: from frames to frames, or kept on the device between passes */

static int run_batch(struct pass *p, struct packed *b, struct error *e)
{
	p->current = b;
	if (run_layers(p, e) < 0)
		return -1;
	p->times.rows += b->batch.x.n;
	if (p->s->tell)
		p->s->tell(p->s->context, p->from, p->times.rows);
	return 0;
}

/* The frames of the batch that is leaving, when their rows are there. */
static int give_leaving(struct pass *p, struct error *e)
{
	struct packed *b = p->leaving;
	p->leaving = NULL;
	if (!b)
		return 0;
	packed_arrive(&p->packing, b);
	if (p->s->ops->failed(p->s->device, e))
		return -1;
	return packed_give(&p->packing, b, p->to, e);
}

/* Gives all that is still on its way, so that taps and frames have what was run so far. */
static int settle(struct pass *p, struct error *e)
{
	double start = clock_seconds();
	if (tapping_settle(p->tapping, e) < 0)
		return -1;
	double end = clock_seconds();
	p->times.taps += end - start;
	int status = give_leaving(p, e);
	p->times.frames += clock_seconds() - end;
	return status;
}

/* Sends the batch's rows off; where another batch can run meanwhile, its frames are given after that one was started. */
static int leave(struct pass *p, struct packed *b, struct error *e)
{
	double start = clock_seconds();
	int status = packed_store(&p->packing, b, e);
	if (status == 0)
		status = give_leaving(p, e);
	p->leaving = b;
	p->times.frames += clock_seconds() - start;
	return status == 0 && !p->other ? settle(p, e) : status;
}

/* In the first of several passes, while the device has room: the batch just run stays, and another is worked with. */
static bool keep_batch(struct pass *p)
{
	/* What their samples say stays in the host's memory, whatever --ram. */
	static const size_t most_meta = (size_t)64 << 20;
	const struct sweep *s = p->s;
	struct error e;
	p->kept_meta += packed_meta_len(p->work);
	p->keeps = p->keeps && packed_whole(p->work) && p->kept_meta <= most_meta && s->ops->spare(s->device) > p->reserve;
	struct packed *next = p->keeps ? packed_open(&p->packing, &e) : NULL;
	p->keeps = next != NULL;
	if (!next)
		return false;
	packed_forget_rows(p->work);
	*p->kept_end = p->work;
	p->kept_end = &p->work->next;
	p->work = next;
	return true;
}

static int run_kept(struct pass *p, struct error *e)
{
	for (struct packed *b = p->kept; b; b = b->next)
		if (run_batch(p, b, e) < 0 || (p->to == p->s->to && leave(p, b, e) < 0))
			return -1;
	return 0;
}

/* When it is time, and every frame that some batch had rows of has been put, and all of it tapped. */
static int commit(struct pass *p, struct error *e)
{
	if (!p->packing.whole || p->packing.finished || !packing_whole(&p->packing))
		return 0;
	for (size_t layer = p->from; layer < p->to; layer++)
		if (carry_unfinished(&p->carry[layer - p->from]))
			return 0;
	if (settle(p, e) < 0)
		return -1;
	return run_state_commit(p->s->state, p->packing.waiting != NULL, e);
}

static int run_batches(struct pass *p, struct error *e)
{
	if (run_kept(p, e) < 0)
		return -1;
	p->packing.finished = false;
	do {
		double start = clock_seconds();
		p->packing.whole = p->s->state && run_state_due(p->s->state);
		if (packing_fill(&p->packing, p->work, e) < 0)
			return -1;
		packed_load(&p->packing, p->work);
		p->times.frames += clock_seconds() - start;
		if (run_batch(p, p->work, e) < 0)
			return -1;
		if (p->keeps && keep_batch(p))
			continue;
		struct packed *b = p->work;
		if (leave(p, b, e) < 0)
			return -1;
		if (p->other) {
			p->work = p->other;
			p->other = b;
		}
		if (commit(p, e) < 0)
			return -1;
	} while (!p->packing.finished || p->packing.waiting);
	p->keeps = false;
	return settle(p, e);
}

static int end_layers(struct pass *p, struct error *e)
{
	for (size_t layer = p->from; layer < p->to; layer++) {
		if (carry_unfinished(&p->carry[layer - p->from]))
			return error_set(e, "the stream ends within a sample: its last rows are missing");
		carry_release(&p->carry[layer - p->from]);
		if (taps_layer_end(p->s->hooks->taps, (int)layer, e) < 0)
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
	if (p->s->timed && p->s->ops->lap)
		p->times.compute = t.product + t.attend + t.norm + t.rest; /* the wall clock saw only the asking */
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
	if (run_batches(p, e) < 0 || end_layers(p, e) < 0)
		return -1;
	p->s->ops->wait(p->s->device); /* rows that stay on the device may still be at work with these weights */
	if (p->s->ops->failed(p->s->device, e))
		return -1;
	loader_release(p->loader, p->to);
	p->times.seconds = clock_seconds() - start;
	take_block_times(p, &before);
	add_times(total, &p->times);
	return p->s->turn(p->s->context, &p->times, e);
}

static void pass_release(struct pass *p)
{
	while (p->kept) {
		struct packed *b = p->kept;
		p->kept = b->next;
		packed_free(&p->packing, b);
	}
	packed_free(&p->packing, p->work);
	packed_free(&p->packing, p->other);
	packing_release(&p->packing);
	for (size_t i = 0; p->carry && i < p->hold; i++)
		carry_release(&p->carry[i]);
	tapping_close(p->tapping);
	free(p->carry);
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

int sweep_run(const struct sweep *s, struct sweep_times *total, struct error *e)
{
	struct pass p = { .s = s };
	struct shares a;
	bool any[SITE_COUNT] = { false };
	*total = (struct sweep_times){ .from = s->from, .to = s->to };
	if (s->from >= s->to)
		return pass_frames(s, e);
	if (s->first >= s->to)
		return 0;
	shares_sites(s, any);
	p.kept_end = &p.kept;
	bool shared = shares_find(s, &a, any, e) == 0 && (!s->state || run_state_hold(s->state, a.hold, e) == 0);
	p.hold = a.hold;
	p.carry = mem_zero(p.hold, sizeof *p.carry);
	for (size_t i = 0; i < p.hold; i++)
		p.carry[i] = (struct carry){ .ops = s->ops, .device = s->device };
	p.packing = (struct packing){ .s = s, .batch_rows = a.rows };
	p.tapping = shared ? tapping_open(s, a.rows, e) : NULL;
	p.work = p.tapping ? packed_open(&p.packing, e) : NULL;
	p.block = p.work ? block_open(s->ops, s->device, s->m, s->workers, a.rows, a.tile, any, s->filters, e) : NULL;
	if (p.block && s->timed)
		block_take_device_times(p.block);
	if (p.block && !s->ops->host)
		p.other = packed_open(&p.packing, e);
	p.loader = p.block ? loader_open(s, p.hold, a.layer, a.window > 0, e) : NULL;
	int status = p.loader ? 0 : -1;
	/* A quarter of what the device has left is for keys of long samples and rotary tables. */
	p.reserve = s->ops->spare(s->device) / 4;
	/* Beside a window what was left went to batches of more rows, and to weights that stay. */
	p.keeps = !s->ops->host && !a.window && !s->state && p.hold < s->to - s->from;
	for (p.from = s->first; status == 0 && p.from < s->to; p.from = p.to) {
		p.to = p.from + p.hold < s->to ? p.from + p.hold : s->to;
		status = run_pass(&p, total, e);
		if (status < 0 && s->ops->failed(s->device, e))
			error_in(e, p.hold == 1 ? "layer %zu" : "from layer %zu on", p.from);
	}
	pass_release(&p);
	return status;
}
