/*
 * Vectors of VL floats.  The file that includes this has defined VL, the number of floats of a
 * vector, and defines the primitives that plain C has no word for:
 *
 *   v_set(x)  v_fma(a, b, c)  v_add_product(sum, a, b): *sum = v_fma(a, b, *sum), for loops that keep many sums
 *   v_max(a, b), v_min(a, b): b where one is NaN
 *   v_rint(x): nearest, ties to even  v_scale(x, n): x 2^n for whole n from -151 to 129
 *   v_sum(x), v_largest(x): over the lanes, by halves
 *   v_load_n(p, n), v_store_n(p, v, n): the first n < VL lanes; the others are read as zero and not
 * written v_from_f16(p), v_from_bf16(p): VL of them   v_to_f16(v): as vh   transpose_4x4(to, to_stride, from, from_stride)
 *
 * or, for v_from_f16 and v_to_f16, NO_F16: they would be slower than dtype_convert's loop over a row, or a panel of weights.
 *
 * A loop over a row takes its tail through v_take and v_give: the same operations on fewer lanes.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef float vf __attribute__((vector_size(4 * VL)));
typedef int32_t vi __attribute__((vector_size(4 * VL)));
typedef uint16_t vh __attribute__((vector_size(2 * VL)));

#define INLINE static inline __attribute__((always_inline))

#if defined UNROLL
/* The including file knows better. */
#elif defined __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

INLINE vf v_load(const float *p)
{
	vf v;
	memcpy(&v, p, sizeof v);
	return v;
}

INLINE void v_store(float *p, vf v)
{
	memcpy(p, &v, sizeof v);
}
