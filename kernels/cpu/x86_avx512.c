/* AVX-512 (F, BW, VL, DQ): vectors of sixteen floats, thirty-two registers. */
#define VL 16
#define TILE_VECTORS 4
/* A panel's inputs of a partial sum fit the first-level cache; addresses of 12 rows fill the registers without unrolling. */
#define PRODUCT_ROWS 12
#define PRODUCT_VECTORS 2
#define PRODUCT_UNROLL 1

#include "unit.h"
#include "vec.h"
#include "x86_lanes.h"

INLINE vf v_set(float x)
{
	return (vf)_mm512_set1_ps(x);
}

INLINE vf v_fma(vf a, vf b, vf c)
{
	return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}

/* In its place and from registers: of its own will gcc moves sums about until some are spilled, and loads a vector once for
 * every product of it, which is more than the two loads a cycle that there are. */
INLINE void v_add_product(vf *sum, vf a, vf b)
{
	__asm__ volatile("vfmadd231ps %2, %1, %0" : "+v"(*sum) : "v"(a), "v"(b));
}

INLINE vf v_max(vf a, vf b)
{
	return (vf)_mm512_max_ps((__m512)a, (__m512)b);
}

INLINE vf v_min(vf a, vf b)
{
	return (vf)_mm512_min_ps((__m512)a, (__m512)b);
}

INLINE vf v_rint(vf x)
{
	return (vf)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

INLINE __mmask16 first_lanes(size_t n)
{
	return (__mmask16)((1u << n) - 1);
}

INLINE vf v_load_n(const float *p, size_t n)
{
	return (vf)_mm512_maskz_loadu_ps(first_lanes(n), p);
}

INLINE void v_store_n(float *p, vf v, size_t n)
{
	_mm512_mask_storeu_ps(p, first_lanes(n), (__m512)v);
}

INLINE vf v_from_bf16(const uint16_t *p)
{
	return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16);
}

INLINE vf v_from_f16(const uint16_t *p)
{
	return (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

INLINE vh v_to_f16(vf x)
{
	return (vh)_mm512_cvtps_ph((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

INLINE float v_sum(vf x)
{
	return x86_sum(_mm256_add_ps(_mm512_castps512_ps256((__m512)x),
	                             _mm512_extractf32x8_ps((__m512)x, 1)));
}

INLINE float v_largest(vf x)
{
	return x86_largest(_mm256_max_ps(_mm512_castps512_ps256((__m512)x),
	                                 _mm512_extractf32x8_ps((__m512)x, 1)));
}

INLINE vf v_scale(vf x, vf n)
{
	return (vf)_mm512_scalef_ps((__m512)x, (__m512)n);
}

#define UNIT unit_avx512
#define UNIT_NAME "avx512"
#include "vec_unit.h"
