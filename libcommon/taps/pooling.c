#include "pooling.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

static const char *const kind_names[] = {
	[POOL_LAST] = "last", [POOL_FIRST] = "first", [POOL_MEAN] = "mean", [POOL_MAX] = "max", [POOL_POS] = "pos",
	[POOL_SPAN] = "span",
};

static enum pool_kind kind_of(const char *text, size_t len)
{
	for (size_t k = POOL_LAST; k < ARRAY_LEN(kind_names); k++)
		if (strlen(kind_names[k]) == len && memcmp(kind_names[k], text, len) == 0)
			return (enum pool_kind)k;
	return POOL_NONE;
}

/* A position or a number of positions. */
static int parse_number(const char *text, bool negative_too, int64_t *n)
{
	char *end;
	bool negative = text[0] == '-';
	const char *digits = text + negative;
	size_t len = strspn(digits, "0123456789");
	if (!len || len > 10 || digits[len] || (negative && !negative_too))
		return -1;
	*n = strtoll(text, &end, 10);
	return 0;
}

int pool_parse(struct pool *p, const char *text, struct error *e)
{
	const char *colon = strchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : strlen(text);
	*p = (struct pool){ .kind = kind_of(text, len) };
	bool good = p->kind != POOL_NONE;
	switch (p->kind) {
	case POOL_SPAN:
		p->over = colon ? kind_of(colon + 1, strlen(colon + 1)) : POOL_MEAN;
		good = p->over >= POOL_LAST && p->over <= POOL_MAX;
		break;
	case POOL_MEAN:
	case POOL_MAX:
		good = !colon || parse_number(colon + 1, false, &p->n) == 0;
		break;
	case POOL_POS:
		good = colon && parse_number(colon + 1, true, &p->n) == 0;
		break;
	default:
		good = good && !colon;
	}
	if (!good)
		return error_set(e, "%s: is no pool; last, first, mean[:N], max[:N], pos:N and span[:mean|last|first|max] are",
		                 text);
	return 0;
}

void pool_text(const struct pool *p, char text[32])
{
	if (p->kind == POOL_NONE)
		text[0] = 0;
	else if (p->kind == POOL_SPAN && p->over != POOL_MEAN)
		snprintf(text, 32, "span:%s", kind_names[p->over]);
	else if (p->kind == POOL_POS || p->n)
		snprintf(text, 32, "%s:%" PRId64, kind_names[p->kind], p->n);
	else
		snprintf(text, 32, "%s", kind_names[p->kind]);
}

static bool in_span(const struct sample *s, uint32_t position)
{
	for (size_t i = 0; i < s->n_spans; i++)
		if (position >= s->spans[i].start && position < s->spans[i].end)
			return true;
	return false;
}

/* From the first position of the spans to behind the last one. */
static struct span whole_span(const struct sample *s)
{
	struct span all = { UINT32_MAX, 0 };
	for (size_t i = 0; i < s->n_spans; i++) {
		if (s->spans[i].start == s->spans[i].end)
			continue;
		if (s->spans[i].start < all.start)
			all.start = s->spans[i].start;
		if (s->spans[i].end > all.end)
			all.end = s->spans[i].end;
	}
	return all.end ? all : (struct span){ 0, 0 };
}

int pool_range(const struct pool *p, const struct sample *s, uint32_t *first, uint32_t *n, struct error *e)
{
	struct span range = { 0, s->len };
	int64_t position = p->kind == POOL_LAST ? -1 : p->kind == POOL_POS ? p->n : 0;
	enum pool_kind kind = p->kind;
	if (kind == POOL_SPAN) {
		range = whole_span(s);
		kind = p->over;
		position = kind == POOL_LAST ? -1 : 0;
	} else if (kind == POOL_MEAN || kind == POOL_MAX) {
		range.start = p->n < s->len ? (uint32_t)p->n : s->len;
	}
	if (kind == POOL_MEAN || kind == POOL_MAX || range.start == range.end) {
		*first = range.start == range.end ? 0 : range.start;
		*n = range.end - range.start;
		return 0;
	}
	if (position < 0)
		position += range.end - range.start;
	position += range.start;
	if (position < range.start || position >= range.end)
		return error_set(e, "sample '%s' of %u tokens has no position %" PRId64, s->id.p ? s->id.p : "", s->len, p->n);
	*first = (uint32_t)position;
	*n = 1;
	return 0;
}

