#include "tms_meta.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "meta_map.h"

enum {
	META_SITE, META_LAYER, META_DTYPE, META_SHAPE, META_VARIANT, META_POOL, META_NAME, META_ZSTD, META_SUM,
	META_SAMPLES
};
static const char *const meta_keys[] = {
	"site", "layer", "dtype", "shape", "variant", "pool", "name", "zstd", "sum", "samples", NULL
};

enum {
	SAMPLE_ID, SAMPLE_SEQ, SAMPLE_LEN, SAMPLE_FIRST, SAMPLE_N, SAMPLE_TOKENS, SAMPLE_LABEL, SAMPLE_SPAN
};
static const char *const sample_keys[] = {
	"id", "seq", "len", "first", "n", "tokens", "label", "span", NULL
};

/* A frame is read twice: without memory to find how much it needs, then into that memory. */
struct arena {
	char *p;                /* NULL: the first time */
	size_t used;
};

static void *take(struct arena *a, size_t len, size_t align)
{
	a->used += (align - a->used % align) % align;
	void *p = a->p ? a->p + a->used : NULL;
	a->used += len;
	return p;
}

static void arena_text(struct arena *a, const struct wire_value *v, struct text *t)
{
	char *p = take(a, v->len + 1, 1);
	/* The first time only that it is there counts. */
	*t = (struct text){ a->p ? p : "", v->len };
	if (!a->p)
		return;
	memcpy(p, v->p, v->len);
	p[v->len] = 0;
}

static const char *arena_extra(struct arena *a, const struct map *m)
{
	char *p = take(a, m->extra_len, 1);
	if (p)
		map_extra(m, p);
	return p;
}

static int read_spans(struct map *m, struct arena *a, struct sample *s, uint32_t *largest, struct error *e)
{
	uint64_t n;
	if (map_array(m, SAMPLE_SPAN, m->c->left, &n, e) < 0)
		return -1;
	struct span *spans = take(a, n * sizeof *spans, _Alignof(struct span));
	s->spans = spans;
	s->n_spans = n;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t pair, start, end;
		if (map_array(m, SAMPLE_SPAN, 2, &pair, e) < 0)
			return -1;
		if (pair != 2)
			return error_set(e, "'span' of a sample has an element that isn't [start, end]");
		if (map_uint(m, SAMPLE_SPAN, UINT32_MAX, &start, e) < 0 || map_uint(m, SAMPLE_SPAN, UINT32_MAX, &end, e) < 0)
			return -1;
		if (start > end)
			return error_set(e, "'span' of a sample ends before it starts");
		if (end > *largest)
			*largest = (uint32_t)end;
		if (spans)
			spans[i] = (struct span){ (uint32_t)start, (uint32_t)end };
	}
	return 0;
}

/* One key of a sample.  *tokens_len is the bytes of its tokens, *span_end the largest end of a span. */
static int read_sample_value(struct map *m, int key, struct arena *a, struct sample *s, size_t *tokens_len,
                             uint32_t *span_end, struct error *e)
{
	uint64_t number = 0;
	struct wire_value v;
	switch (key) {
	case SAMPLE_ID:
	case SAMPLE_LABEL:
		if (map_bytes(m, key, WIRE_STR, &v, e) < 0)
			return -1;
		arena_text(a, &v, key == SAMPLE_ID ? &s->id : &s->label);
		return 0;
	case SAMPLE_TOKENS:
		if (map_bytes(m, key, WIRE_BIN, &v, e) < 0)
			return -1;
		uint32_t *tokens = take(a, v.len, sizeof *tokens);
		if (tokens)
			memcpy(tokens, v.p, v.len);
		s->tokens = tokens;
		*tokens_len = v.len;
		return 0;
	case SAMPLE_SPAN:
		return read_spans(m, a, s, span_end, e);
	default:
		if (map_uint(m, key, key == SAMPLE_SEQ ? UINT64_MAX : UINT32_MAX, &number, e) < 0)
			return -1;
	}
	if (key == SAMPLE_SEQ)
		s->seq = number;
	else
		*(key == SAMPLE_LEN ? &s->len : key == SAMPLE_FIRST ? &s->first : &s->n) = (uint32_t)number;
	return 0;
}

