/* AVX512-BF16's product in plain C, for the tests: slow, and bit for bit the same (NaN's aside, of which only that it is one). */
#include "bf16_plain.h"

#define VL 16
#define UNROLL          /* which would take long to compile */
#include "unit.h"
#include "vec.h"

/* Intel's manual, VDPBF16PS: the second number of each pair is taken first. */
static void add_pairs(float *sum, const uint16_t *a, const uint16_t *b)
{
	for (size_t i = 0; i < VL; i++) {
		const float odd = add_product(flushed(sum[i]), a[2 * i + 1], b[2 * i + 1]);

		sum[i] = add_product(odd, a[2 * i], b[2 * i]);
	}
}

INLINE void v_add_product(vf *sum, vf a, vf b)
{
	uint16_t x[2 * VL], y[2 * VL];
	float to[VL];

	memcpy(x, &a, sizeof x);
	memcpy(y, &b, sizeof y);
	memcpy(to, sum, sizeof to);
	add_pairs(to, x, y);
	memcpy(sum, to, sizeof to);
}

#define PAIRS_MULTIPLIER multiply_avx512_bf16_plain
#include "vec_pairs.h"
