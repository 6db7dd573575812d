/* Included once for each vector unit, with TARGET (an attribute) and NAME(x). */

static inline TARGET void NAME(fold)(const vec_f64 *v, double *sum)
{
	double lane[LANES];
	memcpy(lane, v, sizeof lane);
	*sum = ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

/* LANES values from i on as doubles; zeros behind the end. */
#define LOAD(to, p, i, n, type, widen) \
	do { \
		char tail_[LANES * sizeof(double)]; \
		const char *at_ = (const char *)(p) + (i) * (sizeof(type) / LANES); \
		if ((n) - (i) < LANES) { \
			memset(tail_, 0, sizeof tail_); \
			memcpy(tail_, at_, ((n) - (i)) * (sizeof(type) / LANES)); \
			at_ = tail_; \
		} \
		type v_; \
		memcpy(&v_, at_, sizeof v_); \
		(to) = __builtin_convertvector(widen(v_), vec_f64); \
	} while (0)
#define AS_IT_IS(v) (v)
#define UPPER_HALF(v) (vec_f32)(__builtin_convertvector(v, vec_u32) << 16)
#define LOAD_F32(to, p, i, n) LOAD(to, p, i, n, vec_f32, AS_IT_IS)
#define LOAD_BF16(to, p, i, n) LOAD(to, p, i, n, vec_u16, UPPER_HALF)
#define LOAD_F64(to, p, i, n) LOAD(to, p, i, n, vec_f64, AS_IT_IS)

#define ONE(name, TAKE) \
	static TARGET void NAME(name)(const void *a, size_t n, struct compare_sums *s) \
	{ \
		vec_f64 aa = { 0 }; \
		for (size_t i = 0; i < n; i += LANES) { \
			vec_f64 x; \
			TAKE(x, a, i, n); \
			aa += x * x; \
		} \
		NAME(fold)(&aa, &s->aa); \
		s->bb = s->ab = s->aa; \
		s->dd = 0; \
	}
ONE(one_f32, LOAD_F32)
ONE(one_bf16, LOAD_BF16)
ONE(one_f64, LOAD_F64)

#define TWO(name, TAKE) \
	static TARGET void NAME(name)(const void *a, const void *b, size_t n, struct compare_sums *s) \
	{ \
		vec_f64 aa = { 0 }, bb = { 0 }, ab = { 0 }, dd = { 0 }; \
		for (size_t i = 0; i < n; i += LANES) { \
			vec_f64 x, y; \
			TAKE(x, a, i, n); \
			TAKE(y, b, i, n); \
			aa += x * x; \
			bb += y * y; \
			ab += x * y; \
			dd += (x - y) * (x - y); \
		} \
		NAME(fold)(&aa, &s->aa); \
		NAME(fold)(&bb, &s->bb); \
		NAME(fold)(&ab, &s->ab); \
		NAME(fold)(&dd, &s->dd); \
	}
TWO(two_f32, LOAD_F32)
TWO(two_f64, LOAD_F64)

static const struct compare_loops NAME(loops) = {
	NAME(one_f32), NAME(one_bf16), NAME(one_f64), NAME(two_f32), NAME(two_f64)
};

#undef LOAD
#undef AS_IT_IS
#undef UPPER_HALF
#undef LOAD_F32
#undef LOAD_BF16
#undef LOAD_F64
#undef ONE
#undef TWO
#undef TARGET
#undef NAME
