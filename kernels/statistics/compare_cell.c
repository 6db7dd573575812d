#include "compare_cell.h"

#include <math.h>
#include <string.h>

#include "unit.h"

/* Up to COMPARE_BLOCK elements of a cell, from `from` on. */
struct block {
	const struct compare_cell *cell;
	const char *a, *b;
	size_t from, n;
	const char *wide[2];    /* both in f32, or in f64 */
	bool f32;
};

/* Bits of significand; integers are exact. */
static int precision(enum dtype type)
{
	static const int bits[DTYPE_COUNT] = {
		[DTYPE_F64] = 53, [DTYPE_F32] = 24, [DTYPE_F16] = 11, [DTYPE_BF16] = 8, [DTYPE_F8E4M3] = 4,
		[DTYPE_I32] = 64, [DTYPE_U32] = 64, [DTYPE_U8] = 64,
	};
	return bits[type];
}

static bool fits_f32(enum dtype type)
{
	return dtype_is_float(type) && type != DTYPE_F64;
}

/* Numbers in the order of the values that the bits stand for, a step apart for neighbours; +0 and -0 are both 0. */
static int64_t key(const char *values, enum dtype type, size_t i)
{
	uint64_t u64;
	uint32_t u32;
	int32_t i32;
	switch (type) {
	case DTYPE_F64:
		memcpy(&u64, values + i * 8, 8);
		return u64 >> 63 ? -(int64_t)(u64 & INT64_MAX) : (int64_t)u64;
	case DTYPE_I32:
		memcpy(&i32, values + i * 4, 4);
		return i32;
	case DTYPE_U32:
		memcpy(&u32, values + i * 4, 4);
		return u32;
	case DTYPE_F8E4M3:
		return (uint8_t)values[i] >> 7 ? -(int64_t)(values[i] & INT8_MAX) : values[i];
	default:
		return (uint8_t)values[i];
	}
}

/* How many numbers of the narrower type lie between a and b, of n pairs of finite values; n_same of them have equal bits. */
static void count_ulps(const struct compare_means *c, struct comparison *found, const char *const keys[2], enum dtype type,
                       size_t n, uint64_t n_same)
{
	found->ulp[0] -= n_same;
	if (type == DTYPE_F32 || type == DTYPE_BF16 || type == DTYPE_F16) {
		(type == DTYPE_F32 ? c->loops->ulps_f32 : c->loops->ulps_16)(found->ulp, keys[0], keys[1], n);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		int64_t x = key(keys[0], type, i), y = key(keys[1], type, i);
		uint64_t d = x > y ? (uint64_t)x - (uint64_t)y : (uint64_t)y - (uint64_t)x;
		found->ulp[d ? 64 - __builtin_clzll(d) : 0]++;
	}
}

static double value(const char *wide, bool f32, size_t i)
{
	float f;
	double d;
	if (f32) {
		memcpy(&f, wide + i * 4, 4);
		return (double)f;
	}
	memcpy(&d, wide + i * 8, 8);
	return d;
}

static bool close_enough(const struct compare_rules *r, double a, double b)
{
	if (!r->tolerant)
		return false;
	return a == b || (isnan(a) && isnan(b)) || (isfinite(a) && isfinite(b) && fabs(a - b) <= r->atol + r->rtol * fabs(a));
}

/* Keeps the largest differences of a block.  Few blocks have one that is larger than those before. */
static void keep_places(const struct compare_means *c, struct comparison *found, const struct block *k)
{
	const struct compare_cell *cell = k->cell;
	size_t size = k->f32 ? 4 : 8;
	for (size_t i = 0; i < k->n; i++) {
		/* Most are far below, and some at a time are told so. */
		while (k->f32 && i % 64 == 0 && i + 64 <= k->n && found->n_places == COMPARISON_PLACES &&
		       !c->loops->could_exceed(k->wide[0] + i * size, k->wide[1] + i * size, 64,
		                               found->place[COMPARISON_PLACES - 1].difference))
			i += 64;
		if (i == k->n)
			break;
		double a = value(k->wide[0], k->f32, i), b = value(k->wide[1], k->f32, i);
		double d = isfinite(a) && isfinite(b) ? fabs(a - b) : INFINITY;
		if (found->n_places == COMPARISON_PLACES && d < found->place[COMPARISON_PLACES - 1].difference)
			continue;
		size_t at = k->from + i;
		struct place p = { .difference = d, .a = a, .b = b,
		                   .index = cell->first + at / cell->row * cell->pitch + at % cell->row };
		if (comparison_wants(found, d, p.index) && memcmp(k->wide[0] + i * size, k->wide[1] + i * size, size) != 0 &&
		    !close_enough(&c->rules, a, b))
			comparison_place(found, &p);
	}
}

