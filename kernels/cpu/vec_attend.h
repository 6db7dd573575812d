/*
 * Attention of a block of query rows, a block of ATTEND_KEYS keys at a time, the softmax corrected
 * as larger scores come (online softmax).  A query row is one query of one head.  Rows are taken
 * GROUP_ROWS at a time, so that a panel of keys or values, once it is in the first-level cache,
 * serves them all.
 *
 * What a row adds up, and in what order, depends on its own position only: within a key block its
 * visible keys go into one running sum, which is then added to what earlier blocks gave.  Keys that
 * only some rows of a tile see are hidden from the others (vec_tile.h), so a masked value is never
 * even multiplied with zero.
 */
enum { GROUP_TILES = 4, GROUP_ROWS = GROUP_TILES * TILE_HEIGHT };

/* Floats of a panel of values: not a multiple of 4096 bytes, lest panels meet in one cache set. */
enum { VALUE_PANEL = ATTEND_KEYS * PANEL_LEN + 16 };

struct attend_state {
	const struct attend_block *b;
	size_t rows, width; /* width: of a row, in whole vectors */
	size_t stride;      /* of q and sum: an odd number of cache lines, see cpu.h */
	bool finish;        /* scores need more than a multiplication with a positive scale */
	/* e^(scaled score) = 2^((exponent + exponent_rest) times the score that finish leaves) */
	float exponent, exponent_rest;
	float *q;           /* (rows, stride) */
	float *sum;         /* (rows, stride): of exp(score - max) v so far */
	float *max, *total; /* (rows); max: before the exponent's multiplication */
	float *k;           /* (ATTEND_KEYS / PANEL_LEN, width, PANEL_LEN): keys transposed */
	float *v;           /* (width / PANEL_LEN, ATTEND_KEYS, PANEL_LEN), a panel VALUE_PANEL floats */
	float *score;       /* (GROUP_ROWS, ATTEND_KEYS) */
};

/* Visible keys of a row or of a tile, relative to the key block. */
struct range {
	size_t first, end;
};

/* Rows r..r+rows-1 of the group's scores, and what they see of a key block. */
struct tile {
	size_t r, rows;
	struct span keys;
};

static size_t attend_stride(size_t width)
{
	const size_t vectors = (width + 15) / 16;

	return (vectors | 1) * 16;
}

static void attend_begin(struct attend_state *s, const struct attend_block *b)
{
	const size_t rows = b->n * b->heads, stride = attend_stride(b->width);
	float *p = b->scratch;

	*s = (struct attend_state){ .b = b,
		                    .rows = rows,
		                    .width = (b->width + VL - 1) / VL * VL,
		                    .stride = stride,
		                    .finish = b->softcap > 0 || !(b->scale > 0) };

	const double exponent = (s->finish ? 1 : b->scale) * 0x1.71547652b82fep0;

	s->exponent = (float)exponent;
	s->exponent_rest = (float)(exponent - s->exponent);
	s->k = p;
	p += ATTEND_KEYS * stride;
	s->v = p;
	p += (s->width + PANEL_LEN - 1) / PANEL_LEN * VALUE_PANEL;
	s->score = p;
	p += GROUP_ROWS * ATTEND_KEYS;
	s->max = p;
	p += (rows + 15) / 16 * 16;
	s->total = p;
	p += (rows + 15) / 16 * 16;
	s->q = p;
	p += rows * stride;
	s->sum = p;
	for (size_t r = 0; r < rows; r++) {
		const float *q = b->q + r / b->heads * b->q_stride + r % b->heads * b->width;

		memcpy(s->q + r * stride, q, b->width * sizeof *q);
		memset(s->sum + r * stride, 0, s->width * sizeof *q);
		s->max[r] = -__builtin_inff();
		s->total[r] = 0;
	}
}

/* Asks for keys and values first..end-1, which lie too far apart for the processor to guess. */
static void fetch(const struct attend_block *b, size_t first, size_t end)
{
	for (size_t j = first; j < end; j++)
		for (size_t c = 0; c < b->width; c += 16) {
			__builtin_prefetch(b->k + j * b->kv_stride + c, 0, 2);
			__builtin_prefetch(b->v + j * b->kv_stride + c, 0, 2);
		}
}

