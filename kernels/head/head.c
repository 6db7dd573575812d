#include "head.h"

#include <stdlib.h>

#include "head_tile.h"
#include "memory.h"

/* Frames whose rows wait for a tile to fill: no more than this many bytes of their samples' metas. */
#define WAITING_LEN ((size_t)32 << 20)

/* A frame, from the time its wanted rows were gathered until they were read. */
struct waiting {
	struct frame *f;        /* without rows */
	size_t row, sample;     /* the next row to be passed, the next sample to be ended */
	size_t sample_row;      /* that sample's first row */
	struct waiting *next;
};

struct head {
	const struct ops *ops;
	const struct model *m;
	struct workers *workers, *host_workers;
	const struct head_reader *reader;
	size_t tile;
	struct head_tile t;
	struct head_row *row;           /* (tile) */
	size_t *frame_row;              /* (tile): where in its frame the row is */
	size_t taken;                   /* rows of the tile that have been read */
	struct waiting *first, **end;
	size_t waiting_len;
};

struct head *head_open(const struct ops *ops, struct device *d, const struct model *m, struct workers *w, struct workers *host,
                       const struct head_weights *weights, bool logits, const struct head_reader *reader, struct error *e)
{
	struct head *h = mem_zero(1, sizeof *h);
	h->ops = ops;
	h->m = m;
	h->workers = w;
	h->host_workers = host;
	h->reader = reader;
	h->tile = weights->tile;
	h->row = mem_zero(h->tile, sizeof *h->row);
	h->frame_row = mem_zero(h->tile, sizeof *h->frame_row);
	h->end = &h->first;
	if (head_tile_open(&h->t, ops, d, m, weights, logits, e) == 0)
		return h;
	head_close(h);
	return NULL;
}

/* -------- a tile */

static void reduce_row(void *argument, size_t i, size_t slot)
{
	const struct head *h = argument;
	(void)slot;
	h->reader->reduce(h->reader->context, i, &h->row[i], head_tile_logits(&h->t, i));
}

static int change(struct head *h, enum site site, struct rows rows, struct error *e)
{
	const struct head_reader *r = h->reader;
	for (size_t from = 0, n; r->change && rows.p && from < rows.n; from += n) {
		for (n = 1; from + n < rows.n && h->row[from + n].frame == h->row[from].frame &&
		            h->frame_row[from + n] == h->frame_row[from] + n; n++)
			;
		if (r->change(r->context, site, h->row[from].frame, h->frame_row[from], n, head_tile_row(&h->t, &rows, from),
		              rows.width, e) < 0)
			return -1;
	}
	return 0;
}

static int compute(struct head *h, struct error *e)
{
	head_tile_norm(&h->t);
	if (h->ops->failed(h->t.device, e) || change(h, SITE_FINAL_NORM, h->t.normed, e) < 0)
		return -1;
	head_tile_product(&h->t, h->workers);
	if (h->ops->failed(h->t.device, e) || change(h, SITE_LOGITS, h->t.logits, e) < 0)
		return -1;
	if (h->reader->computed)
		h->reader->computed(h->reader->context, h->t.x.n);
	if (h->t.logits.p)
		workers_run(h->host_workers, h->t.x.n, reduce_row, h);
	return 0;
}

/* -------- in the order in which it came */

static int pass(struct head *h, struct waiting *w, size_t tile_row, size_t n, struct error *e)
{
	const struct head_reader *r = h->reader;
	size_t first = w->row;
	w->row += n;
	if (!r->pass)
		return 0;
	return r->pass(r->context, w->f, first, n, head_tile_normed(&h->t, tile_row),
	               h->t.logits.p ? head_tile_logits(&h->t, tile_row) : NULL, e);
}

/* Rows that nobody wants, up to row `end` of the frame: any rows of the tile stand for them. */
static int pass_unwanted(struct head *h, struct waiting *w, size_t end, struct error *e)
{
	while (w->row < end) {
		size_t n = end - w->row < h->tile ? end - w->row : h->tile;
		if (pass(h, w, 0, n, e) < 0)
			return -1;
	}
	return 0;
}

/* Ends the samples that have no row from `row` on. */
static int end_samples(struct head *h, struct waiting *w, size_t row, struct error *e)
{
	for (; w->sample < w->f->n_samples; w->sample++) {
		const struct sample *s = &w->f->samples[w->sample];
		size_t end = w->sample_row + frame_sample_rows(w->f, s);
		if (end > row)
			return 0;
		if (h->reader->sample_end(h->reader->context, w->f, s, e) < 0)
			return -1;
		w->sample_row = end;
	}
	return 0;
}

