#include "tensor_match.h"

#include <math.h>
#include <string.h>

#include "io.h"

enum { CORNER = 64 };

static bool same_shape(const struct listed *a, const struct listed *b)
{
	if (a->flat || b->flat)
		return a->n == b->n;
	return a->n_dims == b->n_dims && memcmp(a->dim, b->dim, (size_t)a->n_dims * sizeof *a->dim) == 0;
}

bool tensor_match_turned(const struct tensor_pair *t)
{
	const struct listed *a = t->a, *b = t->b;
	return a->n_dims == 2 && b->n_dims == 2 && a->dim[0] == b->dim[1] && a->dim[1] == b->dim[0];
}

static void describe(struct diff_item *d, int side, const struct listed *t)
{
	d->there[side] = true;
	d->rank = t->rank;
	d->layer = t->layer;
	d->opaque |= t->opaque;
	strncpy(d->type[side], t->type, sizeof d->type[side] - 1);
	safetensors_shape(d->shape[side], sizeof d->shape[side], t->dim, t->n_dims);
}

static void describe_both(struct tensor_pair *t)
{
	struct diff_item *d = t->item;
	describe(d, 0, t->a);
	describe(d, 1, t->b);
	d->types_differ = d->opaque && strcmp(t->a->type, t->b->type) != 0;
	d->transposed = !same_shape(t->a, t->b) && tensor_match_turned(t) && !d->opaque;
	d->shapes_differ = !same_shape(t->a, t->b) && !d->transposed;
	t->comparable = !d->types_differ && t->a->n == t->b->n && !(d->shapes_differ && t->a->fortran != t->b->fortran);
}

static const struct listed *counterpart(const struct tensor_list *l, const struct listed *t, bool alone)
{
	return alone ? &l->tensor[0] : tensor_list_find(l, t);
}

size_t tensor_match(const struct tensor_list *a, const struct tensor_list *b, struct diff_list *to, struct tensor_pair *pair)
{
	bool alone = a->n == 1 && b->n == 1 && !a->files.n_files && !b->files.n_files;
	size_t n = 0;
	for (size_t i = 0; i < a->n; i++) {
		const struct listed *other = counterpart(b, &a->tensor[i], alone);
		struct diff_item *d = diff_add(to, a->tensor[i].name);
		pair[n] = (struct tensor_pair){ d, &a->tensor[i], other, false };
		if (other)
			describe_both(&pair[n++]);
		else
			describe(d, 0, &a->tensor[i]);
	}
	for (size_t i = 0; i < b->n; i++)
		if (!counterpart(a, &b->tensor[i], alone))
			describe(diff_add(to, b->tensor[i].name), 1, &b->tensor[i]);
	return n;
}

static size_t least(uint64_t a, size_t b)
{
	return a < b ? (size_t)a : b;
}

/* The first n_columns of each of the first n_rows as they lie in the file. */
static int read_corner(const struct listed *t, double to[CORNER][CORNER], size_t n_rows, size_t n_columns, struct error *e)
{
	char raw[CORNER * 8];
	size_t size = dtype_size(t->dtype);
	uint64_t pitch = t->dim[t->fortran ? 0 : 1];
	for (size_t r = 0; r < n_rows; r++) {
		if (io_read_at(t->fd, raw, n_columns * size, t->offset + r * pitch * size, t->path, e) < 0)
			return -1;
		dtype_convert(to[r], DTYPE_F64, raw, t->dtype, n_columns);
	}
	return 0;
}

int tensor_match_corner(const struct tensor_pair *t, struct error *e)
{
	double a[CORNER][CORNER], b[CORNER][CORNER], aa = 0, bb = 0, ab = 0;
	size_t n_rows = least(t->a->dim[t->a->fortran ? 1 : 0], CORNER), n_columns = least(t->a->dim[t->a->fortran ? 0 : 1], CORNER);
	/* Two that lie in different orders in their files are each other's transpose if their bytes agree as they are. */
	bool turned = t->a->fortran == t->b->fortran;
	if (read_corner(t->a, a, n_rows, n_columns, e) < 0 ||
	    read_corner(t->b, b, turned ? n_columns : n_rows, turned ? n_rows : n_columns, e) < 0)
		return -1;
	for (size_t r = 0; r < n_rows; r++)
		for (size_t k = 0; k < n_columns; k++) {
			double y = turned ? b[k][r] : b[r][k];
			aa += a[r][k] * a[r][k];
			bb += y * y;
			ab += a[r][k] * y;
		}
	double cosine = ab / (sqrt(aa) * sqrt(bb));
	return isnan(cosine) || cosine >= 0.5;
}
