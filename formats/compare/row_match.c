#include "row_match.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forward.h"
#include "memory.h"
#include "tms.h"

/* What may be held of one stream for which the other has not come yet. */
#define HELD_LIMIT (16 * FRAME_ROWS_LEN)

enum { GONE_IDS = 64 };

/* A frame whose samples from `sample` on wait for their counterparts. */
struct held {
	struct held *next;
	struct frame *frame;
	size_t sample, row;     /* the sample due, and the rows before it in the frame */
	uint32_t taken;         /* its rows that are done */
};

/* One sequence of rows. */
struct group {
	struct diff_item *item;
	struct text pool;       /* owned */
	char *variant;          /* owned; NULL: none */
	struct held *first[2], **last[2];
	uint64_t n_rows;        /* brought together so far */
	bool overflowed[2];     /* too much was held, and is gone */
	char *gone[2][GONE_IDS];/* ids of samples that were passed over */
	size_t n_gone[2];
};

struct side {
	struct tms_reader *reader;
	int variant;            /* the one wanted; -1: all */
	bool ended;
	struct frame *frame;    /* just read */
	int rc;
	struct error error;
	size_t held_len;
};

struct row_match {
	struct side side[2];
	struct workers *workers;
	struct diff_list *list;
	bool one_variant;
	struct group **group;
	size_t n_groups, capacity, last_group;
	struct matched *matched;
	size_t n_matched, matched_capacity;
	struct held *spent;     /* their rows are in `matched` */
};

/* -------- opening */

/* -1 for all where the stream has none. */
static int find_variant(struct side *s, const char *wanted, struct error *e)
{
	const struct tms_header *h = tms_header(s->reader);
	s->variant = -1;
	if (!wanted || !h->n_variants)
		return 0;
	for (size_t i = 0; i < h->n_variants; i++)
		if (!strcmp(h->variants[i], wanted))
			s->variant = (int)i;
	char *end;
	unsigned long k = strtoul(wanted, &end, 10);
	if (s->variant < 0 && *wanted >= '0' && *wanted <= '9' && !*end && k < h->n_variants)
		s->variant = (int)k;
	if (s->variant < 0)
		return error_set(e, "%s: has no variant '%s'; it has %zu, the first is '%s'", tms_name(s->reader), wanted,
		                 h->n_variants, h->variants[0]);
	return 0;
}

/* A stream without variants is compared whole with one of the other's; that neither has any is a slip. */
static int check_variants(const struct row_match *r, const char *wanted, struct error *e)
{
	const struct tms_reader *a = r->side[0].reader, *b = r->side[1].reader;
	if (wanted && !tms_header(a)->n_variants && !tms_header(b)->n_variants)
		return error_set(e, "--variant %s: neither %s nor %s has variants", wanted, tms_name(a), tms_name(b));
	return 0;
}

/* Different models are what tdiff is for: they are told, and no difference. */
static char *describe_models(const struct tms_header *a, const struct tms_header *b)
{
	if (!a->fingerprint || !b->fingerprint || !strcmp(a->fingerprint, b->fingerprint))
		return NULL;
	return mem_format("A is of model %s (%s), B of %s (%s)", a->model ? a->model : "?", a->fingerprint,
	                  b->model ? b->model : "?", b->fingerprint);
}

struct row_match *row_match_open(const char *path_a, const char *path_b, const char *variant, struct workers *w,
                                 struct diff_list *list, struct error *e)
{
	const char *path[] = { path_a, path_b };
	struct row_match *r = mem_zero(1, sizeof *r);
	r->workers = w;
	r->list = list;
	r->one_variant = variant != NULL;
	for (int i = 0; i < 2; i++) {
		r->side[i].reader = tms_open(path[i], e);
		if (!r->side[i].reader || find_variant(&r->side[i], variant, e) < 0) {
			row_match_close(r);
			return NULL;
		}
	}
	if (check_variants(r, variant, e) < 0) {
		row_match_close(r);
		return NULL;
	}
	list->models = describe_models(tms_header(r->side[0].reader), tms_header(r->side[1].reader));
	return r;
}

static void held_free(struct held *h)
{
	while (h) {
		struct held *next = h->next;
		frame_free(h->frame);
		free(h);
		h = next;
	}
}

static void group_free(struct group *g)
{
	for (int i = 0; i < 2; i++) {
		held_free(g->first[i]);
		while (g->n_gone[i])
			free(g->gone[i][--g->n_gone[i]]);
	}
	free((char *)g->pool.p);
	free(g->variant);
	free(g);
}

