#include "projection.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "site.h"
#include "vectors.h"

/* Rows of a task. */
enum { SOME = 64 };

struct one {
	struct place place;             /* variant: that of the rows to come */
	struct components c;            /* vector and mean, which `frame` and `mean` own; NULL: not met yet */
	struct frame *vectors, *mean;
};

struct projections {
	struct one *at;
	size_t n, capacity;
	char *name;
	char checksum[17];
};

/* resid_post of a layer is resid_pre of the next. */
static struct place one_name(struct place p)
{
	if (p.site.p && site_find(p.site.p, p.site.len) == SITE_RESID_POST && p.layer >= 0) {
		p.site = text_of(site_name(SITE_RESID_PRE));
		p.layer++;
	}
	return p;
}

static struct one *find(const struct projections *p, struct place place)
{
	struct place any = one_name(place), exact = any;
	any.variant = -1;
	for (size_t i = 0; i < p->n; i++)
		if (!place_compare(&p->at[i].place, &exact) || !place_compare(&p->at[i].place, &any))
			return &p->at[i];
	return NULL;
}

/* The number of a variant among those of the rows to come, -1 for none; -2: they don't have it. */
static int variant_in(const struct tms_header *rows, const struct tms_header *own, int variant)
{
	if (variant < 0)
		return -1;
	for (size_t i = 0; i < rows->n_variants; i++)
		if (!strcmp(rows->variants[i], own->variants[variant]))
			return (int)i;
	return -2;
}

/* Keeps a frame that is needed; others are the caller's still. */
static bool keep(struct projections *p, struct frame *f, int variant)
{
	bool vectors = vectors_is(f, "components_", DTYPE_F64, 2), mean = vectors_is(f, "mean_", DTYPE_F64, 1);
	if ((!vectors && !mean) || variant < -1)
		return false;
	struct place place = one_name(place_of(f));
	place.variant = variant;
	struct one *one = NULL;
	for (size_t i = 0; i < p->n && !one; i++)
		one = place_compare(&p->at[i].place, &place) ? NULL : &p->at[i];
	if (!one) {
		mem_grow((void **)&p->at, &p->capacity, p->n + 1, sizeof *p->at);
		one = &p->at[p->n++];
		*one = (struct one){ .place = place_copy(&place) };
	}
	struct frame **to = vectors ? &one->vectors : &one->mean;
	frame_free(*to);
	*to = f;
	return true;
}

static int check(struct projections *p, size_t k, struct error *e)
{
	for (size_t i = 0; i < p->n; i++) {
		struct one *one = &p->at[i];
		const struct frame *either = one->vectors ? one->vectors : one->mean;
		struct place own = place_of(either);
		own.variant = one->place.variant;
		char *place = place_text(&own);
		int rc = 0;
		if (!one->vectors || !one->mean || one->mean->dim[0] != one->vectors->dim[1])
			rc = error_set(e, "%s: has no components_ with their mean_ for %s", p->name, place);
		else if (k > one->vectors->dim[0])
			rc = error_set(e, "%s: has %zu components for %s, fewer than -k %zu", p->name, one->vectors->dim[0], place, k);
		free(place);
		if (rc < 0)
			return -1;
		one->c.k = k ? k : one->vectors->dim[0];
		one->c.width = one->vectors->dim[1];
		one->c.vector = one->vectors->rows;
		one->c.mean = one->mean->rows;
	}
	return p->n ? 0 : error_set(e, "%s: has no components_; pca writes them", p->name);
}

static int read_all(struct projections *p, struct tms_reader *r, size_t k, const struct tms_header *h, struct error *e)
{
	const struct tms_header *own = tms_header(r);
	struct frame *f;
	int rc;
	if (own->kind != TMS_VECTORS)
		return error_set(e, "%s: holds %s, not the vectors that pca writes", p->name, tms_kind_name(own->kind));
	if (own->fingerprint && h->fingerprint && strcmp(own->fingerprint, h->fingerprint) != 0)
		return error_set(e, "%s: its components are of another model (%s) than the rows (%s)", p->name,
		                 own->model ? own->model : own->fingerprint, h->model ? h->model : h->fingerprint);
	while ((rc = tms_next(r, &f, e)) > 0)
		if (!keep(p, f, variant_in(h, own, f->variant)))
			frame_free(f);
	snprintf(p->checksum, sizeof p->checksum, "%016" PRIx64, tms_checksum(r));
	return rc < 0 ? -1 : check(p, k, e);
}

struct projections *projections_open(const char *path, size_t k, const struct tms_header *h, struct error *e)
{
	struct tms_reader *r = tms_open(path, e);
	if (!r)
		return NULL;
	struct projections *p = mem_zero(1, sizeof *p);
	p->name = mem_string(tms_name(r));
	int rc = read_all(p, r, k, h, e);
	tms_close(r);
	if (rc == 0)
		return p;
	projections_close(p);
	return NULL;
}

const char *projections_checksum(const struct projections *p)
{
	return p->checksum;
}

void projections_close(struct projections *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++) {
		frame_free(p->at[i].vectors);
		frame_free(p->at[i].mean);
		place_release(&p->at[i].place);
	}
	free(p->at);
	free(p->name);
	free(p);
}

static int no_place(const struct projections *p, const struct place *place, struct error *e)
{
	char *wanted = place_text(place), *list = mem_string("");
	for (size_t i = 0; i < p->n && strlen(list) < 400; i++) {
		char *one = place_text(&p->at[i].place);
		char *longer = mem_format("%s%s%s", list, i ? "; " : "", one);
		free(one);
		free(list);
		list = longer;
	}
	error_set(e, "%s: has no components for %s; it has %s", p->name, wanted, list);
	free(wanted);
	free(list);
	return -1;
}

struct project {
	const struct components *c;
	const struct frame *from;
	struct frame *to;
	size_t n;
};

static void project_task(void *argument, size_t i, size_t slot)
{
	(void)slot;
	const struct project *p = argument;
	size_t first = i * SOME, n = p->n - first < SOME ? p->n - first : SOME;
	components_project(p->c, (char *)p->from->rows + first * p->c->width * dtype_size(p->from->dtype), p->from->dtype, n,
	                   (char *)p->to->rows + first * p->c->k * dtype_size(p->to->dtype), p->to->dtype);
}

int projections_apply(const struct projections *p, struct workers *w, const struct frame *f, struct frame **out, struct error *e)
{
	struct place place = place_of(f);
	if (!dtype_is_float(f->dtype) || (!f->n_samples && f->name.p))
		return error_set(e, "only rows of samples in a floating-point type can be projected");
	const struct one *one = find(p, place);
	if (!one)
		return no_place(p, &place, e);
	if (one->c.width != frame_width(f))
		return error_set(e, "rows of %zu columns, and the components of %s have %zu", frame_width(f), p->name, one->c.width);
	struct project project = { .c = &one->c, .from = f, .to = frame_like(f), .n = frame_n_rows(f) };
	project.to->dtype = f->dtype == DTYPE_F64 ? DTYPE_F64 : DTYPE_F32;
	project.to->n_dims = 1;
	project.to->dim[0] = one->c.k;
	if (frame_take_rows(project.to, frame_rows_len(project.to), e) < 0) {
		frame_free(project.to);
		return -1;
	}
	workers_run(w, (project.n + SOME - 1) / SOME, project_task, &project);
	*out = project.to;
	return 0;
}
