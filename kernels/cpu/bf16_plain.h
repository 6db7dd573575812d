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

/* a b + c in one rounding, of a flushed c. */
static inline float add_product(float c, uint16_t a, uint16_t b)
{
	const float x = from_bf16(a), y = from_bf16(b), sum = fmaf(x, y, c);

	/* Whether a sum is too small is asked after it is rounded to 24 bits, however small.  With the fewer bits that fmaf has
	   below 2^-126, one that becomes 2^-126 may have been too small; in double it is exact. */
	if (fabsf(sum) == 0x1p-126f && fabs((double)x * (double)y + (double)c) < 0x1p-126 - 0x1p-151)
		return copysignf(0, sum);
	return flushed(sum);
}

#endif
