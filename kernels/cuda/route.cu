/* Experts.  Which of them a row goes to: a warp a row.  In double: a few hundred numbers a row are no work, and a weight
 * multiplies a whole expert. */
#include "launches.h"
#include "quads.h"

enum { ROUTE_THREADS = 128 };

DEVICE double shuffle_double(double x, int mask)
{
	uint32_t half[2];
	memcpy(half, &x, sizeof x);
	half[0] = warp_shuffle_xor(half[0], mask);
	half[1] = warp_shuffle_xor(half[1], mask);
	memcpy(&x, half, sizeof x);
	return x;
}

struct candidate {
	float x;
	int32_t id;     /* -1: none */
};

/* The order of choice: the larger, the lower id of equals, NaN last. */
DEVICE bool before(candidate a, candidate b)
{
	if (a.id < 0 || b.id < 0)
		return b.id < 0 && a.id >= 0;
	if (isnan(a.x) || isnan(b.x))
		return isnan(b.x) && (!isnan(a.x) || a.id < b.id);
	return a.x > b.x || (a.x == b.x && a.id < b.id);
}

DEVICE candidate warp_first(candidate mine)
{
	for (int mask = 16; mask; mask /= 2) {
		const candidate other = { warp_shuffle_xor(mine.x, mask), warp_shuffle_xor(mine.id, mask) };
		mine = before(other, mine) ? other : mine;
	}
	return mine;
}

/* The first in the order of choice that comes behind `last`. */
DEVICE candidate next_choice(const float *x, unsigned n, candidate last)
{
	candidate best = { 0, -1 };
	for (unsigned i = thread_index() % 32; i < n; i += 32) {
		const candidate here = { x[i], static_cast<int32_t>(i) };
		if ((last.id < 0 || before(last, here)) && before(here, best))
			best = here;
	}
	return warp_first(best);
}

DEVICE double sum_of_exp(const float *x, unsigned n, double max)
{
	double sum = 0;
	for (unsigned i = thread_index() % 32; i < n; i += 32)
		sum += exp(static_cast<double>(x[i]) - max);
	for (int mask = 16; mask; mask /= 2)
		sum += shuffle_double(sum, mask);
	return sum;
}

DEVICE float largest_of(const float *x, unsigned n)
{
	float max = -INFINITY;
	for (unsigned i = thread_index() % 32; i < n; i += 32)
		max = x[i] > max ? x[i] : max;
	for (int mask = 16; mask; mask /= 2) {
		const float other = warp_shuffle_xor(max, mask);
		max = other > max ? other : max;
	}
	return max;
}

/* Each choice is a pass over the row, which lies in cache by then; the weights come last, when their sum is known. */
DEVICE void route_row(const float *x, unsigned n, bool renormalize, unsigned k, int32_t *ids, float *weights)
{
	const double max = largest_of(x, n), sum = sum_of_exp(x, n, max);
	const bool writes = thread_index() % 32 == 0;
	candidate last = { 0, -1 };
	double chosen = 0;
	for (unsigned c = 0; c < k; c++) {
		last = next_choice(x, n, last);
		chosen += exp(static_cast<double>(last.x) - max);
		if (writes)
			ids[c] = last.id;
	}
	last = { 0, -1 };
	for (unsigned c = 0; c < k; c++) {
		last = next_choice(x, n, last);
		if (writes)
			weights[c] = static_cast<float>(exp(static_cast<double>(last.x) - max) / (renormalize ? chosen : sum));
	}
}

static KERNEL void route(sheet logits, size_t n, bool renormalize, unsigned k, int32_t *ids, float *weights)
{
	const unsigned warps = block_threads() / 32;
	size_t r = static_cast<size_t>(block_index(0)) * warps + thread_index() / 32;
	for (; r < n; r += static_cast<size_t>(grid_blocks(0)) * warps)
		route_row(reinterpret_cast<const float *>(logits.p) + r * logits.stride, logits.width, renormalize, k, ids + r * k,
		          weights + r * k);
}

void cuda_route(launch_context *c, rows logits, bool renormalize, routing to)
{
	const size_t blocks = (logits.n + ROUTE_THREADS / 32 - 1) / (ROUTE_THREADS / 32), most = 32 * static_cast<size_t>(c->multiprocessors);
	launch(c->stream, route, { static_cast<unsigned>(blocks < most ? blocks : most), 1, 1 }, ROUTE_THREADS, 0,
	       sheet_of_rows(logits), logits.n, renormalize, static_cast<unsigned>(to.k), to.ids, static_cast<float *>(to.weights));
}

/* -------- rows of one expert: picked out, and added back */

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
