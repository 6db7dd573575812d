#include "view.h"

#include <string.h>

enum {
	/* Columns read side by side, so that a cache line of a transposed tensor serves many. */
	COLUMN_BLOCK = 32,
	INPUT_BLOCK = 256
};

struct target {
	char *p;
	enum dtype dtype;
	size_t k; /* elements of a column */
};

static size_t element_of(const struct tensor_view *v, size_t column, size_t input)
{
	return v->first + column / v->group * v->group_stride + column % v->group * v->n_stride +
	       input * v->k_stride;
}

static void *target_of(const struct target *t, size_t column, size_t input)
{
	return t->p + (column * t->k + input) * dtype_size(t->dtype);
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

static void read_strided(const struct target *t, const struct tensor_view *v, size_t column,
                         size_t n, size_t first)
{
	const size_t len = dtype_size(v->dtype);
	double block[INPUT_BLOCK]; /* of any element type */

	for (size_t i = 0; i < t->k; i += INPUT_BLOCK) {
		const size_t m = t->k - i < INPUT_BLOCK ? t->k - i : INPUT_BLOCK;

		for (size_t c = 0; c < n; c++) {
			const char *from =
				(const char *)v->data + element_of(v, column + c, first + i) * len;

			pick(block, from, m, v->k_stride * len, len);
			dtype_convert(target_of(t, c, i), t->dtype, block, v->dtype, m);
		}
	}
}

void view_read(void *dst, enum dtype to, const struct tensor_view *v, size_t column, size_t n,
               size_t first, size_t k)
{
	const struct target t = { dst, to, k };

	if (v->k_stride == 1 || k == 1) {
		for (size_t c = 0; c < n; c++) {
			const size_t at = element_of(v, column + c, first);

			dtype_convert(target_of(&t, c, 0), to,
			              (const char *)v->data + at * dtype_size(v->dtype), v->dtype,
			              k);
		}
		return;
	}
	for (size_t c = 0; c < n; c += COLUMN_BLOCK) {
		const struct target block = { target_of(&t, c, 0), to, k };

		read_strided(&block, v, column + c, n - c < COLUMN_BLOCK ? n - c : COLUMN_BLOCK,
		             first);
	}
}
