/*
 * Attention of a tile of ROWS queries on tensor units: keys block by block, the softmax corrected as larger scores come (the
 * online softmax of Milakov and Gimelshein, in the arrangement of FlashAttention 2: a warp has whole rows).
 *
 *   scores  S (ROWS, KEYS) = Q (ROWS, W) K^T (W, KEYS)        16-bit operands, f32 sums
 *   soften  P = 2^(base S - reference)                        f32, in the registers of S; masked places 0
 *   mix     O (ROWS, W) += P (ROWS, KEYS) V (KEYS, W)         P rounded to 16 bits
 *
 * What keeps a row's bits its own: a product's row takes nothing from the rows beside it; blocks begin at multiples of KEYS
 * from the sample's first token; a block that shows a row nothing leaves it as it was, whether its warp skips it or
 * not; and since 0 times infinity is no zero, V holds zeros where a value isn't finite, which `spoil` then adds for those who
 * see it.
 */
#ifndef ATTEND_TILE_H
#define ATTEND_TILE_H

#include "attend.h"
#include "attend_operand.h"

/* -------- shapes */

enum : unsigned { TILE_ROWS = 128 };

/*
 * T_: the operand's type.  W: columns of a head, padded.  KEYS: of a block.  M: a warp has 16 M rows; with M = 2 what it
 * reads of K and V serves twice as many products, and two blocks of 4 warps share a multiprocessor; O then takes W registers.
 * CONVERTED: keys and values lie in the scratch memory; else in f32, and the tile converts them.
 */
template <enum dtype T_, unsigned W_, unsigned KEYS_, unsigned M_, bool CONVERTED_ = true> struct tile_shape {
	static constexpr enum dtype T = T_;
	static constexpr bool CONVERTED = CONVERTED_;
	enum : unsigned {
		W = W_,
		KEYS = KEYS_,
		M = M_,
		THREADS = TILE_ROWS / (16 * M) * 32,
		BLOCKS = M == 2 ? 2 : 1,        /* a multiprocessor, at least */
		CHUNKS = W / 8,                 /* of 16 bytes */
		/* Elements between rows in shared memory: odd in chunks, so that 8 rows lie in different banks. */
		STRIDE = (CHUNKS | 1) * 8,
		PART = KEYS * STRIDE,           /* elements of a block's keys, or values */
		K_AT = TILE_ROWS * STRIDE,      /* Q, K, V */
		V_AT = K_AT + PART,
		SHARED = (V_AT + PART) * 2
	};
	static_assert(W % 16 == 0 && KEYS % 16 == 0, "whole fragments");
};

/* 2^SLACK: how far scores may rise over the reference before sums are scaled anew.  A row's own matter, like all of this. */
static constexpr float SLACK = 8;

/* A thread's part of its warp's rows, as products hold it: m < M, half < 2 is row 16 m + 8 half + lane / 4; n-th columns are
 * 8 n + 2 (lane % 4) and the next, element 2 half + 0..1. */
template <class S> struct tile_state {
	float s[S::M][S::KEYS / 8][4];
	float o[S::M][S::W / 8][4];
	float total[S::M][2];           /* of P, of the columns that this thread has */
	float reference[S::M][2];       /* log2 of what P and O are divided by */
	uint32_t low, high;             /* positions of the warp's rows; low > high: none */
};

/* x, of which nothing is known any more.  Registers are scarce: what few blocks need, or none, shall be worked out there and
 * not once before them all. */
DEVICE unsigned here(unsigned x)
{
#if defined __CUDACC__
	asm volatile("" : "+r"(x));
#endif
	return x;
}

/* Position of the tile's first row. */
DEVICE uint32_t first_position(const attend_call &c)
{
	const attend_tile &t = c.tiles[here(block_index(0))];
	return c.units[t.unit].first + t.query;
}

