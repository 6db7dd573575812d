/*
 * Attention of a block of query rows, a block of ATTEND_KEYS keys at a time, the softmax corrected
 * as larger scores come (online softmax).  A query row is one query of one head; rows are taken
 * TILE_ROWS at a time.
 *
 * What a row adds up, and in what order, depends on its own position only: within a key block its
 * visible keys go into one running sum from zero, which is then added to what earlier blocks gave.
 * Keys that only some rows of a tile see are left to those rows one by one, so a masked value is
 * never even multiplied with zero.
 */
enum { KEY_PANEL = TILE_VECTORS * VL };

struct attend_state {
	const struct attend_block *b;
	size_t rows, width; /* width: of a row, in whole vectors */
	size_t stride; /* of q, v, sum and part: an odd number of cache lines, see cpu.h */
	float *q;      /* (rows, stride) */
	float *sum;    /* (rows, stride): of exp(score - max) v so far */
	float *max, *total; /* (rows) */
	float *k;           /* (ATTEND_KEYS / KEY_PANEL, width, KEY_PANEL): keys transposed */
	float *v;           /* (ATTEND_KEYS, stride) */
	float *score;       /* (TILE_ROWS, ATTEND_KEYS) */
	float *part;        /* (TILE_ROWS, stride) */
};

/* Visible keys of a row or of a tile, relative to the key block. */
struct range {
	size_t first, end;
};

static size_t attend_stride(size_t width)
{
	const size_t vectors = (width + 15) / 16;

	return (vectors | 1) * 16;
}

static void attend_begin(struct attend_state *s, const struct attend_block *b)
{
	float *p = b->scratch;

	s->b = b;
	s->rows = b->n * b->heads;
	s->width = (b->width + VL - 1) / VL * VL;
	s->stride = attend_stride(b->width);
	s->k = p;
	p += ATTEND_KEYS * s->stride;
	s->v = p;
	p += ATTEND_KEYS * s->stride;
	s->score = p;
	p += TILE_ROWS * ATTEND_KEYS;
	s->part = p;
	p += TILE_ROWS * s->stride;
	s->max = p;
	p += (s->rows + 15) / 16 * 16;
	s->total = p;
	p += (s->rows + 15) / 16 * 16;
	s->q = p;
	p += s->rows * s->stride;
	s->sum = p;
	for (size_t r = 0; r < s->rows; r++) {
		const float *q = b->q + r / b->heads * b->q_stride + r % b->heads * b->width;

		memcpy(s->q + r * s->stride, q, b->width * sizeof *q);
		memset(s->sum + r * s->stride, 0, s->width * sizeof *q);
		s->max[r] = -__builtin_inff();
		s->total[r] = 0;
	}
}

/* Keys j0..j0+n-1 of the sample, rows of zeros after them up to a whole panel. */
static void pack_keys(const struct attend_state *s, size_t j0, size_t n)
{
	const struct attend_block *b = s->b;
	const size_t whole = b->width / 4 * 4;
	size_t j = 0;

	for (; j + 4 <= n; j += 4) {
		const float *from = b->k + (j0 + j) * b->kv_stride;
		float *to = s->k + j / KEY_PANEL * b->width * KEY_PANEL + j % KEY_PANEL;

		for (size_t i = 0; i < whole; i += 4)
			transpose_4x4(to + i * KEY_PANEL, KEY_PANEL, from + i, b->kv_stride);
		for (size_t i = whole; i < b->width; i++)
			for (size_t l = 0; l < 4; l++)
				to[i * KEY_PANEL + l] = from[l * b->kv_stride + i];
	}
	for (; j % KEY_PANEL || j < n; j++) {
		const float *from = b->k + (j0 + j) * b->kv_stride;
		float *to = s->k + j / KEY_PANEL * b->width * KEY_PANEL + j % KEY_PANEL;

		for (size_t i = 0; i < b->width; i++)
			to[i * KEY_PANEL] = j < n ? from[i] : 0;
	}
}

