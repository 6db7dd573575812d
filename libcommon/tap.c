#include "tap.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "pooling.h"
#include "spill.h"

struct stream {                 /* one FILE */
	char *target;
	struct tms_writer *writer;
};

struct tap {
	struct selection selection;
	bool *layers;           /* (n_layers) */
	struct pool pool;       /* kind POOL_NONE: every row */
	char pool_text[32];
	struct stream *stream;
};

/* One tap's one site in one layer, while the layer's rows come in. */
struct cell {
	struct tap *tap;
	enum site site;
	size_t dim[FRAME_DIMS], width;  /* of a row; for scores, of the piece's sample */
	int n_dims;
	enum dtype dtype;
	/* rows as they are: the piece that is being filled */
	struct frame_cursor cursor;
	struct frame piece;
	size_t due, have;               /* rows of it */
	void *rows;
	size_t rows_capacity;
	/* pooled: what of this frame has ended */
	struct pooler *pooler;
	struct frame *pooled;
};

/* Frames of layers behind the one that is written at present wait here; only --hold has any. */
struct lane {
	int layer;
	struct cell *cells;             /* by site, then by tap */
	size_t n_cells;
	struct spill **waiting;         /* (n_streams); NULL: none */
};

struct taps {
	const struct model *m;
	struct tap *taps;
	size_t n_taps;
	struct stream *streams;
	size_t n_streams;
	enum dtype dtype;
	struct tms_header header;
	struct lane *lanes;             /* layers in flight, in order; lanes[0] writes through */
	size_t n_lanes, lane_capacity;
};

/* -------- opening */

static struct stream *stream_of(struct taps *t, const char *target)
{
	for (size_t i = 0; i < t->n_streams; i++)
		if (strcmp(t->streams[i].target, target) == 0)
			return &t->streams[i];
	struct stream *s = &t->streams[t->n_streams++];
	*s = (struct stream){ .target = mem_string(target) };
	return s;
}

static bool tap_reads(const struct tap *tap, const struct model *m, enum site s, int layer)
{
	if (!tap->selection.site[s] || site_in_block(s) != (layer >= 0))
		return false;
	return layer < 0 || (tap->layers[layer] && site_exists(s, m, (size_t)layer));
}

/* The layer of a place that both read, -1 outside the block.  Whether there is one. */
static bool both_read(const struct taps *t, const struct tap *a, const struct tap *b, enum site s, int *layer)
{
	if (!a->selection.site[s] || !b->selection.site[s])
		return false;
	for (*layer = -1; *layer < (int)t->m->n_layers; ++*layer)
		if (tap_reads(a, t->m, s, *layer) && tap_reads(b, t->m, s, *layer))
			return true;
	return false;
}

/* The same rows twice in one stream would be taken for more samples. */
static int check_twice(const struct taps *t, const struct tap *tap, struct error *e)
{
	int layer;
	for (const struct tap *other = t->taps; other < tap; other++) {
		if (other->stream != tap->stream || strcmp(other->pool_text, tap->pool_text) != 0)
			continue;
		for (enum site s = 0; s < SITE_COUNT; s++)
			if (both_read(t, tap, other, s, &layer))
				return layer < 0 ? error_set(e, "--tap %s: --tap %s writes %s there already", tap->selection.text,
				                             other->selection.text, site_name(s))
				                 : error_set(e, "--tap %s: --tap %s writes %s of layer %d there already",
				                             tap->selection.text, other->selection.text, site_name(s), layer);
	}
	return 0;
}

static int tap_open(struct taps *t, struct tap *tap, const char *text, const char *program, struct error *e)
{
	if (selection_parse(&tap->selection, text, program, e) < 0)
		return -1;
	if (!tap->selection.target || !*tap->selection.target)
		return error_set(e, "--tap %s: needs =FILE, =- or ='|command'", text);
	tap->layers = mem_zero(t->m->n_layers + 1, sizeof *tap->layers);
	if (selection_layers(&tap->selection, t->m, tap->layers, e) < 0)
		return -1;
	if (tap->selection.pool) {
		if (pool_parse(&tap->pool, tap->selection.pool, e) < 0)
			return error_in(e, "--tap %s", text);
		pool_text(&tap->pool, tap->pool_text);
		static const enum site unpooled[] = { SITE_ATTN_SCORES, SITE_ATTN_PROBS, SITE_EXPERT_IDX };
		for (size_t i = 0; i < ARRAY_LEN(unpooled); i++)
			if (tap->selection.site[unpooled[i]])
				return error_set(e, "--tap %s: %s can't be pooled, its rows don't add up", text, site_name(unpooled[i]));
	}
	tap->stream = stream_of(t, tap->selection.target);
	return check_twice(t, tap, e);
}

