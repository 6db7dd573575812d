/* The loops, compiled for the including file's unit, and their table UNIT named UNIT_NAME. */
#include "vec_math.h"
#include "vec_rows.h"
#include "vec_multiply.h"
#include "vec_tile.h"
#include "vec_attend.h"

const struct unit UNIT = {
	.name = UNIT_NAME,
	.widen = row_widen,
	.narrow = row_narrow,
	.round = row_round,
	.put = row_put,
	.pool = rows_pool,
	.product = { VL, PRODUCT_PANEL, 1, 1, 128, PRODUCT_WOVEN, multiply },
	.norm = row_norm,
	.activate = row_activate,
	.add = row_add,
	.add_scaled = row_add_scaled,
	.scale = row_scale,
	.softcap = row_softcap,
	.rotate = row_rotate,
	.attend = attend,
	.scores = row_scores,
	.softmax = row_softmax,
};
