#include "embed.h"

#include <string.h>

/* Rows are the table's, with nothing multiplied or added. */
static bool unchanged(const struct embed *x)
{
	return !x->positions && x->m->embed_multiplier == 1;
}

enum dtype embed_dtype(const struct embed *x)
{
	return unchanged(x) ? x->table_dtype : DTYPE_F32;
}

static const void *table_row(const void *table, enum dtype dtype, size_t row, size_t width)
{
	return (const char *)table + row * width * dtype_size(dtype);
}

void embed_rows(const struct embed *x, const uint32_t *ids, uint32_t first, size_t n, void *rows, enum dtype dtype)
{
	size_t width = x->m->width;
	char *to = rows;
	bool copy = dtype == x->table_dtype && unchanged(x);
	for (size_t i = 0; i < n; i++, to += width * dtype_size(dtype)) {
		const void *from = table_row(x->table, x->table_dtype, ids[i], width);
		if (copy) {
			memcpy(to, from, width * dtype_size(dtype));
			continue;
		}
		dtype_convert(x->row, DTYPE_F64, from, x->table_dtype, width);
		for (size_t j = 0; j < width; j++)
			x->row[j] *= x->m->embed_multiplier;
		if (x->positions) {
			double *place = x->row + width;
			dtype_convert(place, DTYPE_F64, table_row(x->positions, x->positions_dtype, first + i, width),
			              x->positions_dtype, width);
			for (size_t j = 0; j < width; j++)
				x->row[j] += place[j];
		}
		dtype_convert(to, dtype, x->row, DTYPE_F64, width);
	}
}
