/*
 * The inner loop of attention: a tile of ROWS x VECTORS running sums stays in registers while k goes by.
 * Which rows share a tile changes nothing in what is computed for each.
 */
enum { TILE_ROWS = 6, PREFETCH = 16 };

typedef void multiply_tile(const float *a, size_t a_stride, const float *b, size_t b_stride,
                           float *c, size_t c_stride, size_t k, enum into into);

INLINE void tile_step(size_t rows, size_t vectors, const float *a, size_t a_stride, const float *b,
                      vf sum[TILE_ROWS][TILE_VECTORS])
{
	vf x[TILE_VECTORS];

	UNROLL
	for (size_t v = 0; v < vectors; v++)
		x[v] = v_load(b + v * VL);
	UNROLL
	for (size_t r = 0; r < rows; r++) {
		const vf s = v_set(a[r * a_stride]);

		UNROLL
		for (size_t v = 0; v < vectors; v++)
			sum[r][v] = v_fma(s, x[v], sum[r][v]);
	}
}

INLINE void tile_product(size_t rows, size_t vectors, const float *a, size_t a_stride,
                         const float *b, size_t b_stride, float *c, size_t c_stride, size_t k,
                         enum into into)
{
	vf sum[TILE_ROWS][TILE_VECTORS];

	UNROLL
	for (size_t r = 0; r < rows; r++) {
		const float *from = c + r * c_stride;

		UNROLL
		for (size_t v = 0; v < vectors; v++)
			sum[r][v] = into == INTO_CONTINUE ? v_load(from + v * VL) : (vf){ 0 };
	}
	for (size_t i = 0; i < k;) {
		const size_t end = k - i < PREFETCH ? k : i + PREFETCH;

		/* Rows lie too far apart for the processor to guess the next ones. */
		UNROLL
		for (size_t r = 0; r < rows; r++)
			__builtin_prefetch(a + (r + rows) * a_stride + i);
		for (; i < end; i++)
			tile_step(rows, vectors, a + i, a_stride, b + i * b_stride, sum);
	}
	UNROLL
	for (size_t r = 0; r < rows; r++) {
		float *to = c + r * c_stride;

		UNROLL
		for (size_t v = 0; v < vectors; v++)
			v_store(to + v * VL, into == INTO_ADD ? v_load(to + v * VL) + sum[r][v] : sum[r][v]);
	}
}

#define TILE(rows, vectors) \
	static void tile_##rows##x##vectors(const float *a, size_t a_stride, const float *b, \
	                                    size_t b_stride, float *c, size_t c_stride, size_t k, \
	                                    enum into into) \
	{ \
		tile_product(rows, vectors, a, a_stride, b, b_stride, c, c_stride, k, into); \
	}
#define TILES(v) TILE(1, v) TILE(2, v) TILE(3, v) TILE(4, v) TILE(5, v) TILE(6, v)
#define TILE_NAMES(v) \
	{ tile_1x##v, tile_2x##v, tile_3x##v, tile_4x##v, tile_5x##v, tile_6x##v }

TILES(1)
TILES(2)
#if TILE_VECTORS == 4
TILES(3)
TILES(4)
#endif

/* [vectors - 1][rows - 1] */
static multiply_tile *const tiles[TILE_VECTORS][TILE_ROWS] = {
	TILE_NAMES(1),
	TILE_NAMES(2),
#if TILE_VECTORS == 4
	TILE_NAMES(3),
	TILE_NAMES(4),
#endif
};
