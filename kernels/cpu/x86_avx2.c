/* AVX2 with FMA and F16C: vectors of eight floats, sixteen registers. */
#define VL 8
#define TILE_VECTORS 2
#define PRODUCT_ROWS 4
#define PRODUCT_VECTORS 3

#include "unit.h"
#include "vec.h"
#include "x86_lanes.h"

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

INLINE vf v_min(vf a, vf b)
{
	return (vf)_mm256_min_ps((__m256)a, (__m256)b);
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

INLINE vf v_from_bf16(const uint16_t *p)
{
	return (vf)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)), 16);
}

INLINE vf v_from_f16(const uint16_t *p)
{
	return (vf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}

INLINE vh v_to_f16(vf x)
{
	return (vh)_mm256_cvtps_ph((__m256)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

INLINE float v_sum(vf x)
{
	return x86_sum((__m256)x);
}

INLINE float v_largest(vf x)
{
	return x86_largest((__m256)x);
}

/* In two steps, so that results below 2^-126 have a way. */
INLINE vf v_scale(vf x, vf n)
{
	const __m256i whole = _mm256_cvtps_epi32((__m256)n), half = _mm256_srai_epi32(whole, 1),
		      bias = _mm256_set1_epi32(127);
	const __m256i a = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
	const __m256i b =
		_mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(whole, half), bias), 23);

	return x * (vf)a * (vf)b;
}

#define UNIT unit_avx2
#define UNIT_NAME "avx2"
#include "vec_unit.h"