static int streams_open(struct taps *t, const struct tms_header *from, const struct tms_step *step, struct error *e)
{
	struct tms_header *header = &t->header;
	tms_header_copy(header, from);
	free(header->model);
	free(header->fingerprint);
	header->kind = from->kind == TMS_LOGITS ? TMS_LOGITS : TMS_ACTS;
	header->order = TMS_ORDER_LAYER;
	header->model = mem_string(t->m->name);
	header->fingerprint = mem_string(t->m->fingerprint);
	for (size_t i = 0; i < t->n_streams; i++) {
		t->streams[i].writer = tms_create(t->streams[i].target, header, step, NULL, e);
		if (!t->streams[i].writer)
			return -1;
	}
	return 0;
}

struct taps *taps_plan(const struct option_list *list, const char *program, const struct model *m, struct error *e)
{
	struct taps *t = mem_zero(1, sizeof *t);
	t->m = m;
	t->taps = mem_zero(list->n, sizeof *t->taps);
	t->streams = mem_zero(list->n, sizeof *t->streams);
	for (size_t i = 0; i < list->n; i++) {
		if (tap_open(t, &t->taps[t->n_taps++], list->item[i], program, e) < 0) {
			taps_abort(t);
			return NULL;
		}
	}
	return t;
}

struct taps *taps_open(const struct option_list *list, const char *program, const struct model *m,
                       const struct tms_header *header, const struct tms_step *step, enum dtype dtype, struct error *e)
{
	struct taps *t = taps_plan(list, program, m, e);
	if (!t)
		return NULL;
	t->dtype = dtype;
	if (streams_open(t, header, step, e) < 0) {
		taps_abort(t);
		return NULL;
	}
	return t;
}

void taps_wanted(const struct taps *t, int layer, bool wanted[SITE_COUNT])
{
	memset(wanted, 0, SITE_COUNT * sizeof *wanted);
	for (size_t i = 0; i < t->n_taps; i++) {
		const struct tms_writer *writer = t->taps[i].stream->writer;
		if (writer && tms_ended_early(writer))
			continue;
		for (enum site s = 0; s < SITE_COUNT; s++)
			wanted[s] |= tap_reads(&t->taps[i], t->m, s, layer);
	}
}

int taps_last_layer(const struct taps *t)
{
	bool wanted[SITE_COUNT];
	for (int layer = (int)t->m->n_layers - 1; layer >= 0; layer--) {
		taps_wanted(t, layer, wanted);
		for (enum site s = 0; s < SITE_COUNT; s++)
			if (wanted[s])
				return layer;
	}
	return -1;
}

bool taps_any(const struct taps *t)
{
	return t->n_taps > 0;
}

bool taps_all_ended(const struct taps *t)
{
	for (size_t i = 0; i < t->n_streams; i++)
		if (!tms_ended_early(t->streams[i].writer))
			return false;
	return t->n_streams > 0;
}

/* -------- lanes */

static void cell_open(struct cell *c, struct tap *tap, enum site s, const struct taps *t)
{
	*c = (struct cell){ .tap = tap, .site = s, .dtype = t->dtype };
	c->n_dims = site_shape(s, t->m, c->dim);
	if (tap->pool.kind != POOL_NONE)
		c->pooler = pooler_open(&tap->pool);
}

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
				cell_open(&lane->cells[lane->n_cells++], &t->taps[i], s, t);
	return lane;
}

static void lane_release(struct taps *t, struct lane *lane)
{
	for (size_t i = 0; i < lane->n_cells; i++) {
		frame_cut_release(&lane->cells[i].cursor);
		free(lane->cells[i].rows);
		pooler_close(lane->cells[i].pooler);
		frame_free(lane->cells[i].pooled);
	}
	free(lane->cells);
	for (size_t i = 0; i < t->n_streams; i++)
		spill_close(lane->waiting[i]);
	free(lane->waiting);
}

