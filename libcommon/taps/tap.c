#include "tap_plan.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "spill.h"

/* -------- lanes */

static struct lane *lane_open(struct taps *t, int layer)
{
	for (size_t i = 0; i < t->n_lanes; i++)
		if (t->lanes[i].layer == layer)
			return &t->lanes[i];
	mem_grow((void **)&t->lanes, &t->lane_capacity, t->n_lanes + 1, sizeof *t->lanes);
	struct lane *lane = &t->lanes[t->n_lanes++];
	*lane = (struct lane){ .layer = layer };
	lane->cells = mem_zero(t->n_taps * SITE_COUNT, sizeof *lane->cells);
	lane->waiting = mem_zero(t->n_streams, sizeof(struct spill *));
	for (enum site s = 0; s < SITE_COUNT; s++)
		for (size_t i = 0; i < t->n_taps; i++)
			if (tap_reads(&t->taps[i], t->m, s, layer))
				tap_cell_open(&lane->cells[lane->n_cells++], t, &t->taps[i], s);
	return lane;
}

/* The first layer in flight writes; what others give waits, so that the stream runs layer by layer. */
static int give(struct taps *t, struct lane *lane, struct stream *stream, const struct frame *f, struct error *e)
{
	if (lane == &t->lanes[0])
		return tms_write(stream->writer, f, e);
	struct spill **waiting = &lane->waiting[stream - t->streams];
	if (!*waiting)
		*waiting = spill_open(4 << 20, NULL, &t->header, NULL);
	struct frame *copy = frame_like(f);
	size_t len = frame_rows_len(f);
	if (frame_take_rows(copy, len, e) < 0) {
		frame_free(copy);
		return -1;
	}
	if (len)
		memcpy(copy->rows, f->rows, len);
	return spill_put(*waiting, copy, e);
}

static int write_waiting(struct stream *stream, struct spill *waiting, struct error *e)
{
	struct frame *f;
	int status = spill_turn(waiting, e);
	while (status == 0) {
		int more = spill_next(waiting, &f, e);
		if (more <= 0)
			return more;
		status = tms_write(stream->writer, f, e);
		frame_free(f);
	}
	return status;
}

int taps_layer_end(struct taps *t, int layer, struct error *e)
{
	if (!t->n_lanes || t->lanes[0].layer != layer)
		return 0;
	tap_lane_release(t, &t->lanes[0]);
	memmove(t->lanes, t->lanes + 1, --t->n_lanes * sizeof *t->lanes);
	if (!t->n_lanes)
		return 0;
	struct lane *next = &t->lanes[0];
	for (size_t i = 0; i < t->n_streams; i++) {
		if (next->waiting[i] && write_waiting(&t->streams[i], next->waiting[i], e) < 0)
			return -1;
		spill_close(next->waiting[i]);
		next->waiting[i] = NULL;
	}
	return 0;
}

/* -------- rows */

/* Takes up the next piece that has rows; pieces without any (empty samples) are written as they are met. */
static int begin_piece(struct taps *t, struct lane *lane, struct cell *c, const struct frame *like, enum dtype dtype,
                       struct error *e)
{
	c->have = c->due = 0;
	while (tap_next_piece(c, like, dtype)) {
		tap_describe(&c->piece, c, lane->layer, like, dtype);
		c->piece.rows = NULL;
		c->due = frame_n_rows(&c->piece);
		size_t len = c->due * c->width * dtype_size(dtype);
		if (c->due == 0) {
			if (site_by_length(c->site)) /* rows of no length have no shape on the wire */
				continue;
			if (give(t, lane, c->tap->stream, &c->piece, e) < 0)
				return -1;
			continue;
		}
		if (len > c->rows_capacity) {
			free(c->rows);
			c->rows_capacity = 0;
			c->rows = mem_try(len, "a tap's rows", e);
			if (!c->rows)
				return -1;
			c->rows_capacity = len;
		}
		c->piece.rows = c->rows;
		return 0;
	}
	return 0;
}

