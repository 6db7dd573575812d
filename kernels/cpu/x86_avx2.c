/* AVX2 with FMA and F16C: vectors of eight floats, sixteen registers. */
#define VL 8
#define TILE_VECTORS 2

#include "unit.h"
#include "vec.h"

#include <immintrin.h>

INLINE vf v_set(float x)
{
	return (vf)_mm256_set1_ps(x);
}

INLINE vf v_fma(vf a, vf b, vf c)
{
	return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}

INLINE vf v_max(vf a, vf b)
{
	return (vf)_mm256_max_ps((__m256)a, (__m256)b);
}

INLINE vf v_rint(vf x)
{
	return (vf)_mm256_round_ps((__m256)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

INLINE __m256i first_lanes(size_t n)
{
	const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);

	return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane);
}

INLINE vf v_load_n(const float *p, size_t n)
{
	return (vf)_mm256_maskload_ps(p, first_lanes(n));
}

INLINE void v_store_n(float *p, vf v, size_t n)
{
	_mm256_maskstore_ps(p, first_lanes(n), (__m256)v);
}

INLINE vf v_from_f16(const uint16_t *p)
{
	return (vf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}

INLINE void transpose_4x4(float *to, size_t to_stride, const float *from, size_t from_stride)
{
	__m128 a = _mm_loadu_ps(from), b = _mm_loadu_ps(from + from_stride);
	__m128 c = _mm_loadu_ps(from + 2 * from_stride), d = _mm_loadu_ps(from + 3 * from_stride);

	_MM_TRANSPOSE4_PS(a, b, c, d);
	_mm_storeu_ps(to, a);
	_mm_storeu_ps(to + to_stride, b);
	_mm_storeu_ps(to + 2 * to_stride, c);
	_mm_storeu_ps(to + 3 * to_stride, d);
}

#define UNIT unit_avx2
#define UNIT_NAME "avx2"
#include "vec_unit.h"
