#include "compare_sums.h"

#include <stdint.h>
#include <string.h>

#include "unit.h"

/* Sums beside each other: of equal bytes, and of two that differ, where there are five kinds of them. */
enum { SPAN = 16, LANES = 8 };

#if defined __clang__
#define UNROLLED _Pragma("clang loop unroll(full)")
#else
#define UNROLLED _Pragma("GCC unroll 8")
#endif

/* Numbers at any address. */
typedef uint16_t loose_u16 __attribute__((aligned(1), may_alias));
typedef uint32_t loose_u32 __attribute__((aligned(1), may_alias));
typedef uint64_t loose_u64 __attribute__((aligned(1), may_alias));
typedef float loose_f32 __attribute__((aligned(1), may_alias));

#define TARGET
#define NAME(x) generic_##x
#define WIDE 2
#define WIDEN(v) __builtin_convertvector(v, NAME(f64))
#define MULTIPLY_ADD(x, y, z) ((x) * (y) + (z))
#include "vec_compare.h"

#if defined __x86_64__

#include "x86_compare.h"

#define TARGET __attribute__((target("avx2,fma")))
#define NAME(x) avx2_##x
#define WIDE 4
#define WIDEN AVX2_WIDEN
#define MULTIPLY_ADD AVX2_MULTIPLY_ADD
#include "vec_compare.h"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))
#define NAME(x) avx512_##x
#define WIDE 8
#define WIDEN AVX512_WIDEN
#define MULTIPLY_ADD AVX512_MULTIPLY_ADD
#include "vec_compare.h"

const struct compare_loops *compare_loops(const struct unit *unit)
{
	return unit == &unit_avx512 ? &avx512_loops : unit == &unit_avx2 ? &avx2_loops : &generic_loops;
}

#else

const struct compare_loops *compare_loops(const struct unit *unit)
{
	(void)unit;
	return &generic_loops;
}

#endif
