/*
 * Rows by fours: what all kernels over rows share.  A thread handles four neighbouring elements at a time, 16 bytes of f32,
 * wherever rows allow it; which thread has which element depends on the shapes alone, so `wide` moves no bit.
 */
#ifndef QUADS_H
#define QUADS_H

#include <math.h>
#include <string.h>

#include "context.h"
#include "lanes.h"

struct alignas(16) quad {
	float x[4];
};

/* Four neighbours, all of them: said outright, because a compiler that sees the branch for one at a time makes one of both. */
DEVICE void store_16(float *p, quad q)
{
#if defined __CUDACC__
	asm volatile("st.global.v4.f32 [%0], {%1, %2, %3, %4};" :: "l"(p), "f"(q.x[0]), "f"(q.x[1]), "f"(q.x[2]), "f"(q.x[3]) : "memory");
#else
	memcpy(p, &q, sizeof q);
#endif
}

DEVICE void store_8(uint16_t *p, const uint32_t w[2])
{
#if defined __CUDACC__
	asm volatile("st.global.v2.u32 [%0], {%1, %2};" :: "l"(p), "r"(w[0]), "r"(w[1]) : "memory");
#else
	memcpy(p, w, 8);
#endif
}

/* Elements i..i+3 of n at p; zeros from n on.  wide: p is 16-byte aligned. */
DEVICE quad quad_take(const float *p, unsigned i, unsigned n, bool wide)
{
	quad q = {};
	if (wide && i + 4 <= n)
		return *reinterpret_cast<const quad *>(p + i);
	for (unsigned j = 0; j < 4; j++)
		if (i + j < n)
			q.x[j] = p[i + j];
	return q;
}

/* The same to p; nothing from n on. */
DEVICE void quad_give(float *p, unsigned i, unsigned n, bool wide, quad q)
{
	if (wide && i + 4 <= n) {
		store_16(p + i, q);
		return;
	}
	for (unsigned j = 0; j < 4; j++)
		if (i + j < n)
			p[i + j] = q.x[j];
}

/* Rows, an operand, or bytes end to end: n rows of `width` elements of a type, and zeros from width to end. */
struct sheet {
	char *p;
	size_t stride;          /* elements */
	unsigned width, end;
	enum dtype dtype;       /* f32, bf16, f16 */
	bool wide;              /* four elements of a row can be moved at once */
};

static inline sheet sheet_of(void *p, size_t stride, size_t width, size_t end, enum dtype dtype)
{
	const size_t size = dtype == DTYPE_F32 ? 4 : 2;
	return { static_cast<char *>(p), stride, static_cast<unsigned>(width), static_cast<unsigned>(end), dtype,
	         aligned(p, 4 * size) && stride % 4 == 0 };
}

static inline sheet sheet_of_rows(rows x)
{
	return sheet_of(x.p, x.stride, x.width, x.width, DTYPE_F32);
}

static inline sheet sheet_of_operand(operand o)
{
	return sheet_of(o.p, operand_stride(o.k), o.k, operand_stride(o.k), o.dtype);
}

/* Wherever a result goes: the rows `out`, or the operand where out.p is NULL. */
static inline sheet sheet_of_result(rows out, operand packed)
{
	return out.p ? sheet_of_rows(out) : sheet_of_operand(packed);
}

/* Four elements as they lie in memory, f32 or (the first two words) 16-bit. */
struct alignas(16) words {
	uint32_t w[4];
};

struct alignas(8) half_words {
	uint32_t w[2];
};

DEVICE words words_take(const sheet &s, size_t r, unsigned i)
{
	words x = {};
	if (s.dtype == DTYPE_F32) {
		const float *p = reinterpret_cast<const float *>(s.p) + r * s.stride;
		const quad q = quad_take(p, i, s.width, s.wide);
		memcpy(&x, &q, sizeof q);
		return x;
	}
	const uint16_t *p = reinterpret_cast<const uint16_t *>(s.p) + r * s.stride + i;
	if (s.wide && i + 4 <= s.width) {
		const half_words h = *reinterpret_cast<const half_words *>(p);
		x.w[0] = h.w[0];
		x.w[1] = h.w[1];
		return x;
	}
	for (unsigned j = 0; j < 4; j++)
		if (i + j < s.width)
			x.w[j / 2] |= static_cast<uint32_t>(p[j]) << 16 * (j % 2);
	return x;
}

DEVICE float half_to_float(uint16_t h, enum dtype dtype)
{
	return dtype == DTYPE_BF16 ? from_bf16(h) : from_f16(h);
}

