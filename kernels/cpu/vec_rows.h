/* Rows in and out, norms, activations, rotation. */

/* To the nearest bf16, ties to even, in the low half of each lane; NaN stays NaN. */
INLINE vi v_to_bf16(vf x)
{
	typedef uint32_t vu __attribute__((vector_size(4 * VL)));
	const vu u = (vu)x, rounded = (u + 0x7fff + (u >> 16 & 1)) >> 16, quiet = u >> 16 | 0x40;
	const vi nan = x != x;

	return ((vi)quiet & nan) | ((vi)rounded & ~nan);
}

INLINE void give_bf16(uint16_t *p, vf x, size_t n)
{
	const vh h = __builtin_convertvector(v_to_bf16(x), vh);

	if (n == VL)
		memcpy(p, &h, sizeof h);
	else
		memcpy(p, &h, n * sizeof *p);
}

/* A vector that begins amid what lies together of a woven row. */
static void sink_spread(struct sink to, size_t at, vf x, size_t n)
{
	float part[VL];

	v_store(part, x);
	for (size_t i = 0; i < n; i++)
		to.f[(at + i) / VL * VL * to.woven + (at + i) % VL] = part[i];
}

INLINE void sink_give(struct sink to, size_t i, vf x, size_t n)
{
	const size_t at = to.first + i;

	if (to.h)
		give_bf16(to.h + at, x, n);
	else if (to.woven <= 1)
		v_give(to.f + at, x, n);
	else if (at % VL == 0)
		v_give(to.f + at * to.woven, x, n);
	else
		sink_spread(to, at, x, n);
}

static void row_put(struct sink to, const float *from, size_t n)
{
	for (size_t i = 0; i < n; i += VL) {
		const size_t m = v_count(n - i);

		sink_give(to, i, v_take(from + i, m), m);
	}
}

static void row_widen(float *to, const void *from, enum dtype held, size_t n)
{
	const uint16_t *h = from;
	size_t i = 0;

	if (held == DTYPE_BF16)
		for (; i + VL <= n; i += VL)
			v_store(to + i, v_from_bf16(h + i));
#ifndef NO_F16
	else if (held == DTYPE_F16)
		for (; i + VL <= n; i += VL)
			v_store(to + i, v_from_f16(h + i));
#endif
	if (i < n)
		dtype_convert(to + i, DTYPE_F32, (const char *)from + i * dtype_size(held), held,
		              n - i);
}

static void row_narrow(void *to, const float *from, enum dtype held, size_t n)
{
	uint16_t *h = to;
	size_t i = 0;

	if (held == DTYPE_BF16) {
		for (; i + VL <= n; i += VL)
			give_bf16(h + i, v_load(from + i), VL);
	}
#ifndef NO_F16
	else if (held == DTYPE_F16) {
		for (; i + VL <= n; i += VL) {
			const vh x = v_to_f16(v_load(from + i));

			memcpy(h + i, &x, sizeof x);
		}
	}
#endif
	if (i < n)
		dtype_convert((char *)to + i * dtype_size(held), held, from + i, DTYPE_F32, n - i);
}

/* x = the nearest bf16. */
static void row_round(float *x, size_t n)
{
	for (size_t i = 0; i < n; i += VL) {
		const size_t m = v_count(n - i);

		v_give(x + i, (vf)(v_to_bf16(v_take(x + i, m)) << 16), m);
	}
}

/* Pooling is in double: half as many to a vector. */
enum { VD = VL / 2 };

typedef double vd __attribute__((vector_size(8 * VD)));
typedef int64_t vl __attribute__((vector_size(8 * VD)));
typedef float vf_half __attribute__((vector_size(4 * VD)));

INLINE vd pooled(vd y, const float *p, size_t n, bool largest)
{
	vf_half x = { 0 };

	if (n == VD)
		memcpy(&x, p, sizeof x);
	else
		memcpy(&x, p, n * sizeof *p);

	const vd wide = __builtin_convertvector(x, vd);

	if (!largest)
		return y + wide;

	const vl take = (wide > y) | (wide != wide);

	return (vd)(((vl)wide & take) | ((vl)y & ~take));
}

/* Several rows at a time: a sum is fetched and put back once for all of them. */
INLINE void pool_columns(double *y, const float *x, size_t stride, size_t rows, size_t n, bool largest)
{
	vd sum = { 0 };

	if (n == VD)
		memcpy(&sum, y, sizeof sum);
	else
		memcpy(&sum, y, n * sizeof *y);
	UNROLL
	for (size_t r = 0; r < rows; r++)
		sum = pooled(sum, x + r * stride, n, largest);
	if (n == VD)
		memcpy(y, &sum, sizeof sum);
	else
		memcpy(y, &sum, n * sizeof *y);
}

