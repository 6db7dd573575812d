/* Rows of one expert: picked out, and added back. */
#include "launches.h"
#include "quads.h"

/* Rows of an operand are whole units of 16 bytes. */
static KERNEL void gather(walk w, words *to, const words *from, const uint32_t *list)
{
	walk_rows(w, [=](size_t r, unsigned u) { return from[static_cast<size_t>(list[r]) * w.units + u]; },
	          [=](size_t r, unsigned u, words x) { to[r * w.units + u] = x; });
}

void cuda_gather(launch_context *c, operand to, const operand *from, const uint32_t *list, size_t n)
{
	const size_t len = operand_stride(from->k) * (from->dtype == DTYPE_F32 ? 4 : 2);
	walk_launch(c, gather, walk_of(n, len / sizeof(words)), static_cast<words *>(to.p), static_cast<const words *>(from->p),
	            list);
}

struct sum_and_part {
	quad sum, part;
	float factor;
};

static KERNEL void scatter(walk w, sheet into, sheet from, const uint32_t *list, const float *factor)
{
	walk_rows(w,
	          [=](size_t r, unsigned u) {
		          const float *y = reinterpret_cast<const float *>(into.p) + list[r] * into.stride;
		          const float *x = reinterpret_cast<const float *>(from.p) + r * from.stride;
		          return sum_and_part{ quad_take(y, 4 * u, into.width, into.wide), quad_take(x, 4 * u, from.width, from.wide),
			                       factor[r] };
	          },
	          [=](size_t r, unsigned u, sum_and_part x) {
		          for (int j = 0; j < 4; j++)
			          x.sum.x[j] = fmaf(x.factor, x.part.x[j], x.sum.x[j]);
		          sheet_give(into, list[r], 4 * u, x.sum);
	          });
}

/* A list names no row twice: it is one expert's. */
void cuda_scatter(launch_context *c, rows into, rows from, const uint32_t *list, const float *factor, size_t n)
{
	const sheet to = sheet_of_rows(into);
	walk_launch(c, scatter, walk_of_sheet(n, to), to, sheet_of_rows(from), list, factor);
}