/* The first layer in flight writes; what others give waits, so that the stream runs layer by layer. */
static int give(struct taps *t, struct lane *lane, struct stream *stream, const struct frame *f, struct error *e)
{
	if (lane == &t->lanes[0])
		return tms_write(stream->writer, f, e);
	struct spill **waiting = &lane->waiting[stream - t->streams];
	if (!*waiting)
		*waiting = spill_open(4 << 20, NULL, &t->header);
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
	lane_release(t, &t->lanes[0]);
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

static void describe(struct frame *f, const struct cell *c, int layer, const struct frame *like, enum dtype dtype)
{
	f->site = text_of(site_name(c->site));
	f->layer = layer;
	f->dtype = dtype;
	memcpy(f->dim, c->dim, sizeof c->dim);
	f->n_dims = c->n_dims;
	f->variant = like->variant;
}

static enum dtype cell_dtype(const struct cell *c, enum dtype work)
{
	if (c->site == SITE_EXPERT_IDX)
		return DTYPE_I32;
	return c->dtype == DTYPE_NONE ? work : c->dtype;
}

static size_t row_width(const struct cell *c)
{
	size_t n = 1;
	for (int i = 0; i < c->n_dims; i++)
		n *= c->dim[i];
	return n;
}

/*
 * The next piece of `like`: as frame_cut says, and for scores the rows of one sample, whose length is a dimension.
 * 1, or 0 when all of the frame has been given.
 */
static int next_piece(struct cell *c, const struct frame *like, enum dtype dtype)
{
	if (!site_by_length(c->site)) {
		if (!c->width)
			c->width = row_width(c);
		return frame_cut(like, c->width * dtype_size(dtype), &c->cursor, &c->piece);
	}
	/* frame_cut with rows so long that no two samples share a piece would cut too finely: walk by sample. */
	if (c->cursor.sample == like->n_samples)
		return 0;
	const struct sample *s = &like->samples[c->cursor.sample];
	c->dim[1] = s->len;
	c->width = row_width(c);
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

static void restart(struct cell *c)
{
	c->cursor.sample = 0;
	c->cursor.offset = 0;
	c->cursor.started = 0;
}

/* Takes up the next piece that has rows; pieces without any (empty samples) are written as they are met. */
static int begin_piece(struct taps *t, struct lane *lane, struct cell *c, const struct frame *like, enum dtype dtype,
                       struct error *e)
{
	c->have = c->due = 0;
	while (next_piece(c, like, dtype)) {
		describe(&c->piece, c, lane->layer, like, dtype);
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

static int pool_rows(struct cell *c, int layer, const struct frame *like, const struct tap_rows *rows, size_t first,
                     size_t skip, size_t n, struct error *e)
{
	struct frame f = { .rows = NULL }, *out;
	size_t element = dtype_size(rows->work);
	c->width = row_width(c);
	describe(&f, c, layer, like, rows->work);
	f.rows = (char *)rows->at[c->site] + skip * c->width * element;
	f.samples = frame_slice(like, first, n, &f.n_samples);
	int status = pooler_add(c->pooler, &f, &out, e);
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
	describe(f, c, lane->layer, like, dtype);
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

/* The rows that can be taken before some cell's piece is full: pieces then end in the same order however rows come. */
static size_t step_of(const struct lane *lane, size_t left)
{
	for (size_t i = 0; i < lane->n_cells; i++) {
		const struct cell *c = &lane->cells[i];
		if (!c->pooler && c->due - c->have < left && c->due > c->have)
			left = c->due - c->have;
	}
	return left;
}

static int put_step(struct taps *t, struct lane *lane, const struct frame *like, size_t first, size_t skip, size_t n,
                    const struct tap_rows *rows, struct error *e)
{
	for (size_t i = 0; i < lane->n_cells; i++) {
		struct cell *c = &lane->cells[i];
		enum dtype dtype = cell_dtype(c, rows->work);
		if (c->pooler) {
			if (pool_rows(c, lane->layer, like, rows, first + skip, skip, n, e) < 0)
				return -1;
			continue;
		}
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
		if (c->pooler)
			continue;
		restart(c);
		if (begin_piece(t, lane, c, like, cell_dtype(c, rows->work), e) < 0)
			return -1;
	}
	for (size_t done = 0, step; done < n; done += step) {
		step = step_of(lane, n - done);
		if (put_step(t, lane, like, first, done, step, rows, e) < 0)
			return -1;
	}
	for (size_t i = 0; first + n == total && i < lane->n_cells; i++) {
		struct cell *c = &lane->cells[i];
		if (c->pooler && end_pooled(t, lane, c, like, cell_dtype(c, rows->work), e) < 0)
			return -1;
	}
	return 0;
}

/* -------- the end */

static void taps_release(struct taps *t)
{
	for (size_t i = 0; i < t->n_lanes; i++)
		lane_release(t, &t->lanes[i]);
	free(t->lanes);
	for (size_t i = 0; i < t->n_taps; i++) {
		selection_release(&t->taps[i].selection);
		free(t->taps[i].layers);
	}
	for (size_t i = 0; i < t->n_streams; i++)
		free(t->streams[i].target);
	tms_header_release(&t->header);
	free(t->taps);
	free(t->streams);
	free(t);
}

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
	taps_release(t);
	return status;
}

void taps_abort(struct taps *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n_streams; i++)
		tms_abort(t->streams[i].writer);
	taps_release(t);
}