template <class S> DEVICE unsigned row_of(unsigned thread, unsigned m, unsigned half)
{
	return thread / 32 * 16 * S::M + m * 16 + half * 8 + thread % 32 / 4;
}

/* -------- rows into shared memory, rounded */

template <class S> DEVICE void load_queries(const attend_call &c, const attend_unit &u, const attend_tile &t, uint16_t *shared)
{
	for (unsigned i = thread_index(); i < TILE_ROWS * S::CHUNKS; i += S::THREADS) {
		const unsigned r = i / S::CHUNKS, column = i % S::CHUNKS * 8;
		const attend_place at = attend_row(c, u, t, r);
		chunk x = {};
		if (at.mine) {
			const float *row = reinterpret_cast<const float *>(c.q.p) + (u.row + at.query) * c.q.stride;
			const float sign = c.scale < 0 ? -1.0f : 1.0f;
			x = chunk_of(row + at.head * c.head_width, column, c.head_width, c.q.wide, sign, S::T);
		}
		*reinterpret_cast<chunk *>(shared + r * S::STRIDE + column) = x;
	}
}

/* The converted block that `key` is in.  part: elements of a block's keys. */
DEVICE uint16_t *block_of(const attend_unit &u, uint32_t key, unsigned keys, unsigned part)
{
	return reinterpret_cast<uint16_t *>(u.packed) + static_cast<size_t>((key - u.begin) / keys) * 2 * part;
}

/* A block's converted keys or values, on their way, as they are to lie in shared memory.  packed: the first 16 bytes of this
 * thread. */
template <class S> DEVICE void fetch_packed(const uint16_t *packed, uint16_t *shared)
{
	const unsigned thread = thread_index();
	shared += thread * 8;
	UNROLL
	for (unsigned i = 0; i < S::PART; i += S::THREADS * 8)
		if (i + S::THREADS * 8 <= S::PART || thread * 8 < S::PART - i)
			copy_async(shared + i, packed + i, true);
}

/* The same from f32, converted here; zeros behind the end.  Whether any value was not finite. */
template <class S, bool CLEAN> DEVICE bool fetch_wide(const attend_call &c, const attend_unit &u, const float *from,
                                                      uint32_t key, uint16_t *shared)
{
	bool spoilt = false;
	for (unsigned i = thread_index(); i < S::KEYS * S::CHUNKS; i += S::THREADS) {
		const unsigned r = i / S::CHUNKS, column = i % S::CHUNKS * 8;
		const float *row = from + static_cast<size_t>(key + r) * c.kv_stride;
		chunk x = {};
		if (key + r < u.end)
			x = chunk_of(row, column, c.head_width, c.kv_wide, 1, S::T);
		if (CLEAN)
			spoilt |= clean(&x, S::T);
		*reinterpret_cast<chunk *>(shared + r * S::STRIDE + column) = x;
	}
	return spoilt;
}

/* The gap behind the first row of a block's values, where it is noted that they were not all finite: by the key after the
 * first of the block, so that it needs no clearing. */
DEVICE uint32_t *spoilt_block(uint16_t *values, unsigned width)
{
	return reinterpret_cast<uint32_t *>(values + width);
}

template <class S> DEVICE void fetch_keys(const attend_call &c, const attend_unit &u, const uint16_t *packed, uint32_t key,
                                          uint16_t *shared)
{
	if (S::CONVERTED)
		fetch_packed<S>(packed, shared + S::K_AT);
	else
		fetch_wide<S, false>(c, u, u.k, key, shared + S::K_AT);
	copy_async_commit();
}

template <class S> DEVICE void fetch_values(const attend_call &c, const attend_unit &u, const uint16_t *packed, uint32_t key,
                                            uint16_t *shared)
{
	if (S::CONVERTED)
		fetch_packed<S>(packed + S::PART, shared + S::V_AT);
	else if (fetch_wide<S, true>(c, u, u.v, key, shared + S::V_AT))
		*spoilt_block(shared + S::V_AT, S::W) = key + 1;
	copy_async_commit();
}