int pool_wants(const struct pool *p, const struct sample *s, uint32_t position)
{
	uint32_t first = 0, n = 0;
	struct error ignored;
	if (pool_range(p, s, &first, &n, &ignored) < 0 || position < first || position - first >= n)
		return 0;
	return p->kind != POOL_SPAN || in_span(s, position);
}

bool pool_largest(const struct pool *p)
{
	return p->kind == POOL_MAX || (p->kind == POOL_SPAN && p->over == POOL_MAX);
}

int pool_next_run(const struct pool *p, const struct sample *s, uint32_t *at, uint32_t end, struct span *run, struct error *e)
{
	uint32_t first = 0, n = 0;
	if (pool_range(p, s, &first, &n, e) < 0)
		return -1;
	uint32_t from = *at > first ? *at : first, stop = end < first + n ? end : first + n, to = stop;
	if (p->kind == POOL_SPAN) {
		while (from < stop && !in_span(s, from))
			from++;
		for (to = from; to < stop && in_span(s, to);)
			to++;
	}
	*run = (struct span){ from, to };
	*at = end;
	if (from < to)
		*at = to;
	return from < to;
}

/* -------- rows as they come */

/* The sample that one sequence of frames is in the middle of. */
struct open {
	bool busy;
	struct text site, name, id;     /* owned copies */
	int layer, variant;
	uint64_t seq;
	uint32_t next;                  /* the position due */
	size_t width, capacity;
	uint64_t n_rows;                /* pooled so far */
	double *row;                    /* (width) sum, largest or the one row */
};

struct pooler {
	struct pool pool;
	char text[32];
	struct open **open;
	size_t n_open, open_capacity;
	double *scratch;                /* (width) */
	size_t scratch_capacity;
};

struct pooler *pooler_open(const struct pool *pool)
{
	struct pooler *p = mem_zero(1, sizeof *p);
	p->pool = *pool;
	pool_text(pool, p->text);
	return p;
}

static void free_texts(struct open *o)
{
	free((char *)o->site.p);
	free((char *)o->name.p);
	free((char *)o->id.p);
}

void pooler_close(struct pooler *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n_open; i++) {
		free_texts(p->open[i]);
		free(p->open[i]->row);
		free(p->open[i]);
	}
	free(p->open);
	free(p->scratch);
	free(p);
}

int pooler_end(const struct pooler *p, struct error *e)
{
	for (size_t i = 0; i < p->n_open; i++)
		if (p->open[i]->busy)
			return error_set(e, "sample '%s' ends after %u positions, the rest never came", p->open[i]->id.p,
			                 p->open[i]->next);
	return 0;
}

static struct text own(struct text t)
{
	return t.p ? (struct text){ mem_slice(t.p, t.len), t.len } : t;
}

/* The sequence that f belongs to; NULL: it has no sample under way. */
static struct open *busy_open(const struct pooler *p, const struct frame *f)
{
	for (size_t i = 0; i < p->n_open; i++) {
		struct open *o = p->open[i];
		if (o->busy && o->layer == f->layer && o->variant == f->variant && text_equal(o->site, f->site) &&
		    text_equal(o->name, f->name))
			return o;
	}
	return NULL;
}

/* The same, or one that is free. */
static struct open *find_open(struct pooler *p, const struct frame *f)
{
	struct open *idle = busy_open(p, f);
	for (size_t i = 0; i < p->n_open && !idle; i++)
		if (!p->open[i]->busy)
			idle = p->open[i];
	if (!idle) {
		mem_grow((void **)&p->open, &p->open_capacity, p->n_open + 1, sizeof *p->open);
		idle = p->open[p->n_open++] = mem_zero(1, sizeof *idle);
	}
	return idle;
}

