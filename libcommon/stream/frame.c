#include "frame.h"

#include <stdbool.h>
#include <stdlib.h>

#include "memory.h"

/* What one sample adds to the meta map beside its texts, tokens, spans and further pairs: keys and numbers. */
#define SAMPLE_META_LEN 80

size_t frame_width(const struct frame *f)
{
	size_t width = 1;
	for (int i = 0; i < f->n_dims; i++)
		width *= f->dim[i];
	return width;
}

size_t frame_sample_rows(const struct frame *f, const struct sample *s)
{
	return f->pool.p ? s->n > 0 : s->n;
}

size_t frame_n_rows(const struct frame *f)
{
	if (f->dtype == DTYPE_NONE)
		return 0;
	if (!f->n_samples)
		return f->name.p != NULL;
	size_t n = 0;
	for (size_t i = 0; i < f->n_samples; i++)
		n += frame_sample_rows(f, &f->samples[i]);
	return n;
}

size_t frame_meta_len(const struct frame *f)
{
	size_t len = sizeof *f;
	for (size_t i = 0; i < f->n_samples; i++)
		len += sizeof *f->samples + f->samples[i].extra_len +
		       (f->samples[i].tokens ? f->samples[i].len * sizeof(uint32_t) : 0);
	return len;
}

size_t frame_rows_len(const struct frame *f)
{
	return frame_n_rows(f) * frame_width(f) * dtype_size(f->dtype);
}

/* One block of memory that everything of a frame but its rows is copied into. */
struct block {
	char *p;
	size_t used;
};

static void *block_take(struct block *b, size_t len, size_t align)
{
	b->used += (align - b->used % align) % align;
	void *p = b->p + b->used;
	b->used += len;
	return p;
}

static struct text block_text(struct block *b, struct text t)
{
	if (!t.p)
		return t;
	char *p = block_take(b, t.len + 1, 1);
	if (t.len)
		memcpy(p, t.p, t.len);
	p[t.len] = 0;
	return (struct text){ p, t.len };
}

static const void *block_copy(struct block *b, const void *from, size_t len, size_t align)
{
	if (!from)
		return NULL;
	void *p = block_take(b, len, align);
	if (len)
		memcpy(p, from, len);
	return p;
}

static size_t copied_len(const struct frame *f)
{
	size_t len = f->site.len + f->pool.len + f->name.len + 3 + f->extra_len;
	for (size_t i = 0; i < f->n_samples; i++) {
		const struct sample *s = &f->samples[i];
		len += sizeof *s + s->id.len + s->label.len + 2 + s->extra_len;
		/* 8: what aligning them may waste. */
		len += (s->tokens ? (size_t)s->len * sizeof *s->tokens : 0) + s->n_spans * sizeof *s->spans + 8;
	}
	return len;
}

struct frame *frame_like(const struct frame *like)
{
	struct frame *f = mem_alloc(sizeof *f);
	*f = *like;
	f->rows = NULL;
	f->memory = mem_alloc(copied_len(like));
	struct block b = { f->memory, 0 };
	f->samples = block_take(&b, like->n_samples * sizeof *f->samples, _Alignof(struct sample));
	for (size_t i = 0; i < like->n_samples; i++) {
		const struct sample *s = &like->samples[i];
		struct sample *copy = &f->samples[i];
		*copy = *s;
		copy->spans = block_copy(&b, s->spans, s->n_spans * sizeof *s->spans, _Alignof(struct span));
		copy->tokens = block_copy(&b, s->tokens, (size_t)s->len * sizeof *s->tokens, sizeof *s->tokens);
		copy->id = block_text(&b, s->id);
		copy->label = block_text(&b, s->label);
		copy->extra = block_copy(&b, s->extra, s->extra_len, 1);
	}
	f->site = block_text(&b, like->site);
	f->pool = block_text(&b, like->pool);
	f->name = block_text(&b, like->name);
	f->extra = block_copy(&b, like->extra, like->extra_len, 1);
	return f;
}

int frame_take_rows(struct frame *f, size_t len, struct error *e)
{
	free(f->rows);
	f->rows = mem_try(len, "a frame's rows", e);
	return f->rows ? 0 : -1;
}