INLINE void pool_few(double *y, const float *x, size_t stride, size_t rows, size_t width, bool largest)
{
	size_t i = 0;

	for (; i + VD <= width; i += VD)
		pool_columns(y + i, x + i, stride, rows, VD, largest);
	if (i < width)
		pool_columns(y + i, x + i, stride, rows, width - i, largest);
}

INLINE void pool_as(double *y, const float *x, size_t stride, size_t n, size_t width, bool largest)
{
	enum { AT_ONCE = 4 };
	size_t r = 0;

	for (; r + AT_ONCE <= n; r += AT_ONCE)
		pool_few(y, x + r * stride, stride, AT_ONCE, width, largest);
	for (; r < n; r++)
		pool_few(y, x + r * stride, stride, 1, width, largest);
}

static void rows_pool(double *y, const float *x, size_t stride, size_t n, size_t width, bool largest)
{
	if (largest)
		pool_as(y, x, stride, n, width, true);
	else
		pool_as(y, x, stride, n, width, false);
}

/* Vectors whose sum is taken alone before it joins the row's: shorter sums are more exact. */
enum { SUM_VECTORS = 16 };

/* The sum of the n numbers, or (squares) of the squares of their distances from a center. */
INLINE float row_sum(const float *x, size_t n, bool squares, vf center)
{
	vf total = { 0 };

	for (size_t i = 0; i < n;) {
		const size_t end = n - i < SUM_VECTORS * VL ? n : i + SUM_VECTORS * VL;
		vf part = { 0 };

		for (; i + VL <= end; i += VL) {
			const vf d = v_load(x + i) - center;

			part = squares ? v_fma(d, d, part) : part + d;
		}
		if (i < end) {
			const vf d = v_first(v_load_n(x + i, end - i) - center, end - i);

			part = squares ? v_fma(d, d, part) : part + d;
			i = end;
		}
		total += part;
	}
	return v_sum(total);
}

static float row_mean(const float *x, size_t n)
{
	return row_sum(x, n, false, v_set(0)) / (float)n;
}

static float row_variance(const float *x, size_t n, float mean)
{
	return row_sum(x, n, true, v_set(mean)) / (float)n;
}

/* One vector of a norm, m numbers of it. */
INLINE void norm_step(const struct norm_row *norm, const float *x, const float *weight, const float *bias, vf center, vf scale,
                      struct sink y, size_t i, size_t m)
{
	vf v = (v_take(x + i, m) - center) * scale;

	if (weight)
		v *= v_take(weight + i, m) + norm->plus;
	if (bias)
		v += v_take(bias + i, m);
	sink_give(y, i, v, m);
}

static void norm_group(const struct norm_row *norm, const float *x, size_t first, struct sink y)
{
	const float mean = norm->kind == NORM_LAYER ? row_mean(x + first, norm->group) : 0;
	const double variance = row_variance(x + first, norm->group, mean);
	const vf center = v_set(mean),
		 scale = v_set((float)(1 / __builtin_sqrt(variance + norm->eps)));
	const size_t at = norm->period > norm->group ? first % norm->period : 0, whole = norm->group / VL * VL;
	const float *weight = norm->weight ? norm->weight + at : NULL, *bias = norm->bias ? norm->bias + at : NULL;

	y.first += first;
	for (size_t i = 0; i < whole; i += VL)
		norm_step(norm, x + first, weight, bias, center, scale, y, i, VL);
	if (whole < norm->group)
		norm_step(norm, x + first, weight, bias, center, scale, y, whole, norm->group - whole);
}

static void row_norm(const struct norm_row *norm, const float *x, struct sink y)
{
	for (size_t first = 0; first + norm->group <= norm->width; first += norm->group)
		norm_group(norm, x, first, y);
}

INLINE vf activation(enum activation act, vf x)
{
	switch (act) {
	case ACT_SILU:
		return x / (1.0f + v_exp(-x));
	case ACT_GELU: {
		const vi negative = x < v_set(0);
		const vf tail = v_upper_tail(v_select(negative, -x, x));

		return x * v_select(negative, tail, 1.0f - tail);
	}
	case ACT_GELU_TANH: /* (1 + tanh u) / 2 = 1 / (1 + e^-2u) */
		return x * v_sigmoid(0x1.988454p+0f * v_fma(x * x * x, v_set(0.044715f), x));
	case ACT_GELU_QUICK:
		return x * v_sigmoid(1.702f * x);
	case ACT_RELU:
		return v_select(x < v_set(0), v_set(0), x);
	case ACT_COUNT:
		break;
	}
	return x;
}

