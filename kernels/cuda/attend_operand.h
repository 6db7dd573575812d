/* The types of 16 bits that tensor units multiply, and rows of f32 on their way to them. */
#ifndef ATTEND_OPERAND_H
#define ATTEND_OPERAND_H

#include "lanes.h"
#include "quads.h"

/* The type is a constant wherever these are called: no branch is left of it. */
DEVICE void multiply(float c[4], const uint32_t a[4], const uint32_t b[2], enum dtype dtype)
{
	if (dtype == DTYPE_BF16)
		mma_bf16(c, a, b);
	else
		mma_f16(c, a, b);
}

DEVICE bool not_finite(uint32_t half, enum dtype dtype)
{
	const uint32_t exponent = dtype == DTYPE_BF16 ? 0x7f80 : 0x7c00;
	return (half & exponent) == exponent;
}

/*
 * P is lifted by 2^PEAK, which the sum of the row has too: f16 loses precision below 2^-14, and many small probabilities make
 * a large part of a long row.  Scores are scaled behind the product, in f32; q and k are rounded as they are, and hold what
 * models trained in f16 hold anyway (beyond 65504 they become infinite).
 */
DEVICE float peak(enum dtype dtype)
{
	return dtype == DTYPE_BF16 ? 0 : 6;
}

/* Their errors, 2^-22 of the result, are nothing beside the operands' rounding. */
DEVICE float near_exp2(float x)
{
#if defined __CUDACC__
	float y;
	asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
	return y;
#else
	return exp2f(x);
#endif
}

DEVICE float near_inverse(float x)
{
#if defined __CUDACC__
	float y;
	asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
	return y;
#else
	return 1 / x;
#endif
}

struct alignas(16) chunk {
	uint32_t w[4];
};

/* Elements i..i+7 of a head's row, times `sign`. */
DEVICE chunk chunk_of(const float *row, unsigned i, unsigned width, bool wide, float sign, enum dtype dtype)
{
	chunk x;
	UNROLL
	for (unsigned j = 0; j < 2; j++) {
		const quad q = quad_take(row, i + 4 * j, width, wide);
		x.w[2 * j] = pack_half(q.x[0] * sign, q.x[1] * sign, dtype);
		x.w[2 * j + 1] = pack_half(q.x[2] * sign, q.x[3] * sign, dtype);
	}
	return x;
}

/* Zeros in place of what is not finite; true if there was any. */
DEVICE bool clean(chunk *x, enum dtype dtype)
{
	bool spoilt = false;
	UNROLL
	for (unsigned i = 0; i < 4; i++) {
		const bool low = not_finite(x->w[i], dtype), high = not_finite(x->w[i] >> 16, dtype);
		x->w[i] &= (low ? 0 : 0xffffu) | (high ? 0 : 0xffff0000u);
		spoilt |= low || high;
	}
	return spoilt;
}

#endif
