/*
 * Attention of a tile of ROWS queries in f32, on fused multiply-adds: the list of work and the online softmax of attend_tile.h,
 * with sums in the order of the columns and, within a key block, of the keys.
 *
 * 16 threads have 4 rows.  Of S (ROWS, KEYS) thread `lane` of them has keys lane, lane + 16...; of O (ROWS, W) columns
 * 4 lane..4 lane + 3, those 64 on, and so on.  A key that a row doesn't see is passed over for that row: 0 times its value is
 * no 0 if that is NaN.
 */
#include "attend.h"
#include "lanes.h"

template <unsigned W_, unsigned ROWS_> struct wide_shape {
	enum : unsigned {
		W = W_,
		ROWS = ROWS_,
		KEYS = ROWS_,
		THREADS = ROWS * 4,
		STRIDE = W + 4,         /* rows in shared memory: of 8 one below the other, quads lie in different banks */
		P_STRIDE = KEYS + 4,
		KV_AT = ROWS * STRIDE,  /* Q; K, then V; P */
		P_AT = KV_AT + KEYS * STRIDE,
		SHARED = (P_AT + ROWS * P_STRIDE) * 4
	};
};

template <class S> struct wide_state {
	float s[4][S::KEYS / 16];
	quad o[4][S::W / 64];
	float total[4], top[4], shrink[4];      /* total: of the keys of this thread */
	uint32_t position[4], low[4];           /* a row sees keys low..position */
};

/* Columns 0..W-1 of n rows, zeros where there is none. */
template <class S, class FROM> DEVICE void load_rows(unsigned n, float *shared, unsigned width, bool wide, FROM row)
{
	for (unsigned i = thread_index(); i < n * (S::W / 4); i += S::THREADS) {
		const unsigned r = i / (S::W / 4), column = i % (S::W / 4) * 4;
		const float *p = row(r);
		quad x = {};
		if (p)
			x = quad_take(p, column, width, wide);
		*reinterpret_cast<quad *>(shared + r * S::STRIDE + column) = x;
	}
}

template <class S> DEVICE void wide_scores(wide_state<S> *x, const float *shared)
{
	const float *q = shared + thread_index() / 16 * 4 * S::STRIDE, *k = shared + S::KV_AT + thread_index() % 16 * S::STRIDE;
	for (unsigned a = 0; a < 4; a++)
		for (unsigned b = 0; b < S::KEYS / 16; b++)
			x->s[a][b] = 0;
	for (unsigned column = 0; column < S::W; column += 4) {
		quad left[4], right[S::KEYS / 16];
		UNROLL
		for (unsigned a = 0; a < 4; a++)
			left[a] = *reinterpret_cast<const quad *>(q + a * S::STRIDE + column);
		UNROLL
		for (unsigned b = 0; b < S::KEYS / 16; b++)
			right[b] = *reinterpret_cast<const quad *>(k + b * 16 * S::STRIDE + column);
		UNROLL
		for (unsigned a = 0; a < 4; a++)
			UNROLL
			for (unsigned b = 0; b < S::KEYS / 16; b++)
				UNROLL
				for (unsigned i = 0; i < 4; i++)
					x->s[a][b] = fmaf(left[a].x[i], right[b].x[i], x->s[a][b]);
	}
}

/* S to P, which goes to the shared memory. */
template <class S> DEVICE void wide_soften(wide_state<S> *x, const attend_call &c, uint32_t key, float *shared)
{
	const unsigned lane = thread_index() % 16;
	float *p = shared + S::P_AT + thread_index() / 16 * 4 * S::P_STRIDE + lane;
	UNROLL
	for (unsigned a = 0; a < 4; a++) {
		float top = x->top[a], sum = 0;
		UNROLL
		for (unsigned b = 0; b < S::KEYS / 16; b++) {
			const uint32_t j = key + lane + b * 16;
			float s = x->s[a][b] * c.scale;
			s = c.softcap > 0 ? c.softcap * tanhf(s / c.softcap) : s;
			x->s[a][b] = j >= x->low[a] && j <= x->position[a] ? s : -INFINITY;
			top = fmaxf(top, x->s[a][b]);
		}
		for (int other = 8; other; other /= 2)
			top = fmaxf(top, warp_shuffle_xor(top, other));
		/* A row that has seen nothing yet has nothing to subtract, and one that sees nothing new stays as it is. */
		const float base = top == -INFINITY ? 0 : top;
		x->shrink[a] = top == x->top[a] ? 1 : expf(x->top[a] - base);
		x->top[a] = top;
		UNROLL
		for (unsigned b = 0; b < S::KEYS / 16; b++) {
			const float e = expf(x->s[a][b] - base);
			sum += e;
			p[a * S::P_STRIDE + b * 16] = e;
		}
		x->total[a] = x->total[a] * x->shrink[a] + sum;
	}
}

