/*
 * Products: sums of a tile of rows x vectors stay in registers while k goes by, PRODUCT_ROWS x PRODUCT_VECTORS at most.
 * Each sum is one chain of v_fma over about PARTIAL_SUM inputs, and these partial sums are added in their order; so neither the
 * shape of the tile nor the way to the weight's numbers changes a bit.
 *
 * The including file defines PRODUCT_ROWS, PRODUCT_VECTORS and PRODUCT_UNROLL, the inputs that a turn of the loop takes, and
 * may define PRODUCT_LOOP(a, b, n, sum), which sets the sums of a full tile over n turns, and with it
 * PRODUCT_WIDEN_LOOP(a, half, b, n, sum), which besides writes b, the panel's bf16 numbers as floats.  Where it defines
 * PRODUCT_PAIRS, an input is a pair of bf16 numbers, of operand and weight alike, in the place of a float: v_add_product
 * multiplies those, and nothing is widened.
 *
 * For many rows a panel's inputs of a partial sum are widened once, lie in the first-level cache, and all rows pass by, while
 * the next panel's come into the second level.
 * For few rows the weight is what takes the time: it is read once, from end to end, and widened in registers.
 *
 * For PRODUCT_LOOP the operand's rows are woven by tiles (unit.h): what a turn takes of a tile's rows are neighbours.  Loads of
 * rows that lie far apart, several streams at a time, cost a twentieth of the whole.
 */
#ifdef PRODUCT_LOOP
#define PRODUCT_WOVEN PRODUCT_ROWS
_Static_assert(PRODUCT_UNROLL == VL, "a turn takes what lies together of a row");
#else
#define PRODUCT_WOVEN 1
#endif

enum {
	PRODUCT_PANEL = PRODUCT_VECTORS * VL,
	FEW_ROWS = 4 * PRODUCT_ROWS,
	/* Panels that one row and two rows take at a time, as far as there are registers for the sums: memory gives more to
	   several streams than to one, and sums do not wait for each other. */
	ONE_ROW_PANELS = 4,
	TWO_ROWS_PANELS = PRODUCT_ROWS < 8 ? 2 : 4,
	MOST_PANELS = 4,
	FEW_PANEL_ROWS = 2,
	CACHE_LINE = 64
};

/* (rows, panels of vectors) of c, set or added to. */
struct product_block {
	const float *a;         /* (rows, k) */
	size_t a_stride;
	size_t a_first;         /* which of the rows that are woven together is the first */
	const void *b;          /* panels of (k, PRODUCT_PANEL), panel_stride numbers apart */
	size_t panel_stride;
	float *c;
	size_t c_stride, k;
	bool add;
	const uint16_t *half;   /* what b is to be made of first, or NULL */
	const char *ahead;      /* fetched meanwhile: ahead_step bytes with every PRODUCT_UNROLL inputs, of each panel alike */
	size_t ahead_step;
};

typedef void product_tile(const struct product_block *p);

/* Inputs from row 0 to row r. */
INLINE size_t row_place(size_t a_stride, size_t r)
{
	return (r - r % PRODUCT_WOVEN) * a_stride + r % PRODUCT_WOVEN * VL;
}

/* An input of one row in every lane. */
INLINE vf take_input(const float *a)
{
#ifdef PRODUCT_PAIRS
	int32_t pair;

	memcpy(&pair, a, sizeof pair);
	return (vf)((vi){ 0 } + pair);
#else
	return v_set(*a);
#endif
}

/* How a weight lies before a tile; MANY: as floats that many rows pass by. */
enum held { HELD_MANY, HELD_F32, HELD_BF16, HELD_F16, HELD_COUNT };

INLINE vf take_held(const void *b, size_t i, enum held held)
{
#ifndef PRODUCT_PAIRS
	if (held == HELD_BF16)
		return v_from_bf16((const uint16_t *)b + i);
#ifndef NO_F16
	if (held == HELD_F16)
		return v_from_f16((const uint16_t *)b + i);
#endif
#endif
	(void)held;
	return v_load((const float *)b + i);
}

