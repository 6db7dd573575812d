/*
 * Products of bf16 operands in matrix tiles of 16 rows of 64 bytes, of which a thread has eight: 32 x 32 sums at a time in
 * four of them.  The file that includes this defines
 *
 *   tiles_begin()          makes the calling thread's tiles 16 x 64 bytes each;  tiles_end()
 *   tile_zero(t)  tile_load(t, p, stride)  tile_store(t, p, stride)     stride in bytes between rows
 *   tile_multiply(c, a, b) c (16, 16) f32 += a (16, 16 pairs) b (16 pairs, 16)
 *   AMX_MULTIPLIER         the name of the multiplier that comes out
 *
 * A sum runs over all of K in one chain of tile_multiply, 32 inputs each; between blocks of K_BLOCK it rests in c.
 * (Operands of 8 bits leave nothing that parting it would save.)  The weight's panel is (K / 2, PANEL, 2); a tile has one
 * half of PANEL.
 */
#include <string.h>

#include "unit.h"

enum { TILE = 16, TILE_K = 32, PANEL = 2 * TILE, K_BLOCK = 512 };

/* Of the sums of one call: c's corner, its inputs in tile order, and how many tiles there are down and across. */
struct tile_block {
	const uint16_t *a;      /* (2, K_BLOCK / TILE_K, TILE, TILE_K), of which n are filled */
	const uint16_t *b;      /* (n TILE_K / 2, PANEL, 2) from the wanted half on */
	size_t n;
	float *c;
	size_t c_stride;
	bool first;             /* no sums yet in c */
};

static inline __attribute__((always_inline)) void tile_block(const struct tile_block *p, size_t down, size_t across)
{
	const size_t c_len = p->c_stride * sizeof(float), b_len = PANEL * 2 * sizeof(uint16_t);
	float *c = p->c, *below = c + TILE * p->c_stride;
	const uint16_t *a = p->a, *a_below = a + TILE * K_BLOCK, *b = p->b;

	tile_zero(0);
	tile_zero(1);
	tile_zero(2);
	tile_zero(3);
	if (!p->first) {
		tile_load(0, c, c_len);
		if (across == 2)
			tile_load(1, c + TILE, c_len);
		if (down == 2)
			tile_load(2, below, c_len);
		if (down == 2 && across == 2)
			tile_load(3, below + TILE, c_len);
	}
	for (size_t i = 0; i < p->n; i++) {
		tile_load(6, b, b_len);
		if (across == 2)
			tile_load(7, b + TILE_K, b_len);
		tile_load(4, a, TILE_K * sizeof *a);
		tile_multiply(0, 4, 6);
		if (across == 2)
			tile_multiply(1, 4, 7);
		if (down == 2) {
			tile_load(5, a_below, TILE_K * sizeof *a);
			tile_multiply(2, 5, 6);
		}
		if (down == 2 && across == 2)
			tile_multiply(3, 5, 7);
		a += TILE * TILE_K;
		a_below += TILE * TILE_K;
		b += TILE_K * PANEL;
	}
	tile_store(0, c, c_len);
	if (across == 2)
		tile_store(1, c + TILE, c_len);
	if (down == 2)
		tile_store(2, below, c_len);
	if (down == 2 && across == 2)
		tile_store(3, below + TILE, c_len);
}

/* Inputs k0..k0+K_BLOCK-1 of the operand in tile order: (rows / TILE, K_BLOCK / TILE_K, TILE, TILE_K), zeros where there are
 * none. */
static void tile_rows(const struct multiply *m, size_t k0, size_t n)
{
	uint16_t *to = m->scratch;

	for (size_t r = 0; r < (m->rows + TILE - 1) / TILE * TILE; r++) {
		const uint16_t *from = (const uint16_t *)m->a + r * m->a_stride + k0;
		uint16_t *row = to + r / TILE * TILE * K_BLOCK + r % TILE * TILE_K;

		for (size_t i = 0; i < n; i++, row += TILE * TILE_K) {
			const size_t left = m->k - k0 - i * TILE_K;

			if (r < m->rows && left >= TILE_K) {
				memcpy(row, from + i * TILE_K, TILE_K * sizeof *row);
				continue;
			}
			memset(row, 0, TILE_K * sizeof *row);
			if (r < m->rows)
				memcpy(row, from + i * TILE_K, left * sizeof *row);
		}
	}
}

/* Columns at..at+16 across-1 of c, all rows. */
static void tile_columns(const struct multiply *m, size_t k0, size_t n, size_t at, size_t across)
{
	const size_t column = m->first + at, all_k = (m->k + TILE_K - 1) / TILE_K * TILE_K;
	struct tile_block p = { .a = m->scratch,
		                .b = (const uint16_t *)m->b + column / PANEL * PANEL * all_k + k0 * PANEL +
		                     column % PANEL * 2,
		                .n = n,
		                .c = m->c + at,
		                .c_stride = m->c_stride,
		                .first = k0 == 0 };

	for (size_t r = 0; r < m->rows; r += 2 * TILE) {
		if (m->rows - r > TILE && across == 2)
			tile_block(&p, 2, 2);
		else if (m->rows - r > TILE)
			tile_block(&p, 2, 1);
		else if (across == 2)
			tile_block(&p, 1, 2);
		else
			tile_block(&p, 1, 1);
		p.a += 2 * TILE * K_BLOCK;
		p.c += 2 * TILE * p.c_stride;
	}
}

static void tile_multiply_all(const struct multiply *m)
{
	tiles_begin();
	for (size_t k0 = 0; k0 < m->k; k0 += K_BLOCK) {
		const size_t left = (m->k - k0 + TILE_K - 1) / TILE_K, n = left < K_BLOCK / TILE_K ? left : K_BLOCK / TILE_K;
		size_t across;

		tile_rows(m, k0, n);
		for (size_t at = 0; at < m->n; at += across * TILE) {
			across = (m->first + at) % PANEL == 0 && m->n - at > TILE ? 2 : 1;
			tile_columns(m, k0, n, at, across);
		}
	}
	tiles_end();
}

const struct multiplier AMX_MULTIPLIER = { TILE, PANEL, 2, TILE_K, 256, 1, tile_multiply_all };