void row_match_close(struct row_match *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n_groups; i++)
		group_free(r->group[i]);
	for (int i = 0; i < 2; i++) {
		tms_close(r->side[i].reader);
		frame_free(r->side[i].frame);
	}
	held_free(r->spent);
	free(r->group);
	free(r->matched);
	free(r);
}

/* -------- sequences */

/* What a frame's rows are called: resid_pre of a layer and resid_post of the one before it are one place. */
struct place_name {
	struct text site;       /* ours, where it is one of ours or an alias */
	enum site known;
	int layer;
	const char *variant;
};

static struct place_name name_of(const struct row_match *r, int side, const struct frame *f)
{
	const struct tms_header *h = tms_header(r->side[side].reader);
	struct place_name p = { f->site, SITE_NONE, f->layer, NULL };
	if (f->site.p)
		p.known = site_find(f->site.p, f->site.len);
	else if (f->dtype == DTYPE_NONE)
		p.site = text_of("tokens");
	if (p.known == SITE_RESID_PRE && p.layer > 0) {
		p.known = SITE_RESID_POST;
		p.layer--;
	}
	if (p.known != SITE_NONE)
		p.site = text_of(site_name(p.known));
	if (f->variant >= 0 && !r->one_variant)
		p.variant = h->variants[f->variant];
	return p;
}

static bool is_group(const struct group *g, const struct place_name *p, const char *name, const struct frame *f)
{
	return g->item->layer == p->layer && !strcmp(g->item->name, name) && text_equal(g->pool, f->pool) &&
	       !strcmp(g->variant ? g->variant : "", p->variant ? p->variant : "");
}

static struct group *new_group(struct row_match *r, const struct place_name *p, const char *name, const struct frame *f)
{
	mem_grow((void **)&r->group, &r->capacity, r->n_groups + 1, sizeof *r->group);
	struct group *g = r->group[r->n_groups++] = mem_zero(1, sizeof *g);
	g->last[0] = &g->first[0];
	g->last[1] = &g->first[1];
	g->variant = mem_string(p->variant);
	if (f->pool.p)
		g->pool = (struct text){ mem_slice(f->pool.p, f->pool.len), f->pool.len };
	g->item = diff_add(r->list, name);
	g->item->variant = mem_string(p->variant);
	g->item->rows = true;
	g->item->site = p->known;
	g->item->layer = p->layer;
	g->item->rank = forward_of_site(p->known, p->layer);
	return g;
}

/* Streams go round the same sequences: the search begins after the one found last. */
static struct group *find_group(struct row_match *r, int side, const struct frame *f)
{
	struct place_name p = name_of(r, side, f);
	bool both = p.site.len && f->name.len;
	char *name = mem_format("%.*s%s%.*s", (int)p.site.len, p.site.p ? p.site.p : "", both ? "." : "", (int)f->name.len,
	                        f->name.p ? f->name.p : "");
	struct group *g = NULL;
	for (size_t i = 0; i < r->n_groups && !g; i++) {
		size_t k = (r->last_group + i) % r->n_groups;
		if (is_group(r->group[k], &p, name, f)) {
			g = r->group[k];
			r->last_group = k;
		}
	}
	if (!g)
		g = new_group(r, &p, name, f);
	free(name);
	return g;
}

static void describe(struct diff_item *d, int side, const struct frame *f)
{
	d->there[side] = true;
	snprintf(d->type[side], sizeof d->type[side], "%s", f->dtype == DTYPE_NONE ? "u32" : dtype_name(f->dtype));
	size_t n = (size_t)snprintf(d->shape[side], sizeof d->shape[side], "[");
	for (int i = 0; i < f->n_dims; i++)
		n += (size_t)snprintf(d->shape[side] + n, sizeof d->shape[side] - n, "%s%zu", i ? ", " : "", f->dim[i]);
	snprintf(d->shape[side] + n, sizeof d->shape[side] - n, "]");
}

/* -------- rows */

static const struct sample *sample_of(const struct held *h)
{
	/* An array without samples is one row of nobody. */
	static const struct sample nobody = { .id = { "", 0 }, .len = 1, .n = 1 };
	return h->frame->n_samples ? &h->frame->samples[h->sample] : &nobody;
}

static uint32_t rows_of(const struct held *h)
{
	const struct sample *s = sample_of(h);
	if (h->frame->dtype == DTYPE_NONE)
		return s->tokens ? s->len : 0;
	return h->frame->n_samples ? (uint32_t)frame_sample_rows(h->frame, s) : 1;
}

