/*
 * Included once for each vector unit, with TARGET (an attribute), NAME(x), WIDE, the doubles of a vector, and WIDEN and
 * MULTIPLY_ADD as x86_compare.h has them.  LANES or
 * SPAN sums are kept whatever WIDE is, and added in one order, so that every unit gives the same bits.
 */

typedef double NAME(f64) __attribute__((vector_size(8 * WIDE), may_alias));
typedef float NAME(f32) __attribute__((vector_size(4 * WIDE), may_alias));
typedef int64_t NAME(i64) __attribute__((vector_size(8 * WIDE), may_alias));
typedef uint64_t NAME(u64) __attribute__((vector_size(8 * WIDE), may_alias));
typedef uint32_t NAME(u32) __attribute__((vector_size(4 * WIDE), may_alias));
typedef uint8_t NAME(u8) __attribute__((vector_size(8 * WIDE), may_alias));

/* Lanes added in pairs. */
static inline TARGET double NAME(fold)(const void *lanes, size_t n)
{
	double lane[SPAN];
	memcpy(lane, lanes, n * sizeof *lane);
	for (size_t half = n / 2; half; half /= 2)
		for (size_t i = 0; i < half; i++)
			lane[i] += lane[i + half];
	return lane[0];
}

#define AS_IT_IS(v) (v)
#define PLUS_PRODUCT(x, y, z) ((x) * (y) + (z))
#define TO_F64(v) ((NAME(f64))WIDEN(v))
#define PLUS_EXACT_PRODUCT(x, y, z) ((NAME(f64))MULTIPLY_ADD(x, y, z))
/* A vector at any address. */
#define AT(p, i, type) ({ type v_; memcpy(&v_, (const char *)(p) + (i) * (sizeof v_ / WIDE), sizeof v_); v_; })

/* -------- equal bytes */