DEVICE quad quad_of(words x, enum dtype dtype)
{
	quad q;
	if (dtype == DTYPE_F32) {
		memcpy(&q, &x, sizeof q);
		return q;
	}
	for (unsigned j = 0; j < 4; j++)
		q.x[j] = half_to_float(static_cast<uint16_t>(x.w[j / 2] >> 16 * (j % 2)), dtype);
	return q;
}

DEVICE uint32_t pack_half(float low, float high, enum dtype dtype)
{
	return dtype == DTYPE_BF16 ? pack_bf16(low, high) : pack_f16(low, high);
}

DEVICE half_words half_words_of(quad q, enum dtype dtype)
{
	return { { pack_half(q.x[0], q.x[1], dtype), pack_half(q.x[2], q.x[3], dtype) } };
}

/* Elements i..i+3 of row r, rounded, where four can be moved at once and i + 4 <= s.end. */
DEVICE void sheet_give_four(const sheet &s, size_t r, unsigned i, quad q)
{
	if (s.dtype == DTYPE_F32)
		store_16(reinterpret_cast<float *>(s.p) + r * s.stride + i, q);
	else
		store_8(reinterpret_cast<uint16_t *>(s.p) + r * s.stride + i, half_words_of(q, s.dtype).w);
}

/* Elements i..i+3 of row r, rounded; zeros from the width on. */
DEVICE void sheet_give(const sheet &s, size_t r, unsigned i, quad q)
{
	for (unsigned j = 0; j < 4; j++)
		if (i + j >= s.width)
			q.x[j] = 0;
	if (s.dtype == DTYPE_F32) {
		quad_give(reinterpret_cast<float *>(s.p) + r * s.stride, i, s.end, s.wide, q);
		return;
	}
	uint16_t *p = reinterpret_cast<uint16_t *>(s.p) + r * s.stride + i;
	const half_words h = half_words_of(q, s.dtype);
	if (s.wide && i + 4 <= s.end) {
		store_8(p, h.w);
		return;
	}
	for (unsigned j = 0; j < 4; j++)
		if (i + j < s.end)
			p[j] = static_cast<uint16_t>(h.w[j / 2] >> 16 * (j % 2));
}

/* -------- who does what: `lanes` threads, a power of two, go along a row, unit by unit */

struct walk {
	size_t n;               /* rows */
	unsigned units, lanes;
};

enum { WALK_THREADS = 256, WALK_AHEAD = 4 };

static inline walk walk_of(size_t n, size_t units)
{
	unsigned lanes = 1;
	while (lanes < WALK_THREADS && lanes < units)
		lanes *= 2;
	return { n, static_cast<unsigned>(units), lanes };
}

/* Over the quads of a sheet's rows. */
static inline walk walk_of_sheet(size_t n, const sheet &s)
{
	return walk_of(n, (s.end + 3) / 4);
}

/* Enough blocks to fill the device a few times; what is left they take in turn. */
static inline grid walk_grid(const launch_context *c, const walk &w)
{
	const size_t per_block = WALK_THREADS / w.lanes, most = 32 * static_cast<size_t>(c->multiprocessors);
	size_t y = (w.units + w.lanes * WALK_AHEAD - 1) / (w.lanes * WALK_AHEAD), x = (w.n + per_block - 1) / per_block;
	y = y < 65535 ? y : 65535;
	x = y * x <= most || y == 0 ? x : most / y + 1;
	return { static_cast<unsigned>(x), static_cast<unsigned>(y), 1 };
}

/* give(r, unit, take(r, unit)) for every unit of every row.  Several takes come before their gives, so that their bytes are on
 * their way together. */
template <unsigned AHEAD = WALK_AHEAD, class TAKE, class GIVE> DEVICE void walk_rows(const walk &w, TAKE take, GIVE give)
{
	const unsigned per_block = block_threads() / w.lanes, step = w.lanes * grid_blocks(1);
	const unsigned first = block_index(1) * w.lanes + thread_index() % w.lanes;
	size_t r = static_cast<size_t>(block_index(0)) * per_block + thread_index() / w.lanes;
	for (; r < w.n; r += static_cast<size_t>(grid_blocks(0)) * per_block)
		for (unsigned u = first; u < w.units; u += AHEAD * step) {
			decltype(take(r, u)) x[AHEAD] = {};
			UNROLL
			for (unsigned j = 0; j < AHEAD; j++)
				if (u + j * step < w.units)
					x[j] = take(r, u + j * step);
			UNROLL
			for (unsigned j = 0; j < AHEAD; j++)
				if (u + j * step < w.units)
					give(r, u + j * step, x[j]);
		}
}

/* Launches a kernel over the walk, its first argument. */
template <class... P, class... A> void walk_launch(launch_context *c, void (*kernel)(P...), const walk &w, A... args)
{
	launch(c->stream, kernel, walk_grid(c, w), WALK_THREADS, 0, w, args...);
}

#endif
