#include "directions.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checksum.h"
#include "gguf.h"
#include "io.h"
#include "memory.h"
#include "npy_read.h"
#include "safetensors.h"
#include "site.h"
#include "tms.h"

#define LAYER_LIMIT 1000000
#define CHUNK ((size_t)1 << 20)

struct loading {
	struct directions *v;
	const char *name;       /* asked for; NULL: direction, components_ or none */
	size_t capacity;
	char *others;           /* names of arrays that were passed over, with commas; NULL: none */
};

/* Whether an array is kept; its name is remembered for messages if not. */
static bool wanted(struct loading *l, const char *name)
{
	if (l->name ? name && strcmp(name, l->name) == 0
	            : !name || strcmp(name, "direction") == 0 || strcmp(name, "components_") == 0)
		return true;
	size_t len = name ? strlen(name) : 0;
	const char *known = l->others ? strstr(l->others, name ? name : "") : NULL;
	if (!len || len > 60 || (l->others && (known || strlen(l->others) > 300)))
		return false;
	char *all = l->others ? mem_format("%s, %s", l->others, name) : mem_string(name);
	free(l->others);
	l->others = all;
	return false;
}

static struct direction *append(struct loading *l, const char *name, const char *site, int layer)
{
	struct directions *v = l->v;
	mem_grow((void **)&v->direction, &l->capacity, v->n + 1, sizeof *v->direction);
	struct direction *one = &v->direction[v->n++];
	*one = (struct direction){ .name = mem_string(name), .site = mem_string(site), .layer = layer };
	return one;
}

/* -------- a stream */

static int add_frame(struct loading *l, struct tms_reader *r, struct frame *f, struct error *e)
{
	if (f->n_samples || !f->name.p || f->dtype == DTYPE_NONE || !f->rows || !wanted(l, f->name.p))
		return 0;
	if (!dtype_is_float(f->dtype))
		return tms_error(r, e, "'%s' is of type %s", f->name.p, dtype_name(f->dtype));
	struct direction *one = append(l, f->name.p, f->site.p, f->layer);
	memcpy(one->dim, f->dim, sizeof one->dim);
	one->n_dims = f->n_dims;
	one->dtype = f->dtype;
	one->values = f->rows;
	f->rows = NULL;
	return 0;
}

static int load_stream(struct loading *l, const char *path, struct error *e)
{
	struct tms_reader *r = tms_open(path, e);
	if (!r)
		return -1;
	const struct tms_header *h = tms_header(r);
	l->v->model = mem_string(h->model);
	l->v->fingerprint = mem_string(h->fingerprint);
	struct frame *f;
	int status;
	while ((status = tms_next(r, &f, e)) > 0) {
		status = add_frame(l, r, f, e);
		frame_free(f);
		if (status < 0)
			break;
	}
	if (status == 0)
		snprintf(l->v->identity, sizeof l->v->identity, "%016llx", (unsigned long long)tms_checksum(r));
	tms_close(r);
	return status;
}

/* -------- other files */

static int identify(struct directions *v, int fd, uint64_t size, struct error *e)
{
	struct checksum *c = checksum_open();
	void *buffer = mem_alloc(CHUNK);
	int status = 0;
	checksum_start(c);
	for (uint64_t at = 0; at < size && status == 0;) {
		size_t n = size - at < CHUNK ? (size_t)(size - at) : CHUNK;
		status = io_read_at(fd, buffer, n, at, v->path, e);
		if (status == 0)
			checksum_add(c, buffer, n);
		at += n;
	}
	snprintf(v->identity, sizeof v->identity, "%016llx", (unsigned long long)checksum_value(c));
	free(buffer);
	checksum_close(c);
	return status;
}

