#include "resid.h"

#include <string.h>

#include "site.h"

int resid_check_header(const struct tms_reader *r, const struct model *m, struct error *e)
{
	const struct tms_header *h = tms_header(r);
	if (h->kind == TMS_TOKENS)
		return error_set(e, "%s: is a stream of tokens; put embed -m MODEL before this program", tms_name(r));
	if (h->kind != TMS_RESID)
		return error_set(e, "%s: is a stream of %s, and a residual stream is due", tms_name(r), tms_kind_name(h->kind));
	if (h->fingerprint && strcmp(h->fingerprint, m->fingerprint) != 0)
		return error_set(e, "%s: comes from another model: %s (%s), and -m is %s (%s)", tms_name(r),
		                 h->model ? h->model : "unnamed", h->fingerprint, m->name, m->fingerprint);
	return 0;
}

struct tms_reader *resid_open(const char *path, const struct model *m, struct error *e)
{
	struct tms_reader *r = tms_open(path, e);
	if (!r || resid_check_header(r, m, e) == 0)
		return r;
	tms_close(r);
	return NULL;
}

static int check(struct tms_reader *r, const struct model *m, int *layer, const struct frame *f, struct error *e)
{
	enum site s = f->site.p ? site_find(f->site.p, f->site.len) : SITE_NONE;
	if (s != SITE_RESID_PRE || f->pool.p || !dtype_is_float(f->dtype))
		return tms_error(r, e, "isn't rows of resid_pre; a residual stream has nothing else");
	if (f->n_dims != 1 || f->dim[0] != m->width)
		return tms_error(r, e, "its rows are %zu wide, and the model's are %zu", frame_width(f), m->width);
	if (f->layer < 0 || (size_t)f->layer > m->n_layers)
		return tms_error(r, e, "names layer %d as the next, and the model has %zu", f->layer, m->n_layers);
	if (*layer >= 0 && f->layer != *layer)
		return tms_error(r, e, "names layer %d as the next, and the frames before it layer %d", f->layer, *layer);
	*layer = f->layer;
	return 0;
}

int resid_next(struct tms_reader *r, const struct model *m, int *layer, struct frame **f, struct error *e)
{
	int status = tms_next(r, f, e);
	if (status == 1 && check(r, m, layer, *f, e) < 0) {
		frame_free(*f);
		*f = NULL;
		return -1;
	}
	return status;
}

int resid_input_open(struct resid_input *r, const char *path, const struct model *m, struct error *e)
{
	*r = (struct resid_input){ .m = m, .layer = -1 };
	r->in = resid_open(path, m, e);
	if (!r->in)
		return -1;
	int more = resid_next(r->in, m, &r->layer, &r->first, e);
	if (more <= 0)
		r->first = NULL;
	return more < 0 ? -1 : 0;
}

/* 1, or 0: no variant of the last frame is left. */
static int next_variant(struct resid_input *r, struct frame **f)
{
	struct frame *all = r->copied;
	if (!all)
		return 0;
	*f = r->copy + 1 < r->n_variants ? frame_copy(all) : all;
	(*f)->variant = (int)r->copy++;
	if (*f == all)
		r->copied = NULL;
	return 1;
}

int resid_input_next(struct resid_input *r, struct frame **f, struct error *e)
{
	if (next_variant(r, f))
		return 1;
	int more = 1;
	*f = r->first;
	r->first = NULL;
	if (!*f)
		more = resid_next(r->in, r->m, &r->layer, f, e);
	if (more <= 0 || !r->n_variants || (*f)->variant >= 0)
		return more;
	r->copied = *f;
	r->copy = 0;
	return next_variant(r, f);
}

int resid_input_range(const struct resid_input *r, uint64_t from, uint64_t to, size_t *first, size_t *end, struct error *e)
{
	size_t n = r->m->n_layers;
	const char *name = tms_name(r->in);
	*first = r->layer >= 0 ? (size_t)r->layer : from == UINT64_MAX ? 0 : from;
	if (from != UINT64_MAX && from != *first)
		return error_set(e, "--from %llu: %s says that layer %zu is next", (unsigned long long)from, name, *first);
	*end = to == UINT64_MAX ? n : to;
	if (*end > n)
		return error_set(e, "--to %zu: the model has %zu layers", *end, n);
	if (*end < *first)
		return error_set(e, "--to %zu: %s says that layer %zu is next", *end, name, *first);
	return 0;
}

void resid_input_close(struct resid_input *r)
{
	frame_free(r->first);
	frame_free(r->copied);
	tms_close(r->in);
	*r = (struct resid_input){ 0 };
}

int resid_dtype(const char *option, const char *text, enum dtype otherwise, enum dtype *dtype, struct error *e)
{
	*dtype = text ? dtype_parse(text, strlen(text)) : otherwise;
	if (*dtype == DTYPE_F32 || *dtype == DTYPE_BF16 || *dtype == DTYPE_F16 || *dtype == DTYPE_F64)
		return 0;
	return error_set(e, "%s %s: isn't one of f32, bf16, f16, f64", option, text ? text : dtype_name(*dtype));
}

int one_input(char **files, int n_files, const char **path, struct error *e)
{
	if (n_files > 1)
		return error_set(e, "%s: one input is read; join streams with tcat", files[1]);
	*path = n_files ? files[0] : NULL;
	return 0;
}