/* Keys j0..j0+n-1 of the sample, rows of zeros after them up to a whole vector. */
static void pack_keys(const struct attend_state *s, size_t j0, size_t n)
{
	const struct attend_block *b = s->b;
	const size_t whole = b->width / 4 * 4;
	size_t j = 0;

	for (; j + 4 <= n; j += 4) {
		const float *from = b->k + (j0 + j) * b->kv_stride;
		float *to = s->k + j / PANEL_LEN * b->width * PANEL_LEN + j % PANEL_LEN;

		for (size_t i = 0; i < whole; i += 4)
			transpose_4x4(to + i * PANEL_LEN, PANEL_LEN, from + i, b->kv_stride);
		for (size_t i = whole; i < b->width; i++)
			for (size_t l = 0; l < 4; l++)
				to[i * PANEL_LEN + l] = from[l * b->kv_stride + i];
	}
	for (; j % VL || j < n; j++) {
		const float *from = b->k + (j0 + j) * b->kv_stride;
		float *to = s->k + j / PANEL_LEN * b->width * PANEL_LEN + j % PANEL_LEN;

		for (size_t i = 0; i < b->width; i++)
			to[i * PANEL_LEN] = j < n ? from[i] : 0;
	}
}

static void pack_values(const struct attend_state *s, size_t j0, size_t n)
{
	const struct attend_block *b = s->b;

	for (size_t j = 0; j < n; j++) {
		const float *from = b->v + (j0 + j) * b->kv_stride;

		for (size_t c = 0; c < b->width; c += VL)
			v_store(s->v + c / PANEL_LEN * VALUE_PANEL + j * PANEL_LEN + c % PANEL_LEN,
			        v_take(from + c, v_count(b->width - c)));
	}
}

/* Of row r in the block of n keys from j0 on. */
static struct range visible(const struct attend_block *b, size_t r, size_t j0, size_t n)
{
	const size_t position = b->position + r / b->heads;
	const size_t first = b->window && position >= b->window ? position - b->window + 1 : 0;
	struct range v = { first > j0 ? first - j0 : 0, position >= j0 ? position - j0 + 1 : 0 };

	if (v.end > n)
		v.end = n;
	if (v.first > v.end)
		v.first = v.end;
	return v;
}

INLINE vf finish_score(const struct attend_block *b, vf x)
{
	x *= (float)b->scale;
	return b->softcap > 0 ? b->softcap * v_tanh(x / b->softcap) : x;
}

/* Keys j.. of one row, with `other` where they lie outside the range. */
INLINE vf only_visible(vf x, size_t j, struct range range, float other)
{
	if (j >= range.first && j + VL <= range.end)
		return x;

	const vi lane = v_lane() + (int32_t)j;
	const vi in =
		(lane >= v_set_int((int32_t)range.first)) & (lane < v_set_int((int32_t)range.end));

	return v_select(in, x, v_set(other));
}

/* Of the scores within the range and `before`; two at a time, for one waits for the one before. */
INLINE float largest_score(const float *score, struct range range, float before)
{
	const float least = -__builtin_inff();
	size_t j = range.first / VL * VL;
	vf a = v_set(before), b = a;

	if (j < range.first) {
		a = v_max(only_visible(v_load(score + j), j, range, least), a);
		j += VL;
	}
	for (; j + 2 * VL <= range.end; j += 2 * VL) {
		a = v_max(v_load(score + j), a);
		b = v_max(v_load(score + j + VL), b);
	}
	for (; j < range.end; j += VL)
		a = v_max(only_visible(v_load(score + j), j, range, least), a);
	return v_largest(v_max(a, b));
}

static void hide(float *p, size_t first, size_t end)
{
	for (size_t j = first; j < end; j += VL)
		v_store(p + j, v_set(HIDDEN));
}

/* Scores of row r to exp(score - max) within `range`, hidden in the rest of the tile's keys.
 * Returns what the sums so far are to be multiplied with. */
