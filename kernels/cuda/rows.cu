/* Rows in and out, and what is done to each element by itself. */
#include "launches.h"
#include "quads.h"

/* `rounding` f32: as they are. */
static KERNEL void convert(walk w, sheet to, sheet from, enum dtype rounding)
{
	walk_rows(w, [=](size_t r, unsigned u) { return words_take(from, r, 4 * u); },
	          [=](size_t r, unsigned u, words x) {
		          quad q = quad_of(x, from.dtype);
		          if (rounding != DTYPE_F32) {
			          const half_words h = half_words_of(q, rounding);
			          q = quad_of({ { h.w[0], h.w[1], 0, 0 } }, rounding);
		          }
		          sheet_give(to, r, 4 * u, q);
	          });
}

static void convert_rows(launch_context *c, size_t n, sheet to, sheet from, enum dtype rounding)
{
	walk_launch(c, convert, walk_of_sheet(n, to), to, from, rounding);
}

void cuda_load(launch_context *c, rows to, const void *bytes, enum dtype dtype)
{
	convert_rows(c, to.n, sheet_of_rows(to), sheet_of(const_cast<void *>(bytes), to.width, to.width, to.width, dtype), DTYPE_F32);
}

void cuda_store(launch_context *c, void *bytes, enum dtype dtype, rows from)
{
	convert_rows(c, from.n, sheet_of(bytes, from.width, from.width, from.width, dtype), sheet_of_rows(from), DTYPE_F32);
}

void cuda_copy(launch_context *c, rows to, rows from)
{
	convert_rows(c, to.n, sheet_of_rows(to), sheet_of_rows(from), DTYPE_F32);
}

void cuda_round(launch_context *c, rows x, enum dtype dtype)
{
	if (dtype != DTYPE_F32)
		convert_rows(c, x.n, sheet_of_rows(x), sheet_of_rows(x), dtype);
}

void cuda_pack(launch_context *c, operand to, rows from)
{
	convert_rows(c, to.n, sheet_of_operand(to), sheet_of_rows(from), DTYPE_F32);
}

struct two_quads {
	quad a, b;
};

DEVICE quad rows_take(const sheet &s, size_t r, unsigned u)
{
	return quad_take(reinterpret_cast<const float *>(s.p) + r * s.stride, 4 * u, s.width, s.wide);
}

static KERNEL void add(walk w, sheet into, sheet from)
{
	walk_rows(w, [=](size_t r, unsigned u) { return two_quads{ rows_take(into, r, u), rows_take(from, r, u) }; },
	          [=](size_t r, unsigned u, two_quads x) {
		          for (int j = 0; j < 4; j++)
			          x.a.x[j] += x.b.x[j];
		          sheet_give(into, r, 4 * u, x.a);
	          });
}

void cuda_add(launch_context *c, rows into, rows from)
{
	const sheet to = sheet_of_rows(into);
	walk_launch(c, add, walk_of_sheet(into.n, to), to, sheet_of_rows(from));
}

static KERNEL void add_gated(walk w, sheet into, sheet from, sheet gate)
{
	walk_rows(w, [=](size_t r, unsigned u) { return two_quads{ rows_take(into, r, u), rows_take(from, r, u) }; },
	          [=](size_t r, unsigned u, two_quads x) {
		          const float open = 1.0f / (1.0f + expf(-reinterpret_cast<const float *>(gate.p)[r * gate.stride]));
		          for (int j = 0; j < 4; j++)
			          x.a.x[j] = fmaf(open, x.b.x[j], x.a.x[j]);
		          sheet_give(into, r, 4 * u, x.a);
	          });
}

void cuda_add_gated(launch_context *c, rows into, rows from, rows gate)
{
	const sheet to = sheet_of_rows(into);
	walk_launch(c, add_gated, walk_of_sheet(into.n, to), to, sheet_of_rows(from), sheet_of_rows(gate));
}

static KERNEL void scale_rows(walk w, sheet x, float factor)
{
	walk_rows(w, [=](size_t r, unsigned u) { return rows_take(x, r, u); },
	          [=](size_t r, unsigned u, quad q) {
		          for (int j = 0; j < 4; j++)
			          q.x[j] *= factor;
		          sheet_give(x, r, 4 * u, q);
	          });
}

void cuda_scale(launch_context *c, rows x, float factor)
{
	const sheet s = sheet_of_rows(x);
	walk_launch(c, scale_rows, walk_of_sheet(x.n, s), s, factor);
}

static KERNEL void cap_rows(walk w, sheet x, float cap)
{
	walk_rows(w, [=](size_t r, unsigned u) { return rows_take(x, r, u); },
	          [=](size_t r, unsigned u, quad q) {
		          for (int j = 0; j < 4; j++)
			          q.x[j] = cap * tanhf(q.x[j] / cap);
		          sheet_give(x, r, 4 * u, q);
	          });
}

void cuda_softcap(launch_context *c, rows x, float cap)
{
	const sheet s = sheet_of_rows(x);
	walk_launch(c, cap_rows, walk_of_sheet(x.n, s), s, cap);
}
