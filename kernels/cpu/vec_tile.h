/*
 * The two inner loops of attention: a tile of ROWS x VECTORS running sums stays in registers while
 * numbers of the other side, packed in panels of PANEL_LEN, go by.  Which rows share a tile changes
 * nothing in what is computed for each.
 */
enum { TILE_HEIGHT = 6, PANEL_LEN = TILE_VECTORS * VL };

/* Keys first..end-1 of a block, of which clean..ragged-1 are seen by every row of a tile. */
struct span {
	size_t first, clean, ragged, end;
};

/* score (rows, ATTEND_KEYS) = q (rows, width) k (width, PANEL_LEN) */
typedef void score_tile(const float *q, size_t q_stride, const float *k, size_t width,
                        float *score);

/* sum (rows, PANEL_LEN) = shrink[row] sum + p (rows, ATTEND_KEYS) v (ATTEND_KEYS, PANEL_LEN) */
typedef void mix_tile(const float *p, const float *v, struct span keys, const float *shrink,
                      float *sum, size_t sum_stride);

/* A row that does not see a key has HIDDEN for its probability: times +0 that is a number which
 * changes no sum that it is added to, not even one of -0. */
#define HIDDEN (-0.0f)

INLINE void attend_step(size_t rows, size_t vectors, bool ragged, const float *a, size_t a_stride,
                        const float *b, vf sum[TILE_HEIGHT][TILE_VECTORS])
{
	vf x[TILE_VECTORS];

	UNROLL
	for (size_t v = 0; v < vectors; v++)
		x[v] = v_load(b + v * VL);
	UNROLL
	for (size_t r = 0; r < rows; r++) {
		const vf s = v_set(a[r * a_stride]);
		const vi hidden = (vi)s == (vi)v_set(HIDDEN);

		UNROLL
		for (size_t v = 0; v < vectors; v++)
			v_add_product(&sum[r][v], s, ragged ? (vf)((vi)x[v] & ~hidden) : x[v]);
	}
}

/* Columns that are added up before they join a score: shorter sums are more exact. */
enum { SCORE_SUM = 64 };

INLINE void score(size_t rows, size_t vectors, const float *q, size_t q_stride, const float *k,
                  size_t width, float *to)
{
	for (size_t i = 0, end; i < width; i = end) {
		vf sum[TILE_HEIGHT][TILE_VECTORS] = { 0 };

		end = width - i < SCORE_SUM ? width : i + SCORE_SUM;
		for (size_t c = i; c < end; c++)
			attend_step(rows, vectors, false, q + c, q_stride, k + c * PANEL_LEN, sum);
		UNROLL
		for (size_t r = 0; r < rows; r++) {
			float *y = to + r * ATTEND_KEYS;

			UNROLL
			for (size_t v = 0; v < vectors; v++)
				v_store(y + v * VL, i ? v_load(y + v * VL) + sum[r][v] : sum[r][v]);
		}
	}
}

INLINE void mix(size_t rows, size_t vectors, const float *p, const float *v, struct span keys,
                const float *shrink, float *to, size_t to_stride)
{
	vf sum[TILE_HEIGHT][TILE_VECTORS];
	size_t j = keys.first;

	UNROLL
	for (size_t r = 0; r < rows; r++)
		UNROLL
		for (size_t i = 0; i < vectors; i++)
			sum[r][i] = v_set(HIDDEN);
	for (; j < keys.clean; j++)
		attend_step(rows, vectors, true, p + j, ATTEND_KEYS, v + j * PANEL_LEN, sum);
	for (; j < keys.ragged; j++)
		attend_step(rows, vectors, false, p + j, ATTEND_KEYS, v + j * PANEL_LEN, sum);
	for (; j < keys.end; j++)
		attend_step(rows, vectors, true, p + j, ATTEND_KEYS, v + j * PANEL_LEN, sum);
	UNROLL
	for (size_t r = 0; r < rows; r++) {
		float *y = to + r * to_stride;

		UNROLL
		for (size_t i = 0; i < vectors; i++)
			v_store(y + i * VL, v_fma(v_load(y + i * VL), v_set(shrink[r]), sum[r][i]));
	}
}

#define ATTEND_TILE(rows, vectors) \
	static void score_##rows##x##vectors(const float *q, size_t q_stride, const float *k, \
	                                     size_t width, float *to) \
	{ \
		score(rows, vectors, q, q_stride, k, width, to); \
	} \
	static void mix_##rows##x##vectors(const float *p, const float *v, struct span keys, \
	                                   const float *shrink, float *sum, size_t sum_stride) \
	{ \
		mix(rows, vectors, p, v, keys, shrink, sum, sum_stride); \
	}
#define ATTEND_TILES(v) \
	ATTEND_TILE(1, v) ATTEND_TILE(2, v) ATTEND_TILE(3, v) \
	ATTEND_TILE(4, v) ATTEND_TILE(5, v) ATTEND_TILE(6, v)
#define ATTEND_NAMES(f, v) \
	{ f##_1x##v, f##_2x##v, f##_3x##v, f##_4x##v, f##_5x##v, f##_6x##v }

ATTEND_TILES(1)
ATTEND_TILES(2)
#if TILE_VECTORS == 4
ATTEND_TILES(3)
ATTEND_TILES(4)
#endif

/* [vectors - 1][rows - 1] */
static score_tile *const score_tiles[TILE_VECTORS][TILE_HEIGHT] = {
	ATTEND_NAMES(score, 1),
	ATTEND_NAMES(score, 2),
#if TILE_VECTORS == 4
	ATTEND_NAMES(score, 3),
	ATTEND_NAMES(score, 4),
#endif
};
static mix_tile *const mix_tiles[TILE_VECTORS][TILE_HEIGHT] = {
	ATTEND_NAMES(mix, 1),
	ATTEND_NAMES(mix, 2),
#if TILE_VECTORS == 4
	ATTEND_NAMES(mix, 3),
	ATTEND_NAMES(mix, 4),
#endif
};