/* One k; a: of the first row, from which row r is row[r] away.  What is fewer, rows or vectors, is held in registers. */
INLINE void product_step(size_t rows, size_t vectors, size_t panels, enum held held, const float *a, const size_t *row,
                         const void *b, size_t at, size_t panel_stride,
                         vf sum[PRODUCT_ROWS][MOST_PANELS * PRODUCT_VECTORS])
{
	if (rows <= FEW_PANEL_ROWS) {
		vf s[FEW_PANEL_ROWS];
		UNROLL
		for (size_t r = 0; r < rows; r++)
			s[r] = take_input(a + row[r]);
		UNROLL
		for (size_t v = 0; v < panels * vectors; v++) {
			const vf x = take_held(b, at + v / vectors * panel_stride + v % vectors * VL, held);
			UNROLL
			for (size_t r = 0; r < rows; r++)
				v_add_product(&sum[r][v], s[r], x);
		}
		return;
	}
	vf x[PRODUCT_VECTORS];
	UNROLL
	for (size_t v = 0; v < vectors; v++)
		x[v] = take_held(b, at + v * VL, held);
	UNROLL
	for (size_t r = 0; r < rows; r++) {
		const vf s = take_input(a + row[r]);
		UNROLL
		for (size_t v = 0; v < vectors; v++)
			v_add_product(&sum[r][v], s, x[v]);
	}
}

/* Fetches a few lines that are wanted much later. */
INLINE void fetch_ahead(const char *p, size_t len)
{
	for (size_t n = 0; n < len; n += CACHE_LINE)
		__builtin_prefetch(p + n, 0, 2);
}

INLINE void put_sums(vf sum[PRODUCT_ROWS][MOST_PANELS * PRODUCT_VECTORS], size_t rows, size_t vectors, bool add, float *c,
                     size_t c_stride)
{
	UNROLL
	for (size_t r = 0; r < rows; r++, c += c_stride) {
		UNROLL
		for (size_t v = 0; v < vectors; v++)
			v_store(c + v * VL, add ? v_load(c + v * VL) + sum[r][v] : sum[r][v]);
	}
}

INLINE void product_sums(const struct product_block *p, size_t rows, size_t vectors, size_t panels, enum held held)
{
	const size_t c_stride = p->c_stride, panel_stride = p->panel_stride, ahead_step = p->ahead_step;
	const size_t first = PRODUCT_WOVEN > 1 ? p->a_first : 0;
	const size_t len = held == HELD_BF16 || held == HELD_F16 ? sizeof(uint16_t) : sizeof(float);
	const bool add = p->add, few = held != HELD_MANY;
	const float *a = p->a;
	const char *b = p->b, *ahead = p->ahead;
	float *c = p->c;
	size_t row[PRODUCT_ROWS], left = p->k / PRODUCT_UNROLL;
	vf sum[PRODUCT_ROWS][MOST_PANELS * PRODUCT_VECTORS];
	/* One row's many loads are told apart by their place in the program when the processor learns what to fetch: few places. */
	const bool few_places = few && rows == 1 && held == HELD_F32;
	if (!few)
		fetch_ahead(ahead, left * ahead_step);
	UNROLL
	for (size_t r = 0; r < rows; r++) {
		row[r] = row_place(p->a_stride, first + r) - row_place(p->a_stride, first);
		__builtin_prefetch(c + r * c_stride);
		__builtin_prefetch(c + r * c_stride + vectors * VL - 1);
		UNROLL
		for (size_t v = 0; v < panels * vectors; v++)
			sum[r][v] = (vf){ 0 };
	}
	for (; left > 0; left--) {
		if (few) {
			UNROLL
			for (size_t v = 0; v < panels; v++)
				fetch_ahead(ahead + v * panel_stride * len, ahead_step);
		}
		if (few_places) {
			for (size_t j = 0; j < PRODUCT_UNROLL; j++)
				product_step(rows, vectors, panels, held, a + j, row, b, j * PRODUCT_PANEL, panel_stride, sum);
		} else {
			UNROLL
			for (size_t j = 0; j < PRODUCT_UNROLL; j++)
				product_step(rows, vectors, panels, held, a + j, row, b, j * PRODUCT_PANEL, panel_stride, sum);
		}
		ahead += ahead_step;
		a += PRODUCT_UNROLL * PRODUCT_WOVEN;
		b += PRODUCT_UNROLL * PRODUCT_PANEL * len;
	}
	for (size_t i = 0; i < p->k % PRODUCT_UNROLL; i++)
		product_step(rows, vectors, panels, held, a + i, row, b, i * PRODUCT_PANEL, panel_stride, sum);
	put_sums(sum, rows, panels * vectors, add, c, c_stride);
}

