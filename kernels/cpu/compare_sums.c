#include "compare_sums.h"

#include <stdint.h>
#include <string.h>

/* As wide as the widest unit; compilers split it for the others, so that every unit adds in the same order. */
enum { LANES = 8 };
typedef double vec_f64 __attribute__((vector_size(8 * LANES)));
typedef float vec_f32 __attribute__((vector_size(4 * LANES)));
typedef int64_t vec_i64 __attribute__((vector_size(8 * LANES)));
typedef int32_t vec_i32 __attribute__((vector_size(4 * LANES)));
typedef uint32_t vec_u32 __attribute__((vector_size(4 * LANES)));
typedef uint16_t vec_u16 __attribute__((vector_size(2 * LANES)));

#define TARGET
#define NAME(x) generic_##x
#include "vec_compare.h"

#if defined __x86_64__

/* No fma among the features: a sum rounds the same everywhere. */
#define TARGET __attribute__((target("avx2")))
#define NAME(x) avx2_##x
#include "vec_compare.h"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))
#define NAME(x) avx512_##x
#include "vec_compare.h"

const struct compare_loops *compare_loops(void)
{
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	    __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
		return &avx512_loops;
	return __builtin_cpu_supports("avx2") ? &avx2_loops : &generic_loops;
}

#else

const struct compare_loops *compare_loops(void)
{
	return &generic_loops;
}

#endif
