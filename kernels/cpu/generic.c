/* Vectors of four floats as the compiler has them everywhere. */
#define VL 4
#define TILE_VECTORS 2
#define PRODUCT_ROWS 6
#define PRODUCT_VECTORS 2
#define PRODUCT_UNROLL 4

#include "unit.h"
#include "vec.h"

INLINE vf v_set(float x)
{
	return (vf){ x, x, x, x };
}

INLINE vf v_fma(vf a, vf b, vf c)
{
	return a * b + c;
}

INLINE void v_add_product(vf *sum, vf a, vf b)
{
	*sum = v_fma(a, b, *sum);
}

INLINE vf v_max(vf a, vf b)
{
	const vi above = a > b;

	return (vf)((above & (vi)a) | (~above & (vi)b));
}

INLINE vf v_min(vf a, vf b)
{
	const vi below = a < b;

	return (vf)((below & (vi)a) | (~below & (vi)b));
}

/* Numbers below 2^22: adding 1.5 2^23 leaves no bits for a fraction. */
INLINE vf v_rint(vf x)
{
	return x + 0x1.8p23f - 0x1.8p23f;
}

INLINE vf v_load_n(const float *p, size_t n)
{
	vf v = { 0 };

	memcpy(&v, p, n * sizeof *p);
	return v;
}

INLINE void v_store_n(float *p, vf v, size_t n)
{
	memcpy(p, &v, n * sizeof *p);
}

INLINE float v_sum(vf x)
{
	return (x[0] + x[2]) + (x[1] + x[3]);
}

INLINE float v_largest(vf x)
{
	const float a = x[0] > x[2] ? x[0] : x[2], b = x[1] > x[3] ? x[1] : x[3];

	return a > b ? a : b;
}

/* In two steps, so that results below 2^-126 have a way.  An int of NaN would be any number. */
INLINE vf v_scale(vf x, vf n)
{
	const vi number = n == n, whole = __builtin_convertvector((vf)((vi)n & number), vi),
		 half = whole >> 1;

	return x * (vf)((half + 127) << 23) * (vf)((whole - half + 127) << 23);
}

INLINE vf v_from_bf16(const uint16_t *p)
{
	vh h;

	memcpy(&h, p, sizeof h);
	return (vf)(__builtin_convertvector(h, vi) << 16);
}

/* dtype_convert takes many of them at a time. */
#define NO_F16

INLINE void transpose_4x4(float *to, size_t to_stride, const float *from, size_t from_stride)
{
	for (size_t i = 0; i < 4; i++)
		for (size_t j = 0; j < 4; j++)
			to[j * to_stride + i] = from[i * from_stride + j];
}

#define UNIT unit_generic
#define UNIT_NAME "generic"
#include "vec_unit.h"