static int read_sample(struct wire_cursor *c, struct arena *a, struct sample *s, struct error *e)
{
	struct map m;
	*s = (struct sample){ 0 };
	if (map_open(&m, c, "a sample", sample_keys, e) < 0)
		return -1;
	size_t tokens_len = 0;
	uint32_t span_end = 0;
	int key;
	while ((key = map_next(&m, e)) >= 0) {
		if (read_sample_value(&m, key, a, s, &tokens_len, &span_end, e) < 0)
			return -1;
	}
	if (key != MAP_END)
		return -1;
	uint32_t needed = 1 << SAMPLE_ID | 1 << SAMPLE_SEQ | 1 << SAMPLE_LEN;
	if ((m.seen & needed) != needed)
		return error_set(e, "a sample has no '%s'", sample_keys[__builtin_ctz(~m.seen & needed)]);
	if (m.seen >> SAMPLE_TOKENS & 1 && tokens_len != (uint64_t)s->len * sizeof *s->tokens)
		return error_set(e, "a sample of %u tokens has %zu bytes of token ids", s->len, tokens_len);
	if ((uint64_t)s->first + s->n > s->len || span_end > s->len)
		return error_set(e, "a sample of %u tokens has positions %u to %llu and a span up to %u", s->len, s->first,
		                 (unsigned long long)s->first + s->n, span_end);
	s->extra = arena_extra(a, &m);
	s->extra_len = m.extra_len;
	s->n_extra = m.n_extra;
	return 0;
}

static int read_samples(struct map *m, struct arena *a, struct frame *f, struct error *e)
{
	uint64_t n;
	if (map_array(m, META_SAMPLES, m->c->left, &n, e) < 0)
		return -1;
	f->n_samples = n;
	f->samples = take(a, n * sizeof *f->samples, _Alignof(struct sample));
	for (uint64_t i = 0; i < n; i++) {
		struct sample s;
		if (read_sample(m->c, a, &s, e) < 0)
			return -1;
		if (f->samples)
			f->samples[i] = s;
	}
	return 0;
}

static int read_shape(struct map *m, struct frame *f, struct error *e)
{
	uint64_t n;
	if (map_array(m, META_SHAPE, FRAME_DIMS, &n, e) < 0)
		return -1;
	for (f->n_dims = 0; f->n_dims < (int)n; f->n_dims++) {
		uint64_t dim;
		if (map_uint(m, META_SHAPE, FRAME_ROWS_LIMIT, &dim, e) < 0)
			return -1;
		f->dim[f->n_dims] = dim;
	}
	return 0;
}

static int read_meta_value(struct map *m, int key, struct arena *a, struct frame *f, struct stored *stored,
                           struct error *e)
{
	uint64_t number;
	struct wire_value v;
	switch (key) {
	case META_SITE:
	case META_POOL:
	case META_NAME:
		if (map_bytes(m, key, WIRE_STR, &v, e) < 0)
			return -1;
		arena_text(a, &v, key == META_SITE ? &f->site : key == META_POOL ? &f->pool : &f->name);
		return 0;
	case META_DTYPE:
		if (map_bytes(m, key, WIRE_STR, &v, e) < 0)
			return -1;
		f->dtype = dtype_parse(v.p, v.len);
		if (f->dtype == DTYPE_NONE)
			return error_set(e, "unknown dtype '%.*s', which this release can't read",
			                 (int)(v.len < 64 ? v.len : 64), v.p);
		return 0;
	case META_SHAPE:
		return read_shape(m, f, e);
	case META_SAMPLES:
		return read_samples(m, a, f, e);
	case META_SUM:
		stored->has_sum = true;
		return map_uint(m, key, UINT64_MAX, &stored->sum, e);
	case META_ZSTD:
		stored->has_zstd = true;
		return map_uint(m, key, FRAME_ROWS_LIMIT, &stored->zstd, e);
	default:
		if (map_uint(m, key, INT_MAX, &number, e) < 0)
			return -1;
		*(key == META_LAYER ? &f->layer : &f->variant) = (int)number;
		return 0;
	}
}

