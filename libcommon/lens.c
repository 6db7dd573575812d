#include "lens.h"

#include <string.h>

#include "resid.h"
#include "site.h"

struct tms_reader *lens_open(const char *path, const struct model *m, bool any_layer, struct error *e)
{
	if (!any_layer)
		return resid_open(path, m, e);
	struct tms_reader *r = tms_open(path, e);
	if (!r)
		return NULL;
	const struct tms_header *h = tms_header(r);
	if (h->kind != TMS_RESID && h->kind != TMS_ACTS)
		error_set(e, "%s: is a stream of %s; a residual stream or activations of it are due", tms_name(r),
		          tms_kind_name(h->kind));
	else if (h->fingerprint && strcmp(h->fingerprint, m->fingerprint) != 0)
		error_set(e, "%s: comes from another model: %s (%s), and -m is %s (%s)", tms_name(r),
		          h->model ? h->model : "unnamed", h->fingerprint, m->name, m->fingerprint);
	else
		return r;
	tms_close(r);
	return NULL;
}

static int check(struct tms_reader *r, const struct model *m, const struct frame *f, struct error *e)
{
	enum site s = f->site.p ? site_find(f->site.p, f->site.len) : SITE_NONE;
	if (s != SITE_EMBED && s != SITE_RESID_PRE && s != SITE_RESID_MID && s != SITE_RESID_POST)
		return tms_error(r, e, "holds %s, which isn't the residual stream; choose resid_pre, resid_mid or resid_post with "
		                 "tcat --select", f->site.p ? f->site.p : "no site");
	if (!dtype_is_float(f->dtype) || f->name.p)
		return tms_error(r, e, "holds no rows of a floating-point type");
	if (f->n_dims != 1 || f->dim[0] != m->width)
		return tms_error(r, e, "its rows are %zu wide, and the model's are %zu", frame_width(f), m->width);
	return 0;
}

int lens_next(struct tms_reader *r, const struct model *m, bool any_layer, struct frame **f, struct error *e)
{
	int layer = -1, status = any_layer ? tms_next(r, f, e) : resid_next(r, m, &layer, f, e);
	if (status <= 0)
		return status;
	if (any_layer)
		status = check(r, m, *f, e);
	else if ((size_t)layer < m->n_layers)
		status = tms_error(r, e, "layer %d of %zu is still to run; run layer-run first, or read the stream as it is with --lens",
		                   layer, m->n_layers);
	else
		status = 0;
	if (status == 0)
		return 1;
	frame_free(*f);
	return -1;
}
