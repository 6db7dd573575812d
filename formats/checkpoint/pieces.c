#include "pieces.h"

#include "memory.h"

/* Columns that a piece is a multiple of where it can be: back ends pack them in blocks. */
enum { COLUMN_BLOCK = 64 };

/* Elements of the smallest cut that splits no column, nor a run of columns, of the part. */
static size_t part_unit(const struct part *part)
{
	const struct tensor_view *v = &part->view;
	if (v->k > 1 && v->k_stride != 1)
		return v->k_stride * v->k;
	if (v->group < v->n)
		return v->group_stride;
	return v->n_stride > v->k ? v->n_stride : v->k;
}

/* Bytes of the unit of the tensor that parts first..first+n-1 lie in. */
static size_t tensor_unit(const struct layout_parts *p, size_t first, size_t n)
{
	size_t unit = 1;
	for (size_t i = first; i < first + n; i++)
		if (part_unit(&p->part[i]) > unit)
			unit = part_unit(&p->part[i]);
	return unit * dtype_size(p->part[first].view.dtype);
}

/* How many parts from `first` on are in one tensor. */
static size_t same_tensor(const struct layout_parts *p, size_t first)
{
	size_t n = 1;
	while (first + n < p->n && p->tensor[first + n] == p->tensor[first])
		n++;
	return n;
}

size_t pieces_unit_max(const struct layout_parts *p)
{
	size_t max = 0;
	for (size_t i = 0, n; i < p->n; i += n) {
		n = same_tensor(p, i);
		size_t unit = tensor_unit(p, i, n);
		if (unit > max)
			max = unit;
	}
	return max;
}

struct piece *pieces_cut(const struct layout_parts *p, size_t max, size_t *n_pieces)
{
	struct piece *pieces = NULL;
	size_t capacity = 0, count = 0;
	for (size_t i = 0, n; i < p->n; i += n) {
		n = same_tensor(p, i);
		size_t unit = tensor_unit(p, i, n);
		size_t block = unit * COLUMN_BLOCK <= max ? unit * COLUMN_BLOCK : unit;
		size_t step = max / block ? max / block * block : block;
		for (uint64_t at = 0, len = p->tensor[i]->is->len; at < len; at += step) {
			void *grown = pieces;
			mem_grow(&grown, &capacity, count + 1, sizeof *pieces);
			pieces = grown;
			uint64_t rest = len - at;
			pieces[count++] =
				(struct piece){ p->tensor[i], at, rest < step ? rest : step, i, n };
		}
	}
	*n_pieces = count;
	return pieces;
}

/* The first element of a column. */
static size_t column_at(const struct tensor_view *v, size_t c)
{
	return v->first + c / v->group * v->group_stride + c % v->group * v->n_stride;
}

/* The first column that begins at element `at` or after it; n if none does. */
static size_t first_column(const struct tensor_view *v, size_t at)
{
	size_t lo = 0, hi = v->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (column_at(v, mid) < at)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool piece_part(const struct piece *piece, const struct part *part, const void *bytes,
                struct part *out)
{
	const struct tensor_view *v = &part->view;
	size_t size = dtype_size(v->dtype);
	size_t begin = (size_t)piece->at / size, end = (size_t)(piece->at + piece->len) / size;
	size_t from = 0, to = v->n;
	if (v->k > 1 && v->k_stride != 1) {
		/* Stored (k, n): all columns lie side by side in one unit. */
		if (v->first < begin || v->first >= end)
			return false;
	} else {
		from = first_column(v, begin);
		to = first_column(v, end);
	}
	if (from == to)
		return false;
	*out = *part;
	out->column += from;
	out->view.data = bytes;
	out->view.n = to - from;
	out->view.first = column_at(v, from) - begin;
	if (v->group == v->n)
		out->view.group = out->view.n;
	return true;
}
