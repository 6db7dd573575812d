/*
 * Products of bf16 operands by an instruction that adds two products to each of its sums: the loops of vec_multiply.h, to which
 * a pair of inputs is what a float is otherwise.  A row's pairs lie side by side already, and a weight's in panels of
 * (K / 2, PRODUCT_PANEL, 2).  The file that includes this has defined vectors of sixteen (vec.h) and
 *
 *   v_add_product(sum, a, b)  adds to each of 16 f32 sums the products of its pair of a and its pair of b
 *   PAIRS_MULTIPLIER          the name of the multiplier that comes out
 */
#define PRODUCT_PAIRS
/* As for f32 (x86_avx512.c): the instruction takes the same registers and bytes. */
#define PRODUCT_ROWS 12
#define PRODUCT_VECTORS 2
#define PRODUCT_UNROLL 1
#include "vec_multiply.h"

static void multiply_pairs(const struct multiply *m)
{
	struct multiply pairs = *m;

	pairs.held = DTYPE_F32;
	pairs.a_stride = m->a_stride / 2;
	pairs.k = (m->k + 1) / 2;
	multiply(&pairs);
}

const struct multiplier PAIRS_MULTIPLIER = { VL, PRODUCT_PANEL, 2, 2, 128, 1, multiply_pairs };