INLINE void activate_as(enum activation act, const float *gate, const float *up, size_t n,
                        struct sink y)
{
	for (size_t i = 0; i < n; i += VL) {
		const size_t m = v_count(n - i);
		const vf u = v_take(up + i, m);

		sink_give(y, i,
		          gate ? activation(act, v_take(gate + i, m)) * u : activation(act, u), m);
	}
}

static void row_activate(enum activation act, const float *gate, const float *up, size_t n,
                         struct sink y)
{
	switch (act) {
	case ACT_SILU:
		activate_as(ACT_SILU, gate, up, n, y);
		break;
	case ACT_GELU:
		activate_as(ACT_GELU, gate, up, n, y);
		break;
	case ACT_GELU_TANH:
		activate_as(ACT_GELU_TANH, gate, up, n, y);
		break;
	case ACT_GELU_QUICK:
		activate_as(ACT_GELU_QUICK, gate, up, n, y);
		break;
	case ACT_RELU:
		activate_as(ACT_RELU, gate, up, n, y);
		break;
	case ACT_COUNT:
		break;
	}
}

static void row_add(float *y, const float *x, size_t n)
{
	for (size_t i = 0; i < n; i += VL) {
		const size_t m = v_count(n - i);

		v_give(y + i, v_take(y + i, m) + v_take(x + i, m), m);
	}
}

static void row_add_scaled(float *y, const float *x, float f, size_t n)
{
	for (size_t i = 0; i < n; i += VL) {
		const size_t m = v_count(n - i);

		v_give(y + i, v_fma(v_set(f), v_take(x + i, m), v_take(y + i, m)), m);
	}
}

static void row_scale(float *x, float f, size_t n)
{
	for (size_t i = 0; i < n; i += VL) {
		const size_t m = v_count(n - i);

		v_give(x + i, v_set(f) * v_take(x + i, m), m);
	}
}

static void row_softcap(float *x, size_t n, float c)
{
	for (size_t i = 0; i < n; i += VL) {
		const size_t m = v_count(n - i);

		v_give(x + i, c * v_tanh(v_take(x + i, m) / c), m);
	}
}

static void rotate_halves(const float *c, const float *s, size_t half, const float *x, float *y)
{
	for (size_t i = 0; i < half; i += VL) {
		const size_t m = v_count(half - i);
		const vf a = v_take(x + i, m), b = v_take(x + half + i, m);
		const vf co = v_take(c + i, m), si = v_take(s + i, m);

		v_give(y + i, v_fma(a, co, -(b * si)), m);
		v_give(y + half + i, v_fma(b, co, a * si), m);
	}
}

/* Pairs lie side by side: as 64-bit numbers they are exchanged by shifts, and VL / 2 factors are doubled. */
typedef uint64_t vpairs __attribute__((vector_size(4 * VL)));
typedef uint32_t vfactors __attribute__((vector_size(2 * VL)));

INLINE vpairs doubled(const float *p)
{
	vfactors v;

	memcpy(&v, p, sizeof v);

	const vpairs low = __builtin_convertvector(v, vpairs);

	return low | low << 32;
}

static void rotate_pairs(const float *c, const float *s, size_t half, const float *x, float *y)
{
	size_t i = 0;

	for (; i + VL / 2 <= half; i += VL / 2) {
		const vf v = v_load(x + 2 * i);
		const vpairs other = (vpairs)v << 32 | (vpairs)v >> 32;

		v_store(y + 2 * i, v * (vf)doubled(c + i) + (vf)other * (vf)(doubled(s + i) ^ 0x80000000));
	}
	for (; i < half; i++) {
		const float a = x[2 * i], b = x[2 * i + 1];

		y[2 * i] = a * c[i] - b * s[i];
		y[2 * i + 1] = b * c[i] + a * s[i];
	}
}

static void row_rotate(const struct rotary *r, const float *c, const float *s, size_t width,
                       const float *x, float *y)
{
	if (r->pairing == ROTARY_PAIRS)
		rotate_pairs(c, s, r->dims / 2, x, y);
	else
		rotate_halves(c, s, r->dims / 2, x, y);
	if (x != y && r->dims < width)
		memcpy(y + r->dims, x + r->dims, (width - r->dims) * sizeof *y);
}
