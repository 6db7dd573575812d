/*
 * What vec_compare.h asks of a unit that has no word in plain C: WIDEN, as many floats as a vector has doubles, to double;
 * and MULTIPLY_ADD, x y + z where x y is exact in double, as of two floats: then one rounding is what two are.
 */
#ifndef X86_COMPARE_H
#define X86_COMPARE_H

#include <immintrin.h>

#define AVX2_WIDEN(v) _mm256_cvtps_pd((__m128)(v))
#define AVX2_MULTIPLY_ADD(x, y, z) _mm256_fmadd_pd((__m256d)(x), (__m256d)(y), (__m256d)(z))
#define AVX512_WIDEN(v) _mm512_cvtps_pd((__m256)(v))
#define AVX512_MULTIPLY_ADD(x, y, z) _mm512_fmadd_pd((__m512d)(x), (__m512d)(y), (__m512d)(z))

#endif