/*
 * Tells what isn't finite, and puts zeros (of the narrower type: equal ones) in the place of pairs in which something isn't.
 * How many pairs.
 */
static size_t drop_unusual(const struct compare_means *c, struct comparison *found, char *const wide[2], bool f32, size_t n,
                           uint64_t *n_same)
{
	size_t size = f32 ? 4 : 8, dropped = 0;
	for (size_t i = 0; i < n; i++) {
		double v[2] = { value(wide[0], f32, i), value(wide[1], f32, i) };
		if (isfinite(v[0]) && isfinite(v[1]))
			continue;
		bool same = memcmp(wide[0] + i * size, wide[1] + i * size, size) == 0;
		bool out = !same && !close_enough(&c->rules, v[0], v[1]);
		*n_same += same;
		found->outside += out;
		found->max = out ? INFINITY : found->max;
		dropped++;
		for (int side = 0; side < 2; side++) {
			found->nan[side] += isnan(v[side]);
			found->inf[side] += isinf(v[side]) != 0;
			memset(wide[side] + i * size, 0, size);
		}
	}
	return dropped;
}

/* -------- blocks */

static const char *widen(const struct compare_means *c, char *to, const char *from, enum dtype type, bool f32, size_t n)
{
	enum dtype wide = f32 ? DTYPE_F32 : DTYPE_F64;
	if (type == wide)
		return from;
	/* The unit's way from f16 makes NaN of one kind of those of two. */
	if (f32 && type == DTYPE_BF16)
		c->unit->widen((void *)to, from, type, n);
	else
		dtype_convert(to, wide, from, type, n);
	return to;
}

/* The values in the narrower type: as they are, or rounded to it.  From the wide ones, where these have been changed. */
static enum dtype narrow_to(const struct compare_means *c, struct compare_memory *b, const struct compare_pair *p,
                            const struct block *k, bool changed, const char *keys[2])
{
	const enum dtype type[] = { p->a.type, p->b.type }, wide = k->f32 ? DTYPE_F32 : DTYPE_F64;
	enum dtype narrow = precision(type[1]) < precision(type[0]) ? type[1] : type[0];
	const char *from[] = { k->a, k->b };
	for (int side = 0; side < 2; side++) {
		keys[side] = from[side];
		if (!changed && type[side] == narrow)
			continue;
		keys[side] = b->narrow[side];
		if (k->f32 && narrow == DTYPE_BF16)
			c->unit->narrow(b->narrow[side], (const void *)k->wide[side], DTYPE_BF16, k->n);
		else
			dtype_convert(b->narrow[side], narrow, k->wide[side], wide, k->n);
	}
	return narrow;
}

/* Equal bytes of one type need but one sum, and are read once.  False: they aren't equal, or not finite. */
static bool equal_block(const struct compare_means *c, struct compare_memory *b, enum dtype type, const struct block *k,
                        struct compare_sums *s)
{
	size_t len = k->n * dtype_size(type);
	double aa = 0;
	bool same;
	/* Where all differs, a few bytes say so. */
	if (memcmp(k->a, k->b, len < 64 ? len : 64) != 0)
		return false;
	switch (type) {
	case DTYPE_F32:
		same = c->loops->equal_f32(k->a, k->b, k->n, &aa);
		break;
	case DTYPE_BF16:
		same = c->loops->equal_bf16(k->a, k->b, k->n, &aa);
		break;
	case DTYPE_F64:
		same = c->loops->equal_f64(k->a, k->b, k->n, &aa);
		break;
	default:
		if (memcmp(k->a, k->b, len) != 0)
			return false;
		dtype_convert(b->wide[0], DTYPE_F64, k->a, type, k->n);
		same = c->loops->equal_f64(b->wide[0], b->wide[0], k->n, &aa);
	}
	*s = (struct compare_sums){ aa, aa, aa, 0 };
	return same && isfinite(aa);
}