/* -------- one block of keys */

/* c[m][n] and c[m][n + 1] += a[m] times b's first and second 8 columns. */
template <class S, unsigned N> DEVICE void multiply_pair(float (*c)[N][4], unsigned n, const uint32_t (*a)[4], const uint32_t b[4])
{
	UNROLL
	for (unsigned m = 0; m < S::M; m++) {
		multiply(c[m][n], a[m], b, S::T);
		multiply(c[m][n + 1], a[m], b + 2, S::T);
	}
}

template <class S> DEVICE void scores(tile_state<S> *x, const uint16_t *shared)
{
	const unsigned lane = thread_index() % 32, warp = thread_index() / 32;
	const uint16_t *q = shared + (warp * 16 * S::M + lane % 16) * S::STRIDE + lane / 16 * 8;
	const uint16_t *k = shared + S::K_AT + (lane / 16 * 8 + lane % 8) * S::STRIDE + lane / 8 % 2 * 8;
	UNROLL
	for (unsigned m = 0; m < S::M; m++)
		UNROLL
		for (unsigned n = 0; n < S::KEYS / 8; n++)
			UNROLL
			for (unsigned e = 0; e < 4; e++)
				x->s[m][n][e] = 0;
	UNROLL
	for (unsigned step = 0; step < S::W / 16; step++) {
		uint32_t a[S::M][4];
		UNROLL
		for (unsigned m = 0; m < S::M; m++)
			load_matrix_x4(a[m], q + m * 16 * S::STRIDE + step * 16);
		UNROLL
		for (unsigned n = 0; n < S::KEYS / 8; n += 2) {
			uint32_t b[4];
			load_matrix_x4(b, k + n * 8 * S::STRIDE + step * 16);
			multiply_pair<S>(x->s, n, a, b);
		}
	}
}

/* x = cap tanh(x / cap), as cap (1 - 2 / (e^(2 x / cap) + 1)). */
template <class S> DEVICE void cap(tile_state<S> *x, const attend_call &c)
{
	UNROLL
	for (unsigned m = 0; m < S::M; m++)
		UNROLL
		for (unsigned n = 0; n < S::KEYS / 8; n++)
			UNROLL
			for (unsigned e = 0; e < 4; e++) {
				const float power = near_exp2(x->s[m][n][e] * c.cap_base);
				x->s[m][n][e] = c.softcap * fmaf(-2, near_inverse(power + 1), 1);
			}
}

template <class S> DEVICE void mask(tile_state<S> *x, const attend_call &c, uint32_t key)
{
	const unsigned thread = here(thread_index());
	const uint32_t first = first_position(c);
	key += thread % 4 * 2;
	UNROLL
	for (unsigned m = 0; m < S::M; m++)
		UNROLL
		for (unsigned half = 0; half < 2; half++) {
			const uint32_t position = first + row_of<S>(thread, m, half) / c.heads;
			const uint32_t low = attend_first_key(c.window, position);
			UNROLL
			for (unsigned n = 0; n < S::KEYS / 8; n++)
				UNROLL
				for (unsigned e = 0; e < 2; e++)
					if (key + n * 8 + e > position || key + n * 8 + e < low)
						x->s[m][n][2 * half + e] = -INFINITY;
		}
}

