/* The processor's tiles. */
#include <immintrin.h>

#include "unit.h"

/* What ldtilecfg reads. */
struct tile_config {
	uint8_t palette, start_row, reserved[14];
	uint16_t row_len[16];
	uint8_t rows[16];
};

static const struct tile_config config = { .palette = 1,
	                                   .row_len = { 64, 64, 64, 64, 64, 64, 64, 64 },
	                                   .rows = { 16, 16, 16, 16, 16, 16, 16, 16 } };

/* gcc does not know that a tile's load reads memory: what was written there before has to be. */
#define tile_load(t, p, stride) \
	do { \
		__asm__ volatile("" ::: "memory"); \
		_tile_loadd(t, p, stride); \
	} while (0)
#define tiles_begin() _tile_loadconfig(&config)
#define tiles_end() _tile_release()
#define tile_zero(t) _tile_zero(t)
#define tile_store(t, p, stride) _tile_stored(t, p, stride)
#define tile_multiply(c, a, b) _tile_dpbf16ps(c, a, b)

#define AMX_MULTIPLIER multiply_amx
#include "vec_amx.h"
