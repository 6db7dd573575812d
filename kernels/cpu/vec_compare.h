/* Included once for each vector unit, with TARGET (an attribute) and NAME(x). */

static inline TARGET double NAME(fold)(const vec_f64 *v)
{
	double lane[LANES];
	memcpy(lane, v, sizeof lane);
	return ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

static inline TARGET uint64_t NAME(total)(const vec_i64 *v)
{
	int64_t lane[LANES], sum = 0;
	memcpy(lane, v, sizeof lane);
	for (int i = 0; i < LANES; i++)
		sum += lane[i];
	return (uint64_t)sum;
}

/* LANES values from i on; zeros behind the end. */
#define LOAD(to, p, i, n) \
	do { \
		char tail_[sizeof(to)]; \
		const char *at_ = (const char *)(p) + (i) * (sizeof(to) / LANES); \
		if ((n) - (i) < LANES) { \
			memset(tail_, 0, sizeof tail_); \
			memcpy(tail_, at_, ((n) - (i)) * (sizeof(to) / LANES)); \
			at_ = tail_; \
		} \
		memcpy(&(to), at_, sizeof(to)); \
	} while (0)
#define AS_IT_IS(v) __builtin_convertvector(v, vec_f64)

/* type: as stored; bits: whole numbers of the same size. */
#define EQUAL(name, type, bits, WIDEN) \
	static TARGET bool NAME(name)(const void *a, const void *b, size_t n, struct compare_sums *s) \
	{ \
		vec_f64 sum[2] = { { 0 }, { 0 } }; \
		bits other = { 0 }; \
		size_t i = 0; \
		for (; i + 2 * LANES <= n; i += 2 * LANES) { \
			type x[2], y[2]; \
			memcpy(x, (const char *)a + i * (sizeof(type) / LANES), sizeof x); \
			memcpy(y, (const char *)b + i * (sizeof(type) / LANES), sizeof y); \
			other |= ((bits)x[0] ^ (bits)y[0]) | ((bits)x[1] ^ (bits)y[1]); \
			vec_f64 v = WIDEN(x[0]), w = WIDEN(x[1]); \
			sum[0] += v * v; \
			sum[1] += w * w; \
		} \
		for (; i < n; i += LANES) { \
			type x, y; \
			LOAD(x, a, i, n); \
			LOAD(y, b, i, n); \
			other |= (bits)x ^ (bits)y; \
			vec_f64 v = WIDEN(x); \
			sum[0] += v * v; \
		} \
		static const bits none; \
		s->aa = s->bb = s->ab = NAME(fold)(&sum[0]) + NAME(fold)(&sum[1]); \
		s->dd = 0; \
		return memcmp(&other, &none, sizeof other) == 0; \
	}
EQUAL(equal_f32, vec_f32, vec_u32, AS_IT_IS)
EQUAL(equal_f64, vec_f64, vec_i64, AS_IT_IS)

/* Two values a word, the even one in its lower half: taken apart without moving lanes, which is what takes the time. */
static TARGET bool NAME(equal_bf16)(const void *a, const void *b, size_t n, struct compare_sums *s)
{
	vec_f64 even = { 0 }, odd = { 0 };
	vec_u32 other = { 0 };
	for (size_t i = 0; i < n; i += 2 * LANES) {
		vec_u32 x = { 0 }, y = { 0 };
		if (n - i >= 2 * LANES) {
			memcpy(&x, (const char *)a + i * 2, sizeof x);
			memcpy(&y, (const char *)b + i * 2, sizeof y);
		} else {
			memcpy(&x, (const char *)a + i * 2, (n - i) * 2);
			memcpy(&y, (const char *)b + i * 2, (n - i) * 2);
		}
		other |= x ^ y;
		const vec_f64 v = AS_IT_IS((vec_f32)(x << 16)), w = AS_IT_IS((vec_f32)(x & 0xffff0000u));
		even += v * v;
		odd += w * w;
	}
	static const vec_u32 none;
	s->aa = s->bb = s->ab = NAME(fold)(&even) + NAME(fold)(&odd);
	s->dd = 0;
	return memcmp(&other, &none, sizeof other) == 0;
}

#define TWO(name, type) \
	static TARGET void NAME(name)(const void *a, const void *b, size_t n, double atol, double rtol, \
	                              struct compare_sums *s, struct compare_counts *c) \
	{ \
		const vec_i64 magnitude = (vec_i64){ 0 } + INT64_MAX; \
		vec_f64 aa = { 0 }, bb = { 0 }, ab = { 0 }, dd = { 0 }, max = { 0 }; \
		vec_i64 same = { 0 }, outside = { 0 }; \
		for (size_t i = 0; i < n; i += LANES) { \
			type stored; \
			LOAD(stored, a, i, n); \
			const vec_f64 x = AS_IT_IS(stored); \
			LOAD(stored, b, i, n); \
			const vec_f64 y = AS_IT_IS(stored), d = x - y; \
			const vec_f64 away = (vec_f64)((vec_i64)d & magnitude), size = (vec_f64)((vec_i64)x & magnitude); \
			const vec_i64 more = (vec_i64)(away > max), equal = (vec_i64)((vec_i64)x == (vec_i64)y); \
			aa += x * x; \
			bb += y * y; \
			ab += x * y; \
			dd += d * d; \
			max = (vec_f64)(((vec_i64)away & more) | ((vec_i64)max & ~more)); \
			/* A mask is -1. */ \
			same -= equal; \
			outside -= ~equal & (vec_i64)(away > atol + rtol * size); \
		} \
		*s = (struct compare_sums){ NAME(fold)(&aa), NAME(fold)(&bb), NAME(fold)(&ab), NAME(fold)(&dd) }; \
		double lane[LANES]; \
		memcpy(lane, &max, sizeof lane); \
		c->max = 0; \
		for (int k = 0; k < LANES; k++) \
			c->max = lane[k] > c->max ? lane[k] : c->max; \
		/* Behind the end are zeros, which are the same. */ \
		c->same = NAME(total)(&same) - (n + LANES - 1) / LANES * LANES + n; \
		c->outside = NAME(total)(&outside); \
	}
TWO(two_f32, vec_f32)
TWO(two_f64, vec_f64)

/* Sign and magnitude to numbers in order; then how far apart they are. */
#define IN_ORDER(v, bits) ((vec_i32)((v) & ((1u << (bits)) - 1)) ^ -(vec_i32)((v) >> (bits))) + (vec_i32)((v) >> (bits))

#define STEPS(name, type, bits) \
	static TARGET void NAME(name)(uint32_t *to, const void *a, const void *b, size_t n) \
	{ \
		for (size_t i = 0; i < n; i += LANES) { \
			type stored; \
			LOAD(stored, a, i, n); \
			const vec_u32 u = __builtin_convertvector(stored, vec_u32); \
			LOAD(stored, b, i, n); \
			const vec_u32 w = __builtin_convertvector(stored, vec_u32); \
			const vec_i32 x = IN_ORDER(u, bits), y = IN_ORDER(w, bits), less = (vec_i32)(x < y); \
			const vec_u32 d = (((vec_u32)x - (vec_u32)y) ^ (vec_u32)less) - (vec_u32)less; \
			memcpy(to + i, &d, n - i < LANES ? (n - i) * sizeof *to : sizeof d); \
		} \
	}
STEPS(steps_16, vec_u16, 15)
STEPS(steps_f32, vec_u32, 31)

static const struct compare_loops NAME(loops) = {
	NAME(equal_f32), NAME(equal_bf16), NAME(equal_f64), NAME(two_f32), NAME(two_f64), NAME(steps_16), NAME(steps_f32)
};

#undef LOAD
#undef AS_IT_IS
#undef EQUAL
#undef TWO
#undef IN_ORDER
#undef STEPS
#undef TARGET
#undef NAME