/* Rows skip..skip+n-1 of what was handed over. */
static int put_rows(struct cell *c, const struct tap_rows *rows, size_t skip, size_t n, enum dtype dtype, struct error *e)
{
	char *to = (char *)c->rows + c->have * c->width * dtype_size(dtype);
	enum dtype from = c->site == SITE_EXPERT_IDX ? DTYPE_I32 : rows->work;
	size_t count = n * c->width;
	c->have += n;
	if (!site_by_length(c->site)) {
		const char *source = rows->at[c->site];
		dtype_convert(to, dtype, source + skip * c->width * dtype_size(from), from, count);
		return 0;
	}
	if (dtype == from) {
		rows->scores(rows->context, skip, n, c->site == SITE_ATTN_PROBS, to);
		return 0;
	}
	void *wide = mem_try(count * dtype_size(from), "attention scores", e);
	if (!wide)
		return -1;
	rows->scores(rows->context, skip, n, c->site == SITE_ATTN_PROBS, wide);
	dtype_convert(to, dtype, wide, from, count);
	free(wide);
	return 0;
}

/* Adds a frame of one row a sample to what has ended before; takes `more` over. */
static int append_pooled(struct cell *c, struct frame *more, struct error *e)
{
	struct frame *f = c->pooled;
	c->pooled = more;
	if (!f)
		return 0;
	size_t n = f->n_samples + more->n_samples, a = frame_rows_len(f), b = frame_rows_len(more);
	struct frame list = *f;
	list.samples = mem_zero(n, sizeof *list.samples);
	list.n_samples = n;
	memcpy(list.samples, f->samples, f->n_samples * sizeof *f->samples);
	memcpy(list.samples + f->n_samples, more->samples, more->n_samples * sizeof *more->samples);
	struct frame *joined = frame_like(&list);
	int status = frame_take_rows(joined, a + b, e);
	if (status == 0) {
		memcpy(joined->rows, f->rows, a);
		memcpy((char *)joined->rows + a, more->rows, b);
	}
	free(list.samples);
	frame_free(f);
	frame_free(more);
	c->pooled = joined;
	return status;
}

/* Rows first..first+n-1 of `like`, all that the caller has: pooled by it, or to be pooled here. */
static int pool_rows(struct cell *c, int layer, const struct frame *like, const struct tap_rows *rows, size_t first, size_t n,
                     struct error *e)
{
	struct frame f = { .rows = (void *)rows->at[c->site] }, *out;
	const double *const *sums = rows->sums ? rows->sums(rows->context, c->site, c->tap->pool_index) : NULL;
	c->width = tap_cell_width(c);
	tap_describe(&f, c, layer, like, rows->work);
	f.samples = frame_slice(like, first, n, &f.n_samples);
	int status = sums ? pooler_put(c->pooler, &f, sums, &out, e) : pooler_add(c->pooler, &f, &out, e);
	free(f.samples);
	if (status == 0 && out)
		status = append_pooled(c, out, e);
	return status;
}

static int end_pooled(struct taps *t, struct lane *lane, struct cell *c, const struct frame *like, enum dtype dtype,
                      struct error *e)
{
	struct frame *f = c->pooled;
	c->pooled = NULL;
	if (!f)
		return 0;
	enum dtype had = f->dtype;
	tap_describe(f, c, lane->layer, like, dtype);
	f->pool = text_of(c->tap->pool_text);
	if (f->rows && had != dtype) {
		size_t n = frame_n_rows(f) * c->width;
		void *was = f->rows;
		f->rows = NULL;
		if (frame_take_rows(f, n * dtype_size(dtype), e) < 0) {
			free(was);
			frame_free(f);
			return -1;
		}
		dtype_convert(f->rows, dtype, was, had, n);
		free(was);
	}
	int status = give(t, lane, c->tap->stream, f, e);
	frame_free(f);
	return status;
}