/* What the keys owe each other. */
static int check_frame(const struct frame *f, const struct tms_header *h, uint32_t seen, const struct stored *stored,
                       struct error *e)
{
	bool has_rows = seen >> META_DTYPE & 1;
	uint32_t of_rows = 1 << META_SHAPE | 1 << META_SUM;
	if (!has_rows && (h->kind != TMS_TOKENS || seen != 1 << META_SAMPLES))
		return error_set(e, "the meta has no 'dtype'");
	if (!has_rows)
		return 0;
	if (h->kind == TMS_TOKENS)
		return error_set(e, "a frame with rows in a stream of tokens");
	if ((seen & of_rows) != of_rows)
		return error_set(e, "the meta has no '%s'", meta_keys[__builtin_ctz(~seen & of_rows)]);
	if (!f->site.p && h->kind != TMS_VECTORS && h->kind != TMS_STATE)
		return error_set(e, "the meta has no 'site'");
	if (f->variant >= 0 && (size_t)f->variant >= h->n_variants)
		return error_set(e, "variant %d where the header names %zu", f->variant, h->n_variants);

	size_t len = frame_n_rows(f), limit = FRAME_ROWS_LIMIT;
	bool over = __builtin_mul_overflow(len, dtype_size(f->dtype), &len);
	for (int i = 0; i < f->n_dims; i++)
		over |= __builtin_mul_overflow(len, f->dim[i], &len);
	size_t row = dtype_size(f->dtype);
	for (int i = 0; i < f->n_dims; i++)
		over |= __builtin_mul_overflow(row, f->dim[i], &row);
	if (over || len > limit || row > limit)
		return error_set(e, "more than 1 GiB of rows in one frame");
	if (stored->has_zstd && stored->zstd != len)
		return error_set(e, "'zstd' says %llu bytes where the samples and the shape make %zu",
		                 (unsigned long long)stored->zstd, len);
	return 0;
}

static int read_frame(const uint8_t *p, size_t len, const struct tms_header *h, struct arena *a, struct frame *f,
                      struct stored *stored, struct error *e)
{
	struct wire_cursor c = { p, len };
	struct map m;
	*f = (struct frame){ .layer = -1, .variant = -1 };
	*stored = (struct stored){ 0 };
	if (map_open(&m, &c, "the meta", meta_keys, e) < 0)
		return -1;
	int key;
	while ((key = map_next(&m, e)) >= 0) {
		if (read_meta_value(&m, key, a, f, stored, e) < 0)
			return -1;
	}
	if (key != MAP_END)
		return -1;
	f->extra = arena_extra(a, &m);
	f->extra_len = m.extra_len;
	f->n_extra = m.n_extra;
	/* Only the second time are there samples to check. */
	return a->p ? check_frame(f, h, m.seen, stored, e) : 0;
}

int meta_read_frame(const uint8_t *p, size_t len, const struct tms_header *h, struct frame **f,
                    struct stored *stored, struct error *e)
{
	struct arena a = { NULL, 0 };
	struct frame measured;
	if (read_frame(p, len, h, &a, &measured, stored, e) < 0)
		return -1;
	a.p = mem_try(a.used, "a frame's samples", e);
	if (!a.p)
		return -1;
	a.used = 0;
	struct frame *read = mem_alloc(sizeof *read);
	if (read_frame(p, len, h, &a, read, stored, e) < 0) {
		free(a.p);
		free(read);
		return -1;
	}
	read->memory = a.p;
	*f = read;
	return 0;
}