static void begin_sample(struct open *o, const struct frame *f, const struct sample *s, size_t width)
{
	free_texts(o);
	o->site = own(f->site);
	o->name = own(f->name);
	o->id = own(s->id.p ? s->id : text_of(""));
	o->layer = f->layer;
	o->variant = f->variant;
	o->seq = s->seq;
	o->next = 0;
	o->n_rows = 0;
	o->width = width;
	o->busy = true;
	mem_grow((void **)&o->row, &o->capacity, width + 1, sizeof *o->row);
}

/* One of several values as it lies in memory, of a type that the loops below are made for. */
static inline double value_at(const char *x, enum dtype type, size_t i)
{
	uint16_t half;
	float single;
	double wide;
	switch (type) {
	case DTYPE_BF16:
		memcpy(&half, x + i * sizeof half, sizeof half);
		return bf16_to_f32(half);
	case DTYPE_F32:
		memcpy(&single, x + i * sizeof single, sizeof single);
		return single;
	default:
		memcpy(&wide, x + i * sizeof wide, sizeof wide);
		return wide;
	}
}

/* A row joins the sum, or the largest.  Inlined with the type and the kind constant, so that it is a loop of vectors. */
static inline __attribute__((always_inline)) void join_as(double *restrict row, const char *restrict x, enum dtype type,
                                                          bool largest, size_t n)
{
	if (!largest)
		for (size_t i = 0; i < n; i++)
			row[i] += value_at(x, type, i);
	else
		for (size_t i = 0; i < n; i++) {
			double v = value_at(x, type, i);
			row[i] = v > row[i] || v != v ? v : row[i];
		}
}

static void join_row(double *row, const char *x, enum dtype type, bool largest, size_t n)
{
	switch (type) {
	case DTYPE_BF16: largest ? join_as(row, x, DTYPE_BF16, true, n) : join_as(row, x, DTYPE_BF16, false, n); break;
	case DTYPE_F32: largest ? join_as(row, x, DTYPE_F32, true, n) : join_as(row, x, DTYPE_F32, false, n); break;
	default: largest ? join_as(row, x, DTYPE_F64, true, n) : join_as(row, x, DTYPE_F64, false, n);
	}
}

static void pool_rows(struct pooler *p, struct open *o, const char *rows, enum dtype type, uint32_t n)
{
	bool direct = type == DTYPE_BF16 || type == DTYPE_F32 || type == DTYPE_F64;
	size_t width = o->width, row_len = width * dtype_size(type);
	for (uint32_t i = 0; i < n; i++, rows += row_len) {
		if (!o->n_rows++) {
			dtype_convert(o->row, DTYPE_F64, rows, type, width);
		} else if (direct) {
			join_row(o->row, rows, type, pool_largest(&p->pool), width);
		} else {
			dtype_convert(p->scratch, DTYPE_F64, rows, type, width);
			join_row(o->row, (const char *)p->scratch, DTYPE_F64, pool_largest(&p->pool), width);
		}
	}
}

/* What comes in with a frame: its rows, or what somebody has made of them. */
struct incoming {
	const struct frame *f;
	const char *rows;
	const double *const *sums;      /* NULL: rows */
};

/* Whether the sample's part of the frame follows what came before. */
static int check_order(const struct open *o, const struct sample *s, size_t width, struct error *e)
{
	const char *id = s->id.p ? s->id.p : "";
	if (o->seq != s->seq || !text_equal(o->id, s->id.p ? s->id : text_of("")))
		return error_set(e, "sample '%s' begins before the last positions of sample '%s' have come", id, o->id.p);
	if (s->first != o->next)
		return error_set(e, "rows of sample '%s' begin at position %u where %u is due", id, s->first, o->next);
	if (o->width != width)
		return error_set(e, "rows of sample '%s' change their width from %zu to %zu", id, o->width, width);
	return 0;
}