/* O = O shrink + P V.  EDGE: some row doesn't see all keys. */
template <bool EDGE, class S> DEVICE void wide_mix(wide_state<S> *x, uint32_t key, const float *shared)
{
	const float *p = shared + S::P_AT + thread_index() / 16 * 4 * S::P_STRIDE;
	const float *v = shared + S::KV_AT + thread_index() % 16 * 4;
	quad part[4][S::W / 64] = {};
	for (unsigned j = 0; j < S::KEYS; j += 4) {
		quad chance[4];
		UNROLL
		for (unsigned a = 0; a < 4; a++)
			chance[a] = *reinterpret_cast<const quad *>(p + a * S::P_STRIDE + j);
		UNROLL
		for (unsigned i = 0; i < 4; i++)
			UNROLL
			for (unsigned w = 0; w < S::W / 64; w++) {
				const quad value = *reinterpret_cast<const quad *>(v + (j + i) * S::STRIDE + w * 64);
				UNROLL
				for (unsigned a = 0; a < 4; a++)
					UNROLL
					for (unsigned e = 0; e < 4; e++)
						if (!EDGE || (key + j + i >= x->low[a] && key + j + i <= x->position[a]))
							part[a][w].x[e] = fmaf(chance[a].x[i], value.x[e], part[a][w].x[e]);
			}
	}
	UNROLL
	for (unsigned a = 0; a < 4; a++)
		UNROLL
		for (unsigned w = 0; w < S::W / 64; w++)
			UNROLL
			for (unsigned e = 0; e < 4; e++)
				x->o[a][w].x[e] = x->o[a][w].x[e] * x->shrink[a] + part[a][w].x[e];
}

template <class S> DEVICE void wide_begin(wide_state<S> *x, const attend_call &c, const attend_unit &u, const attend_tile &t)
{
	for (unsigned a = 0; a < 4; a++) {
		for (unsigned w = 0; w < S::W / 64; w++)
			x->o[a][w] = {};
		x->total[a] = 0;
		x->top[a] = -INFINITY;
		x->position[a] = u.first + t.query + (thread_index() / 16 * 4 + a) / c.heads;
		x->low[a] = attend_first_key(c.window, x->position[a]);
	}
}

template <class S> DEVICE void wide_finish(wide_state<S> *x, const attend_call &c, const attend_unit &u, const attend_tile &t)
{
	const unsigned lane = thread_index() % 16;
	UNROLL
	for (unsigned a = 0; a < 4; a++) {
		const unsigned r = thread_index() / 16 * 4 + a;
		const attend_place at = attend_row(c, u, t, r);
		float total = x->total[a];
		for (int other = 8; other; other /= 2)
			total += warp_shuffle_xor(total, other);
		if (!at.mine)
			continue;
		UNROLL
		for (unsigned w = 0; w < S::W / 64; w++)
			UNROLL
			for (unsigned e = 0; e < 4; e += 2)     /* + 0: see attend_tile.h */
				attend_give(c, u.row + at.query, at.head, w * 64 + lane * 4 + e, (x->o[a][w].x[e] + 0.0f) / total,
				            (x->o[a][w].x[e + 1] + 0.0f) / total, DTYPE_F32);
		if (at.head * c.head_width + c.head_width == c.to.width && lane == 0)
			attend_pad(c, u.row + at.query);
	}
}

template <class S> static KERNEL BLOCKS_OF(S::THREADS, 1) void attend_wide(const attend_call c)
{
	float *shared = shared_memory<float>();
	const attend_tile t = c.tiles[block_index(0)];
	const attend_unit u = c.units[t.unit];
	const uint32_t lowest = u.first + t.query, highest = lowest + (S::ROWS - 1) / c.heads;
	uint32_t key = attend_first_key(c.window, lowest) / S::KEYS * S::KEYS;
	wide_state<S> x;
	wide_begin(&x, c, u, t);
	load_rows<S>(S::ROWS, shared, c.head_width, c.q.wide, [&](unsigned r) -> const float * {
		const attend_place at = attend_row(c, u, t, r);
		if (!at.mine)
			return nullptr;
		return reinterpret_cast<const float *>(c.q.p) + (u.row + at.query) * c.q.stride + at.head * c.head_width;
	});
	for (uint32_t block = 0; block < t.blocks; block++, key += S::KEYS) {
		const auto row = [&](const float *p) {
			return [&c, &u, key, p](unsigned r) {
				return key + r < u.end ? p + static_cast<size_t>(key + r) * c.kv_stride : nullptr;
			};
		};
		block_barrier();        /* nobody needs V or P any more */
		load_rows<S>(S::KEYS, shared + S::KV_AT, c.head_width, c.kv_wide, row(u.k));
		block_barrier();
		wide_scores(&x, shared);
		wide_soften(&x, c, key, shared);
		block_barrier();        /* nor K */
		load_rows<S>(S::KEYS, shared + S::KV_AT, c.head_width, c.kv_wide, row(u.v));
		block_barrier();
		if (key + S::KEYS - 1 <= lowest && key >= attend_first_key(c.window, highest))
			wide_mix<false>(&x, key, shared);
		else
			wide_mix<true>(&x, key, shared);
	}
	wide_finish(&x, c, u, t);
}

template <class S> static void wide_launch(gpu_stream *s, const attend_call *c, unsigned n)
{
	launch(s, attend_wide<S>, { n, 1, 1 }, S::THREADS, S::SHARED, *c);
}

template <class S> static attend_kernel wide_kernel()
{
	return { S::W, S::ROWS, S::KEYS, nullptr, nullptr, wide_launch<S> };
}

attend_kernel attend_f32(size_t width)
{
	return width <= 64    ? wide_kernel<wide_shape<64, 64>>()
	       : width <= 128 ? wide_kernel<wide_shape<128, 64>>()
	                      : wide_kernel<wide_shape<256, 32>>();
}