static void write_text(struct wire_buffer *b, const char *key, struct text t)
{
	if (!t.p)
		return;
	wire_string(b, key);
	wire_text(b, t.p, t.len);
}

static void write_uint(struct wire_buffer *b, const char *key, uint64_t v)
{
	wire_string(b, key);
	wire_uint(b, v);
}

static void write_sample(struct wire_buffer *b, const struct sample *s, bool has_rows)
{
	wire_map(b, 3 + (has_rows ? 2 : 0) + (s->tokens != NULL) + (s->label.p != NULL) + (s->n_spans > 0) + s->n_extra);
	write_text(b, "id", s->id.p ? s->id : text_of(""));
	write_uint(b, "seq", s->seq);
	write_uint(b, "len", s->len);
	if (has_rows) {
		write_uint(b, "first", s->first);
		write_uint(b, "n", s->n);
	}
	if (s->tokens) {
		wire_string(b, "tokens");
		wire_bin(b, s->tokens, (size_t)s->len * sizeof *s->tokens);
	}
	write_text(b, "label", s->label);
	if (s->n_spans) {
		wire_string(b, "span");
		wire_array(b, s->n_spans);
		for (size_t i = 0; i < s->n_spans; i++) {
			wire_array(b, 2);
			wire_uint(b, s->spans[i].start);
			wire_uint(b, s->spans[i].end);
		}
	}
	wire_raw(b, s->extra, s->extra_len);
}

void meta_write_frame(struct wire_buffer *b, const struct frame *f, const struct stored *stored)
{
	bool has_rows = f->dtype != DTYPE_NONE;
	bool has_samples = f->n_samples || !f->name.p;
	wire_map(b, (f->site.p != NULL) + (f->layer >= 0) + (has_rows ? 2 : 0) + (f->variant >= 0) +
	         (f->pool.p != NULL) + (f->name.p != NULL) + stored->has_zstd + stored->has_sum + has_samples +
	         f->n_extra);
	write_text(b, "site", f->site);
	if (f->layer >= 0)
		write_uint(b, "layer", (uint64_t)f->layer);
	if (has_rows) {
		write_text(b, "dtype", text_of(dtype_name(f->dtype)));
		wire_string(b, "shape");
		wire_array(b, (size_t)f->n_dims);
		for (int i = 0; i < f->n_dims; i++)
			wire_uint(b, f->dim[i]);
	}
	if (f->variant >= 0)
		write_uint(b, "variant", (uint64_t)f->variant);
	write_text(b, "pool", f->pool);
	write_text(b, "name", f->name);
	if (stored->has_zstd)
		write_uint(b, "zstd", stored->zstd);
	if (stored->has_sum)
		write_uint(b, "sum", stored->sum);
	if (has_samples) {
		wire_string(b, "samples");
		wire_array(b, f->n_samples);
		for (size_t i = 0; i < f->n_samples; i++)
			write_sample(b, &f->samples[i], has_rows);
	}
	wire_raw(b, f->extra, f->extra_len);
}

/* -------- the trailer */

static const uint8_t trailer_head[] = { 0x81, 0xa3, 'e', 'n', 'd', 0xc4, 24 };

void meta_write_trailer(uint8_t p[TRAILER_LEN], uint64_t n_frames, uint64_t n_rows, uint64_t sum)
{
	uint64_t v[] = { n_frames, n_rows, sum };
	memcpy(p, trailer_head, sizeof trailer_head);
	memcpy(p + sizeof trailer_head, v, sizeof v);
}

int meta_read_trailer(const uint8_t p[TRAILER_LEN], uint64_t *n_frames, uint64_t *n_rows, uint64_t *sum)
{
	uint64_t v[3];
	if (memcmp(p, trailer_head, sizeof trailer_head) != 0)
		return -1;
	memcpy(v, p + sizeof trailer_head, sizeof v);
	*n_frames = v[0];
	*n_rows = v[1];
	*sum = v[2];
	return 0;
}
