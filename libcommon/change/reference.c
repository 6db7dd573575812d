#include "reference.h"

#include <stdlib.h>
#include <string.h>

#include "io.h"
#include "memory.h"
#include "site.h"

/* One sequence's way through the file. */
struct cursor {
	char *site;             /* of the sequence; NULL: none */
	int layer, variant;
	struct lens in;
	struct frame *f;
	size_t next_sample;     /* in f, after `at` */
	size_t row, next_row;   /* of f: where those of `at` begin, and those after it */
	const struct sample *at;
	char *id;               /* of the sequence's sample */
	uint64_t seq;
};

struct reference {
	char *path;
	const struct model *m;
	const struct lens *of;
	bool logits, pooled;
	struct cursor *cursors;
	size_t n, capacity;
	struct cursor spare;    /* opened first, for whichever sequence comes first */
	bool has_spare;
};

static const char *name_of(struct text id)
{
	return id.p ? id.p : "";
}

/* -------- which rows belong together */

static int same_variant(const struct reference *r, const struct cursor *c, const struct frame *f)
{
	const struct tms_header *theirs = tms_header(c->in.in), *ours = tms_header(r->of->in);
	if (!theirs->n_variants)
		return 1;
	return f->variant >= 0 && c->variant >= 0 &&
	       strcmp(theirs->variants[f->variant], ours->variants[c->variant]) == 0;
}

/* resid_post of a layer and resid_pre of the next are one place. */
static void place(struct text name, int layer, enum site *site, int *at)
{
	*site = name.p ? site_find(name.p, name.len) : SITE_NONE;
	*at = layer;
	if (*site == SITE_RESID_POST) {
		*site = SITE_RESID_PRE;
		++*at;
	}
}

static int same_place(const struct cursor *c, const struct frame *f)
{
	enum site a, b;
	int layer_a, layer_b;
	if (tms_header(c->in.in)->kind != TMS_ACTS)
		return 1;
	place(f->site, f->layer, &a, &layer_a);
	place(text_of(c->site), c->layer, &b, &layer_b);
	return a == b && layer_a == layer_b;
}

/* -------- reading */

/* The next frame of the sequence.  1, 0 or -1. */
static int next_frame(const struct reference *r, struct cursor *c, struct error *e)
{
	int more;
	frame_free(c->f);
	c->f = NULL;
	c->at = NULL;
	c->next_sample = c->next_row = 0;
	while ((more = lens_next(&c->in, &c->f, e)) > 0) {
		if (same_variant(r, c, c->f) && same_place(c, c->f))
			return 1;
		frame_free(c->f);
		c->f = NULL;
	}
	c->f = NULL;
	return more;
}

/* The next sample, or the next rows of a long one.  1, 0 or -1. */
static int next_piece(const struct reference *r, struct cursor *c, struct error *e)
{
	while (!c->f || c->next_sample == c->f->n_samples) {
		int more = next_frame(r, c, e);
		if (more <= 0)
			return more;
	}
	c->at = &c->f->samples[c->next_sample++];
	c->row = c->next_row;
	c->next_row += frame_sample_rows(c->f, c->at);
	return 1;
}

static bool continues(const struct cursor *c)
{
	return !c->f->pool.p && c->at->first > 0;
}

static int next_sample(const struct reference *r, struct cursor *c, struct error *e)
{
	int more;
	bool began = c->id != NULL;
	while ((more = next_piece(r, c, e)) > 0 && began && continues(c))
		;
	return more;
}

static int cursor_open(struct cursor *c, const struct reference *r, struct error *e)
{
	*c = (struct cursor){ .layer = -1, .variant = -1 };
	return lens_open_reference(&c->in, r->path, r->m, r->of->any_layer, e);
}

static void cursor_close(struct cursor *c)
{
	free(c->site);
	free(c->id);
	frame_free(c->f);
	lens_close(&c->in);
}

