#include "dtype.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

static const struct {
	const char *name;
	size_t size;
} types[DTYPE_COUNT] = {
	[DTYPE_NONE] = { "none", 0 },
	[DTYPE_F32] = { "f32", 4 },
	[DTYPE_F64] = { "f64", 8 },
	[DTYPE_BF16] = { "bf16", 2 },
	[DTYPE_F16] = { "f16", 2 },
	[DTYPE_F8E4M3] = { "f8e4m3", 1 },
	[DTYPE_I32] = { "i32", 4 },
	[DTYPE_U32] = { "u32", 4 },
	[DTYPE_U8] = { "u8", 1 },
};

size_t dtype_size(enum dtype type)
{
	return types[type].size;
}

const char *dtype_name(enum dtype type)
{
	return types[type].name;
}

enum dtype dtype_parse(const char *name, size_t len)
{
	for (int i = DTYPE_NONE + 1; i < DTYPE_COUNT; i++)
		if (strlen(types[i].name) == len && !memcmp(types[i].name, name, len))
			return (enum dtype)i;
	return DTYPE_NONE;
}

int dtype_is_float(enum dtype type)
{
	return type >= DTYPE_F32 && type <= DTYPE_F8E4M3;
}

/* Elements may lie at any address; these compile to plain loads and stores, and vectorise. */
#define LOAD(type, p, i) ({ type v_; memcpy(&v_, (const char *)(p) + (i) * sizeof v_, sizeof v_); v_; })
#define STORE(type, p, i, x) \
	do { type to_ = (x); memcpy((char *)(p) + (i) * sizeof to_, &to_, sizeof to_); } while (0)

static inline uint32_t bits_of(float f)
{
	union { float f; uint32_t u; } v = { .f = f };
	return v.u;
}

static inline float float_of(uint32_t u)
{
	union { uint32_t u; float f; } v = { .u = u };
	return v.f;
}

/* Written without branches so that loops over it vectorise. */
static inline float f16_to_f32(uint16_t h)
{
	uint32_t u = (uint32_t)(h & 0x7fff) << 13;
	uint32_t normal = u + (112u << 23);
	uint32_t special = u + (224u << 23);
	/* A subnormal is its mantissa over 2^24: given the exponent of 2^-14, that power is one too much. */
	uint32_t subnormal = bits_of(float_of(u + (113u << 23)) - float_of(113u << 23));
	uint32_t r = u < 1u << 23 ? subnormal : u >= 31u << 23 ? special : normal;
	return float_of(r | (uint32_t)(h & 0x8000) << 16);
}

static inline uint16_t f16_from_f32(float f)
{
	uint32_t u = bits_of(f) & 0x7fffffff;
	uint32_t sign = bits_of(f) >> 16 & 0x8000;
	uint32_t normal = (u - (112u << 23) + 0xfff + (u >> 13 & 1)) >> 13;
	/* Adding 0.5 lets the addition itself round at f16's smallest step, 2^-24. */
	uint32_t subnormal = bits_of(float_of(u) + 0.5f) - bits_of(0.5f);
	uint32_t nan = 0x7e00 | (u >> 13 & 0x3ff);
	uint32_t r = u < 113u << 23 ? subnormal : u > 0x7f800000 ? nan : u >= 143u << 23 ? 0x7c00 : normal;
	return (uint16_t)(r | sign);
}

static inline float f8e4m3_to_f32(uint8_t b)
{
	uint32_t u = b & 0x7f;
	float normal = float_of((u << 20) + (120u << 23));
	float subnormal = (float)u * 0x1p-9f;
	float r = u == 0x7f ? float_of(0x7fc00000) : u < 8 ? subnormal : normal;
	return float_of(bits_of(r) | (uint32_t)(b & 0x80) << 24);
}

/* A format of fewer bits than f64: mantissa bits, exponent of the smallest normal number, largest finite
 * magnitude and what stands above it. */
struct narrow {
	int mantissa, exponent_min;
	uint32_t max, overflow, nan, sign;
};
static const struct narrow to_f8e4m3 = { 3, -6, 0x7e, 0x7f, 0x7f, 0x80 };

