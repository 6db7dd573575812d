/*
 * What processors' products of bf16 have in common, in plain C: Intel's manual, "FP32 FMA with DAZ in, FTZ out and RNE
 * rounding".  Numbers too small to be normal count as zero, and become it.
 */
#ifndef BF16_PLAIN_H
#define BF16_PLAIN_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float flushed(float x)
{
	return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x;
}

static inline float from_bf16(uint16_t h)
{
	const uint32_t bits = (uint32_t)h << 16;
	float x;

	memcpy(&x, &bits, sizeof x);
	return flushed(x);
}

/*
 * a b + c in one rounding, of a flushed c.  In double the product is exact, and the sum too or so near that rounding it again
 * is wrong only from halfway between two floats.  Whether a sum is too small is asked after it is rounded to 24 bits, however
 * small: there it is exact.
 */
static inline float add_product(float c, uint16_t a, uint16_t b)
{
	const float x = from_bf16(a), y = from_bf16(b);
	const double sum = (double)x * (double)y + (double)c;
	uint64_t bits;

	if (fabs(sum) < 0x1p-126 - 0x1p-151)
		return copysignf(0, (float)sum);
	memcpy(&bits, &sum, sizeof bits);
	return (bits & 0x1fffffff) == 0x10000000 ? fmaf(x, y, c) : (float)sum;
}

#endif