/* The shape and values of the vector appended last; leading dimensions of 1 above the most that a frame has are dropped. */
static int read_values(struct loading *l, int fd, enum dtype dtype, const uint64_t *dim, int n_dims, uint64_t offset,
                       uint64_t len, const char *what, struct error *e)
{
	struct direction *one = &l->v->direction[l->v->n - 1];
	for (; n_dims > FRAME_DIMS && dim[0] == 1; n_dims--)
		dim++;
	if (!dtype_is_float(dtype) || n_dims < 1 || n_dims > FRAME_DIMS)
		return error_set(e, "%s: %s has to hold floating-point numbers in 1 to 4 dimensions", l->v->path, what);
	if (len > FRAME_ROWS_LIMIT)
		return error_set(e, "%s: %s has %llu bytes, 1 GiB is the most", l->v->path, what, (unsigned long long)len);
	one->dtype = dtype;
	one->n_dims = n_dims;
	for (int i = 0; i < n_dims; i++)
		one->dim[i] = (size_t)dim[i];
	one->values = mem_try((size_t)len, l->v->path, e);
	return one->values ? io_read_at(fd, one->values, (size_t)len, offset, l->v->path, e) : -1;
}

static int load_npy(struct loading *l, int fd, uint64_t size, struct error *e)
{
	struct npy npy;
	if (l->name)
		return error_set(e, "%s: a .npy file's array has no name, so --name can't choose", l->v->path);
	if (npy_read(&npy, fd, size, l->v->path, e) < 0)
		return -1;
	if (npy.fortran && npy.n_dims > 1)
		return error_set(e, "%s: is in Fortran order; save numpy.ascontiguousarray of it", l->v->path);
	append(l, NULL, NULL, -1);
	return read_values(l, fd, npy.dtype, npy.dim, npy.n_dims, npy.offset, npy.len, "the array", e);
}

/* The layer that stands in digits at p, up to `end`; -1: none. */
static int layer_at(const char *p, const char *end)
{
	int layer = 0;
	if (p == end)
		return -1;
	for (; p < end; p++) {
		if (!isdigit((unsigned char)*p) || layer > LAYER_LIMIT)
			return -1;
		layer = 10 * layer + (*p - '0');
	}
	return layer;
}

static int load_gguf(struct loading *l, struct error *e)
{
	static const char prefix[] = "direction.";
	struct gguf *g = gguf_open(l->v->path, e);
	if (!g)
		return -1;
	int status = 0;
	if (g->architecture && strcmp(g->architecture, "controlvector") != 0)
		status = error_set(e, "%s: is a GGUF file of '%.60s', and a control vector is due", g->path, g->architecture);
	for (size_t i = 0; i < g->n_tensors && status == 0; i++) {
		const struct gguf_tensor *t = &g->tensor[i];
		int layer = -1;
		if (strncmp(t->name, prefix, sizeof prefix - 1) == 0)
			layer = layer_at(t->name + sizeof prefix - 1, t->name + strlen(t->name));
		if (layer < 0 || !wanted(l, "direction"))
			continue;
		uint64_t dim[GGUF_DIMS];
		for (int k = 0; k < t->n_dims; k++)
			dim[k] = t->dim[t->n_dims - 1 - k];
		append(l, "direction", "resid_post", layer);
		status = read_values(l, g->fd, t->dtype, dim, t->n_dims, t->offset, t->len, t->name, e);
	}
	gguf_close(g);
	return status;
}

/* SITE, SITE.LAYER, SITE.LAYER.NAME or blocks.LAYER.HOOK; any other name is a name alone. */
static void append_named(struct loading *l, const char *text)
{
	static const char blocks[] = "blocks.";
	const char *dot = strchrnul(text, '.'), *second = *dot ? strchrnul(dot + 1, '.') : dot;
	if (strncmp(text, blocks, sizeof blocks - 1) == 0 && *second) {
		enum site s = site_find(second + 1, strlen(second + 1));
		int layer = layer_at(dot + 1, second);
		if (s != SITE_NONE && layer >= 0) {
			append(l, NULL, site_name(s), layer);
			return;
		}
	}
	enum site s = site_find(text, (size_t)(dot - text));
	int layer = *dot ? layer_at(dot + 1, second) : -1;
	const char *name = layer < 0 ? dot : second;
	if (s == SITE_NONE)
		append(l, text, NULL, -1);
	else
		append(l, *name ? name + 1 : NULL, site_name(s), layer);
}