/* From f64 in one rounding: by way of f32, rounded as usual, there would be two. */
static uint32_t narrow(const struct narrow *t, double x)
{
	union { double d; uint64_t u; } v = { .d = x };
	uint64_t u = v.u & 0x7fffffffffffffff;
	uint32_t sign = v.u >> 63 ? t->sign : 0;
	if (u > 0x7ff0000000000000)
		return sign | t->nan | (uint32_t)((u & 0xfffffffffffff) >> (52 - t->mantissa));
	int exponent = (int)(u >> 52) - 1023;
	int above = exponent > t->exponent_min ? exponent - t->exponent_min : 0;
	int drop = 52 - t->mantissa + (exponent < t->exponent_min ? t->exponent_min - exponent : 0);
	if (drop > 54)
		return sign;
	uint64_t significand = (u & 0xfffffffffffff) | (uint64_t)1 << 52;
	uint64_t q = significand >> drop;
	uint64_t rest = significand - (q << drop), half = (uint64_t)1 << (drop - 1);
	q += rest > half || (rest == half && (q & 1));
	/* The implicit bit in q carries into the exponent field, as a rounding up does. */
	uint64_t r = ((uint64_t)above << t->mantissa) + q;
	return sign | (r > t->max ? t->overflow : (uint32_t)r);
}

/*
 * To f32, inexact values to the neighbour whose last bit is 1: what is narrower by two bits or more is then rounded as if it
 * came from f64.  Without branches, as above.
 */
static inline float odd_f32(double x)
{
	float f = (float)x;
	double back = f;
	uint32_t u = bits_of(f);
	u -= fabs(back) > fabs(x);
	u |= back < x || back > x;
	return float_of(u);
}

/* Saturates; NaN becomes 0. */
static double to_integer(double x, double min, double max)
{
	return x != x ? 0 : x < min ? min : x > max ? max : nearbyint(x);
}

/* Types whose every value f32 holds. */
static int fits_f32(enum dtype type)
{
	return type == DTYPE_F32 || type == DTYPE_BF16 || type == DTYPE_F16 || type == DTYPE_F8E4M3;
}

static void widen_f32(float *restrict to, const void *restrict from, enum dtype type, size_t n)
{
	switch (type) {
	case DTYPE_BF16:
		for (size_t i = 0; i < n; i++)
			STORE(float, to, i, bf16_to_f32(LOAD(uint16_t, from, i)));
		break;
	case DTYPE_F16:
		for (size_t i = 0; i < n; i++)
			STORE(float, to, i, f16_to_f32(LOAD(uint16_t, from, i)));
		break;
	case DTYPE_F8E4M3:
		for (size_t i = 0; i < n; i++)
			STORE(float, to, i, f8e4m3_to_f32(LOAD(uint8_t, from, i)));
		break;
	default:
		memcpy(to, from, n * sizeof *to);
	}
}

static void narrow_f32(void *restrict to, const float *restrict from, enum dtype type, size_t n)
{
	switch (type) {
	case DTYPE_BF16:
		for (size_t i = 0; i < n; i++)
			STORE(uint16_t, to, i, bf16_from_f32(LOAD(float, from, i)));
		break;
	case DTYPE_F16:
		for (size_t i = 0; i < n; i++)
			STORE(uint16_t, to, i, f16_from_f32(LOAD(float, from, i)));
		break;
	case DTYPE_F8E4M3:
		for (size_t i = 0; i < n; i++)
			STORE(uint8_t, to, i, (uint8_t)narrow(&to_f8e4m3, LOAD(float, from, i)));
		break;
	default:
		memcpy(to, from, n * sizeof *from);
	}
}

enum { BLOCK = 256 };