static int check_variants(const struct reference *r, const struct tms_header *theirs, struct error *e)
{
	const struct tms_header *ours = tms_header(r->of->in);
	const char *name = tms_name(r->of->in);
	if (theirs->n_variants && !ours->n_variants)
		return error_set(e, "%s: has variants, and %s has none; choose one with tcat --variant", r->path, name);
	for (size_t i = 0; theirs->n_variants && i < ours->n_variants; i++) {
		size_t j = 0;
		while (j < theirs->n_variants && strcmp(theirs->variants[j], ours->variants[i]) != 0)
			j++;
		if (j == theirs->n_variants)
			return error_set(e, "%s: has no variant '%s', and %s has", r->path, ours->variants[i], name);
	}
	return 0;
}

struct reference *reference_open(const char *path, const struct model *m, const struct lens *of, struct error *e)
{
	struct reference *r = mem_zero(1, sizeof *r);
	*r = (struct reference){ .path = mem_string(path), .m = m, .of = of, .has_spare = true };
	int status = -1;
	if (strcmp(path, "-") == 0 && strcmp(tms_name(of->in), io_input_name(NULL)) == 0)
		error_set(e, "--against -: standard input is what is compared already");
	else if (cursor_open(&r->spare, r, e) == 0 && check_variants(r, tms_header(r->spare.in.in), e) == 0)
		status = lens_next(&r->spare.in, &r->spare.f, e);
	if (status <= 0)
		r->spare.f = NULL;
	if (status < 0) {
		reference_close(r);
		return NULL;
	}
	r->logits = r->spare.in.logits;
	r->pooled = r->spare.f && r->spare.f->pool.p;
	return r;
}

bool reference_logits(const struct reference *r)
{
	return r->logits;
}

bool reference_pooled(const struct reference *r)
{
	return r->pooled;
}

/* -------- sequences */

/* Nothing of the sequence is left in the file.  0 or -1. */
static int cursor_end(const struct reference *r, struct cursor *c, struct error *e)
{
	int more = next_sample(r, c, e);
	if (more > 0)
		return error_set(e, "%s: has a sample '%s' that %s has not", r->path, name_of(c->at->id), tms_name(r->of->in));
	return more;
}

/* In a stream that runs layer by layer the sequences of earlier layers are over. */
static int end_earlier(struct reference *r, int layer, struct error *e)
{
	if (tms_header(r->of->in)->order != TMS_ORDER_LAYER)
		return 0;
	for (size_t i = 0; i < r->n;) {
		if (r->cursors[i].layer >= layer) {
			i++;
			continue;
		}
		if (cursor_end(r, &r->cursors[i], e) < 0)
			return -1;
		cursor_close(&r->cursors[i]);
		r->cursors[i] = r->cursors[--r->n];
	}
	return 0;
}

static struct cursor *cursor_new(struct reference *r, const struct frame *f, struct error *e)
{
	if (end_earlier(r, f->layer, e) < 0)
		return NULL;
	mem_grow((void **)&r->cursors, &r->capacity, r->n + 1, sizeof *r->cursors);
	struct cursor *c = &r->cursors[r->n];
	if (r->has_spare) {
		*c = r->spare;
		r->has_spare = false;
	} else if (!io_regular(r->path)) {
		error_set(e, "%s: can't be read again, which more than one variant or layer needs; give a regular file", r->path);
		return NULL;
	} else if (cursor_open(c, r, e) < 0) {
		cursor_close(c);
		return NULL;
	}
	r->n++;
	c->site = f->site.p ? mem_slice(f->site.p, f->site.len) : NULL;
	c->layer = f->layer;
	c->variant = f->variant;
	/* Of the frame that was read ahead nobody asked yet whose it is. */
	if (c->f && !(same_variant(r, c, c->f) && same_place(c, c->f)) && next_frame(r, c, e) < 0)
		return NULL;
	return c;
}

static struct cursor *cursor_find(struct reference *r, const struct frame *f)
{
	for (size_t i = 0; i < r->n; i++) {
		struct cursor *c = &r->cursors[i];
		if (c->layer == f->layer && c->variant == f->variant && text_equal(text_of(c->site), f->site))
			return c;
	}
	return NULL;
}

