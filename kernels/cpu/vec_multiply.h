/*
 * Products: sums of a tile of rows x vectors stay in registers while k goes by, PRODUCT_ROWS x PRODUCT_VECTORS at most.
 * Each sum is one chain of v_fma over about PARTIAL_SUM inputs, and these partial sums are added in their order; so neither the
 * shape of the tile nor the way to the weight's numbers changes a bit.
 *
 * The including file defines PRODUCT_ROWS, PRODUCT_VECTORS and PRODUCT_UNROLL, the inputs that a turn of the loop takes, and
 * may define PRODUCT_LOOP(a, a_stride, b, n, sum), which sets the sums of a full tile over n turns, and with it
 * PRODUCT_WIDEN_LOOP(a, a_stride, half, b, n, sum), which besides writes b, the panel's bf16 numbers as floats.
 *
 * For many rows a panel's inputs of a partial sum are widened once, lie in the first-level cache, and all rows pass by, while
 * the next panel's come into the second level.
 * For few rows the weight is what takes the time: it is read once, from end to end, and widened in registers.
 */
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

INLINE vf take_held(const void *b, size_t i, enum dtype held)
{
	if (held == DTYPE_BF16)
		return v_from_bf16((const uint16_t *)b + i);
	if (held == DTYPE_F16)
		return v_from_f16((const uint16_t *)b + i);
	return v_load((const float *)b + i);
}

