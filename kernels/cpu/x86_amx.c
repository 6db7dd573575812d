/* The processor's tiles. */
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

/* By their names: the header of all vector units takes longer to read than this file, and gcc's words do not say that a tile's
 * load reads memory. */
#define tiles_begin() __asm__ volatile("ldtilecfg %0" :: "m"(config))
#define tiles_end() __asm__ volatile("tilerelease")
#define tile_zero(t) __asm__ volatile("tilezero %%tmm" #t ::)
#define tile_load(t, p, stride) \
	__asm__ volatile("tileloadd (%0, %1, 1), %%tmm" #t :: "r"(p), "r"(stride) : "memory")
#define tile_store(t, p, stride) \
	__asm__ volatile("tilestored %%tmm" #t ", (%0, %1, 1)" :: "r"(p), "r"(stride) : "memory")
#define tile_multiply(c, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #c ::)

#define AMX_MULTIPLIER multiply_amx
#include "vec_amx.h"
