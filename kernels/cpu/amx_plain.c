/* The processor's tiles in plain C, for the tests: slow, and bit for bit the same. */
#include "bf16_plain.h"

struct plain_tile {
	unsigned char bytes[16][64];
};

static void plain_load(struct plain_tile *t, const void *p, size_t stride)
{
	for (size_t r = 0; r < 16; r++)
		memcpy(t->bytes[r], (const char *)p + r * stride, 64);
}

static void plain_store(const struct plain_tile *t, void *p, size_t stride)
{
	for (size_t r = 0; r < 16; r++)
		memcpy((char *)p + r * stride, t->bytes[r], 64);
}

/* Even and odd inputs are added up apart, then joined, then added to the sum: Intel's manual, TDPBF16PS. */
static float plain_dot(const uint16_t *a, const struct plain_tile *b, size_t n, float sum)
{
	float part[2] = { 0, 0 };
	uint16_t pair[2];

	for (size_t k = 0; k < 16; k++) {
		memcpy(pair, b->bytes[k] + 4 * n, sizeof pair);
		for (size_t i = 0; i < 2; i++)
			part[i] = add_product(part[i], a[2 * k + i], pair[i]);
	}
	return flushed(flushed(sum) + flushed(part[0] + part[1]));
}

static void plain_multiply(struct plain_tile *c, const struct plain_tile *a, const struct plain_tile *b)
{
	for (size_t m = 0; m < 16; m++) {
		uint16_t row[32];
		float sums[16];

		memcpy(row, a->bytes[m], sizeof row);
		memcpy(sums, c->bytes[m], sizeof sums);
		for (size_t n = 0; n < 16; n++)
			sums[n] = plain_dot(row, b, n, sums[n]);
		memcpy(c->bytes[m], sums, sizeof sums);
	}
}

static _Thread_local struct plain_tile tiles[8];

#define tiles_begin() (void)0
#define tiles_end() (void)0
#define tile_zero(t) memset(&tiles[t], 0, sizeof tiles[t])
#define tile_load(t, p, stride) plain_load(&tiles[t], p, stride)
#define tile_store(t, p, stride) plain_store(&tiles[t], p, stride)
#define tile_multiply(c, a, b) plain_multiply(&tiles[c], &tiles[a], &tiles[b])

#define AMX_MULTIPLIER multiply_amx_plain
#include "vec_amx.h"