static void pack_values(const struct attend_state *s, size_t j0, size_t n)
{
	const struct attend_block *b = s->b;

	for (size_t j = 0; j < n; j++) {
		float *to = s->v + j * s->stride;

		memcpy(to, b->v + (j0 + j) * b->kv_stride, b->width * sizeof *to);
		memset(to + b->width, 0, (s->width - b->width) * sizeof *to);
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
	x *= b->scale;
	return b->softcap > 0 ? b->softcap * v_tanh(x / b->softcap) : x;
}

/* Scores j.. of one row, with -inf where they lie outside the range. */
INLINE vf visible_scores(const struct attend_state *s, const float *score, size_t j,
                         struct range range)
{
	const vf x = finish_score(s->b, v_load(score + j));

	if (j >= range.first && j + VL <= range.end)
		return x;

	const vi lane = v_lane() + (int32_t)j;
	const vi in =
		(lane >= v_set_int((int32_t)range.first)) & (lane < v_set_int((int32_t)range.end));

	return v_select(in, x, v_set(-__builtin_inff()));
}

/* Scores of one row to exp(score - max) within `range`, zero in the rest of its first and last
 * vector.  Returns what the sums so far are to be multiplied with. */
static float row_probabilities(const struct attend_state *s, size_t r, struct range range,
                               float *score)
{
	const size_t begin = range.first / VL * VL;
	vf top = v_set(s->max[r]), total = { 0 };

	for (size_t j = begin; j < range.end; j += VL) {
		const vf x = visible_scores(s, score, j, range);

		v_store(score + j, x);
		top = v_max(x, top);
	}

	const float before = s->max[r], max = v_largest(top);

	for (size_t j = begin; j < range.end; j += VL) {
		const vf p = v_exp(v_load(score + j) - max);

		v_store(score + j, p);
		total += p;
	}

	const float shrink = before == max ? 1 : v_exp(v_set(before) - max)[0];

	s->max[r] = max;
	s->total[r] = s->total[r] * shrink + v_sum(total);
	return shrink;
}

static void tile_scores(const struct attend_state *s, size_t r, size_t rows, struct range any)
{
	for (size_t j = any.first / KEY_PANEL * KEY_PANEL; j < any.end; j += KEY_PANEL) {
		const size_t left = (any.end - j + VL - 1) / VL,
			     vectors = left < TILE_VECTORS ? left : TILE_VECTORS;

		tiles[vectors - 1][rows - 1](s->q + r * s->stride, s->stride,
		                             s->k + j * s->b->width, KEY_PANEL, s->score + j,
		                             ATTEND_KEYS, s->b->width, INTO_SET);
	}
}

/* part of row r0.. += probabilities of keys in `range` times their values. */
static void mix(const struct attend_state *s, size_t r0, size_t rows, struct range range,
                enum into into)
{
	if (range.first >= range.end)
		return;
	for (size_t i = 0; i < s->width; i += KEY_PANEL) {
		const size_t left = (s->width - i) / VL,
			     vectors = left < TILE_VECTORS ? left : TILE_VECTORS;

		tiles[vectors - 1][rows - 1](s->score + r0 * ATTEND_KEYS + range.first, ATTEND_KEYS,
		                             s->v + range.first * s->stride + i, s->stride,
		                             s->part + r0 * s->stride + i, s->stride,
		                             range.end - range.first, into);
	}
}

static void tile_mix(const struct attend_state *s, size_t rows, const struct range *seen,
                     struct range any)
{
	struct range all = any;

	for (size_t r = 0; r < rows; r++) {
		all.first = seen[r].first > all.first ? seen[r].first : all.first;
		all.end = seen[r].end < all.end ? seen[r].end : all.end;
	}
	if (all.first == any.first && all.end == any.end) {
		mix(s, 0, rows, all, INTO_SET);
		return;
	}
	if (all.first > all.end)
		all.first = all.end = any.end;
	memset(s->part, 0, rows * s->stride * sizeof *s->part);
	for (size_t r = 0; r < rows; r++) {
		const size_t end = seen[r].end < all.first ? seen[r].end : all.first;

		mix(s, r, 1, (struct range){ seen[r].first, end }, INTO_CONTINUE);
	}
	mix(s, 0, rows, all, INTO_CONTINUE);
	for (size_t r = 0; r < rows; r++)
		mix(s, r, 1, (struct range){ all.end, seen[r].end }, INTO_CONTINUE);
}

static void attend_tile(const struct attend_state *s, size_t r, size_t rows, size_t j0, size_t n)
{
	struct range seen[TILE_ROWS], any = { n, 0 };
	float shrink[TILE_ROWS];

	for (size_t i = 0; i < rows; i++) {
		seen[i] = visible(s->b, r + i, j0, n);
		if (seen[i].first == seen[i].end)
			continue;
		any.first = seen[i].first < any.first ? seen[i].first : any.first;
		any.end = seen[i].end > any.end ? seen[i].end : any.end;
	}
	if (any.first >= any.end)
		return;
	tile_scores(s, r, rows, any);
	for (size_t i = 0; i < rows; i++)
		if (seen[i].first < seen[i].end)
			shrink[i] =
				row_probabilities(s, r + i, seen[i], s->score + i * ATTEND_KEYS);
	tile_mix(s, rows, seen, any);
	for (size_t i = 0; i < rows; i++) {
		float *sum = s->sum + (r + i) * s->stride;
		const float *part = s->part + i * s->stride;

		for (size_t c = 0; seen[i].first < seen[i].end && c < s->width; c += VL)
			v_store(sum + c,
			        v_fma(v_load(sum + c), v_set(shrink[i]), v_load(part + c)));
	}
}

static void attend_end(const struct attend_state *s)
{
	const struct attend_block *b = s->b;

	for (size_t r = 0; r < s->rows; r++) {
		const size_t at = r / b->heads * b->out_stride + r % b->heads * b->width;
		const struct sink out = { b->out.f ? b->out.f + at : NULL,
			                  b->out.h ? b->out.h + at : NULL };

		for (size_t c = 0; c < b->width; c += VL)
			sink_give(out, c, v_load(s->sum + r * s->stride + c) / s->total[r],
			          v_count(b->width - c));
	}
}

static void attend(const struct attend_block *b)
{
	struct attend_state s;
	const size_t end = b->position + b->n;
	const size_t first =
		b->window && b->position >= b->window ? b->position - b->window + 1 : 0;

	attend_begin(&s, b);
	for (size_t j0 = first / ATTEND_KEYS * ATTEND_KEYS; j0 < end; j0 += ATTEND_KEYS) {
		const size_t n = end - j0 < ATTEND_KEYS ? end - j0 : ATTEND_KEYS;

		pack_keys(&s, j0, n);
		pack_values(&s, j0, n);
		for (size_t r = 0; r < s.rows; r += TILE_ROWS)
			attend_tile(&s, r, s.rows - r < TILE_ROWS ? s.rows - r : TILE_ROWS, j0, n);
	}
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