/* A tap whose reader went away takes nothing more, and its site may not have been read. */
static bool takes_rows(const struct cell *c)
{
	return !c->pooler && !tap_ended(c->tap);
}

static bool takes_pooled(const struct cell *c)
{
	return c->pooler && !tap_ended(c->tap);
}

/* The rows that can be taken before some cell's piece is full: pieces then end in the same order however rows come. */
static size_t step_of(const struct lane *lane, size_t left)
{
	for (size_t i = 0; i < lane->n_cells; i++) {
		const struct cell *c = &lane->cells[i];
		if (takes_rows(c) && c->due - c->have < left && c->due > c->have)
			left = c->due - c->have;
	}
	return left;
}

static int put_step(struct taps *t, struct lane *lane, const struct frame *like, size_t skip, size_t n,
                    const struct tap_rows *rows, struct error *e)
{
	for (size_t i = 0; i < lane->n_cells; i++) {
		struct cell *c = &lane->cells[i];
		enum dtype dtype = tap_cell_dtype(c, rows->work);
		if (!takes_rows(c))
			continue;
		if (put_rows(c, rows, skip, n, dtype, e) < 0)
			return -1;
		if (c->have == c->due &&
		    (give(t, lane, c->tap->stream, &c->piece, e) < 0 || begin_piece(t, lane, c, like, dtype, e) < 0))
			return -1;
	}
	return 0;
}

int taps_put(struct taps *t, int layer, const struct frame *like, size_t first, size_t n, const struct tap_rows *rows,
             struct error *e)
{
	struct lane *lane = lane_open(t, layer);
	size_t total = frame_n_rows(like);
	for (size_t i = 0; first == 0 && i < lane->n_cells; i++) {
		struct cell *c = &lane->cells[i];
		if (!takes_rows(c))
			continue;
		tap_cell_begin(c);
		if (begin_piece(t, lane, c, like, tap_cell_dtype(c, rows->work), e) < 0)
			return -1;
	}
	for (size_t done = 0, step; done < n; done += step) {
		step = step_of(lane, n - done);
		if (put_step(t, lane, like, done, step, rows, e) < 0)
			return -1;
	}
	for (size_t i = 0; n && i < lane->n_cells; i++)
		if (takes_pooled(&lane->cells[i]) && pool_rows(&lane->cells[i], layer, like, rows, first, n, e) < 0)
			return -1;
	for (size_t i = 0; first + n == total && i < lane->n_cells; i++) {
		struct cell *c = &lane->cells[i];
		if (takes_pooled(c) && end_pooled(t, lane, c, like, tap_cell_dtype(c, rows->work), e) < 0)
			return -1;
	}
	return 0;
}

const double *taps_sum(const struct taps *t, int layer, enum site site, size_t pool, const struct frame *like,
                       const struct sample *s)
{
	const struct lane *lane = t->lanes;
	while (lane < t->lanes + t->n_lanes && lane->layer != layer)
		lane++;
	for (size_t i = 0; lane < t->lanes + t->n_lanes && i < lane->n_cells; i++) {
		const struct cell *c = &lane->cells[i];
		struct frame f = { .rows = NULL };
		if (c->site != site || !takes_pooled(c) || c->tap->pool_index != pool)
			continue;
		tap_describe(&f, c, layer, like, DTYPE_F64);
		return pooler_sum(c->pooler, &f, s);
	}
	return NULL;
}

/* -------- the end */

int taps_finish(struct taps *t, struct error *e)
{
	int status = 0;
	while (t->n_lanes && status == 0)
		status = taps_layer_end(t, t->lanes[0].layer, e);
	for (size_t i = 0; i < t->n_streams; i++) {
		struct tms_writer *w = t->streams[i].writer;
		t->streams[i].writer = NULL;
		if (status == 0)
			status = tms_finish(w, e);
		else
			tms_abort(w);
	}
	taps_abort(t);
	return status;
}
