#include "view.h"

#include <string.h>

enum {
	COLUMN_BLOCK = 32,      /* columns read side by side, so that a cache line of a transposed tensor serves many */
	INPUT_BLOCK = 256
};

static size_t element_of(const struct tensor_view *v, size_t column)
{
	return v->first + column / v->group * v->group_stride + column % v->group * v->n_stride;
}

static void pick(void *dst, const char *src, size_t n, size_t stride_len, size_t element_len)
{
	switch (element_len) {
	case 2:
		for (size_t i = 0; i < n; i++)
			memcpy((uint16_t *)dst + i, src + i * stride_len, 2);
		return;
	case 4:
		for (size_t i = 0; i < n; i++)
			memcpy((uint32_t *)dst + i, src + i * stride_len, 4);
		return;
	default:
		for (size_t i = 0; i < n; i++)
			memcpy((char *)dst + i * element_len, src + i * stride_len, element_len);
	}
}

static void read_strided(char *dst, enum dtype to, const struct tensor_view *v, size_t column, size_t n)
{
	const size_t from_len = dtype_size(v->dtype), to_len = dtype_size(to);
	const char *data = v->data;
	double block[INPUT_BLOCK];      /* of any element type */

	for (size_t c0 = 0; c0 < n; c0 += COLUMN_BLOCK) {
		const size_t c1 = c0 + COLUMN_BLOCK < n ? c0 + COLUMN_BLOCK : n;

		for (size_t i = 0; i < v->k; i += INPUT_BLOCK) {
			const size_t len = v->k - i < INPUT_BLOCK ? v->k - i : INPUT_BLOCK;

			for (size_t c = c0; c < c1; c++) {
				const size_t at = element_of(v, column + c) + i * v->k_stride;

				pick(block, data + at * from_len, len, v->k_stride * from_len, from_len);
				dtype_convert(dst + (c * v->k + i) * to_len, to, block, v->dtype, len);
			}
		}
	}
}

void view_read(void *dst, enum dtype to, const struct tensor_view *v, size_t column, size_t n)
{
	const size_t from_len = dtype_size(v->dtype), to_len = dtype_size(to);

	if (v->k_stride != 1 && v->k != 1) {
		read_strided(dst, to, v, column, n);
		return;
	}
	for (size_t c = 0; c < n; c++)
		dtype_convert((char *)dst + c * v->k * to_len, to,
		              (const char *)v->data + element_of(v, column + c) * from_len, v->dtype, v->k);
}
