/* The types of 16 bits that tensor units multiply, and rows of f32 on their way to them. */
#ifndef ATTEND_OPERAND_H
#define ATTEND_OPERAND_H

#include "lanes.h"
#include "quads.h"

struct bf16_operand {
	enum : uint32_t { EXPONENT = 0x7f80 };
	/* P is at most 2^SLACK 2^PEAK. */
	static constexpr float PEAK = 0;
	static DEVICE uint32_t pack(float low, float high)
	{
		return pack_bf16(low, high);
	}
	static DEVICE float value(uint32_t half)
	{
		return from_bf16(static_cast<uint16_t>(half));
	}
	static DEVICE void multiply(float c[4], const uint32_t a[4], const uint32_t b[2])
	{
		mma_bf16(c, a, b);
	}
};

/*
 * Scores are scaled behind the product, in f32; q and k are rounded as they are, and hold what models trained in f16 hold
 * anyway (beyond 65504 they become infinite).  P is lifted by 2^PEAK, which the sum of the row has too: f16 loses
 * precision below 2^-14, and many small probabilities make a large part of a long row.
 */
struct f16_operand {
	enum : uint32_t { EXPONENT = 0x7c00 };
	static constexpr float PEAK = 6;
	static DEVICE uint32_t pack(float low, float high)
	{
		return pack_f16(low, high);
	}
	static DEVICE float value(uint32_t half)
	{
		return from_f16(static_cast<uint16_t>(half));
	}
	static DEVICE void multiply(float c[4], const uint32_t a[4], const uint32_t b[2])
	{
		mma_f16(c, a, b);
	}
};

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
template <class T> DEVICE chunk chunk_of(const float *row, unsigned i, unsigned width, bool wide, float sign)
{
	const quad a = quad_take(row, i, width, wide), b = quad_take(row, i + 4, width, wide);
	return { { T::pack(a.x[0] * sign, a.x[1] * sign), T::pack(a.x[2] * sign, a.x[3] * sign),
		   T::pack(b.x[0] * sign, b.x[1] * sign), T::pack(b.x[2] * sign, b.x[3] * sign) } };
}

template <class T> DEVICE bool not_finite(uint32_t half)
{
	return (half & T::EXPONENT) == T::EXPONENT;
}

/* Zeros in place of what is not finite; true if there was any. */
template <class T> DEVICE bool clean(chunk *x)
{
	bool spoilt = false;
	UNROLL
	for (unsigned i = 0; i < 4; i++) {
		const bool low = not_finite<T>(x->w[i]), high = not_finite<T>(x->w[i] >> 16);
		x->w[i] &= (low ? 0 : 0xffffu) | (high ? 0 : 0xffff0000u);
		spoilt |= low || high;
	}
	return spoilt;
}

#endif