void frame_free(struct frame *f)
{
	if (!f)
		return;
	free(f->rows);
	free(f->memory);
	free(f);
}

static size_t sample_meta_len(const struct sample *s)
{
	return SAMPLE_META_LEN + s->id.len + s->label.len + s->n_spans * 11 + s->extra_len +
	       (s->tokens ? (size_t)s->len * sizeof *s->tokens : 0);
}

/* The next sample, or as much of it as fits a piece of at most max_rows that already has n_rows; 0: it has to wait. */
static int cut_sample(const struct frame *f, struct frame_cursor *c, size_t max_rows, size_t *n_rows, struct sample *out)
{
	const struct sample *s = &f->samples[c->sample];
	*out = *s;
	size_t left = frame_sample_rows(f, s) - (f->pool.p ? 0 : c->offset);
	if (!max_rows || left <= max_rows - *n_rows) {
		if (!f->pool.p) {
			out->first = s->first + c->offset;
			out->n = s->n - c->offset;
		}
		*n_rows += left;
		c->sample++;
		c->offset = 0;
		return 1;
	}
	if (*n_rows)
		return 0;
	out->first = s->first + c->offset;
	out->n = (uint32_t)max_rows;
	*n_rows = max_rows;
	c->offset += out->n;
	return 1;
}

int frame_cut(const struct frame *f, size_t row_len, struct frame_cursor *cursor, struct frame *piece)
{
	if (cursor->started && cursor->sample >= f->n_samples)
		return 0;
	cursor->started = 1;
	*piece = *f;
	piece->memory = NULL;
	if (!f->n_samples)
		return 1;

	size_t max_rows = 0;
	if (row_len)
		max_rows = row_len < FRAME_ROWS_LEN ? FRAME_ROWS_LEN / row_len : 1;
	bool own_rows = f->rows && row_len == frame_width(f) * dtype_size(f->dtype);
	piece->rows = own_rows ? (char *)f->rows + cursor->row * row_len : NULL;

	size_t n = 0, n_rows = 0, meta_len = 0;
	while (cursor->sample < f->n_samples) {
		size_t len = sample_meta_len(&f->samples[cursor->sample]);
		if (n && meta_len + len > FRAME_META_LIMIT / 2)
			break;
		mem_grow((void **)&cursor->samples, &cursor->capacity, n + 1, sizeof *cursor->samples);
		size_t before = cursor->sample;
		if (!cut_sample(f, cursor, max_rows, &n_rows, &cursor->samples[n]))
			break;
		meta_len += len;
		n++;
		if (cursor->sample == before)
			break;
	}
	cursor->row += n_rows;
	piece->samples = cursor->samples;
	piece->n_samples = n;
	return 1;
}

void frame_cut_release(struct frame_cursor *cursor)
{
	free(cursor->samples);
	*cursor = (struct frame_cursor){ 0 };
}

struct sample *frame_slice(const struct frame *f, size_t first, size_t n, size_t *n_samples)
{
	size_t at = 0, kept = 0, total = frame_n_rows(f);
	struct sample *samples = mem_zero(f->n_samples, sizeof *samples);
	for (size_t i = 0; i < f->n_samples; i++) {
		const struct sample *s = &f->samples[i];
		size_t from = at > first ? at : first, end = at + s->n < first + n ? at + s->n : first + n;
		bool empty_here = s->n == 0 && (at == 0 ? first == 0 : at > first && at <= first + n);
		if ((s->n && from < end) || empty_here || (total == 0 && first == 0)) {
			samples[kept] = *s;
			samples[kept].first += (uint32_t)(s->n ? from - at : 0);
			samples[kept++].n = (uint32_t)(s->n ? end - from : 0);
		}
		at += s->n;
	}
	*n_samples = kept;
	return samples;
}

struct frame *frame_copy(const struct frame *f)
{
	struct frame *copy = frame_like(f);
	size_t len = frame_rows_len(f);
	struct error e;
	if (frame_take_rows(copy, len, &e) < 0)
		mem_exhausted();
	if (len)
		memcpy(copy->rows, f->rows, len);
	return copy;
}