#ifdef PRODUCT_LOOP
/* A panel's sums of n full tiles, one after another, over p->k >= PRODUCT_UNROLL inputs; b is made of p->half by the first
 * where that is not NULL. */
INLINE void full_tiles(const struct product_block *p, size_t n, bool add)
{
	const size_t turns = p->k / PRODUCT_UNROLL, whole = turns * PRODUCT_UNROLL;
	size_t row[PRODUCT_ROWS];
	const uint16_t *half = p->half;
	const char *ahead = p->ahead;
	const float *a = p->a;
	float *c = p->c;
	UNROLL
	for (size_t r = 0; r < PRODUCT_ROWS; r++)
		row[r] = row_place(p->a_stride, r);
	for (; n > 0; n--) {
		vf sum[PRODUCT_ROWS][MOST_PANELS * PRODUCT_VECTORS];
		fetch_ahead(ahead, p->ahead_step);
		if (half)
			PRODUCT_WIDEN_LOOP(a, half, (float *)p->b, turns, sum);
		else
			PRODUCT_LOOP(a, p->b, turns, sum);
		for (size_t i = 0; i < p->k % PRODUCT_UNROLL; i++)
			product_step(PRODUCT_ROWS, PRODUCT_VECTORS, 1, HELD_MANY, a + whole * PRODUCT_WOVEN + i, row, p->b,
			             (whole + i) * PRODUCT_PANEL, 0, sum);
		put_sums(sum, PRODUCT_ROWS, PRODUCT_VECTORS, add, c, p->c_stride);
		half = NULL;
		ahead += p->ahead_step;
		a += PRODUCT_ROWS * p->a_stride;
		c += PRODUCT_ROWS * p->c_stride;
	}
}
#endif

