/* Sums and maxima over lanes by halves, and transposition of four by four, for both x86 units. */
#ifndef X86_LANES_H
#define X86_LANES_H

#include <stddef.h>

#if defined __AVX__ /* of the files that include it; by itself it has to compile everywhere */

#include <immintrin.h>

static inline float x86_sum(__m256 x)
{
	__m128 v = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));

	v = _mm_add_ps(v, _mm_movehl_ps(v, v));
	return _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)));
}

static inline float x86_largest(__m256 x)
{
	__m128 v = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));

	v = _mm_max_ps(v, _mm_movehl_ps(v, v));
	return _mm_cvtss_f32(_mm_max_ss(v, _mm_movehdup_ps(v)));
}

static inline void transpose_4x4(float *to, size_t to_stride, const float *from, size_t from_stride)
{
	__m128 a = _mm_loadu_ps(from), b = _mm_loadu_ps(from + from_stride);
	__m128 c = _mm_loadu_ps(from + 2 * from_stride), d = _mm_loadu_ps(from + 3 * from_stride);

	_MM_TRANSPOSE4_PS(a, b, c, d);
	_mm_storeu_ps(to, a);
	_mm_storeu_ps(to + to_stride, b);
	_mm_storeu_ps(to + 2 * to_stride, c);
	_mm_storeu_ps(to + 3 * to_stride, d);
}

#endif
#endif