static const void *rows_at(const struct held *h)
{
	const struct frame *f = h->frame;
	if (f->dtype == DTYPE_NONE)
		return sample_of(h)->tokens + h->taken;
	return (const char *)f->rows + (h->row + h->taken) * frame_width(f) * dtype_size(f->dtype);
}

/* Forgets the frame once its rows were compared. */
static void let_go(struct row_match *r, struct group *g, int side)
{
	struct held *h = g->first[side];
	g->first[side] = h->next;
	if (!h->next)
		g->last[side] = &g->first[side];
	r->side[side].held_len -= frame_rows_len(h->frame) + 4096;
	h->next = r->spent;
	r->spent = h;
}

static void next_sample(struct row_match *r, struct group *g, int side)
{
	struct held *h = g->first[side];
	h->row += rows_of(h);
	h->taken = 0;
	if (++h->sample >= h->frame->n_samples)
		let_go(r, g, side);
}

static void next_rows(struct row_match *r, struct group *g, int side, uint32_t n)
{
	struct held *h = g->first[side];
	h->taken += n;
	if (h->taken == rows_of(h))
		next_sample(r, g, side);
}

/* The frame at the head of a side, past samples without rows; NULL: nothing is held. */
static struct held *head(struct row_match *r, struct group *g, int side)
{
	while (g->first[side] && !rows_of(g->first[side]))
		next_sample(r, g, side);
	return g->first[side];
}

static void match_rows(struct row_match *r, struct group *g, const struct held *a, const struct held *b, uint32_t n,
                       uint64_t position)
{
	const struct frame *fa = a->frame, *fb = b->frame;
	size_t width = fa->dtype == DTYPE_NONE ? 1 : frame_width(fa);
	struct diff_item *d = g->item;
	if (fa->n_dims != fb->n_dims || memcmp(fa->dim, fb->dim, (size_t)fa->n_dims * sizeof *fa->dim) != 0)
		d->shapes_differ = true;
	if ((fa->dtype == DTYPE_NONE) != (fb->dtype == DTYPE_NONE) || (fa->dtype && frame_width(fb) != width))
		return;
	enum dtype type_a = fa->dtype ? fa->dtype : DTYPE_U32, type_b = fb->dtype ? fb->dtype : DTYPE_U32;
	mem_grow((void **)&r->matched, &r->matched_capacity, r->n_matched + 1, sizeof *r->matched);
	r->matched[r->n_matched++] = (struct matched){ d, rows_at(a), rows_at(b), type_a, type_b, n, width,
		                                       fa->n_dims > 1 ? fa->dim[0] : 1, g->n_rows, sample_of(a)->id, position };
	g->n_rows += n;
}

/* What else is known of a sample, told once: with its first row. */
static void compare_sample(struct diff_item *d, const struct sample *a, const struct sample *b)
{
	if (a->tokens && b->tokens &&
	    (a->len != b->len || (a->len && memcmp(a->tokens, b->tokens, a->len * sizeof *a->tokens) != 0)))
		d->other_tokens++;
	if (!text_equal(a->label, b->label))
		d->other_labels++;
}

/* Passes over a sample (or the rest of one) that the other side doesn't have. */
static int pass_over(struct row_match *r, struct group *g, int side, struct error *e)
{
	const struct held *h = g->first[side];
	const struct sample *s = sample_of(h);
	for (size_t i = 0; i < g->n_gone[!side]; i++)
		if (text_equal(text_of(g->gone[!side][i]), s->id))
			return error_set(e, "%s: sample '%s' comes in another order than in %s; bring both into one order, "
			                 "with tcat --merge or --ids", tms_name(r->side[side].reader), s->id.p,
			                 tms_name(r->side[!side].reader));
	if (g->n_gone[side] < GONE_IDS)
		g->gone[side][g->n_gone[side]++] = mem_slice(s->id.p, s->id.len);
	g->item->only[side] += rows_of(h) - h->taken;
	next_sample(r, g, side);
	return 0;
}