/* One k.  What is fewer, rows or vectors, is held in registers. */
INLINE void product_step(size_t rows, size_t vectors, size_t panels, enum dtype held, const float *a, size_t a_stride,
                         const void *b, size_t at, size_t panel_stride,
                         vf sum[PRODUCT_ROWS][MOST_PANELS * PRODUCT_VECTORS])
{
	if (rows <= FEW_PANEL_ROWS) {
		vf s[FEW_PANEL_ROWS];
		UNROLL
		for (size_t r = 0; r < rows; r++)
			s[r] = v_set(a[r * a_stride]);
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
		const vf s = v_set(a[r * a_stride]);
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

INLINE void product_sums(const struct product_block *p, size_t rows, size_t vectors, size_t panels, enum dtype held, bool few)
{
	const size_t a_stride = p->a_stride, c_stride = p->c_stride, panel_stride = p->panel_stride, ahead_step = p->ahead_step;
	const size_t len = held == DTYPE_F32 ? sizeof(float) : sizeof(uint16_t);
	const bool add = p->add;
	const float *a = p->a;
	const char *b = p->b, *ahead = p->ahead;
	float *c = p->c;
	vf sum[PRODUCT_ROWS][MOST_PANELS * PRODUCT_VECTORS];
	/* One row's many loads are told apart by their place in the program when the processor learns what to fetch: few places. */
	const size_t turn = few && rows == 1 && held == DTYPE_F32 ? 1 : PRODUCT_UNROLL;
	size_t left = p->k / turn;
	if (!few)
		fetch_ahead(ahead, left * ahead_step);
	UNROLL
	for (size_t r = 0; r < rows; r++) {
		__builtin_prefetch(c + r * c_stride);
		__builtin_prefetch(c + r * c_stride + vectors * VL - 1);
		UNROLL
		for (size_t v = 0; v < panels * vectors; v++)
			sum[r][v] = (vf){ 0 };
	}
#ifdef PRODUCT_LOOP
	if (rows == PRODUCT_ROWS && vectors == PRODUCT_VECTORS && !few && left > 0) {
		if (p->half)
			PRODUCT_WIDEN_LOOP(a, a_stride, p->half, (float *)p->b, left, sum);
		else
			PRODUCT_LOOP(a, a_stride, p->b, left, sum);
		a += left * PRODUCT_UNROLL;
		b += left * PRODUCT_UNROLL * PRODUCT_PANEL * len;
		left = 0;
	}
#endif
	for (; left > 0; left--) {
		if (few) {
			UNROLL
			for (size_t v = 0; v < panels; v++)
				fetch_ahead(ahead + v * panel_stride * len, ahead_step);
		}
		UNROLL
		for (size_t j = 0; j < turn; j++)
			product_step(rows, vectors, panels, held, a + j, a_stride, b, j * PRODUCT_PANEL, panel_stride, sum);
		ahead += ahead_step;
		a += turn;
		b += turn * PRODUCT_PANEL * len;
	}
	for (size_t i = 0; i < p->k % turn; i++)
		product_step(rows, vectors, panels, held, a + i, a_stride, b, i * PRODUCT_PANEL, panel_stride, sum);
	UNROLL
	for (size_t r = 0; r < rows; r++) {
		UNROLL
		for (size_t v = 0; v < panels * vectors; v++) {
			float *to = c + r * c_stride + v * VL;
			v_store(to, add ? v_load(to) + sum[r][v] : sum[r][v]);
		}
	}
}

#define PRODUCT_TILE(name, rows, vectors, panels, held, few) \
	static void name(const struct product_block *p) \
	{ \
		product_sums(p, rows, vectors, panels, held, few); \
	}

#if PRODUCT_ROWS == 12
#define BY_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)
#elif PRODUCT_ROWS == 6
#define BY_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6)
#else
#define BY_ROWS(X) X(1) X(2) X(3) X(4)
#endif
#if PRODUCT_VECTORS == 3
#define BY_VECTORS(X) X(1) X(2) X(3)
#else
#define BY_VECTORS(X) X(1) X(2)
#endif

/* The preprocessor does not take BY_VECTORS for each row count otherwise. */
#define OF_EACH_TYPE(r, v, panels, name) \
	PRODUCT_TILE(many_##name, r, v, panels, DTYPE_F32, false) \
	PRODUCT_TILE(f32_##name, r, v, panels, DTYPE_F32, true) \
	PRODUCT_TILE(bf16_##name, r, v, panels, DTYPE_BF16, true) \
	PRODUCT_TILE(f16_##name, r, v, panels, DTYPE_F16, true)
#define ROWS_1(v) OF_EACH_TYPE(1, v, 1, 1x##v)
#define ROWS_2(v) OF_EACH_TYPE(2, v, 1, 2x##v)
#define ROWS_3(v) OF_EACH_TYPE(3, v, 1, 3x##v)
#define ROWS_4(v) OF_EACH_TYPE(4, v, 1, 4x##v)
#define ROWS_5(v) OF_EACH_TYPE(5, v, 1, 5x##v)
#define ROWS_6(v) OF_EACH_TYPE(6, v, 1, 6x##v)
#define ROWS_7(v) OF_EACH_TYPE(7, v, 1, 7x##v)
#define ROWS_8(v) OF_EACH_TYPE(8, v, 1, 8x##v)
#define ROWS_9(v) OF_EACH_TYPE(9, v, 1, 9x##v)
#define ROWS_10(v) OF_EACH_TYPE(10, v, 1, 10x##v)
#define ROWS_11(v) OF_EACH_TYPE(11, v, 1, 11x##v)
#define ROWS_12(v) OF_EACH_TYPE(12, v, 1, 12x##v)
#define ALL_VECTORS(r) BY_VECTORS(ROWS_##r)

BY_ROWS(ALL_VECTORS)
OF_EACH_TYPE(1, PRODUCT_VECTORS, ONE_ROW_PANELS, panels_1)
OF_EACH_TYPE(2, PRODUCT_VECTORS, TWO_ROWS_PANELS, panels_2)

#define MANY_1(v) many_1x##v,
#define MANY_2(v) many_2x##v,
#define MANY_3(v) many_3x##v,
#define MANY_4(v) many_4x##v,
#define MANY_5(v) many_5x##v,
#define MANY_6(v) many_6x##v,
#define MANY_7(v) many_7x##v,
#define MANY_8(v) many_8x##v,
#define MANY_9(v) many_9x##v,
#define MANY_10(v) many_10x##v,
#define MANY_11(v) many_11x##v,
#define MANY_12(v) many_12x##v,
#define F32_1(v) f32_1x##v,
#define F32_2(v) f32_2x##v,
#define F32_3(v) f32_3x##v,
#define F32_4(v) f32_4x##v,
#define F32_5(v) f32_5x##v,
#define F32_6(v) f32_6x##v,
#define F32_7(v) f32_7x##v,
#define F32_8(v) f32_8x##v,
#define F32_9(v) f32_9x##v,
#define F32_10(v) f32_10x##v,
#define F32_11(v) f32_11x##v,
#define F32_12(v) f32_12x##v,
#define BF16_1(v) bf16_1x##v,
#define BF16_2(v) bf16_2x##v,
#define BF16_3(v) bf16_3x##v,
#define BF16_4(v) bf16_4x##v,
#define BF16_5(v) bf16_5x##v,
#define BF16_6(v) bf16_6x##v,
#define BF16_7(v) bf16_7x##v,
#define BF16_8(v) bf16_8x##v,
#define BF16_9(v) bf16_9x##v,
#define BF16_10(v) bf16_10x##v,
#define BF16_11(v) bf16_11x##v,
#define BF16_12(v) bf16_12x##v,
#define F16_1(v) f16_1x##v,
#define F16_2(v) f16_2x##v,
#define F16_3(v) f16_3x##v,
#define F16_4(v) f16_4x##v,
#define F16_5(v) f16_5x##v,
#define F16_6(v) f16_6x##v,
#define F16_7(v) f16_7x##v,
#define F16_8(v) f16_8x##v,
#define F16_9(v) f16_9x##v,
#define F16_10(v) f16_10x##v,
#define F16_11(v) f16_11x##v,
#define F16_12(v) f16_12x##v,
#define MANY_NAMES(r) { BY_VECTORS(MANY_##r) },
#define F32_NAMES(r) { BY_VECTORS(F32_##r) },
#define BF16_NAMES(r) { BY_VECTORS(BF16_##r) },
#define F16_NAMES(r) { BY_VECTORS(F16_##r) },

/* MANY: floats that many rows pass by */
enum held { HELD_MANY, HELD_F32, HELD_BF16, HELD_F16, HELD_COUNT };

/* [held][rows - 1][vectors - 1] of one panel */
static product_tile *const product_tiles[HELD_COUNT][PRODUCT_ROWS][PRODUCT_VECTORS] = {
	{ BY_ROWS(MANY_NAMES) },
	{ BY_ROWS(F32_NAMES) },
	{ BY_ROWS(BF16_NAMES) },
	{ BY_ROWS(F16_NAMES) },
};

/* [held][rows - 1] of ONE_ROW_PANELS and of TWO_ROWS_PANELS */
static product_tile *const panels_tiles[HELD_COUNT][FEW_PANEL_ROWS] = {
	{ many_panels_1, many_panels_2 },
	{ f32_panels_1, f32_panels_2 },
	{ bf16_panels_1, bf16_panels_2 },
	{ f16_panels_1, f16_panels_2 },
};

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
 * Inputs k0..k0+k-1 of the strip for all rows; b: the first of them and, with `half`, to be made of it by the first tile.
 * What lies from `ahead` on, as much as is read of a panel, is fetched meanwhile; nothing where that is NULL.
 */
static void multiply_rows(const struct multiply *m, const struct strip *s, enum held held, const void *b, const void *half,
                          size_t k0, size_t k, const char *ahead)
{
	const size_t n = tile_count(m->rows), input_len = PRODUCT_PANEL * dtype_size(m->held);
	struct product_block p = { .a_stride = m->a_stride,
		                   .b = b,
		                   .panel_stride = m->k * PRODUCT_PANEL,
		                   .c_stride = m->c_stride,
		                   .k = k,
		                   .add = k0 != 0,
		                   .half = half,
		                   .ahead = ahead,
		                   .ahead_step = ahead ? PRODUCT_UNROLL * input_len / n : 0 };
	for (size_t i = 0, r = 0, rows; i < n; i++, r += rows) {
		rows = tile_rows(m->rows - r, n - i);
		product_tile *tile = s->panels > 1 ? panels_tiles[held][rows - 1] : product_tiles[held][rows - 1][s->vectors - 1];
		p.a = (const float *)m->a + r * m->a_stride + k0;
		p.c = s->c + r * m->c_stride;
		tile(&p);
		p.half = NULL;
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
			multiply_rows(m, &s, held_as(m->held), b, NULL, k0, m->k - k0 < step ? m->k - k0 : step, ahead);
		}
	}
}

/* Whether the first tile widens the strip's k inputs as it multiplies them. */
static bool widens(const struct multiply *m, const struct strip *s, size_t k)
{
#ifdef PRODUCT_LOOP
	return m->held == DTYPE_BF16 && s->vectors == PRODUCT_VECTORS && k % PRODUCT_UNROLL == 0 &&
	       tile_rows(m->rows, tile_count(m->rows)) == PRODUCT_ROWS;
#else
	(void)m, (void)s, (void)k;
	return false;
#endif
}

/* Inputs k0..k0+k-1 of the strip; then come those at `ahead`. */
static void multiply_strip(const struct multiply *m, const struct strip *s, size_t k0, size_t k, const char *ahead)
{
	const char *b = strip_input(m, s, k0);
	if (m->held == DTYPE_F32) {
		multiply_rows(m, s, HELD_MANY, b, NULL, k0, k, ahead);
	} else if (widens(m, s, k)) {
		multiply_rows(m, s, HELD_MANY, m->scratch, b, k0, k, ahead);
	} else {
		row_widen(m->scratch, s->b + k0 * PRODUCT_PANEL * dtype_size(m->held), m->held, k * PRODUCT_PANEL);
		multiply_rows(m, s, HELD_MANY, (const float *)m->scratch + s->first * VL, NULL, k0, k, ahead);
	}
}

static void multiply(const struct multiply *m)
{
	const size_t step = partial_sum(m->k);
	if (m->rows <= FEW_ROWS) {
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