static void widen_both(const struct compare_means *c, struct compare_memory *b, const struct compare_pair *p, struct block *k)
{
	k->wide[0] = widen(c, b->wide[0], k->a, p->a.type, k->f32, k->n);
	k->wide[1] = widen(c, b->wide[1], k->b, p->b.type, k->f32, k->n);
}

static void sum_wide(const struct compare_means *c, const struct block *k, double known, struct compare_sums *s,
                     struct compare_counts *counts)
{
	double atol = c->rules.tolerant ? c->rules.atol : -1, rtol = c->rules.tolerant ? c->rules.rtol : 0;
	(k->f32 ? c->loops->two_f32 : c->loops->two_f64)(k->wide[0], k->wide[1], k->n, atol, rtol, known, s, counts);
}

static void compare_block(const struct compare_means *c, struct compare_memory *b, const struct compare_pair *p,
                          struct comparison *found, struct block *k, struct compare_sums *s)
{
	bool bf16 = p->a.type == DTYPE_BF16 && p->b.type == DTYPE_BF16 && !c->rules.tolerant;
	/* What a difference has to reach to be told: with fewer places than there could be, any will do. */
	double known = found->n_places == COMPARISON_PLACES ? found->place[COMPARISON_PLACES - 1].difference : 0;
	struct compare_counts counts;
	uint64_t n_same = 0;
	size_t dropped = 0;
	if (bf16) {
		c->loops->two_bf16(k->a, k->b, k->n, known, s, &counts);
	} else {
		widen_both(c, b, p, k);
		sum_wide(c, k, known, s, &counts);
	}
	bool finite = isfinite(s->aa) && isfinite(s->bb);
	bool telling = counts.outside && comparison_wants(found, counts.max, k->cell->first);
	if (bf16 && (!finite || telling))
		widen_both(c, b, p, k);
	if (!finite) {
		keep_places(c, found, k);
		for (int side = 0; side < 2; side++)
			if (k->wide[side] != b->wide[side])
				memcpy(b->wide[side], k->wide[side], k->n * (k->f32 ? 4 : 8));
		k->wide[0] = b->wide[0];
		k->wide[1] = b->wide[1];
		dropped = drop_unusual(c, found, (char *const[]){ b->wide[0], b->wide[1] }, k->f32, k->n, &n_same);
		sum_wide(c, k, 0, s, &counts);
	}
	found->n_finite -= dropped;
	found->identical += counts.same - dropped + n_same;
	found->outside += counts.outside;
	if (finite && telling)
		keep_places(c, found, k);
	found->max = counts.max > found->max ? counts.max : found->max;
	const char *keys[2];
	enum dtype narrow = narrow_to(c, b, p, k, !finite, keys);
	count_ulps(c, found, keys, narrow, k->n, counts.same);
}

void compare_cell(const struct compare_means *c, struct compare_memory *b, const struct compare_pair *p,
                         struct comparison *found, const struct compare_cell *cell, struct compare_sums *s)
{
	size_t size_a = dtype_size(p->a.type), size_b = dtype_size(p->b.type);
	*s = (struct compare_sums){ 0 };
	found->n += cell->n;
	found->n_finite += cell->n;
	for (size_t from = 0; from < cell->n; from += COMPARE_BLOCK) {
		struct block k = { .cell = cell, .a = cell->a + from * size_a, .b = cell->b + from * size_b, .from = from,
			           .n = cell->n - from < COMPARE_BLOCK ? cell->n - from : COMPARE_BLOCK,
			           .f32 = fits_f32(p->a.type) && fits_f32(p->b.type) };
		struct compare_sums part;
		if (p->a.type == p->b.type && equal_block(c, b, p->a.type, &k, &part))
			found->identical += k.n;
		else
			compare_block(c, b, p, found, &k, &part);
		s->aa += part.aa;
		s->bb += part.bb;
		s->ab += part.ab;
		s->dd += part.dd;
	}
}