static float row_probabilities(const struct attend_state *s, size_t r, struct range range,
                               const struct span *keys, float *score)
{
	const size_t begin = range.first / VL * VL;

	if (range.first == range.end) {
		hide(score, keys->first / VL * VL, keys->end);
		return 1;
	}
	for (size_t j = begin; s->finish && j < range.end; j += VL)
		v_store(score + j, finish_score(s->b, v_load(score + j)));

	const float before = s->max[r], max = largest_score(score, range, before);
	const vf exponent = v_set(s->exponent), rest = v_set(s->exponent_rest),
		 origin = v_set(-max * s->exponent);
	vf total = { 0 };
	size_t j = begin;

	hide(score, keys->first / VL * VL, begin);
	for (; j < range.end; j += VL) {
		const vf x = v_load(score + j);
		const vf p = only_visible(v_exp2(v_fma(x, rest, v_fma(x, exponent, origin))), j,
		                          range, HIDDEN);

		v_store(score + j, p);
		total += p;
	}
	hide(score, j, keys->end);

	const float shrink =
		before == max ? 1 : v_exp2(v_set(before * s->exponent) + origin)[0];

	s->max[r] = max;
	s->total[r] = s->total[r] * shrink + v_sum(total);
	return shrink;
}

static struct span span_of(const struct range *seen, size_t rows)
{
	struct range any = { SIZE_MAX, 0 }, all = { 0, SIZE_MAX };

	for (size_t r = 0; r < rows; r++) {
		all.first = seen[r].first > all.first ? seen[r].first : all.first;
		all.end = seen[r].end < all.end ? seen[r].end : all.end;
		if (seen[r].first == seen[r].end)
			continue;
		any.first = seen[r].first < any.first ? seen[r].first : any.first;
		any.end = seen[r].end > any.end ? seen[r].end : any.end;
	}
	if (any.first >= any.end)
		return (struct span){ 0 };
	if (all.first >= all.end)
		all.first = all.end = any.end;
	return (struct span){ any.first, all.first, all.end, any.end };
}

static size_t panel_vectors(size_t first, size_t end)
{
	const size_t left = (end - first + VL - 1) / VL;

	return left < TILE_VECTORS ? left : TILE_VECTORS;
}

/* r: of the group's first row. */
static void group_scores(const struct attend_state *s, size_t r, const struct tile *some,
                         size_t n_tiles, size_t n_keys)
{
	for (size_t j = 0; j < n_keys; j += PANEL_LEN)
		for (const struct tile *t = some; t < some + n_tiles; t++)
			if (t->keys.first < j + PANEL_LEN && j < t->keys.end)
				score_tiles[panel_vectors(j, t->keys.end) - 1][t->rows - 1](
					s->q + (r + t->r) * s->stride, s->stride,
					s->k + j * s->b->width, s->b->width,
					s->score + t->r * ATTEND_KEYS + j);
}

static void group_mix(const struct attend_state *s, size_t r, const struct tile *some,
                      size_t n_tiles, const float *shrink)
{
	for (size_t c = 0; c < s->width; c += PANEL_LEN)
		for (const struct tile *t = some; t < some + n_tiles; t++)
			if (t->keys.end)
				mix_tiles[panel_vectors(c, s->width) - 1][t->rows - 1](
					s->score + t->r * ATTEND_KEYS,
					s->v + c / PANEL_LEN * VALUE_PANEL, t->keys, shrink + t->r,
					s->sum + (r + t->r) * s->stride + c, s->stride);
}

/* Rows r..r+rows-1 and the block of n keys from j0 on. */
static void attend_group(const struct attend_state *s, size_t r, size_t rows, size_t j0, size_t n)
{
	struct range seen[GROUP_ROWS];
	struct tile some[GROUP_TILES];
	float shrink[GROUP_ROWS];
	size_t n_tiles = 0;

	for (size_t i = 0; i < rows; i++)
		seen[i] = visible(s->b, r + i, j0, n);
	for (size_t i = 0; i < rows; i += TILE_HEIGHT) {
		const size_t height = rows - i < TILE_HEIGHT ? rows - i : TILE_HEIGHT;

		some[n_tiles++] = (struct tile){ i, height, span_of(seen + i, height) };
	}
	group_scores(s, r, some, n_tiles, n);
	for (size_t i = 0; i < rows; i++) {
		const struct span *keys = &some[i / TILE_HEIGHT].keys;

		if (keys->end)
			shrink[i] = row_probabilities(s, r + i, seen[i], keys,
			                              s->score + i * ATTEND_KEYS);
	}
	group_mix(s, r, some, n_tiles, shrink);
}