/* Takes a sample's rows of one frame; `in` is moved behind them. */
static int add_sample(struct pooler *p, struct open *o, struct incoming *in, const struct sample *s, struct error *e)
{
	size_t width = frame_width(in->f), row_len = width * dtype_size(in->f->dtype);
	if (!o->busy)
		begin_sample(o, in->f, s, width);
	if (check_order(o, s, width, e) < 0)
		return -1;
	struct span run;
	uint32_t at = s->first;
	int more;
	while ((more = pool_next_run(&p->pool, s, &at, s->first + s->n, &run, e)) > 0) {
		if (in->sums)
			o->n_rows += run.end - run.start;
		else
			pool_rows(p, o, in->rows + (run.start - s->first) * row_len, in->f->dtype, run.end - run.start);
	}
	if (more < 0)
		return -1;
	const double *sum = in->sums && s->n ? *in->sums++ : NULL;
	if (sum)
		memcpy(o->row, sum, width * sizeof *o->row);
	if (!in->sums)
		in->rows += s->n * row_len;
	o->next += s->n;
	return 0;
}

/* The pooled row, in the type of the output. */
static void finish_row(struct pooler *p, struct open *o, enum dtype type, char *to)
{
	enum pool_kind kind = p->pool.kind == POOL_SPAN ? p->pool.over : p->pool.kind;
	if (kind == POOL_MEAN) {
		double n = (double)o->n_rows;
		for (size_t i = 0; i < o->width; i++)
			o->row[i] /= n;
	}
	dtype_convert(to, type, o->row, DTYPE_F64, o->width);
}

/* Pools into f's samples that end here: `ended` (n_samples) and `rows` of the output. */
static int pool_frame(struct pooler *p, struct incoming in, struct sample *ended, size_t *n_ended, char *rows,
                      enum dtype type, struct error *e)
{
	const struct frame *f = in.f;
	size_t row_len = frame_width(f) * dtype_size(type);
	for (size_t i = 0; i < f->n_samples; i++) {
		const struct sample *s = &f->samples[i];
		struct open *o = find_open(p, f);
		if (add_sample(p, o, &in, s, e) < 0)
			return -1;
		if (o->next < s->len)
			continue;
		struct sample *out = &ended[(*n_ended)++];
		*out = *s;
		if (pool_range(&p->pool, s, &out->first, &out->n, e) < 0)
			return -1;
		if (out->n) {
			finish_row(p, o, type, rows);
			rows += row_len;
		}
		o->busy = false;
	}
	return 0;
}

static int put(struct pooler *p, struct incoming in, struct frame **out, struct error *e)
{
	const struct frame *f = in.f;
	*out = NULL;
	if (f->pool.p)
		return error_set(e, "the rows are pooled already (%s)", f->pool.p);
	if (!dtype_is_float(f->dtype) || (!f->n_samples && f->name.p))
		return error_set(e, "only rows of samples in a floating-point type can be pooled");
	enum dtype type = f->dtype == DTYPE_F64 ? DTYPE_F64 : DTYPE_F32;
	size_t width = frame_width(f);
	mem_grow((void **)&p->scratch, &p->scratch_capacity, width + 1, sizeof *p->scratch);
	char *rows = mem_try(f->n_samples * width * dtype_size(type), "pooled rows", e);
	if (!rows)
		return -1;
	struct sample *ended = mem_zero(f->n_samples, sizeof *ended);
	size_t n_ended = 0;
	int rc = pool_frame(p, in, ended, &n_ended, rows, type, e);
	if (rc == 0 && (n_ended || !f->n_samples)) {
		struct frame like = *f;
		like.samples = ended;
		like.n_samples = n_ended;
		like.pool = text_of(p->text);
		like.dtype = type;
		*out = frame_like(&like);
		(*out)->rows = rows;
		rows = NULL;
	}
	free(ended);
	free(rows);
	return rc;
}

int pooler_add(struct pooler *p, const struct frame *f, struct frame **out, struct error *e)
{
	return put(p, (struct incoming){ .f = f, .rows = f->rows }, out, e);
}

int pooler_put(struct pooler *p, const struct frame *f, const double *const *sums, struct frame **out, struct error *e)
{
	return put(p, (struct incoming){ .f = f, .sums = sums }, out, e);
}

const double *pooler_sum(const struct pooler *p, const struct frame *f, const struct sample *s)
{
	const struct open *o = busy_open(p, f);
	return o && o->seq == s->seq && o->n_rows ? o->row : NULL;
}
