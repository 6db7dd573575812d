/*
 * Element types of tensors, their spelling in streams, and conversions between them.
 * All values are little-endian in memory and on disk.
 */
#ifndef DTYPE_H
#define DTYPE_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

enum dtype {
	DTYPE_NONE,
	DTYPE_F32,
	DTYPE_F64,
	DTYPE_BF16,
	DTYPE_F16,
	DTYPE_F8E4M3,  /* e4m3fn: bias 7, no infinity, 0x7f and 0xff are NaN, largest 448 */
	DTYPE_I32,
	DTYPE_U32,
	DTYPE_U8,
	DTYPE_COUNT
};

/* Bytes of one element; 0 for DTYPE_NONE. */
size_t dtype_size(enum dtype type);

/* "f32", "bf16", ... as a stream's `dtype` and the options spell it; "none" for DTYPE_NONE. */
const char *dtype_name(enum dtype type);

/* The type of that name, or DTYPE_NONE. */
enum dtype dtype_parse(const char *name, size_t len);

/* A floating-point type: one that rows can be computed in or rounded to. */
int dtype_is_float(enum dtype type);

/*
 * dst[i] = src[i] for n elements.  Between floating-point types the conversion is exact where
 * it can be and else rounds to nearest, ties to even, as IEEE 754 does (overflow to infinity;
 * f8e4m3 saturates to NaN as the hardware without saturation does).  NaN stays NaN.
 * Integers convert by value: to the nearest, ties to even, clamped to the type's range, NaN to 0.
 * Elements may lie at any address.  Source and destination do not overlap, except that dst == src
 * is allowed when both types have the same size.
 */
void dtype_convert(void *dst, enum dtype to, const void *src, enum dtype from, size_t n);

/* Rounds n f32 or f64 values (`type`) in place to the nearest value of type `to`, and keeps them in `type`. */
void dtype_round(void *values, enum dtype type, enum dtype to, size_t n);

static inline float bf16_to_f32(uint16_t h)
{
	union { uint32_t u; float f; } v = { .u = (uint32_t)h << 16 };
	return v.f;
}

static inline uint16_t bf16_from_f32(float f)
{
	union { float f; uint32_t u; } v = { .f = f };
	if ((v.u & 0x7fffffff) > 0x7f800000)
		return (uint16_t)(v.u >> 16 | 0x40);
	return (uint16_t)((v.u + 0x7fff + (v.u >> 16 & 1)) >> 16);
}

#endif