/* S to P for one row; its scores in powers of two are base S. */
template <class S> DEVICE void soften(tile_state<S> *x, unsigned m, unsigned half, float base)
{
	float top = -INFINITY;
	UNROLL
	for (unsigned n = 0; n < S::KEYS / 8; n++)
		top = fmaxf(top, fmaxf(x->s[m][n][2 * half], x->s[m][n][2 * half + 1]));
	top = fmaxf(top, warp_shuffle_xor(top, 1));
	top = fmaxf(top, warp_shuffle_xor(top, 2)) * base;
	if (top > x->reference[m][half] + SLACK) {
		const float shrink = near_exp2(x->reference[m][half] - top);
		x->reference[m][half] = top;
		x->total[m][half] *= shrink;
		UNROLL
		for (unsigned n = 0; n < S::W / 8; n++) {
			x->o[m][n][2 * half] *= shrink;
			x->o[m][n][2 * half + 1] *= shrink;
		}
	}
	/* A row that has seen nothing yet has nothing to subtract. */
	const float lift = peak(S::T) - (x->reference[m][half] == -INFINITY ? 0 : x->reference[m][half]);
	UNROLL
	for (unsigned n = 0; n < S::KEYS / 8; n++)
		UNROLL
		for (unsigned e = 2 * half; e < 2 * half + 2; e++) {
			x->s[m][n][e] = near_exp2(fmaf(x->s[m][n][e], base, lift));
			x->total[m][half] += x->s[m][n][e];
		}
}

template <class S> DEVICE void mix(tile_state<S> *x, const uint16_t *shared)
{
	const unsigned lane = thread_index() % 32;
	const uint16_t *v = shared + S::V_AT + lane % 16 * S::STRIDE + lane / 16 * 8;
	UNROLL
	for (unsigned step = 0; step < S::KEYS / 16; step++) {
		uint32_t p[S::M][4];
		UNROLL
		for (unsigned m = 0; m < S::M; m++)
			UNROLL
			for (unsigned i = 0; i < 4; i++) {
				const float *s = x->s[m][2 * step + i / 2] + i % 2 * 2;
				p[m][i] = pack_half(s[0], s[1], S::T);
			}
		UNROLL
		for (unsigned n = 0; n < S::W / 8; n += 2) {
			uint32_t b[4];
			load_matrix_x4_transposed(b, v + step * 16 * S::STRIDE + n * 8);
			multiply_pair<S>(x->o, n, p, b);
		}
	}
}

/* -------- a tile */

template <class S> DEVICE void begin(tile_state<S> *x, const attend_call &c, const attend_unit &u, const attend_tile &t)
{
	const unsigned row = thread_index() / 32 * 16 * S::M;
	UNROLL
	for (unsigned m = 0; m < S::M; m++) {
		UNROLL
		for (unsigned n = 0; n < S::W / 8; n++)
			UNROLL
			for (unsigned e = 0; e < 4; e++)
				x->o[m][n][e] = 0;
		UNROLL
		for (unsigned half = 0; half < 2; half++) {
			x->total[m][half] = 0;
			x->reference[m][half] = -INFINITY;
		}
	}
	const uint32_t first = u.first + t.query, last = u.first + u.n - 1, high = first + (row + 16 * S::M - 1) / c.heads;
	x->low = first + row / c.heads;
	x->high = high < last ? high : last;
}

/* Values of a key that are not finite, to the rows that see them: however small a probability is, infinity stays infinity. */
template <class S> DEVICE void spoil(tile_state<S> *x, const attend_call &c, const float *v, uint32_t key)
{
	const unsigned thread = here(thread_index());
	const uint32_t first = first_position(c);
	bool sees[S::M][2];
	UNROLL
	for (unsigned m = 0; m < S::M; m++)
		UNROLL
		for (unsigned half = 0; half < 2; half++) {
			const uint32_t position = first + row_of<S>(thread, m, half) / c.heads;
			sees[m][half] = key <= position && key >= attend_first_key(c.window, position);
		}
	UNROLL
	for (unsigned i = 0; i < S::W / 4; i++) {
		const unsigned column = i / 2 * 8 + thread % 4 * 2 + i % 2;
		const uint32_t h = column < c.head_width ? pack_half(v[column], 0, S::T) : 0;
		UNROLL
		for (unsigned m = 0; m < S::M; m++)
			UNROLL
			for (unsigned half = 0; half < 2; half++)
				if (sees[m][half] && not_finite(h, S::T))
					x->o[m][i / 2][2 * half + i % 2] += half_to_float(static_cast<uint16_t>(h), S::T);
	}
}