static void widen_f64(double to[restrict BLOCK], const void *restrict from, enum dtype type, size_t n)
{
	float f[BLOCK];
	switch (type) {
	case DTYPE_F32:
		for (size_t i = 0; i < n; i++)
			to[i] = LOAD(float, from, i);
		break;
	case DTYPE_F64:
		memcpy(to, from, n * sizeof *to);
		break;
	case DTYPE_I32:
		for (size_t i = 0; i < n; i++)
			to[i] = LOAD(int32_t, from, i);
		break;
	case DTYPE_U32:
		for (size_t i = 0; i < n; i++)
			to[i] = LOAD(uint32_t, from, i);
		break;
	case DTYPE_U8:
		for (size_t i = 0; i < n; i++)
			to[i] = LOAD(uint8_t, from, i);
		break;
	default:
		widen_f32(f, from, type, n);
		for (size_t i = 0; i < n; i++)
			to[i] = f[i];
	}
}

static void narrow_f64(void *restrict to, const double from[restrict BLOCK], enum dtype type, size_t n)
{
	switch (type) {
	case DTYPE_F64:
		memcpy(to, from, n * sizeof *from);
		break;
	case DTYPE_F32:
		for (size_t i = 0; i < n; i++)
			STORE(float, to, i, (float)from[i]);
		break;
	case DTYPE_BF16:
		for (size_t i = 0; i < n; i++)
			STORE(uint16_t, to, i, bf16_from_f32(odd_f32(from[i])));
		break;
	case DTYPE_F16:
		for (size_t i = 0; i < n; i++)
			STORE(uint16_t, to, i, f16_from_f32(odd_f32(from[i])));
		break;
	case DTYPE_F8E4M3:
		for (size_t i = 0; i < n; i++)
			STORE(uint8_t, to, i, (uint8_t)narrow(&to_f8e4m3, from[i]));
		break;
	case DTYPE_I32:
		for (size_t i = 0; i < n; i++)
			STORE(int32_t, to, i, (int32_t)to_integer(from[i], INT32_MIN, INT32_MAX));
		break;
	case DTYPE_U32:
		for (size_t i = 0; i < n; i++)
			STORE(uint32_t, to, i, (uint32_t)to_integer(from[i], 0, UINT32_MAX));
		break;
	case DTYPE_U8:
		for (size_t i = 0; i < n; i++)
			STORE(uint8_t, to, i, (uint8_t)to_integer(from[i], 0, UINT8_MAX));
		break;
	default:
		break;
	}
}

void dtype_convert(void *dst, enum dtype to, const void *src, enum dtype from, size_t n)
{
	if (to == from) {
		if (dst != src && n)
			memcpy(dst, src, n * dtype_size(to));
		return;
	}
	bool narrow_enough = fits_f32(to) && fits_f32(from);
	if (narrow_enough && to == DTYPE_F32) {
		widen_f32(dst, src, from, n);
		return;
	}
	if (narrow_enough && from == DTYPE_F32) {
		narrow_f32(dst, src, to, n);
		return;
	}
	for (size_t i = 0, k; i < n; i += k) {
		k = n - i < BLOCK ? n - i : BLOCK;
		void *d = (char *)dst + i * dtype_size(to);
		const char *s = (const char *)src + i * dtype_size(from);
		if (narrow_enough) {
			float f[BLOCK];
			widen_f32(f, s, from, k);
			narrow_f32(d, f, to, k);
		} else if (to == DTYPE_F64 && (uintptr_t)d % _Alignof(double) == 0) {
			widen_f64(d, s, from, k);
		} else {
			double f[BLOCK];
			widen_f64(f, s, from, k);
			narrow_f64(d, f, to, k);
		}
	}
}

void dtype_round(void *values, enum dtype type, enum dtype to, size_t n)
{
	if (to == type || to == DTYPE_F64)
		return;
	if (type == DTYPE_F32 && to == DTYPE_BF16) {
		for (size_t i = 0; i < n; i++)
			STORE(float, values, i, bf16_to_f32(bf16_from_f32(LOAD(float, values, i))));
		return;
	}
	for (size_t i = 0, k; i < n; i += k) {
		k = n - i < BLOCK ? n - i : BLOCK;
		char rounded[BLOCK * sizeof(double)];
		char *p = (char *)values + i * dtype_size(type);
		dtype_convert(rounded, to, p, type, k);
		dtype_convert(p, type, rounded, to, k);
	}
}
