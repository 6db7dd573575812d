/* AVX512-BF16. */
#define VL 16
#include "unit.h"
#include "vec.h"

/* The second number of each pair is taken first, and each sum rounded.  In its place and from registers, as in x86_avx512.c. */
INLINE void v_add_product(vf *sum, vf a, vf b)
{
	__asm__ volatile("vdpbf16ps %2, %1, %0" : "+v"(*sum) : "v"(a), "v"(b));
}

#define PAIRS_MULTIPLIER multiply_avx512_bf16
#include "vec_pairs.h"