/* Consecutive rows that were wanted, from row h->taken of the tile on. */
static int pass_wanted(struct head *h, struct waiting *w, struct error *e)
{
	size_t from = h->taken, n = 0;
	while (from + n < h->t.x.n && h->row[from + n].frame == w->f && h->frame_row[from + n] == w->row + n)
		n++;
	if (pass(h, w, from, n, e) < 0)
		return -1;
	for (; h->taken < from + n; h->taken++)
		if (end_samples(h, w, h->frame_row[h->taken], e) < 0 ||
		    h->reader->take(h->reader->context, h->taken, &h->row[h->taken], e) < 0)
			return -1;
	return 0;
}

/* What the tile has of one frame; `all`: the frame has no further rows to come. */
static int read_frame(struct head *h, struct waiting *w, bool all, struct error *e)
{
	while (h->taken < h->t.x.n && h->row[h->taken].frame == w->f)
		if (pass_unwanted(h, w, h->frame_row[h->taken], e) < 0 || pass_wanted(h, w, e) < 0)
			return -1;
	if (!all)
		return 0;
	size_t total = frame_n_rows(w->f);
	int status = total ? pass_unwanted(h, w, total, e) : pass(h, w, 0, 0, e);
	return status < 0 ? -1 : end_samples(h, w, total, e);
}

static void forget(struct head *h)
{
	struct waiting *w = h->first;
	h->first = w->next;
	if (!h->first)
		h->end = &h->first;
	frame_free(w->f);
	free(w);
}

/* Computes the rows gathered and reads them; the last frame stays if more of its rows are to be gathered. */
static int flush(struct head *h, bool last_is_whole, struct error *e)
{
	int status = 0;
	if (h->t.x.n && compute(h, e) < 0)
		return -1;
	h->taken = 0;
	while (h->first && status == 0) {
		bool all = h->first->next || last_is_whole;
		status = read_frame(h, h->first, all, e);
		if (!all)
			break;
		forget(h);
	}
	h->t.x.n = 0;
	h->waiting_len = 0;
	return status;
}

/* -------- gathering */

static int gather(struct head *h, const struct frame *f, const struct sample *s, uint32_t position, size_t frame_row,
                  const void *from, struct error *e)
{
	if (h->t.x.n == h->tile && flush(h, false, e) < 0)
		return -1;
	size_t i = h->t.x.n++;
	head_tile_load(&h->t, i, from, f->dtype);
	h->row[i] = (struct head_row){ f, s, position };
	h->frame_row[i] = frame_row;
	return h->reader->gathered ? h->reader->gathered(h->reader->context, i, &h->row[i], e) : 0;
}

/* Takes up whole samples, or a part of a long one; rows: of that piece. */
static int add_piece(struct head *h, const struct frame *piece, const char *rows, struct error *e)
{
	const struct head_reader *r = h->reader;
	size_t row_len = h->m->width * dtype_size(piece->dtype), row = 0;
	struct waiting *w = mem_zero(1, sizeof *w);
	w->f = frame_like(piece);
	*h->end = w;
	h->end = &w->next;
	h->waiting_len += frame_meta_len(piece);
	for (size_t i = 0; i < w->f->n_samples; i++) {
		const struct sample *s = &w->f->samples[i];
		size_t n = frame_sample_rows(w->f, s);
		if (r->sample_begin && r->sample_begin(r->context, w->f, s, e) < 0)
			return -1;
		for (size_t k = 0; k < n; k++, row++) {
			uint32_t position = s->first + (uint32_t)k;
			if (r->wants(r->context, w->f, s, position) &&
			    gather(h, w->f, s, position, row, rows + row * row_len, e) < 0)
				return -1;
		}
	}
	return h->waiting_len > WAITING_LEN ? flush(h, true, e) : 0;
}

int head_add(struct head *h, const struct frame *f, struct error *e)
{
	struct frame_cursor cursor = { 0 };
	struct frame piece;
	const char *rows = f->rows;
	size_t row_len = h->m->width * dtype_size(f->dtype);
	/* Taps write frames cut by the size of their rows; cut so from the start, no more than one waits in memory. */
	size_t cut_len = h->reader->pass ? h->m->vocab * dtype_size(h->ops->work) : row_len;
	int status = 0;
	while (status == 0 && frame_cut(f, cut_len, &cursor, &piece)) {
		status = add_piece(h, &piece, rows, e);
		rows += frame_n_rows(&piece) * row_len;
	}
	frame_cut_release(&cursor);
	return status;
}

int head_end(struct head *h, struct error *e)
{
	return flush(h, true, e);
}

void head_close(struct head *h)
{
	if (!h)
		return;
	while (h->first)
		forget(h);
	head_tile_close(&h->t);
	free(h->row);
	free(h->frame_row);
	free(h);
}
