#include "pick.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "option.h"
#include "site.h"

/* A stream doesn't say how many layers its model has. */
#define LAYERS_LIMIT 65536

struct wanted {
	struct selection selection;
	bool *layers;           /* (LAYERS_LIMIT); NULL: all */
};

struct pick {
	struct wanted *wanted;  /* (n_wanted) any of them; none: everything */
	size_t n_wanted;
	char **ids;             /* (n_ids) sorted; NULL: all */
	size_t n_ids;
	bool *variants;         /* (the header's); NULL: all */
	bool *keep;
	size_t keep_capacity;
};

int frame_pick(const struct frame *f, const bool *keep, struct frame **out, struct error *e)
{
	*out = NULL;
	struct frame some = *f;
	size_t n = 0;
	for (size_t i = 0; i < f->n_samples; i++)
		n += keep[i];
	if (!n)
		return 0;
	some.samples = mem_zero(n, sizeof *some.samples);
	some.n_samples = 0;
	for (size_t i = 0; i < f->n_samples; i++)
		if (keep[i])
			some.samples[some.n_samples++] = f->samples[i];
	struct frame *copy = frame_like(&some);
	size_t len = frame_rows_len(&some);
	free(some.samples);
	if (f->dtype != DTYPE_NONE && frame_take_rows(copy, len, e) < 0) {
		frame_free(copy);
		return -1;
	}
	const char *from = f->rows;
	char *to = copy->rows;
	size_t row_len = frame_width(f) * dtype_size(f->dtype);
	for (size_t i = 0; i < f->n_samples && len; i++) {
		size_t part = frame_sample_rows(f, &f->samples[i]) * row_len;
		if (keep[i] && part) {
			memcpy(to, from, part);
			to += part;
		}
		from += part;
	}
	*out = copy;
	return 0;
}

static int parse_wanted(struct wanted *w, const char *text, struct error *e)
{
	if (selection_parse(&w->selection, text, NULL, e) < 0)
		return -1;
	const char *layers = w->selection.layers;
	if (w->selection.target || w->selection.pool) {
		error_set(e, "--select %s: SITE[,SITE...][@LAYERS] is what it takes", text);
		selection_release(&w->selection);
		return -1;
	}
	if (!layers)
		return 0;
	int rc = 0;
	if (layers[0] == '-' || strstr(layers, ",-"))
		rc = error_set(e, "--select %s: a layer counted from the end can't be found, a stream doesn't say how many "
		               "layers there are", text);
	w->layers = mem_zero(LAYERS_LIMIT, sizeof *w->layers);
	if (rc == 0)
		rc = layers_parse(layers, strlen(layers), LAYERS_LIMIT, w->layers, e);
	if (rc < 0) {
		free(w->layers);
		selection_release(&w->selection);
	}
	return rc;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int parse_variants(struct pick *p, const char *text, const struct tms_header *h, struct error *e)
{
	size_t n;
	char **names = option_split(text, ',', &n);
	p->variants = mem_zero(h->n_variants, sizeof *p->variants);
	int rc = 0;
	for (size_t i = 0; i < n && rc == 0; i++) {
		char *end;
		unsigned long number = strtoul(names[i], &end, 10);
		size_t k = 0;
		while (k < h->n_variants && strcmp(h->variants[k], names[i]) != 0)
			k++;
		if (k == h->n_variants && *names[i] && !*end)
			k = number;
		if (k < h->n_variants)
			p->variants[k] = true;
		else
			rc = error_set(e, "--variant %s: the stream has no such variant; --summary lists them", names[i]);
	}
	free(names);
	return rc;
}

struct pick *pick_open(const char *const *select, size_t n_select, const char *ids, const char *variants,
                       const struct tms_header *h, struct error *e)
{
	struct pick *p = mem_zero(1, sizeof *p);
	p->wanted = mem_zero(n_select, sizeof *p->wanted);
	int rc = 0;
	while (p->n_wanted < n_select && rc == 0) {
		rc = parse_wanted(&p->wanted[p->n_wanted], select[p->n_wanted], e);
		p->n_wanted += rc == 0;
	}
	if (ids && rc == 0) {
		p->ids = option_split(ids, ',', &p->n_ids);
		qsort(p->ids, p->n_ids, sizeof *p->ids, compare);
	}
	if (variants && rc == 0)
		rc = parse_variants(p, variants, h, e);
	if (rc == 0)
		return p;
	pick_close(p);
	return NULL;
}

void pick_close(struct pick *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n_wanted; i++) {
		selection_release(&p->wanted[i].selection);
		free(p->wanted[i].layers);
	}
	free(p->wanted);
	free(p->ids);
	free(p->variants);
	free(p->keep);
	free(p);
}