/* -------- samples and rows */

int reference_sample(struct reference *r, const struct frame *f, const struct sample *s, struct error *e)
{
	struct cursor *c = cursor_find(r, f);
	if (!c)
		c = cursor_new(r, f, e);
	if (!c)
		return -1;
	if (c->id && !f->pool.p && s->first > 0 && c->seq == s->seq && strcmp(c->id, name_of(s->id)) == 0)
		return 0;
	int more = next_sample(r, c, e);
	if (more < 0)
		return -1;
	const char *id = name_of(s->id), *name = tms_name(r->of->in);
	if (more == 0)
		return error_set(e, "%s: has no sample '%s', and %s has; both must hold the same samples", r->path, id, name);
	if (strcmp(name_of(c->at->id), id) != 0)
		return error_set(e, "%s: has sample '%s' where %s has '%s'; both must hold the same samples in one order (tcat "
		                 "--merge restores the data set's)", r->path, name_of(c->at->id), name, id);
	if (c->at->len != s->len)
		return error_set(e, "sample '%s' has %u tokens in %s and %u in %s", id, s->len, name, c->at->len, r->path);
	free(c->id);
	c->id = mem_string(id);
	c->seq = s->seq;
	return 0;
}

static int no_row(const struct reference *r, const struct sample *s, uint32_t position, struct error *e)
{
	return error_set(e, "sample '%s': %s has no row at position %u, and %s has", name_of(s->id), r->path, position,
	                 tms_name(r->of->in));
}

/* Goes on to the rows that hold the position. */
static int seek(struct reference *r, struct cursor *c, const struct sample *s, uint32_t position, struct error *e)
{
	while (position >= c->at->first + c->at->n) {
		int more = c->f->pool.p ? 0 : next_piece(r, c, e);
		if (more < 0)
			return -1;
		if (more == 0 || !continues(c) || strcmp(name_of(c->at->id), c->id) != 0)
			return no_row(r, s, position, e);
	}
	return position < c->at->first ? no_row(r, s, position, e) : 0;
}

int reference_row(struct reference *r, const struct frame *f, const struct sample *s, uint32_t position, bool next,
                  const void **row, enum dtype *dtype, struct error *e)
{
	struct cursor *c = cursor_find(r, f);
	if (seek(r, c, s, position, e) < 0)
		return -1;
	uint32_t n = f->pool.p ? s->n : 1;
	if (c->f->pool.p && (c->at->first != position || c->at->n != n))
		return no_row(r, s, position, e);
	if (!c->f->pool.p && n != 1)
		return error_set(e, "sample '%s': a row pooled over %u positions (%s) has none to stand beside in %s", name_of(s->id), n,
		                 f->pool.p, r->path);
	if (next && c->at->tokens && c->at->tokens[position + 1] != s->tokens[position + 1])
		return error_set(e, "sample '%s' has token %u at position %u in %s and token %u in %s, and what is predicted there "
		                 "must be one; choose positions with --pos", name_of(s->id), s->tokens[position + 1],
		                 position + 1, tms_name(r->of->in), c->at->tokens[position + 1], r->path);
	uint32_t at = c->f->pool.p ? 0 : position - c->at->first;
	*dtype = c->f->dtype;
	*row = (const char *)c->f->rows + (c->row + at) * frame_width(c->f) * dtype_size(c->f->dtype);
	return 0;
}

int reference_end(struct reference *r, struct error *e)
{
	for (size_t i = 0; i < r->n; i++)
		if (cursor_end(r, &r->cursors[i], e) < 0)
			return -1;
	return r->has_spare ? cursor_end(r, &r->spare, e) : 0;
}

void reference_close(struct reference *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n; i++)
		cursor_close(&r->cursors[i]);
	if (r->has_spare)
		cursor_close(&r->spare);
	free(r->cursors);
	free(r->path);
	free(r);
}
