/*
 * Attention's work, cut into tiles: what the list on the host (attend.cc) and the kernels agree on.
 *
 * A tile is queries of one segment and, of the heads that share a key/value head, as many as fit: row r of it is query
 * `query` + r / heads, head `head` + r % heads.  Keys come in blocks that begin at multiples of their length from the
 * sample's first token, so what a query computes depends on its position alone.
 *
 * Keys and values are converted to the products' 16-bit type once, into the launch's scratch memory, in rounds of as many as it
 * holds.  What is larger than all of it is converted by every tile for itself: slower, the same bits.
 */
#ifndef ATTEND_H
#define ATTEND_H

#include "context.h"
#include "quads.h"

/* For the host too. */
#if defined __CUDACC__
#define EITHER __host__ __device__ inline
#else
#define EITHER inline
#endif

/* One segment and one key/value head of it. */
struct attend_unit {
	const float *k, *v;     /* (end, D) of that head, from position 0; rows are kv_stride elements apart */
	char *packed;           /* converted (attend_packed_len); NULL: not */
	uint32_t begin, end;    /* of the keys that its queries see; begin: rounded down to a key block */
	uint32_t first;         /* position of the segment's first query */
	uint32_t row, n;        /* its row of the batch, and how many queries */
	uint32_t head;          /* the first that shares the key/value head */
};

/* A key block to convert. */
struct attend_strip {
	uint32_t unit, key;
};

struct attend_tile {
	uint32_t unit, query, head;
	uint32_t blocks;        /* key blocks that it goes through */
};

/* A kernel's argument. */
struct attend_call {
	const attend_unit *units;
	const attend_strip *strips;
	const attend_tile *tiles;
	sheet q, to;            /* (T, A D); to.end > to.width where zeros follow a row */
	bool kv_wide, pairs;    /* k and v: 16-byte aligned rows of whole quads; to: two neighbours of 16 bits can be written at once */
	unsigned kv_stride, head_width;
	unsigned heads, shared; /* of a tile; that share a key/value head */
	unsigned positions;     /* of a tile: its last rows are nobody's where heads don't divide them */
	uint32_t window;        /* 0: none */
	float scale, softcap;
	/* For 16 bits, with |scale| (its sign goes to q): scores, once capped, are base x in powers of two, and
	 * e^(2 scale x / softcap) = 2^(cap_base x). */
	float base, cap_base;
};

/* Kernels for heads up to `width` columns, on tiles of `rows` rows. */
struct attend_kernel {
	unsigned width, rows, keys;
	/* Both NULL where nothing is converted. */
	void (*convert)(gpu_stream *s, const attend_call *c, unsigned n_strips);
	void (*converted)(gpu_stream *s, const attend_call *c, unsigned n_tiles);
	void (*direct)(gpu_stream *s, const attend_call *c, unsigned n_tiles);
};

/* For heads of `width` columns, at most 256.  roomy: a multiprocessor has 160 KB of shared memory, not 100. */
attend_kernel attend_bf16(size_t width, bool roomy);
attend_kernel attend_f16(size_t width, bool roomy);
attend_kernel attend_f32(size_t width);

/* What a call may use; the bits are the same with any. */
struct attend_room {
	size_t scratch_len;     /* of the scratch memory */
	unsigned tiles;         /* of one launch; at most what a table holds (attend.cc) */
	bool shared;            /* multiprocessors are roomy */
};

/* cuda_attend within that. */
void attend_within(launch_context *c, const attention *a, const segment *segments, size_t n_segments, rows q, rows out,
                   operand packed, attend_room room);

/* The first key that a position sees; it sees all from there to itself. */
EITHER uint32_t attend_first_key(uint32_t window, uint32_t position)
{
	return window && position >= window ? position - window + 1 : 0;
}

/* Row r of a tile; mine: it is one of its queries, and of no other tile. */
struct attend_place {
	uint32_t query, head;
	bool mine;
};

DEVICE attend_place attend_row(const attend_call &c, const attend_unit &u, const attend_tile &t, unsigned r)
{
	const uint32_t query = t.query + r / c.heads, head = t.head + r % c.heads;
	return { query, head, r / c.heads < c.positions && query < u.n && head < u.head + c.shared };
}

/* Columns `column` (even) and the next of a head's result in batch row `row`, rounded; nothing from the head's end on.  dtype: the
 * kernel's own, a constant; the result is of that or f32. */
DEVICE void attend_give(const attend_call &c, size_t row, unsigned head, unsigned column, float a, float b, enum dtype dtype)
{
	if (column >= c.head_width)
		return;
	const size_t at = row * c.to.stride + head * c.head_width + column;
	if (dtype == DTYPE_F32 || c.to.dtype == DTYPE_F32) {
		float *p = reinterpret_cast<float *>(c.to.p) + at;
		p[0] = a;
		if (column + 1 < c.head_width)
			p[1] = b;
		return;
	}
	uint16_t *p = reinterpret_cast<uint16_t *>(c.to.p) + at;
	const uint32_t w = pack_half(a, b, dtype);
	if (c.pairs) {
		*reinterpret_cast<uint32_t *>(p) = w;
		return;
	}
	p[0] = static_cast<uint16_t>(w);
	if (column + 1 < c.head_width)
		p[1] = static_cast<uint16_t>(w >> 16);
}

/* The zeros behind an operand's row. */
DEVICE void attend_pad(const attend_call &c, size_t row)
{
	for (unsigned i = c.to.width; i < c.to.end; i++)
		if (c.to.dtype == DTYPE_F32)
			reinterpret_cast<float *>(c.to.p)[row * c.to.stride + i] = 0;
		else
			reinterpret_cast<uint16_t *>(c.to.p)[row * c.to.stride + i] = 0;
}

/* Converted, a key block is keys (keys, stride), then values likewise, of 16 bits, as they lie in shared memory: rows of
 * `width` elements and a gap (attend_tile.h). */
static inline size_t attend_packed_len(size_t blocks, size_t width, size_t keys)
{
	return blocks * keys * ((width / 8) | 1) * 32;
}

#endif
