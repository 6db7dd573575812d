/* Attention in the plain: scores and their softmax as rows, which sites may change on their way. */
#include <stdlib.h>
#include <string.h>

#include "block_tile.h"
#include "memory.h"

static size_t kept_index(enum site site)
{
	return site == SITE_ATTN_PROBS;
}

/* Rows of a segment that are handled at a time; what a filter is given at once. */
static size_t rows_at_once(const struct block *b, const struct segment *s)
{
	size_t row_len = b->m->n_heads * s->len * dtype_size(b->ops->work);
	size_t n = FRAME_ROWS_LEN / row_len;
	return n == 0 ? 1 : n < s->n ? n : s->n;
}

size_t block_scores_most(const struct ops *ops, const struct model *m, size_t n_rows, size_t len)
{
	size_t row_len = m->n_heads * len * dtype_size(ops->work), most = n_rows * row_len;
	return most < FRAME_ROWS_LEN ? most : row_len < FRAME_ROWS_LEN ? FRAME_ROWS_LEN : row_len;
}

/* Bytes of all segments before this one, (n, A, len) each. */
static size_t kept_before(const struct block *b, const struct segment *s)
{
	size_t at = 0;
	for (const struct segment *t = b->batch->segments; t < s; t++)
		at += t->n * b->m->n_heads * t->len * dtype_size(b->ops->work);
	return at;
}

static int take_kept(struct block *b, struct error *e)
{
	const struct batch *batch = b->batch;
	size_t len = kept_before(b, batch->segments + batch->n_segments);
	for (enum site site = SITE_ATTN_SCORES; site <= SITE_ATTN_PROBS; site++) {
		void **kept = &b->kept[kept_index(site)];
		free(*kept);
		*kept = NULL;
		if (b->sites->read[site] && !(*kept = mem_try(len, "attention scores of a batch", e)))
			return -1;
	}
	return 0;
}

/* Rows i0..i0+n-1 of a segment at a site: patched, filtered, kept to be read. */
static int at_scores(struct block *b, enum site site, const struct segment *s, size_t i0, size_t n, void *x, struct error *e)
{
	const struct sites *sites = b->sites;
	size_t width = b->m->n_heads * s->len, len = width * dtype_size(b->ops->work);
	struct rows rows = { x, n, width, width };
	if (sites->patched[site])
		sites->patch(sites->context, site, s->row + i0, rows);
	if (sites->filtered[site] && sites->filter_scores(sites->context, site, s->row + i0, rows, s->len, e) < 0)
		return -1;
	void *kept = b->kept[kept_index(site)];
	if (kept)
		memcpy((char *)kept + kept_before(b, s) + i0 * len, x, n * len);
	return 0;
}

/* The device's place for scores that the host has at x: x itself, if they share memory.  NULL and e. */
static void *on_device(struct block *b, void *x, size_t len, struct error *e)
{
	if (b->ops->host)
		return x;
	if (len > b->device_scores_len) {
		b->ops->give(b->device, b->device_scores);
		b->device_scores = b->ops->take(b->device, len, "attention scores", e);
		b->device_scores_len = b->device_scores ? len : 0;
	}
	return b->device_scores;
}

/* Between the device's scores and the host's, for a site at which something is to happen. */
static int see_scores(struct block *b, enum site site, const struct segment *s, size_t i0, size_t n, void *scores, void *x,
                      struct error *e)
{
	size_t len = n * b->m->n_heads * s->len * dtype_size(b->ops->work);
	bool move = !b->ops->host && site_wanted(b, site);
	if (move)
		b->ops->download(b->device, x, scores, len);
	if (at_scores(b, site, s, i0, n, x, e) < 0)
		return -1;
	if (move)
		b->ops->upload(b->device, scores, x, len);
	return 0;
}

static int attend_segment(struct block *b, const struct attention *a, const struct segment *s, struct rows q, struct rows out,
                          struct error *e)
{
	size_t step = rows_at_once(b, s), len = step * b->m->n_heads * s->len * dtype_size(b->ops->work);
	void *x = mem_try(len, "attention scores", e), *scores = x ? on_device(b, x, len, e) : NULL;
	int status = scores ? 0 : -1;
	for (size_t i0 = 0; status == 0 && i0 < s->n; i0 += step) {
		size_t n = s->n - i0 < step ? s->n - i0 : step;
		b->ops->scores(b->device, a, s, q, i0, n, false, scores);
		status = see_scores(b, SITE_ATTN_SCORES, s, i0, n, scores, x, e);
		if (status < 0)
			break;
		b->ops->softmax(b->device, a, s, i0, n, scores);
		status = see_scores(b, SITE_ATTN_PROBS, s, i0, n, scores, x, e);
		b->ops->mix(b->device, a, s, scores, i0, n, out);
	}
	free(x);
	return status;
}

void block_plain_scores(struct block *b, const struct attention *a, const struct segment *s, struct rows q, size_t i0, size_t n,
                        bool probs, void *to)
{
	struct error e;
	size_t row_len = b->m->n_heads * s->len * dtype_size(b->ops->work), most = b->ops->host ? n : rows_at_once(b, s);
	for (size_t i = 0, some; i < n; i += some) {
		some = n - i < most ? n - i : most;
		void *here = (char *)to + i * row_len, *scores = on_device(b, here, some * row_len, &e);
		if (!scores)
			mem_exhausted();
		b->ops->scores(b->device, a, s, q, i0 + i, some, probs, scores);
		if (!b->ops->host)
			b->ops->download(b->device, here, scores, some * row_len);
	}
}

bool block_plain(const struct block *b)
{
	const struct sites *s = b->sites;
	return s->plain || s->patched[SITE_ATTN_SCORES] || s->filtered[SITE_ATTN_SCORES] || s->patched[SITE_ATTN_PROBS] ||
	       s->filtered[SITE_ATTN_PROBS];
}

int block_attend_plain(struct block *b, const struct attention *a, struct rows q, struct rows out, struct error *e)
{
	if (take_kept(b, e) < 0)
		return -1;
	for (size_t i = 0; i < b->batch->n_segments; i++)
		if (attend_segment(b, a, &b->batch->segments[i], q, out, e) < 0)
			return -1;
	return 0;
}

void block_kept_scores(const struct block *b, const struct segment *s, size_t i0, size_t n, bool probs, void *to)
{
	size_t len = b->m->n_heads * s->len * dtype_size(b->ops->work);
	memcpy(to, (char *)b->kept[probs] + kept_before(b, s) + i0 * len, n * len);
}