/* Of rows x vectors of one panel, and of PRODUCT_VECTORS of several. */
#define PRODUCT_TILE(held, rows, vectors) \
	static void tile_##held##_##rows##x##vectors(const struct product_block *p) \
	{ \
		product_sums(p, rows, vectors, 1, HELD_##held); \
	}
#define PANELS_TILE(held, rows, panels) \
	static void panels_##held##_##rows(const struct product_block *p) \
	{ \
		product_sums(p, rows, PRODUCT_VECTORS, panels, HELD_##held); \
	}

#if PRODUCT_ROWS == 12
#define BY_ROWS(X, h) X(h, 1) X(h, 2) X(h, 3) X(h, 4) X(h, 5) X(h, 6) X(h, 7) X(h, 8) X(h, 9) X(h, 10) X(h, 11) X(h, 12)
#elif PRODUCT_ROWS == 6
#define BY_ROWS(X, h) X(h, 1) X(h, 2) X(h, 3) X(h, 4) X(h, 5) X(h, 6)
#else
#define BY_ROWS(X, h) X(h, 1) X(h, 2) X(h, 3) X(h, 4)
#endif
#if PRODUCT_VECTORS == 3
#define ROW_TILES(h, r) PRODUCT_TILE(h, r, 1) PRODUCT_TILE(h, r, 2) PRODUCT_TILE(h, r, 3)
#define ROW_NAMES(h, r) { tile_##h##_##r##x1, tile_##h##_##r##x2, tile_##h##_##r##x3 },
#else
#define ROW_TILES(h, r) PRODUCT_TILE(h, r, 1) PRODUCT_TILE(h, r, 2)
#define ROW_NAMES(h, r) { tile_##h##_##r##x1, tile_##h##_##r##x2 },
#endif
#define TILES(h) BY_ROWS(ROW_TILES, h) PANELS_TILE(h, 1, ONE_ROW_PANELS) PANELS_TILE(h, 2, TWO_ROWS_PANELS)
#define TILE_NAMES(h) [HELD_##h] = { BY_ROWS(ROW_NAMES, h) }
#define PANELS_NAMES(h) [HELD_##h] = { panels_##h##_1, panels_##h##_2 }
#ifdef PRODUCT_PAIRS
#define BY_HELD(X) X(MANY), X(F32)
#elif defined NO_F16
#define BY_HELD(X) X(MANY), X(F32), X(BF16)
TILES(BF16)
#else
#define BY_HELD(X) X(MANY), X(F32), X(BF16), X(F16)
TILES(BF16)
TILES(F16)
#endif
TILES(MANY)
TILES(F32)

/* [held][rows - 1][vectors - 1] of one panel */
static product_tile *const product_tiles[HELD_COUNT][PRODUCT_ROWS][PRODUCT_VECTORS] = { BY_HELD(TILE_NAMES) };

/* [held][rows - 1] of ONE_ROW_PANELS and of TWO_ROWS_PANELS */
static product_tile *const panels_tiles[HELD_COUNT][FEW_PANEL_ROWS] = { BY_HELD(PANELS_NAMES) };

static enum held held_as(enum dtype dtype)
{
	return dtype == DTYPE_BF16 ? HELD_BF16 : dtype == DTYPE_F16 ? HELD_F16 : HELD_F32;
}

/* Columns of m->c that are made together: some vectors of a panel, or whole panels. */
struct strip {
	const char *b;          /* the panel's first number */
	size_t first, vectors;  /* of the panel's vectors */
	size_t panels;
	float *c;
};

/* The strip that begins `at` columns after m->first, of `panels` panels if there are so many, else of one or a part. */
static struct strip strip_at(const struct multiply *m, size_t at, size_t panels)
{
	const size_t column = m->first + at, left = (m->n - at + VL - 1) / VL;
	struct strip s = { (const char *)m->b + column / PRODUCT_PANEL * PRODUCT_PANEL * m->k * dtype_size(m->held),
		           column % PRODUCT_PANEL / VL, 0, 1, m->c + at };
	s.vectors = PRODUCT_VECTORS - s.first < left ? PRODUCT_VECTORS - s.first : left;
	if (s.vectors == PRODUCT_VECTORS && left >= panels * PRODUCT_VECTORS)
		s.panels = panels;
	return s;
}

static size_t strip_width(const struct strip *s)
{
	return s->vectors * s->panels * VL;
}

/* The strip's first number of input k0. */
static const char *strip_input(const struct multiply *m, const struct strip *s, size_t k0)
{
	return s->b + (k0 * PRODUCT_PANEL + s->first * VL) * dtype_size(m->held);
}

/* Inputs of a partial sum: K in equal parts, the number of which is K / PARTIAL_SUM to the nearest. */
static size_t partial_sum(size_t k)
{
	const size_t parts = k < PARTIAL_SUM ? 1 : (k + PARTIAL_SUM / 2) / PARTIAL_SUM, n = (k + parts - 1) / parts;
	return (n + PRODUCT_UNROLL - 1) / PRODUCT_UNROLL * PRODUCT_UNROLL;
}

static size_t tile_count(size_t rows)
{
	return (rows + PRODUCT_ROWS - 1) / PRODUCT_ROWS;
}

/* Rows of the next of n tiles: shared out evenly, since a tile of one would take as long as a full one. */
static size_t tile_rows(size_t rows, size_t n)
{
	return (rows + n - 1) / n;
}

/*
 * Inputs k0..k0+k-1 of the strip for the rows from `first` on; b: the first of them.
 * What lies from `ahead` on, as much as is read of a panel, is fetched meanwhile; nothing where that is NULL.
 */
static void multiply_rows(const struct multiply *m, size_t first, const struct strip *s, enum held held, const void *b,
                          size_t k0, size_t k, const char *ahead)
{
	const size_t n = tile_count(m->rows - first), input_len = PRODUCT_PANEL * dtype_size(m->held);
	struct product_block p = { .a_stride = m->a_stride,
		                   .b = b,
		                   .panel_stride = m->k * PRODUCT_PANEL,
		                   .c_stride = m->c_stride,
		                   .k = k,
		                   .add = k0 != 0,
		                   .ahead = ahead ? ahead : b,
		                   .ahead_step = ahead ? PRODUCT_UNROLL * input_len / n : 0 };
	for (size_t i = 0, r = first, rows; i < n; i++, r += rows) {
		rows = tile_rows(m->rows - r, n - i);
		product_tile *tile = s->panels > 1 ? panels_tiles[held][rows - 1] : product_tiles[held][rows - 1][s->vectors - 1];
		p.a = (const float *)m->a + row_place(m->a_stride, r) + k0 * PRODUCT_WOVEN;
		p.a_first = r % PRODUCT_WOVEN;
		p.c = s->c + r * m->c_stride;
		tile(&p);
		if (ahead)
			p.ahead += k * input_len / n;
	}
}

static void multiply_few(const struct multiply *m)
{
	const size_t step = partial_sum(m->k);
	struct strip s;
	for (size_t at = 0; at < m->n; at += strip_width(&s)) {
		s = strip_at(m, at, m->rows == 1 ? ONE_ROW_PANELS : m->rows == 2 ? TWO_ROWS_PANELS : 1);
		for (size_t k0 = 0; k0 < m->k; k0 += step) {
			/* One row has nothing to do but wait for the weight. */
			const char *b = strip_input(m, &s, k0), *ahead = m->rows > 1 ? strip_input(m, &s, k0 + step) : NULL;
			multiply_rows(m, 0, &s, held_as(m->held), b, k0, m->k - k0 < step ? m->k - k0 : step, ahead);
		}
	}
}

#ifndef PRODUCT_PAIRS
/* Whether the first tile widens the strip's k inputs as it multiplies them. */
static bool widens(const struct multiply *m, const struct strip *s, size_t k)
{
#ifdef PRODUCT_LOOP
	return m->held == DTYPE_BF16 && s->vectors == PRODUCT_VECTORS && k % PRODUCT_UNROLL == 0;
#else
	(void)m, (void)s, (void)k;
	return false;
#endif
}

static const float *strip_widened(const struct multiply *m, const struct strip *s, size_t k0, size_t k)
{
	row_widen(m->scratch, s->b + k0 * PRODUCT_PANEL * dtype_size(m->held), m->held, k * PRODUCT_PANEL);
	return (const float *)m->scratch + s->first * VL;
}
#endif

/* Inputs k0..k0+k-1 of the strip for as many rows as make full tiles: their number.  As multiply_rows; b is made of `half`
 * first where that is not NULL. */
static size_t multiply_tiles(const struct multiply *m, const struct strip *s, const void *b, const void *half, size_t k0,
                             size_t k, const char *ahead)
{
#ifdef PRODUCT_LOOP
	const size_t n = m->rows / PRODUCT_ROWS;
	const struct product_block p = { .a = (const float *)m->a + k0 * PRODUCT_WOVEN,
		                         .a_stride = m->a_stride,
		                         .b = b,
		                         .c = s->c,
		                         .c_stride = m->c_stride,
		                         .k = k,
		                         .half = half,
		                         .ahead = ahead,
		                         .ahead_step = k * PRODUCT_PANEL * dtype_size(m->held) / n };
	if (s->vectors < PRODUCT_VECTORS || k < PRODUCT_UNROLL)
		return 0;
	if (k0)
		full_tiles(&p, n, true);
	else
		full_tiles(&p, n, false);
	return n * PRODUCT_ROWS;
#else
	(void)m, (void)s, (void)b, (void)half, (void)k0, (void)k, (void)ahead;
	return 0;
#endif
}

/* Inputs k0..k0+k-1 of the strip; then come those at `ahead`. */
static void multiply_strip(const struct multiply *m, const struct strip *s, size_t k0, size_t k, const char *ahead)
{
	const void *b = strip_input(m, s, k0), *half = NULL;
#ifndef PRODUCT_PAIRS
	if (widens(m, s, k)) {
		half = b;
		b = m->scratch;
	} else if (m->held != DTYPE_F32) {
		b = strip_widened(m, s, k0, k);
	}
#endif
	const size_t done = multiply_tiles(m, s, b, half, k0, k, ahead);
	if (done < m->rows)
		multiply_rows(m, done, s, HELD_MANY, b, k0, k, done ? NULL : ahead);
}

static void multiply(const struct multiply *m)
{
	const size_t step = partial_sum(m->k);
	if (m->rows <= FEW_ROWS && product_tiles[held_as(m->held)][0][0]) {
		multiply_few(m);
		return;
	}
	for (size_t k0 = 0; k0 < m->k; k0 += step) {
		const size_t k = m->k - k0 < step ? m->k - k0 : step;
		struct strip s;
		for (size_t at = 0; at < m->n; at += strip_width(&s)) {
			s = strip_at(m, at, 1);
			const size_t end = at + strip_width(&s);
			const struct strip next = strip_at(m, end < m->n ? end : 0, 1);
			multiply_strip(m, &s, k0, k, strip_input(m, &next, end < m->n ? k0 : k0 + k));
		}
	}
}