static void attend_end(const struct attend_state *s)
{
	const struct attend_block *b = s->b;

	for (size_t r = 0; r < s->rows; r++) {
		struct sink out = sink_row(&b->out, b->out_row + r / b->heads);

		out.first = b->out_first + r % b->heads * b->width;
		for (size_t c = 0; c < b->width; c += VL)
			sink_give(out, c, v_load(s->sum + r * s->stride + c) / s->total[r],
			          v_count(b->width - c));
	}
}

/* Keys and values of the next block are fetched meanwhile, some at every group. */
static void attend_keys(const struct attend_state *s, size_t j0, size_t n, size_t end)
{
	const size_t left = end - j0 - n, next = left < ATTEND_KEYS ? left : ATTEND_KEYS;
	const size_t groups = (s->rows + GROUP_ROWS - 1) / GROUP_ROWS;

	pack_keys(s, j0, n);
	pack_values(s, j0, n);
	for (size_t i = 0; i < groups; i++) {
		const size_t r = i * GROUP_ROWS;

		fetch(s->b, j0 + n + i * next / groups, j0 + n + (i + 1) * next / groups);
		attend_group(s, r, s->rows - r < GROUP_ROWS ? s->rows - r : GROUP_ROWS, j0, n);
	}
}

static size_t block_keys(size_t j0, size_t end)
{
	return end - j0 < ATTEND_KEYS ? end - j0 : ATTEND_KEYS;
}

static void attend(const struct attend_block *b)
{
	struct attend_state s;
	const size_t end = b->position + b->n;
	const size_t first =
		b->window && b->position >= b->window ? b->position - b->window + 1 : 0;
	size_t j0 = first / ATTEND_KEYS * ATTEND_KEYS;

	fetch(b, j0, j0 + block_keys(j0, end));
	attend_begin(&s, b);
	for (; j0 < end; j0 += ATTEND_KEYS)
		attend_keys(&s, j0, block_keys(j0, end), end);
	attend_end(&s);
}

static float dot(const float *a, const float *b, size_t n)
{
	vf sum = { 0 };

	for (size_t i = 0; i < n; i += VL) {
		const size_t m = v_count(n - i);

		sum = v_fma(v_take(a + i, m), v_take(b + i, m), sum);
	}
	return v_sum(sum);
}

static void row_scores(const struct attend_block *b, const float *q, const float *k, size_t n,
                       float *s)
{
	for (size_t j = 0; j < n; j++)
		s[j] = dot(q, k + j * b->kv_stride, b->width);
	for (size_t j = 0; j < n; j += VL) {
		const size_t m = v_count(n - j);

		v_give(s + j, finish_score(b, v_take(s + j, m)), m);
	}
}

static void row_softmax(float *s, size_t n)
{
	vf top = v_set(-__builtin_inff()), total = { 0 };

	for (size_t i = 0; i < n; i += VL) {
		const size_t m = v_count(n - i);
		const vf x = v_take(s + i, m);

		top = v_max(v_select(v_lane() < v_set_int((int32_t)m), x, v_set(-__builtin_inff())),
		            top);
	}

	const float max = v_largest(top);

	for (size_t i = 0; i < n; i += VL) {
		const size_t m = v_count(n - i);
		const vf p = v_first(v_exp(v_take(s + i, m) - max), m);

		v_give(s + i, p, m);
		total += p;
	}

	const float sum = v_sum(total);

	for (size_t i = 0; i < n; i += VL) {
		const size_t m = v_count(n - i);

		v_give(s + i, v_take(s + i, m) / sum, m);
	}
}