static bool wants_frame(const struct pick *p, const struct frame *f)
{
	if (p->variants && (f->variant < 0 || !p->variants[f->variant]))
		return false;
	if (!p->n_wanted)
		return true;
	enum site site = f->site.p ? site_find(f->site.p, f->site.len) : SITE_NONE;
	for (size_t i = 0; i < p->n_wanted && site != SITE_NONE; i++) {
		const struct wanted *w = &p->wanted[i];
		if (w->selection.site[site] &&
		    (!w->layers || (f->layer >= 0 && f->layer < LAYERS_LIMIT && w->layers[f->layer])))
			return true;
	}
	return false;
}

static bool wants_id(const struct pick *p, const struct text *id)
{
	/* A name on the command line has no NUL. */
	return strlen(id->p) == id->len && bsearch(&id->p, p->ids, p->n_ids, sizeof *p->ids, compare);
}

int pick_frame(struct pick *p, struct frame **f, struct error *e)
{
	struct frame *picked = NULL;
	if (wants_frame(p, *f)) {
		if (!p->ids)
			return 0;
		mem_grow((void **)&p->keep, &p->keep_capacity, (*f)->n_samples, sizeof *p->keep);
		size_t n = 0;
		for (size_t i = 0; i < (*f)->n_samples; i++)
			n += p->keep[i] = wants_id(p, &(*f)->samples[i].id);
		if (n && n == (*f)->n_samples)
			return 0;
		if (frame_pick(*f, p->keep, &picked, e) < 0)
			return -1;
	}
	frame_free(*f);
	*f = picked;
	return 0;
}

/* -------- shards */

struct sequence {
	struct text site, name; /* owned */
	int layer, variant;
	uint64_t n_samples, last_seq;
	uint32_t next;
};

struct deal {
	size_t n;
	struct sequence *sequence;
	size_t n_sequences, capacity;
};

struct deal *deal_open(size_t n)
{
	struct deal *d = mem_zero(1, sizeof *d);
	d->n = n;
	return d;
}

static struct text own(struct text t)
{
	return t.p ? (struct text){ mem_slice(t.p, t.len), t.len } : t;
}

static struct sequence *find_sequence(struct deal *d, const struct frame *f)
{
	for (size_t i = d->n_sequences; i-- > 0;) {
		struct sequence *q = &d->sequence[i];
		if (q->layer == f->layer && q->variant == f->variant && text_equal(q->site, f->site) &&
		    text_equal(q->name, f->name))
			return q;
	}
	mem_grow((void **)&d->sequence, &d->capacity, d->n_sequences + 1, sizeof *d->sequence);
	struct sequence *q = &d->sequence[d->n_sequences++];
	*q = (struct sequence){ own(f->site), own(f->name), f->layer, f->variant, 0, 0, 0 };
	return q;
}

void deal_frame(struct deal *d, const struct frame *f, size_t *shard)
{
	struct sequence *q = find_sequence(d, f);
	for (size_t i = 0; i < f->n_samples; i++) {
		const struct sample *s = &f->samples[i];
		bool goes_on = q->n_samples && s->first && s->seq == q->last_seq && s->first == q->next;
		q->n_samples += !goes_on;
		shard[i] = (size_t)((q->n_samples - 1) % d->n);
		q->last_seq = s->seq;
		q->next = s->first + s->n;
	}
}

void deal_close(struct deal *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->n_sequences; i++) {
		free((char *)d->sequence[i].site.p);
		free((char *)d->sequence[i].name.p);
	}
	free(d->sequence);
	free(d);
}
