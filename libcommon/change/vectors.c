#include "vectors.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "site.h"

struct place place_of(const struct frame *f)
{
	return (struct place){ f->site, f->layer, f->variant };
}

struct place place_copy(const struct place *p)
{
	struct place copy = *p;
	copy.site.p = p->site.p ? mem_slice(p->site.p, p->site.len) : NULL;
	return copy;
}

void place_release(struct place *p)
{
	free((char *)p->site.p);
	p->site = (struct text){ NULL, 0 };
}

static int compare_sites(struct text a, struct text b)
{
	int x = (int)(a.p ? site_find(a.p, a.len) : SITE_NONE), y = (int)(b.p ? site_find(b.p, b.len) : SITE_NONE);
	if (x != y)
		return x < y ? -1 : 1;
	size_t n = a.len < b.len ? a.len : b.len;
	int c = n ? memcmp(a.p, b.p, n) : 0;
	if (c)
		return c;
	return a.len != b.len ? (a.len < b.len ? -1 : 1) : !!a.p - !!b.p;
}

int place_compare(const struct place *a, const struct place *b)
{
	/* No layer (-1) is the largest number. */
	if (a->layer != b->layer)
		return (unsigned)a->layer < (unsigned)b->layer ? -1 : 1;
	int c = compare_sites(a->site, b->site);
	if (c)
		return c;
	return (a->variant > b->variant) - (a->variant < b->variant);
}

char *place_text(const struct place *p)
{
	char *layer = p->layer < 0 ? mem_string("") : mem_format(", layer %d", p->layer);
	char *variant = p->variant < 0 ? mem_string("") : mem_format(", variant %d", p->variant);
	char *text = mem_format("%s%s%s", p->site.p ? p->site.p : "rows without a site", layer, variant);
	free(layer);
	free(variant);
	return text;
}

static int put(struct tms_writer *w, const struct place *p, const char *name, enum dtype type, int n_dims, const size_t *dim,
               const void *values, struct error *e)
{
	struct frame f = {
		.site = p->site, .layer = p->layer, .variant = p->variant, .dtype = type, .n_dims = n_dims,
		.name = text_of(name), .rows = (void *)values,
	};
	for (int i = 0; i < n_dims; i++)
		f.dim[i] = dim[i];
	if (tms_write(w, &f, e) == 0)
		return 0;
	char *text = place_text(p);
	error_in(e, "%s of %s", name, text);
	free(text);
	return -1;
}

int vectors_put(struct tms_writer *w, const struct place *p, const char *name, int n_dims, const size_t *dim,
                const double *values, struct error *e)
{
	return put(w, p, name, DTYPE_F64, n_dims, dim, values, e);
}

int vectors_put_bytes(struct tms_writer *w, const struct place *p, const char *name, const void *bytes, size_t len,
                      struct error *e)
{
	return put(w, p, name, DTYPE_U8, 1, &len, bytes, e);
}

bool vectors_is(const struct frame *f, const char *name, enum dtype type, int n_dims)
{
	return !f->n_samples && text_equal(f->name, text_of(name)) && f->dtype == type && f->n_dims == n_dims;
}