/* The same of all keys from `first` on. */
template <class S> DEVICE void spoil_all(tile_state<S> *x, const attend_call &c, const attend_unit &u, uint32_t first)
{
	for (uint32_t key = first; key < u.end; key++) {
		if (S::CONVERTED)
			if (!*spoilt_block(block_of(u, key, S::KEYS, S::PART) + S::PART, S::W))
				continue;
		spoil(x, c, u.v + static_cast<size_t>(key) * c.kv_stride, key);
	}
}

/* O divided by the row's total, to where it goes; zeros behind an operand's last head. */
template <class S> DEVICE void finish(tile_state<S> *x, const attend_call &c, const attend_unit &u, const attend_tile &t)
{
	const unsigned thread = here(thread_index());
	UNROLL
	for (unsigned m = 0; m < S::M; m++)
		UNROLL
		for (unsigned half = 0; half < 2; half++) {
			const unsigned r = row_of<S>(thread, m, half);
			const attend_place at = attend_row(c, u, t, r);
			float total = x->total[m][half];
			total += warp_shuffle_xor(total, 1);
			total += warp_shuffle_xor(total, 2);
			if (!at.mine)
				continue;
			const float inverse = 1 / total;
			const size_t row = u.row + at.query;
			UNROLL
			for (unsigned n = 0; n < S::W / 8; n++) {
				/* + 0: a sum of -0 is +0, as where a masked block came after it. */
				const float *o = x->o[m][n] + 2 * half;
				const float a = (o[0] + 0.0f) * inverse, b = (o[1] + 0.0f) * inverse;
				attend_give(c, row, at.head, n * 8 + thread % 4 * 2, a, b, S::T);
			}
			if (at.head * c.head_width + c.head_width == c.to.width && thread % 4 == 0)
				attend_pad(c, row);
		}
}

template <class S> KERNEL BLOCKS_OF(S::THREADS, S::BLOCKS) void attend_tiles(const attend_call c)
{
	uint16_t *shared = shared_memory<uint16_t>();
	const attend_tile &t = c.tiles[block_index(0)];
	const attend_unit &u = c.units[t.unit];
	tile_state<S> x;
	begin(&x, c, u, t);
	uint32_t key = attend_first_key(c.window, u.first + t.query) / S::KEYS * S::KEYS;
	const uint32_t last = key + t.blocks * S::KEYS - S::KEYS;
	bool spoilt = false;
	const uint16_t *packed = nullptr;
	if (S::CONVERTED)
		packed = block_of(u, key, S::KEYS, S::PART) + thread_index() * 8;
	load_queries<S>(c, u, t, shared);
	if (!S::CONVERTED && thread_index() == 0)
		*spoilt_block(shared + S::V_AT, S::W) = 0;
	fetch_keys<S>(c, u, packed, key, shared);
	for (;; key += S::KEYS) {
		const bool seen = key <= x.high && x.low <= x.high && key + S::KEYS > attend_first_key(c.window, x.low);
		copy_async_wait<0>();
		block_barrier();        /* K is there; nobody needs V any more */
		fetch_values<S>(c, u, packed, key, shared);
		if (seen)
			scores(&x, shared);
		copy_async_wait<0>();
		block_barrier();        /* V is there; nobody needs K any more */
		spoilt |= *spoilt_block(shared + S::V_AT, S::W) == key + 1;
		if (S::CONVERTED)
			packed += 2 * S::PART;
		if (key < last)
			fetch_keys<S>(c, u, packed, key + S::KEYS, shared);
		if (seen) {
			if (c.softcap > 0)
				cap(&x, c);
			if (key + S::KEYS - 1 > x.low || key < attend_first_key(c.window, x.high))
				mask(&x, c, key);
			UNROLL
			for (unsigned m = 0; m < S::M; m++)
				UNROLL
				for (unsigned half = 0; half < 2; half++)
					soften(&x, m, half, c.base);
			mix(&x, shared);
		}
		if (key >= last)
			break;
	}
	const attend_tile &same = c.tiles[here(block_index(0))];
	if (spoilt)
		spoil_all(&x, c, c.units[same.unit], last + S::KEYS - same.blocks * S::KEYS);
	finish(&x, c, c.units[same.unit], same);
}