/* stored: as in memory; bits: whole numbers of the same size; UP: to double. */
#define EQUAL(name, stored, bits, UP, PLUS) \
	static inline TARGET void NAME(name##_span)(const void *a, const void *b, NAME(f64) *sum, NAME(bits) *other) \
	{ \
		for (size_t k = 0; k < SPAN / WIDE; k++) { \
			const NAME(stored) x = AT(a, k * WIDE, NAME(stored)), y = AT(b, k * WIDE, NAME(stored)); \
			const NAME(f64) v = UP(x); \
			*other |= (NAME(bits))x ^ (NAME(bits))y; \
			sum[k] = PLUS(v, v, sum[k]); \
		} \
	} \
	static TARGET bool NAME(name)(const void *a, const void *b, size_t n, double *aa) \
	{ \
		const size_t size = sizeof(NAME(stored)) / WIDE; \
		const char *x = a, *y = b; \
		NAME(f64) sum[SPAN / WIDE] = { { 0 } }; \
		NAME(bits) other = { 0 }; \
		for (; n >= SPAN; n -= SPAN, x += SPAN * size, y += SPAN * size) \
			NAME(name##_span)(x, y, sum, &other); \
		if (n) { \
			char last[2][SPAN * 8] = { { 0 } }; \
			memcpy(last[0], x, n * size); \
			memcpy(last[1], y, n * size); \
			NAME(name##_span)(last[0], last[1], sum, &other); \
		} \
		static const NAME(bits) none; \
		*aa = NAME(fold)(sum, SPAN); \
		return memcmp(&other, &none, sizeof other) == 0; \
	}
EQUAL(equal_f32, f32, u32, TO_F64, PLUS_EXACT_PRODUCT)
EQUAL(equal_f64, f64, u64, AS_IT_IS, PLUS_PRODUCT)

/* Two values a word, the even one in its lower half: taken apart without moving lanes, which is what takes the time. */
static inline TARGET void NAME(equal_bf16_span)(const char *a, const char *b, NAME(f64) *sum, NAME(u32) *other)
{
	for (size_t k = 0; k < SPAN / 2 / WIDE; k++) {
		const NAME(u32) x = AT(a, k * WIDE, NAME(u32)), y = AT(b, k * WIDE, NAME(u32));
		const NAME(f64) even = TO_F64((NAME(f32))(x << 16)), odd = TO_F64((NAME(f32))(x & 0xffff0000u));
		*other |= x ^ y;
		sum[2 * k] = PLUS_EXACT_PRODUCT(even, even, sum[2 * k]);
		sum[2 * k + 1] = PLUS_EXACT_PRODUCT(odd, odd, sum[2 * k + 1]);
	}
}

/* Brings the lanes of all units into one order: evens, then odds. */
static inline TARGET double NAME(fold_pairs)(const NAME(f64) *sum)
{
	NAME(f64) sorted[SPAN / WIDE];
	for (size_t k = 0; k < SPAN / 2 / WIDE; k++) {
		sorted[k] = sum[2 * k];
		sorted[SPAN / 2 / WIDE + k] = sum[2 * k + 1];
	}
	return NAME(fold)(sorted, SPAN);
}

static TARGET bool NAME(equal_bf16)(const void *a, const void *b, size_t n, double *aa)
{
	const char *x = a, *y = b;
	NAME(f64) sum[SPAN / WIDE] = { { 0 } };
	NAME(u32) other = { 0 };
	for (; n >= SPAN; n -= SPAN, x += SPAN * 2, y += SPAN * 2)
		NAME(equal_bf16_span)(x, y, sum, &other);
	if (n) {
		char last[2][SPAN * 2] = { { 0 } };
		memcpy(last[0], x, n * 2);
		memcpy(last[1], y, n * 2);
		NAME(equal_bf16_span)(last[0], last[1], sum, &other);
	}
	static const NAME(u32) none;
	*aa = NAME(fold_pairs)(sum);
	return memcmp(&other, &none, sizeof other) == 0;
}

/* -------- two of them */

struct NAME(five) {
	NAME(f64) aa[LANES / WIDE], bb[LANES / WIDE], ab[LANES / WIDE], dd[LANES / WIDE], max[LANES / WIDE];
	NAME(i64) outside;
};

static inline TARGET void NAME(total)(const struct NAME(five) *five, struct compare_sums *s, struct compare_counts *c)
{
	*s = (struct compare_sums){ NAME(fold)(five->aa, LANES), NAME(fold)(five->bb, LANES), NAME(fold)(five->ab, LANES),
		                    NAME(fold)(five->dd, LANES) };
	double lane[LANES];
	memcpy(lane, five->max, sizeof lane);
	for (int k = 0; k < LANES; k++)
		c->max = lane[k] > c->max ? lane[k] : c->max;
	for (int k = 0; k < WIDE; k++)
		c->outside += (uint64_t)five->outside[k];
}

/* measured: the largest difference is wanted too; tolerant: those beyond the tolerance are counted. */
#define TWO(name, stored, UP, PLUS) \
	static inline TARGET __attribute__((always_inline)) void NAME(name##_lanes)( \
		const void *a, const void *b, struct NAME(five) *to, bool measured, bool tolerant, double atol, double rtol) \
	{ \
		const NAME(i64) magnitude = (NAME(i64)){ 0 } + INT64_MAX; \
		for (size_t k = 0; k < LANES / WIDE; k++) { \
			const NAME(f64) x = UP(AT(a, k * WIDE, NAME(stored))), y = UP(AT(b, k * WIDE, NAME(stored))), d = x - y; \
			to->aa[k] = PLUS(x, x, to->aa[k]); \
			to->bb[k] = PLUS(y, y, to->bb[k]); \
			to->ab[k] = PLUS(x, y, to->ab[k]); \
			to->dd[k] += d * d; \
			if (!measured && !tolerant) \
				continue; \
			const NAME(f64) away = (NAME(f64))((NAME(i64))d & magnitude), size = (NAME(f64))((NAME(i64))x & magnitude); \
			const NAME(i64) more = (NAME(i64))(away > to->max[k]), equal = (NAME(i64))((NAME(i64))x == (NAME(i64))y); \
			to->max[k] = (NAME(f64))(((NAME(i64))away & more) | ((NAME(i64))to->max[k] & ~more)); \
			/* A mask is -1. */ \
			if (tolerant) \
				to->outside -= ~equal & (NAME(i64))(away > atol + rtol * size); \
		} \
	} \
	static inline TARGET __attribute__((always_inline)) void NAME(name##_all)( \
		const void *a, const void *b, size_t n, struct compare_sums *s, struct compare_counts *c, bool measured, \
		bool tolerant, double atol, double rtol) \
	{ \
		const size_t size = sizeof(NAME(stored)) / WIDE; \
		const char *x = a, *y = b; \
		struct NAME(five) five = { 0 }; \
		for (; n >= LANES; n -= LANES, x += LANES * size, y += LANES * size) \
			NAME(name##_lanes)(x, y, &five, measured, tolerant, atol, rtol); \
		if (n) { \
			char last[2][LANES * 8] = { { 0 } }; \
			memcpy(last[0], x, n * size); \
			memcpy(last[1], y, n * size); \
			NAME(name##_lanes)(last[0], last[1], &five, measured, tolerant, atol, rtol); \
		} \
		NAME(total)(&five, s, c); \
	}
TWO(two_f32, f32, TO_F64, PLUS_EXACT_PRODUCT)
TWO(two_f64, f64, AS_IT_IS, PLUS_PRODUCT)

/* Rounding keeps the order: where the largest difference in f32 is well below one that is known, so is every exact one. */
static TARGET bool NAME(could_exceed)(const void *a, const void *b, size_t n, double known)
{
	const loose_f32 *x = a, *y = b;
	int32_t most = 0;
	for (size_t i = 0; i < n; i++) {
		union { float f; int32_t i; } d = { .f = x[i] - y[i] };
		const int32_t size = d.i & INT32_MAX;
		most = size > most ? size : most;
	}
	const union { int32_t i; float f; } largest = { .i = most };
	return !((double)largest.f * (1 + 0x1p-22) < known);
}

static TARGET void NAME(two_f32)(const void *a, const void *b, size_t n, double atol, double rtol, double known,
                                 struct compare_sums *s, struct compare_counts *c)
{
	const loose_u32 *x = a, *y = b;
	uint32_t same = 0;
	for (size_t i = 0; i < n; i++)
		same += x[i] == y[i];
	*c = (struct compare_counts){ .same = same, .outside = atol < 0 ? n - same : 0 };
	if (atol >= 0)
		NAME(two_f32_all)(a, b, n, s, c, true, true, atol, rtol);
	else if (NAME(could_exceed)(a, b, n, known))
		NAME(two_f32_all)(a, b, n, s, c, true, false, 0, 0);
	else
		NAME(two_f32_all)(a, b, n, s, c, false, false, 0, 0);
}

/*
 * The even value of a word, then the odd one, to the same lane.  Words are 32 bits; an odd last value has a word of its own
 * with zero beside it.
 */
static inline TARGET __attribute__((always_inline)) void NAME(two_bf16_lanes)(const void *a, const void *b,
                                                                              struct NAME(five) *to, bool measured)
{
	const NAME(i64) magnitude = (NAME(i64)){ 0 } + INT64_MAX;
	for (size_t k = 0; k < LANES / WIDE; k++) {
		const NAME(u32) u = AT(a, k * WIDE, NAME(u32)), w = AT(b, k * WIDE, NAME(u32));
		UNROLLED for (int odd = 0; odd < 2; odd++) {
			const NAME(f64) x = TO_F64((NAME(f32))(u << (odd ? 0 : 16) & 0xffff0000u));
			const NAME(f64) y = TO_F64((NAME(f32))(w << (odd ? 0 : 16) & 0xffff0000u)), d = x - y;
			to->aa[k] = PLUS_EXACT_PRODUCT(x, x, to->aa[k]);
			to->bb[k] = PLUS_EXACT_PRODUCT(y, y, to->bb[k]);
			to->ab[k] = PLUS_EXACT_PRODUCT(x, y, to->ab[k]);
			to->dd[k] += d * d;
			if (!measured)
				continue;
			const NAME(f64) away = (NAME(f64))((NAME(i64))d & magnitude);
			const NAME(i64) more = (NAME(i64))(away > to->max[k]);
			to->max[k] = (NAME(f64))(((NAME(i64))away & more) | ((NAME(i64))to->max[k] & ~more));
		}
	}
}

static inline TARGET __attribute__((always_inline)) void NAME(two_bf16_all)(const void *a, const void *b, size_t n,
                                                                            struct compare_sums *s,
                                                                            struct compare_counts *c, bool measured)
{
	const char *x = a, *y = b;
	struct NAME(five) five = { 0 };
	for (; n >= 2 * LANES; n -= 2 * LANES, x += 4 * LANES, y += 4 * LANES)
		NAME(two_bf16_lanes)(x, y, &five, measured);
	if (n) {
		char last[2][LANES * 4] = { { 0 } };
		memcpy(last[0], x, n * 2);
		memcpy(last[1], y, n * 2);
		NAME(two_bf16_lanes)(last[0], last[1], &five, measured);
	}
	NAME(total)(&five, s, c);
}

static TARGET bool NAME(bf16_could_exceed)(const loose_u16 *a, const loose_u16 *b, size_t n, double known)
{
	const loose_u32 *x = (const void *)a, *y = (const void *)b;
	int32_t most = 0;
	for (size_t i = 0; i < n / 2; i++) {
		union { uint32_t u; float f; int32_t i; } even[2] = { { x[i] << 16 }, { y[i] << 16 } };
		union { uint32_t u; float f; int32_t i; } odd[2] = { { x[i] & 0xffff0000u }, { y[i] & 0xffff0000u } };
		even[0].f -= even[1].f;
		odd[0].f -= odd[1].f;
		const int32_t p = even[0].i & INT32_MAX, q = odd[0].i & INT32_MAX, r = p > q ? p : q;
		most = r > most ? r : most;
	}
	if (n % 2) {
		union { uint32_t u; float f; int32_t i; } last[2] = { { (uint32_t)a[n - 1] << 16 }, { (uint32_t)b[n - 1] << 16 } };
		last[0].f -= last[1].f;
		most = (last[0].i & INT32_MAX) > most ? last[0].i & INT32_MAX : most;
	}
	const union { int32_t i; float f; } largest = { .i = most };
	return !((double)largest.f * (1 + 0x1p-22) < known);
}

static TARGET void NAME(two_bf16)(const void *a, const void *b, size_t n, double known, struct compare_sums *s,
                                  struct compare_counts *c)
{
	const loose_u16 *x = a, *y = b;
	uint16_t same = 0;
	for (size_t i = 0; i < n; i++)
		same = (uint16_t)(same + (x[i] == y[i]));
	*c = (struct compare_counts){ .same = same, .outside = n - same };
	if (NAME(bf16_could_exceed)(a, b, n, known))
		NAME(two_bf16_all)(a, b, n, s, c, true);
	else
		NAME(two_bf16_all)(a, b, n, s, c, false);
}

static TARGET void NAME(two_f64)(const void *a, const void *b, size_t n, double atol, double rtol, double known,
                                 struct compare_sums *s, struct compare_counts *c)
{
	const loose_u64 *x = a, *y = b;
	uint64_t same = 0;
	(void)known;
	for (size_t i = 0; i < n; i++)
		same += x[i] == y[i];
	*c = (struct compare_counts){ .same = same, .outside = atol < 0 ? n - same : 0 };
	if (atol >= 0)
		NAME(two_f64_all)(a, b, n, s, c, true, true, atol, rtol);
	else
		NAME(two_f64_all)(a, b, n, s, c, true, false, 0, 0);
}

/* -------- units in the last place */

/*
 * How many bits each distance has, counted.  A byte of a lane counts up to COMPARE_BLOCK / 16 = 128, so it can't run over.
 * bits: room for n, rounded up to whole vectors.
 */
static TARGET void NAME(count_bits)(uint64_t ulp[33], uint8_t *bits, size_t n)
{
	uint8_t least = 255, most = 0;
	for (size_t i = 0; i < n; i++) {
		least = bits[i] < least ? bits[i] : least;
		most = bits[i] > most ? bits[i] : most;
	}
	const size_t n_vectors = (n + sizeof(NAME(u8)) - 1) / sizeof(NAME(u8));
	memset(bits + n, 255, n_vectors * sizeof(NAME(u8)) - n);
	/* Four kinds in one pass: they share what is loaded, and none waits for another. */
	for (int k = least; k <= most; k += 4) {
		NAME(u8) count[4] = { { 0 } };
		for (size_t i = 0; i < n_vectors; i++) {
			const NAME(u8) v = AT(bits, i * WIDE, NAME(u8));
			UNROLLED for (int j = 0; j < 4; j++)
				count[j] -= (NAME(u8))(v == (uint8_t)(k + j));
		}
		for (int j = 0; j < 4 && k + j <= most; j++) {
			uint8_t lane[sizeof(NAME(u8))];
			uint16_t sum = 0;
			memcpy(lane, &count[j], sizeof lane);
			for (size_t i = 0; i < sizeof lane; i++)
				sum = (uint16_t)(sum + lane[i]);
			ulp[k + j] += sum;
		}
	}
}

/* The number of bits of a number below 2^31 by the exponent of a float.  The bit below the first is clear: none rounds up. */
static inline TARGET uint8_t NAME(bits_of)(uint32_t top)
{
	union { float f; int32_t i; } v = { .f = (float)(int32_t)top };
	const int32_t bits = (v.i >> 23) - 126;
	return (uint8_t)(bits > 0 ? bits : 0);
}

/* Sign and magnitude to numbers in order, a step apart for neighbours; then how far apart they are. */
static TARGET void NAME(ulps_16)(uint64_t ulp[33], const void *a, const void *b, size_t n)
{
	const loose_u16 *x = a, *y = b;
	uint16_t top[COMPARE_BLOCK];
	uint8_t bits[COMPARE_BLOCK];
	for (size_t i = 0; i < n; i++) {
		const int16_t u = (int16_t)x[i], w = (int16_t)y[i], down_u = (int16_t)(u >> 15), down_w = (int16_t)(w >> 15);
		const int16_t p = (int16_t)(((u & INT16_MAX) ^ down_u) - down_u), q = (int16_t)(((w & INT16_MAX) ^ down_w) - down_w);
		const int16_t high = p > q ? p : q, low = p > q ? q : p;
		const uint16_t apart = (uint16_t)((uint16_t)high - (uint16_t)low);
		top[i] = (uint16_t)(apart & ~(apart >> 1));
	}
	for (size_t i = 0; i < n; i++)
		bits[i] = NAME(bits_of)(top[i]);
	NAME(count_bits)(ulp, bits, n);
}

static TARGET void NAME(ulps_f32)(uint64_t ulp[33], const void *a, const void *b, size_t n)
{
	const loose_u32 *x = a, *y = b;
	uint8_t bits[COMPARE_BLOCK];
	for (size_t i = 0; i < n; i++) {
		const int32_t u = (int32_t)x[i], w = (int32_t)y[i], down_u = -(int32_t)(x[i] >> 31), down_w = -(int32_t)(y[i] >> 31);
		const int32_t p = ((u & INT32_MAX) ^ down_u) - down_u, q = ((w & INT32_MAX) ^ down_w) - down_w;
		const int32_t high = p > q ? p : q, low = p > q ? q : p;
		const uint32_t apart = (uint32_t)high - (uint32_t)low, half = apart >> 1;
		/* Of half of it, so that it stays below 2^31; the lowest bit is told apart. */
		const uint8_t most = NAME(bits_of)(half & ~(half >> 1));
		bits[i] = (uint8_t)(most + (apart != 0));
	}
	NAME(count_bits)(ulp, bits, n);
}

static const struct compare_loops NAME(loops) = {
	NAME(equal_f32), NAME(equal_bf16), NAME(equal_f64), NAME(two_f32), NAME(two_bf16), NAME(two_f64), NAME(could_exceed),
	NAME(ulps_16), NAME(ulps_f32)
};

#undef AS_IT_IS
#undef PLUS_PRODUCT
#undef TO_F64
#undef PLUS_EXACT_PRODUCT
#undef AT
#undef EQUAL
#undef TWO
#undef TARGET
#undef NAME
#undef WIDE
#undef WIDEN
#undef MULTIPLY_ADD