static int match_heads(struct row_match *r, struct group *g, const struct held *a, const struct held *b, struct error *e)
{
	const struct sample *sa = sample_of(a), *sb = sample_of(b);
	if (!text_equal(sa->id, sb->id)) {
		if (sa->seq == sb->seq)
			return error_set(e, "%s: sample %llu is '%s', in %s it is '%s': these are not the same data; choose the "
			                 "common ones with tcat --ids", tms_name(r->side[0].reader), (unsigned long long)sa->seq,
			                 sa->id.p, tms_name(r->side[1].reader), sb->id.p);
		return pass_over(r, g, sa->seq < sb->seq ? 0 : 1, e);
	}
	uint64_t pa = (uint64_t)sa->first + a->taken, pb = (uint64_t)sb->first + b->taken;
	uint32_t na = rows_of(a) - a->taken, nb = rows_of(b) - b->taken;
	if (pa != pb) {
		int side = pa < pb ? 0 : 1;
		uint64_t gap = pa < pb ? pb - pa : pa - pb;
		uint32_t n = side ? nb : na;
		n = n < gap ? n : (uint32_t)gap;
		g->item->only[side] += n;
		next_rows(r, g, side, n);
		return 0;
	}
	uint32_t n = na < nb ? na : nb;
	if (!a->taken && !b->taken && (sa->first == 0 || g->pool.p))
		compare_sample(g->item, sa, sb);
	match_rows(r, g, a, b, n, pa);
	next_rows(r, g, 0, n);
	next_rows(r, g, 1, n);
	return 0;
}

static int match_group(struct row_match *r, struct group *g, struct error *e)
{
	struct held *a, *b;
	while ((a = head(r, g, 0)) && (b = head(r, g, 1)))
		if (match_heads(r, g, a, b, e) < 0)
			return -1;
	return 0;
}

/* -------- reading */

static int pass_over_all(struct row_match *r, struct group *g, int side, struct error *e)
{
	while (head(r, g, side))
		if (pass_over(r, g, side, e) < 0)
			return -1;
	return 0;
}

/* Too much waits for the other side: most of all the rows of a site that it doesn't have, and these go first. */
static int overflow(struct row_match *r, int side, struct error *e)
{
	for (int round = 0; round < 2; round++)
		for (size_t i = 0; i < r->n_groups && r->side[side].held_len > HELD_LIMIT / 2; i++) {
			struct group *g = r->group[i];
			if (!g->first[side] || (!round && g->n_rows))
				continue;
			g->overflowed[side] = true;
			if (pass_over_all(r, g, side, e) < 0)
				return -1;
		}
	return 0;
}

static int take_frame(struct row_match *r, int side, struct error *e)
{
	struct side *s = &r->side[side];
	struct frame *f = s->frame;
	s->frame = NULL;
	if (s->variant >= 0 && f->variant != s->variant) {
		frame_free(f);
		return 0;
	}
	struct group *g = find_group(r, side, f);
	describe(g->item, side, f);
	struct held *h = mem_zero(1, sizeof *h);
	h->frame = f;
	*g->last[side] = h;
	g->last[side] = &h->next;
	s->held_len += frame_rows_len(f) + 4096;
	if (g->overflowed[!side])
		return error_set(e, "%s: %s of layer %d comes more than %zu MiB later than in %s; bring both into one order, "
		                 "with tcat --select or --merge", tms_name(s->reader), g->item->name, g->item->layer,
		                 HELD_LIMIT >> 20, tms_name(r->side[!side].reader));
	if (match_group(r, g, e) < 0)
		return -1;
	if (g->overflowed[side] && pass_over_all(r, g, side, e) < 0)
		return -1;
	return s->held_len > HELD_LIMIT ? overflow(r, side, e) : 0;
}

static void read_side(void *argument, size_t i, size_t slot)
{
	struct row_match *r = argument;
	struct side *s = &r->side[i];
	(void)slot;
	/* Who is far ahead waits. */
	bool wait = !r->side[!i].ended && s->held_len > r->side[!i].held_len + HELD_LIMIT / 4;
	s->rc = s->ended || wait ? 2 : tms_next(s->reader, &s->frame, &s->error);
}

int row_match_next(struct row_match *r, const struct matched **m, size_t *n, struct error *e)
{
	held_free(r->spent);
	r->spent = NULL;
	r->n_matched = 0;
	workers_run(r->workers, 2, read_side, r);
	for (int i = 0; i < 2; i++) {
		struct side *s = &r->side[i];
		if (s->rc < 0) {
			*e = s->error;
			return -1;
		}
		s->ended |= s->rc == 0;
		if (s->rc == 1 && take_frame(r, i, e) < 0)
			return -1;
	}
	*m = r->matched;
	*n = r->n_matched;
	if (!r->side[0].ended || !r->side[1].ended || r->n_matched)
		return 1;
	for (size_t i = 0; i < r->n_groups; i++)
		for (int side = 0; side < 2; side++)
			if (pass_over_all(r, r->group[i], side, e) < 0)
				return -1;
	return 0;
}