static int load_safetensors(struct loading *l, struct error *e)
{
	struct safetensors *s = safetensors_open(l->v->path, e);
	if (!s)
		return -1;
	int status = 0;
	for (size_t i = 0; i < s->n_tensors && status == 0; i++) {
		const struct safetensor *t = &s->tensor[i];
		append_named(l, t->name);
		struct direction *one = &l->v->direction[l->v->n - 1];
		if (wanted(l, one->name) || (!l->name && s->n_tensors == 1)) {
			status = read_values(l, s->fd, t->dtype, t->dim, t->n_dims, t->offset, t->len, t->name, e);
		} else {
			free(one->name);
			free(one->site);
			l->v->n--;
		}
	}
	safetensors_close(s);
	return status;
}

/* What a regular file begins with; "" for anything else, which is left unread. */
static int sniff(const char *path, int *fd, uint64_t *size, char start[10], struct error *e)
{
	struct stat st;
	memset(start, 0, 10);
	*fd = -1;
	if (strcmp(path, "-") == 0 || stat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	*fd = io_open_input(path, e);
	if (*fd < 0)
		return -1;
	*size = (uint64_t)st.st_size;
	return io_read_at(*fd, start, *size < 9 ? (size_t)*size : 9, 0, path, e);
}

static int load(struct loading *l, const char *path, struct error *e)
{
	char start[10];
	int fd;
	uint64_t size = 0;
	int status = sniff(path, &fd, &size, start, e);
	bool npy = memcmp(start, "\x93NUMPY", 6) == 0, gguf = memcmp(start, "GGUF", 4) == 0;
	/* The length of a header, below 2^32, and its brace. */
	bool safe = memcmp(start + 4, "\0\0\0\0{", 5) == 0;
	if (status == 0 && (npy || gguf || safe)) {
		status = identify(l->v, fd, size, e);
		if (status == 0)
			status = npy ? load_npy(l, fd, size, e) : gguf ? load_gguf(l, e) : load_safetensors(l, e);
	} else if (status == 0) {
		status = load_stream(l, path, e);
	}
	if (fd >= 0)
		close(fd);
	return status;
}

static void direction_release(struct direction *v)
{
	free(v->name);
	free(v->site);
	free(v->values);
}

/* Without a name asked for: components_ count only where there is no direction. */
static void drop_components(struct directions *v)
{
	bool any = false;
	for (size_t i = 0; i < v->n; i++)
		any = any || (v->direction[i].name && strcmp(v->direction[i].name, "direction") == 0);
	size_t kept = 0;
	for (size_t i = 0; i < v->n; i++) {
		struct direction one = v->direction[i];
		if (any && (!one.name || strcmp(one.name, "direction") != 0))
			direction_release(&one);
		else
			v->direction[kept++] = one;
	}
	v->n = kept;
}

struct directions *directions_open(const char *path, const char *name, struct error *e)
{
	struct directions *v = mem_zero(1, sizeof *v);
	v->path = mem_string(io_input_name(path));
	struct loading l = { .v = v, .name = name };
	int status = load(&l, path, e);
	if (status == 0 && !v->n && name)
		status = error_set(e, "%s: holds no array '%s'%s%s", v->path, name, l.others ? "; there are " : "",
		                   l.others ? l.others : "");
	else if (status == 0 && !v->n)
		status = error_set(e, "%s: holds neither a direction nor components_%s%s", v->path,
		                   l.others ? "; choose with --name among " : "; diffmean and pca make them",
		                   l.others ? l.others : "");
	if (status == 0 && !name)
		drop_components(v);
	free(l.others);
	if (status == 0)
		return v;
	directions_close(v);
	return NULL;
}

void directions_close(struct directions *v)
{
	if (!v)
		return;
	for (size_t i = 0; i < v->n; i++)
		direction_release(&v->direction[i]);
	free(v->direction);
	free(v->model);
	free(v->fingerprint);
	free(v->path);
	free(v);
}

/* -------- the one that fits */

struct spot {
	enum site site;
	struct text name;       /* of a site that isn't in the table */
	int layer;
};

static struct spot spot_of(struct text site, int layer)
{
	struct spot p = { site.p ? site_find(site.p, site.len) : SITE_NONE, site, layer };
	if (p.site == SITE_RESID_POST && layer >= 0) {
		p.site = SITE_RESID_PRE;
		p.layer++;
	}
	return p;
}

static bool same_spot(struct text site, int layer, const struct direction *v)
{
	struct spot a = spot_of(site, layer), b = spot_of(text_of(v->site), v->layer);
	return a.layer == b.layer && a.site == b.site && (a.site != SITE_NONE || text_equal(a.name, b.name));
}

/* "resid_post of layer 3" */
static char *spot_text(const char *site, int layer)
{
	return layer < 0 ? mem_string(site ? site : "no site") : mem_format("%s of layer %d", site ? site : "?", layer);
}

static int none_fits(const struct directions *v, struct text site, int layer, struct error *e)
{
	char *here = spot_text(site.p, layer), *list = mem_string("");
	for (size_t i = 0; i < v->n; i++) {
		char *one = strlen(list) > 500 ? mem_string("...") : spot_text(v->direction[i].site, v->direction[i].layer);
		char *all = mem_format("%s%s%s", list, i ? ", " : "", one);
		bool full = strlen(list) > 500;
		free(one);
		free(list);
		list = all;
		if (full)
			break;
	}
	error_set(e, "%s: has no vector for %s; it has %s", v->path, here, list);
	free(here);
	free(list);
	return -1;
}

const struct direction *directions_find(const struct directions *v, struct text site, int layer, bool *elsewhere, struct error *e)
{
	const struct direction *found = NULL;
	*elsewhere = false;
	for (size_t i = 0; i < v->n; i++) {
		if (!v->direction[i].site || !same_spot(site, layer, &v->direction[i]))
			continue;
		if (found) {
			char *here = spot_text(site.p, layer);
			error_set(e, "%s: has two vectors for %s", v->path, here);
			free(here);
			return NULL;
		}
		found = &v->direction[i];
	}
	if (!found && v->n == 1) {
		found = v->direction;
		*elsewhere = found->site != NULL;
	}
	if (!found && none_fits(v, site, layer, e) < 0)
		return NULL;
	return found;
}

/* -------- its values */

static size_t n_values(const struct direction *v)
{
	size_t n = 1;
	for (int i = 0; i < v->n_dims; i++)
		n *= v->dim[i];
	return n;
}

size_t direction_rows(const struct direction *v, size_t width)
{
	size_t n = n_values(v);
	if (n == width)
		return n > 0;
	return v->n_dims > 1 && v->dim[0] && n == v->dim[0] * width ? v->dim[0] : 0;
}

double *direction_values(const struct directions *of, const struct direction *v, size_t width, const bool *set, size_t *n,
                      struct error *e)
{
	size_t n_rows = direction_rows(v, width);
	*n = 0;
	if (!n_rows) {
		char shape[96] = "";
		for (int i = 0; i < v->n_dims; i++)
			snprintf(shape + strlen(shape), sizeof shape - strlen(shape), "%s%zu", i ? ", " : "", v->dim[i]);
		error_set(e, "%s: the vector's shape is [%s], and the stream's rows are %zu wide", of->path, shape, width);
		return NULL;
	}
	double *values = mem_try(n_rows * width * sizeof *values, of->path, e);
	for (size_t k = 0; k < n_rows && values; k++)
		if (!set || set[k])
			dtype_convert(values + (*n)++ * width, DTYPE_F64,
			              (const char *)v->values + k * width * dtype_size(v->dtype), v->dtype, width);
	return values;
}
