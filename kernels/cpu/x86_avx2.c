/* AVX2 with FMA and F16C: vectors of eight floats, sixteen registers. */
#define VL 8
#define TILE_VECTORS 2
#define PRODUCT_ROWS 4
#define PRODUCT_VECTORS 3
#define PRODUCT_UNROLL 8

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

/* In its place and from registers: of its own will gcc moves sums about until some are spilled, and loads a vector once for
 * every product of it, which is more than the two loads a cycle that there are. */
INLINE void v_add_product(vf *sum, vf a, vf b)
{
	__asm__ volatile("vfmadd231ps %2, %1, %0" : "+x"(*sum) : "x"(a), "x"(b));
}

#define PRODUCT_ROW(at, s0, s1, s2) \
	"vbroadcastss " at ", %[y]\n" \
	"vfmadd231ps %[x0], %[y], %[" s0 "]\n" \
	"vfmadd231ps %[x1], %[y], %[" s1 "]\n" \
	"vfmadd231ps %[x2], %[y], %[" s2 "]\n"
#define PRODUCT_ROWS_OF(i) \
	PRODUCT_ROW("4*" #i "(%[a])", "s0", "s1", "s2") \
	PRODUCT_ROW("4*" #i "+32(%[a])", "s3", "s4", "s5") \
	PRODUCT_ROW("4*" #i "+64(%[a])", "s6", "s7", "s8") \
	PRODUCT_ROW("4*" #i "+96(%[a])", "s9", "s10", "s11")
#define PRODUCT_INPUT(i) \
	"vmovups 96*" #i "(%[b]), %[x0]\n" \
	"vmovups 96*" #i "+32(%[b]), %[x1]\n" \
	"vmovups 96*" #i "+64(%[b]), %[x2]\n" \
	PRODUCT_ROWS_OF(i)
#define PRODUCT_WIDENED(i) \
	"vpmovzxwd 48*" #i "(%[half]), %[x0]\n" \
	"vpmovzxwd 48*" #i "+16(%[half]), %[x1]\n" \
	"vpmovzxwd 48*" #i "+32(%[half]), %[x2]\n" \
	"vpslld $16, %[x0], %[x0]\n" \
	"vpslld $16, %[x1], %[x1]\n" \
	"vpslld $16, %[x2], %[x2]\n" \
	"vmovups %[x0], 96*" #i "(%[b])\n" \
	"vmovups %[x1], 96*" #i "+32(%[b])\n" \
	"vmovups %[x2], 96*" #i "+64(%[b])\n" \
	PRODUCT_ROWS_OF(i)
#define PRODUCT_ZERO(s) "vxorps %[" s "], %[" s "], %[" s "]\n"
#define PRODUCT_BEGIN \
	PRODUCT_ZERO("s0") PRODUCT_ZERO("s1") PRODUCT_ZERO("s2") PRODUCT_ZERO("s3") PRODUCT_ZERO("s4") PRODUCT_ZERO("s5") \
	PRODUCT_ZERO("s6") PRODUCT_ZERO("s7") PRODUCT_ZERO("s8") PRODUCT_ZERO("s9") PRODUCT_ZERO("s10") PRODUCT_ZERO("s11") \
	".p2align 6\n" \
	"1:\n"
#define PRODUCT_END \
	"add $8*16, %[a]\n" \
	"add $8*96, %[b]\n" \
	"dec %[n]\n" \
	"jnz 1b\n"
#define PRODUCT_CHANGES \
	[s0] "=&x"(sum[0][0]), [s1] "=&x"(sum[0][1]), [s2] "=&x"(sum[0][2]), \
	[s3] "=&x"(sum[1][0]), [s4] "=&x"(sum[1][1]), [s5] "=&x"(sum[1][2]), \
	[s6] "=&x"(sum[2][0]), [s7] "=&x"(sum[2][1]), [s8] "=&x"(sum[2][2]), \
	[s9] "=&x"(sum[3][0]), [s10] "=&x"(sum[3][1]), [s11] "=&x"(sum[3][2]), \
	[x0] "=&x"(x0), [x1] "=&x"(x1), [x2] "=&x"(x2), [y] "=&x"(y), [a] "+&r"(a), [b] "+&r"(b), [n] "+&r"(n)

#define PRODUCT_TURN(input) input(0) input(1) input(2) input(3) input(4) input(5) input(6) input(7)

/*
 * Sums of four rows and a panel over n times PRODUCT_UNROLL inputs, n > 0.  Written out: 12 sums, 3 vectors and a factor
 * are all the registers, and of 20 instructions only 12 multiply, so each one more that a compiler adds is time lost.
 */
INLINE void product_loop(const float *a, const float *b, size_t n, vf sum[][4 * PRODUCT_VECTORS])
{
	vf x0, x1, x2, y;

	__asm__ volatile(PRODUCT_BEGIN PRODUCT_TURN(PRODUCT_INPUT) PRODUCT_END : PRODUCT_CHANGES : : "memory", "cc");
}
#define PRODUCT_LOOP product_loop

/* The same, where b is still to be written: the panel as bf16 is widened on the way, which costs no time of its own. */
INLINE void product_widen_loop(const float *a, const uint16_t *half, float *b, size_t n, vf sum[][4 * PRODUCT_VECTORS])
{
	vf x0, x1, x2, y;

	__asm__ volatile(PRODUCT_BEGIN PRODUCT_TURN(PRODUCT_WIDENED) "add $8*48, %[half]\n" PRODUCT_END
	                 : PRODUCT_CHANGES, [half] "+&r"(half) : : "memory", "cc");
}
#define PRODUCT_WIDEN_LOOP product_widen_loop

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