/* -------- conversion: a key block of one unit a block of threads */

enum : unsigned { STRIP_THREADS = 256 };

/* The last three: S::KEYS, S::STRIDE and S::W of those who read it. */
template <enum dtype T> KERNEL void convert_strips(const attend_call c, unsigned keys, unsigned stride, unsigned width)
{
	const attend_strip strip = c.strips[block_index(0)];
	const attend_unit u = c.units[strip.unit];
	const unsigned part = keys * stride;
	uint16_t *k = block_of(u, strip.key, keys, part), *v = k + part;
	uint32_t *warps = shared_memory<uint32_t>(), spoilt = 0;
	for (unsigned i = thread_index(); i < part / 8; i += STRIP_THREADS) {
		const uint32_t key = strip.key + i / (stride / 8);
		const unsigned column = i % (stride / 8) * 8;
		const size_t from = static_cast<size_t>(key) * c.kv_stride;
		chunk x = {}, y = {};
		if (key < u.end) {
			x = chunk_of(u.k + from, column, c.head_width, c.kv_wide, 1, T);
			y = chunk_of(u.v + from, column, c.head_width, c.kv_wide, 1, T);
			spoilt |= clean(&y, T);
		}
		*reinterpret_cast<chunk *>(k + i * 8) = x;
		*reinterpret_cast<chunk *>(v + i * 8) = y;
	}
	for (int other = 16; other; other /= 2)
		spoilt |= warp_shuffle_xor(spoilt, other);
	warps[thread_index() / 32] = spoilt;
	block_barrier();
	if (thread_index())
		return;
	for (unsigned i = 1; i < STRIP_THREADS / 32; i++)
		spoilt |= warps[i];
	*spoilt_block(v, width) = spoilt ? strip.key + 1 : 0;
}

/* -------- which of them */

template <class S> void attend_launch(gpu_stream *s, const attend_call *c, unsigned n)
{
	launch(s, attend_tiles<S>, { n, 1, 1 }, S::THREADS, S::SHARED, *c);
}

template <class S> void convert_launch(gpu_stream *s, const attend_call *c, unsigned n)
{
	launch(s, convert_strips<S::T>, { n, 1, 1 }, STRIP_THREADS, STRIP_THREADS / 32 * sizeof(uint32_t), *c, S::KEYS, S::STRIDE, S::W);
}

/* M = 1 where O of 32 rows doesn't fit in a warp's registers, or two blocks not in the shared memory.  What isn't converted
 * is slow anyway: it has the widest shape that cuts keys into the same blocks. */
template <enum dtype T, unsigned W, unsigned KEYS, unsigned M> attend_kernel kernel_of()
{
	using shape = tile_shape<T, W, KEYS, M>;
	using direct = tile_shape<T, KEYS == 64 ? 128 : 256, KEYS, 1, false>;
	return { W, TILE_ROWS, KEYS, convert_launch<shape>, attend_launch<shape>, attend_launch<direct> };
}

template <enum dtype T> attend_kernel attend_16_bits(size_t width, bool roomy)
{
	if (width <= 64)
		return kernel_of<T, 64, 64, 2>();
	if (width <= 96 && roomy)
		return kernel_of<T, 96, 64, 2>();
	if (width <= 128)
		return roomy ? kernel_of<T, 128, 64, 2>() : kernel_of<T, 128, 64, 1>();
	return kernel_of<T, 256, 32, 1>();
}

#endif
