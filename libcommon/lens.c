#include "lens.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "resid.h"
#include "site.h"

static int check_header(const struct tms_reader *r, const struct model *m, struct error *e)
{
	const struct tms_header *h = tms_header(r);
	if (h->kind != TMS_RESID && h->kind != TMS_ACTS)
		return error_set(e, "%s: is a stream of %s; a residual stream or activations of it are due", tms_name(r),
		                 tms_kind_name(h->kind));
	if (h->fingerprint && strcmp(h->fingerprint, m->fingerprint) != 0)
		return error_set(e, "%s: comes from another model: %s (%s), and -m is %s (%s)", tms_name(r),
		                 h->model ? h->model : "unnamed", h->fingerprint, m->name, m->fingerprint);
	return 0;
}

int lens_open(struct lens *l, const char *path, const struct model *m, bool any_layer, struct error *e)
{
	*l = (struct lens){ .m = m, .any_layer = any_layer };
	l->in = any_layer ? tms_open(path, e) : resid_open(path, m, e);
	return l->in && (!any_layer || check_header(l->in, m, e) == 0) ? 0 : -1;
}

int lens_open_reference(struct lens *l, const char *path, const struct model *m, bool any_layer, struct error *e)
{
	*l = (struct lens){ .m = m, .any_layer = any_layer };
	l->in = tms_open(path, e);
	if (!l->in)
		return -1;
	l->logits = tms_header(l->in)->kind == TMS_LOGITS;
	if (l->logits)
		return 0;
	return any_layer ? check_header(l->in, m, e) : resid_check_header(l->in, m, e);
}

static int check_logits(const struct lens *l, const struct frame *f, struct error *e)
{
	if (!dtype_is_float(f->dtype) || f->name.p)
		return tms_error(l->in, e, "holds no rows of a floating-point type");
	if (f->n_dims != 1 || f->dim[0] != l->m->vocab)
		return tms_error(l->in, e, "its rows are %zu wide, and the model's vocabulary is %zu", frame_width(f),
		                 l->m->vocab);
	return 0;
}

static int check_rows(const struct lens *l, const struct frame *f, struct error *e)
{
	if (l->logits)
		return check_logits(l, f, e);
	enum site s = f->site.p ? site_find(f->site.p, f->site.len) : SITE_NONE;
	if (s != SITE_EMBED && s != SITE_RESID_PRE && s != SITE_RESID_MID && s != SITE_RESID_POST)
		return tms_error(l->in, e, "holds %s, which isn't the residual stream; choose resid_pre, resid_mid or resid_post "
		                 "with tcat --select", f->site.p ? f->site.p : "no site");
	if (!dtype_is_float(f->dtype) || f->name.p)
		return tms_error(l->in, e, "holds no rows of a floating-point type");
	if (f->n_dims != 1 || f->dim[0] != l->m->width)
		return tms_error(l->in, e, "its rows are %zu wide, and the model's are %zu", frame_width(f), l->m->width);
	if (f->pool.p && l->positions_for)
		return tms_error(l->in, e, "its rows are pooled (%s), and %s needs those of every position", f->pool.p,
		                 l->positions_for);
	return 0;
}

static int check_place(struct lens *l, const struct frame *f, struct error *e)
{
	if (!l->one_for)
		return 0;
	if (!l->site) {
		l->site = mem_slice(f->site.p, f->site.len);
		l->layer = f->layer;
	}
	if (f->layer != l->layer || !text_equal(f->site, text_of(l->site)))
		return tms_error(l->in, e, "is %s of layer %d after %s of layer %d, and %s keeps no layers apart; choose one with "
		                 "tcat --select", f->site.p, f->layer, l->site, l->layer, l->one_for);
	return 0;
}

static int check_tokens(const struct lens *l, const struct frame *f, struct error *e)
{
	for (size_t i = 0; i < f->n_samples; i++) {
		const struct sample *s = &f->samples[i];
		for (uint32_t k = 0; s->tokens && k < s->len; k++)
			if (s->tokens[k] >= l->m->vocab)
				return tms_error(l->in, e, "sample '%s' has token %u, and the model's vocabulary is %zu",
				                 s->id.p ? s->id.p : "", s->tokens[k], l->m->vocab);
	}
	return 0;
}

/* The next frame, checked as its kind of stream is. */
static int next(struct lens *l, struct frame **f, struct error *e)
{
	int layer = -1;
	if (l->any_layer || l->logits)
		return tms_next(l->in, f, e);
	int status = resid_next(l->in, l->m, &layer, f, e);
	if (status <= 0 || (size_t)layer == l->m->n_layers)
		return status;
	tms_error(l->in, e, "layer %d of %zu is still to run; run layer-run first, or read the stream as it is with --lens", layer,
	          l->m->n_layers);
	frame_free(*f);
	return -1;
}

int lens_next(struct lens *l, struct frame **f, struct error *e)
{
	int status = next(l, f, e);
	if (status <= 0)
		return status;
	if (check_rows(l, *f, e) == 0 && check_place(l, *f, e) == 0 && check_tokens(l, *f, e) == 0)
		return 1;
	frame_free(*f);
	return -1;
}

void lens_close(struct lens *l)
{
	tms_close(l->in);
	free(l->site);
	*l = (struct lens){ 0 };
}
