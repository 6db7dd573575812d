/*
 * The cpu back end, with every unit that this processor has, against ref; and the promise of the
 * bits. Errors are measured in units of eps times a scale that the formula gives; `k` is how many
 * were found.
 */
#include "ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "memory.h"

static const double EPS = 0x1p-24, EPS_BF16 = 0x1p-9;

static struct workers *workers;
static struct device *ref, *cpu;
static const char *unit;
static double eps_operand; /* of bf16 weights' operands */

static uint64_t seed = 1;

/* Sum of four uniform numbers: mean 0, deviation about 0.6. */
static double noise(void)
{
	double sum = -2;

	for (int i = 0; i < 4; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		sum += (double)(seed >> 40) * 0x1p-24;
	}
	return sum;
}

/* The same numbers for both back ends: r as double, c as float. */
struct twin {
	double *r;
	float *c;
	size_t n;
};

static struct twin twin_of(size_t n, double scale)
{
	struct twin t = { mem_zero(n + 1, sizeof *t.r), mem_zero(n + 1, sizeof *t.c), n };

	for (size_t i = 0; i < n; i++)
		t.r[i] = t.c[i] = scale == 0 ? 0 : (float)(scale * noise());
	return t;
}

static void twin_free(struct twin t)
{
	free(t.r);
	free(t.c);
}

static struct rows rows_of(void *p, size_t n, size_t width)
{
	return (struct rows){ p, n, width, width };
}

/* Largest |c - r| / (eps scale); NaN must meet NaN. */
static double worst(const struct twin *t, double eps, double scale)
{
	double most = 0;

	for (size_t i = 0; i < t->n; i++) {
		const double d = fabs(t->c[i] - t->r[i]) / (eps * scale);

		if (isnan(t->c[i]) != isnan(t->r[i]) || isinf(t->c[i]) != isinf(t->r[i]))
			return INFINITY;
		most = d > most ? d : most;
	}
	return most;
}

/* The same with the number itself as the scale: units in the last place. */
static double worst_ulp(const struct twin *t, double least)
{
	double most = 0;

	for (size_t i = 0; i < t->n; i++) {
		const double scale = fabs(t->r[i]) > least ? fabs(t->r[i]) : least;
		const double d = fabs(t->c[i] - t->r[i]) / (EPS * scale);

		most = d > most || isnan(d) ? d : most;
	}
	return most;
}

static void below(double k, double limit, const char *what)
{
	ok(k <= limit, "%s: %s, k = %.2f of %g", unit, what, k, limit);
}

/* -------- products */

static struct weight weight_of(const struct ops *ops, struct device *d,
                               const struct tensor_view *view, size_t n, void *bias)
{
	struct weight w = {
		.n = n, .k = view->k, .dtype = ops->operand_type(d, view->dtype), .bias = bias
	};
	struct error e;

	w.data = mem_try(ops->weight_len(d, n, w.k, w.dtype) + 1, "a weight", &e);
	if (!w.data)
		exit(2);
	ops->weight_put(d, &w, 0, view);
	return w;
}

static struct operand operand_of(const struct ops *ops, struct device *d, const struct weight *w,
                                 void *rows, size_t n)
{
	struct operand a = { .n = n, .k = w->k, .dtype = w->dtype };
	struct error e;

	a.p = mem_try(ops->operand_len(d, n, w->k, w->dtype) + 1, "an operand", &e);
	if (!a.p)
		exit(2);
	ops->pack(d, a, rows_of(rows, n, w->k));
	return a;
}

/* Stored weights (n, k) of a type, and the view of them; transposed: stored (k, n). */
static void *stored(struct tensor_view *view, enum dtype dtype, size_t n, size_t k, bool transposed)
{
	const struct twin t = twin_of(n * k, 0.05);
	void *p = mem_zero(n * k + 1, dtype_size(dtype));

	dtype_convert(p, dtype, t.c, DTYPE_F32, n * k);
	*view = (struct tensor_view){
		p, dtype, n, k, 0, n, 0, transposed ? 1 : k, transposed ? n : 1
	};
	twin_free(t);
	return p;
}

static double product_error(size_t n_rows, size_t n, size_t k, enum dtype dtype, bool transposed,
                            size_t tile)
{
	struct tensor_view view;
	void *bytes = stored(&view, dtype, n, k, transposed);
	struct twin x = twin_of(n_rows * k, 1), bias = twin_of(n, 0.1),
		    y = twin_of(n_rows * (n + 3), 0);
	struct weight wr = weight_of(&ops_ref, ref, &view, n, bias.r),
		      wc = weight_of(&ops_cpu, cpu, &view, n, bias.c);
	struct operand ar = operand_of(&ops_ref, ref, &wr, x.r, n_rows),
		       ac = operand_of(&ops_cpu, cpu, &wc, x.c, n_rows);
	const double eps = dtype == DTYPE_BF16 ? eps_operand : EPS;

	ops_ref.product(ref, &ar, &wr, (struct rows){ y.r, n_rows, n, n + 3 }, tile);
	ops_cpu.product(cpu, &ac, &wc, (struct rows){ y.c, n_rows, n, n + 3 }, tile);

	double most = worst(&y, eps, 0.6 * 0.03 * sqrt((double)k) + 0.06);

	free(bytes);
	free(wr.data);
	free(wc.data);
	free(ar.p);
	free(ac.p);
	twin_free(x);
	twin_free(bias);
	twin_free(y);
	return most;
}

/* product_add and product_act against the operations that they stand for, bit for bit.  Scratch memory is given only to a
 * unit that says that it needs it. */
static bool fused_like_apart(size_t n_rows, size_t n, size_t k, enum dtype dtype, bool gated)
{
	struct tensor_view view;
	void *bytes = stored(&view, dtype, n, k, false);
	struct twin x = twin_of(n_rows * k, 1), bias = twin_of(n, 0.1), into = twin_of(n_rows * n, 1),
		    scratch = twin_of(n_rows * n, 0), apart = twin_of(n_rows * n, 0);
	struct weight w = weight_of(&ops_cpu, cpu, &view, n, bias.c);
	struct operand a = operand_of(&ops_cpu, cpu, &w, x.c, n_rows);
	const struct gate gate = { ACT_SILU, gated, rows_of(scratch.c, n_rows, n) };
	const struct gate given = { ACT_SILU, gated, rows_of(ops_finish(&ops_cpu, cpu) ? NULL : scratch.c, n_rows, n) };
	const size_t width = gated ? n / 2 : n;
	struct operand one = { NULL, n_rows, width, w.dtype }, two = one;
	const size_t len = ops_cpu.operand_len(cpu, n_rows, width, w.dtype);

	one.p = mem_zero(1, len + 64);
	two.p = mem_zero(1, len + 64);
	ops_cpu.product_act(cpu, &a, &w, &given, one, 512);
	ops_cpu.product(cpu, &a, &w, gate.scratch, 512);
	ops_cpu.activate(cpu, ACT_SILU, gate_rows(&gate), up_rows(&gate, sizeof(float)),
	                 (struct rows){ 0 }, two);

	bool same = memcmp(one.p, two.p, len) == 0;

	for (size_t i = 0; i < n_rows * n; i++)
		apart.c[i] = into.c[i] + scratch.c[i];
	ops_cpu.product_add(cpu, &a, &w, given.scratch, rows_of(into.c, n_rows, n), 512);
	same = same && memcmp(into.c, apart.c, n_rows * n * sizeof(float)) == 0;
	free(bytes);
	free(w.data);
	free(a.p);
	free(one.p);
	free(two.p);
	twin_free(x);
	twin_free(bias);
	twin_free(into);
	twin_free(scratch);
	twin_free(apart);
	return same;
}

static const enum dtype stored_types[] = { DTYPE_F32, DTYPE_BF16, DTYPE_F16 };

static void check_fused(void)
{
	for (size_t i = 0; i < ARRAY_LEN(stored_types); i++) {
		const enum dtype type = stored_types[i];

		ok(fused_like_apart(1, 96, 64, type, true) && fused_like_apart(2, 1000, 300, type, true) &&
		           fused_like_apart(7, 34, 50, type, true) && fused_like_apart(513, 1090, 300, type, true) &&
		           fused_like_apart(70, 129, 1100, type, false),
		   "%s: %s products that add and activate like the separate operations", unit, dtype_name(type));
	}
}

/* The first rows of many, and each number of them alone: few rows take other ways through the weight. */
static void check_few_rows(enum dtype dtype, size_t n, size_t k)
{
	enum { MANY = 300 };
	struct tensor_view view;
	void *bytes = stored(&view, dtype, n, k, false);
	struct twin x = twin_of(MANY * k, 1), all = twin_of(MANY * n, 0), few = twin_of(MANY * n, 0);
	struct weight w = weight_of(&ops_cpu, cpu, &view, n, NULL);
	struct operand a = operand_of(&ops_cpu, cpu, &w, x.c, MANY);
	bool same = true;

	ops_cpu.product(cpu, &a, &w, rows_of(all.c, MANY, n), 512);
	for (a.n = 1; a.n < MANY; a.n += a.n < 40 ? 1 : 51) {
		ops_cpu.product(cpu, &a, &w, rows_of(few.c, a.n, n), a.n % 2 ? 64 : 512);
		same &= memcmp(few.c, all.c, a.n * n * sizeof(float)) == 0;
	}
	ok(same, "%s: few rows by %s weights (%zu, %zu) give the bits of many", unit, dtype_name(dtype), n, k);
	free(bytes);
	free(w.data);
	free(a.p);
	twin_free(x);
	twin_free(all);
	twin_free(few);
}

static void check_products(void)
{
	static const struct {
		size_t rows, n, k;
	} shapes[] = { { 0, 5, 7 },     { 1, 1, 1 },       { 7, 3, 129 },    { 13, 131, 61 },
		       { 64, 64, 128 }, { 130, 577, 300 }, { 519, 97, 1031 } };

	for (size_t t = 0; t < ARRAY_LEN(stored_types); t++) {
		double most = 0;
		char what[64];

		for (size_t i = 0; i < ARRAY_LEN(shapes); i++)
			most = fmax(most, product_error(shapes[i].rows, shapes[i].n, shapes[i].k,
			                                stored_types[t], i % 2, i % 3 ? 512 : 64));
		snprintf(what, sizeof what, "products of %s weights", dtype_name(stored_types[t]));
		below(most, 4 * sqrt(256), what); /* partial sums run over about 256 inputs */
	}
}

/* A row's product alone, and among rows of NaN, infinities and zeros, at places of a tile that
 * matter. */
static void check_product_bits(enum dtype dtype, size_t tile, size_t n, size_t k)
{
	static const size_t places[] = { 0, 17, 511, 514 };
	static const float mates[] = { NAN, INFINITY, 0, -1e30f };
	struct tensor_view view;
	void *bytes = stored(&view, dtype, n, k, false);
	struct twin x = twin_of(k, 1), many = twin_of(515 * k, 0), y = twin_of(515 * n, 0),
		    alone = twin_of(n, 0);
	struct weight w = weight_of(&ops_cpu, cpu, &view, n, NULL);
	struct operand a = operand_of(&ops_cpu, cpu, &w, x.c, 1);
	bool same = true;

	ops_cpu.product(cpu, &a, &w, rows_of(alone.c, 1, n), tile);
	free(a.p);
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		for (size_t j = 0; j < many.n; j++)
			many.c[j] = mates[(i + j / k) % ARRAY_LEN(mates)];
		memcpy(many.c + places[i] * k, x.c, k * sizeof(float));
		a = operand_of(&ops_cpu, cpu, &w, many.c, 515);
		ops_cpu.product(cpu, &a, &w, rows_of(y.c, 515, n), tile);
		same &= memcmp(y.c + places[i] * n, alone.c, n * sizeof(float)) == 0;
		free(a.p);
	}
	ok(same,
	   "%s: a row's product by %s weights (%zu, %zu) alone and among any mates, tiles of %zu",
	   unit, dtype_name(dtype), n, k, tile);
	free(bytes);
	free(w.data);
	twin_free(x);
	twin_free(many);
	twin_free(y);
	twin_free(alone);
}

/* -------- rows */

static void check_norms(void)
{
	static const size_t widths[] = { 1, 7, 64, 2051 };
	double most = 0;

	for (size_t i = 0; i < ARRAY_LEN(widths); i++)
		for (int kind = NORM_RMS; kind <= NORM_LAYER; kind++)
			for (int heads = 1; heads <= 3; heads += 2) {
				const size_t width = widths[i] * (size_t)heads;
				const struct model m = { .norm = (enum norm_kind)kind,
					                 .norm_eps = 1e-5,
					                 .norm_plus_one = i % 2 };
				struct twin x = twin_of(3 * width, 2), y = twin_of(3 * width, 0),
					    w = twin_of(widths[i], 1);
				struct twin b = twin_of(widths[i], 1);
				const struct norm nr = { w.r, heads > 1 ? NULL : b.r, w.n };
				const struct norm nc = { w.c, heads > 1 ? NULL : b.c, w.n };

				ops_ref.norm(ref, &m, &nr, widths[i], rows_of(x.r, 3, width),
				             rows_of(y.r, 3, width), (struct operand){ 0 });
				ops_cpu.norm(cpu, &m, &nc, widths[i], rows_of(x.c, 3, width),
				             rows_of(y.c, 3, width), (struct operand){ 0 });
				/* LayerNorm of one number is noise over sqrt(eps). */
				most = fmax(most, kind == NORM_LAYER && widths[i] == 1
				                          ? 0
				                          : worst(&y, EPS, 4));
				twin_free(x);
				twin_free(y);
				twin_free(w);
				twin_free(b);
			}
	below(most, 8, "norms");
}

static void check_activations(void)
{
	static const char *const names[] = { "silu", "gelu", "gelu_tanh", "gelu_quick", "relu" };
	struct twin x = twin_of(40001, 0), y = twin_of(x.n, 0);
	const struct rows none = { 0 };

	for (size_t i = 0; i < x.n; i++)
		x.r[i] = x.c[i] = (float)(((double)i - 20000) * 1e-3);
	for (int act = 0; act < ACT_COUNT; act++) {
		ops_ref.activate(ref, (enum activation)act, none, rows_of(x.r, 1, x.n),
		                 rows_of(y.r, 1, x.n), (struct operand){ 0 });
		ops_cpu.activate(cpu, (enum activation)act, none, rows_of(x.c, 1, x.n),
		                 rows_of(y.c, 1, x.n), (struct operand){ 0 });
		/* The sharp tail: e^-x^2/2 of a rounded x. */
		below(worst_ulp(&y, 1e-4), 32, names[act]);
		ops_ref.activate(ref, (enum activation)act, rows_of(x.r, 1, x.n),
		                 rows_of(x.r, 1, x.n), rows_of(y.r, 1, x.n), (struct operand){ 0 });
		ops_cpu.activate(cpu, (enum activation)act, rows_of(x.c, 1, x.n),
		                 rows_of(x.c, 1, x.n), rows_of(y.c, 1, x.n), (struct operand){ 0 });
		below(worst_ulp(&y, 1e-3), 32, "times up");
	}
	memcpy(y.c, x.c, x.n * sizeof *x.c);
	memcpy(y.r, x.r, x.n * sizeof *x.r);
	ops_ref.softcap(ref, rows_of(y.r, 1, x.n), 7);
	ops_cpu.softcap(cpu, rows_of(y.c, 1, x.n), 7);
	below(worst_ulp(&y, 1e-30), 8, "softcap");
	for (int act = 0; act < ACT_COUNT; act++) {
		struct twin odd = twin_of(5, 0), z = twin_of(5, 0);
		static const float values[] = { NAN, 1e38f, -1e38f, 1e-40f, -0.0f };

		for (size_t i = 0; i < 5; i++)
			odd.r[i] = odd.c[i] = values[i];
		ops_ref.activate(ref, (enum activation)act, none, rows_of(odd.r, 1, 5),
		                 rows_of(z.r, 1, 5), (struct operand){ 0 });
		ops_cpu.activate(cpu, (enum activation)act, none, rows_of(odd.c, 1, 5),
		                 rows_of(z.c, 1, 5), (struct operand){ 0 });
		ok(isnan(z.c[0]) && z.c[1] == 1e38f && fabsf(z.c[2]) < 1e-30f &&
		           fabsf(z.c[3]) <= 1e-40f && z.c[4] == 0,
		   "%s: %s of NaN, of large and of tiny numbers", unit, names[act]);
		twin_free(odd);
		twin_free(z);
	}
	twin_free(x);
	twin_free(y);
}

static void check_rotation(void)
{
	static const size_t dims[] = { 2, 10, 34, 64 };
	double most = 0;

	for (size_t i = 0; i < ARRAY_LEN(dims); i++)
		for (int pairing = 0; pairing < 2; pairing++) {
			const struct rotary r = { .pairing = (enum rotary_pairing)pairing,
				                  .dims = dims[i] };
			const size_t width = 3 * 64, half = dims[i] / 2;
			struct twin c = twin_of(9 * half, 1), s = twin_of(9 * half, 1),
				    x = twin_of(5 * width, 1), y = twin_of(x.n, 0);

			ops_ref.rotate(ref, &r, c.r, s.r, 64, 4, rows_of(x.r, 5, width),
			               rows_of(y.r, 5, width));
			ops_cpu.rotate(cpu, &r, c.c, s.c, 64, 4, rows_of(x.c, 5, width),
			               rows_of(y.c, 5, width));
			most = fmax(most, worst(&y, EPS, 2));
			ops_cpu.rotate(cpu, &r, c.c, s.c, 64, 4, rows_of(x.c, 5, width),
			               rows_of(x.c, 5, width));
			if (memcmp(x.c, y.c, x.n * sizeof *x.c) != 0)
				most = INFINITY;
			twin_free(c);
			twin_free(s);
			twin_free(x);
			twin_free(y);
		}
	below(most, 4, "rotation, in place too");
}

static void check_rounding(void)
{
	static const enum dtype types[] = { DTYPE_F32, DTYPE_BF16, DTYPE_F16 };
	struct twin x = twin_of(3 * 1031, 100);
	float *y = mem_zero(x.n, sizeof *y), *z = mem_zero(x.n, sizeof *z);
	void *bytes = mem_zero(x.n, sizeof *y), *want = mem_zero(x.n, sizeof *y);

	x.c[1] = NAN;
	x.c[2] = -INFINITY;
	x.c[3] = 3.4e38f;
	x.c[4] = 1e-41f;
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		const size_t len = x.n * dtype_size(types[i]);

		dtype_convert(want, types[i], x.c, DTYPE_F32, x.n);
		ops_cpu.store(cpu, bytes, types[i], rows_of(x.c, 3, 1031));
		ops_cpu.load(cpu, rows_of(y, 3, 1031), bytes, types[i]);
		memcpy(z, x.c, x.n * sizeof *z);
		ops_cpu.round(cpu, rows_of(z, 3, 1031), types[i]);
		ok(memcmp(bytes, want, len) == 0 && memcmp(y, z, x.n * sizeof *y) == 0,
		   "%s: store, load and round of %s as dtype_convert has it", unit,
		   dtype_name(types[i]));
	}
	free(y);
	free(z);
	free(bytes);
	free(want);
	twin_free(x);
}

/* -------- attention */

struct sequence {
	struct attention a;
	size_t n; /* tokens of each of three samples, of which the middle one is looked at */
	struct twin q, k, v, y;
};

static struct sequence sequence_of(struct attention a, size_t n)
{
	const size_t kv = a.n_kv_heads * a.head_width, width = a.n_heads * a.head_width;

	return (struct sequence){ a,
		                  n,
		                  twin_of(3 * n * width, 2),
		                  twin_of(3 * n * kv, 2),
		                  twin_of(3 * n * kv, 1),
		                  twin_of(3 * n * width, 0) };
}

static void sequence_free(struct sequence *s)
{
	twin_free(s->q);
	twin_free(s->k);
	twin_free(s->v);
	twin_free(s->y);
}

/* Three samples of s->n tokens; the middle one is cut into pieces of `piece` rows. */
static size_t segments_of(const struct sequence *s, bool doubles, size_t piece, struct segment *to)
{
	const size_t kv = s->a.n_kv_heads * s->a.head_width,
		     element = doubles ? sizeof(double) : sizeof(float);
	char *k = doubles ? (char *)s->k.r : (char *)s->k.c,
	     *v = doubles ? (char *)s->v.r : (char *)s->v.c;
	size_t n = 0;

	for (size_t i = 0; i < 3; i++)
		for (size_t at = 0; at < s->n;) {
			size_t rows = i == 1 && piece < s->n - at ? piece : s->n - at;

			to[n++] = (struct segment){ .row = i * s->n + at,
				                    .n = rows,
				                    .first = (uint32_t)at,
				                    .len = (uint32_t)s->n,
				                    .k = k + i * s->n * kv * element,
				                    .v = v + i * s->n * kv * element };
			at += rows;
		}
	return n;
}

static void attend(const struct ops *ops, struct device *d, struct sequence *s, size_t piece)
{
	const bool doubles = ops == &ops_ref;
	const size_t width = s->a.n_heads * s->a.head_width;
	struct segment *segments = mem_zero(3 * s->n, sizeof *segments);
	const size_t n = segments_of(s, doubles, piece, segments);

	ops->attend(d, &s->a, segments, n,
	            rows_of(doubles ? (void *)s->q.r : (void *)s->q.c, 3 * s->n, width),
	            rows_of(doubles ? (void *)s->y.r : (void *)s->y.c, 3 * s->n, width),
	            (struct operand){ 0 });
	free(segments);
}

static const struct {
	struct attention a;
	size_t n;
} attentions[] = {
	{ { 1, 1, 1, 0, 1, 0 }, 3 },         { { 6, 2, 10, 0, 0.3, 0 }, 37 },
	{ { 4, 1, 64, 0, 0.125, 0 }, 301 },  { { 2, 2, 80, 5, 0.1, 0 }, 150 },
	{ { 3, 1, 33, 131, 0.1, 20 }, 290 }, { { 5, 1, 128, 128, 0.08, 0 }, 260 },
};

static void check_attention(void)
{
	double most = 0, scores = 0, probs = 0;
	bool same = true, clean = true;

	for (size_t i = 0; i < ARRAY_LEN(attentions); i++) {
		struct sequence s = sequence_of(attentions[i].a, attentions[i].n);
		const size_t width = s.a.n_heads * s.a.head_width,
			     sample_len = s.n * width * sizeof(float);
		float *first = mem_alloc(sample_len);
		float *middle = s.y.c + s.n * width;

		attend(&ops_ref, ref, &s, s.n);
		attend(&ops_cpu, cpu, &s, s.n);
		most = fmax(most, worst(&s.y, EPS, 1));

		/* Cut into pieces, as batches cut long samples: not a bit changes. */
		memcpy(first, middle, sample_len);
		for (size_t piece = 1; piece < 140; piece += 46) {
			memset(middle, 0xff, sample_len);
			attend(&ops_cpu, cpu, &s, piece);
			same &= memcmp(first, middle, sample_len) == 0;
		}

		struct segment segments[512], *last = segments;
		const size_t rows = s.n < 5 ? s.n : 5, len = rows * s.a.n_heads * s.n;
		struct twin t = twin_of(len, 0);

		segments_of(&s, true, s.n, segments);
		last += 1;
		ops_ref.scores(ref, &s.a, last, rows_of(s.q.r, 3 * s.n, width), s.n - rows, rows,
		               false, t.r);
		segments_of(&s, false, s.n, segments);
		ops_cpu.scores(cpu, &s.a, last, rows_of(s.q.c, 3 * s.n, width), s.n - rows, rows,
		               false, t.c);
		for (size_t j = 0; j < len; j++)
			if (isinf(t.r[j]) && t.r[j] == t.c[j])
				t.r[j] = t.c[j] = 0;
		scores = fmax(scores,
		              worst(&t, EPS, s.a.scale * 1.4 * sqrt((double)s.a.head_width) + 1));
		ops_cpu.scores(cpu, &s.a, last, rows_of(s.q.c, 3 * s.n, width), s.n - rows, rows,
		               true, t.c);
		segments_of(&s, true, s.n, segments);
		ops_ref.scores(ref, &s.a, last, rows_of(s.q.r, 3 * s.n, width), s.n - rows, rows,
		               true, t.r);
		probs = fmax(probs, worst(&t, EPS, 1));
		twin_free(t);

		/* Beside samples of NaN and infinities, and before a poisoned future of its own. */
		for (size_t j = 0; j < s.n * width; j++)
			s.q.c[j] = s.q.c[2 * s.n * width + j] = NAN;
		for (size_t j = 0; j < s.n * s.a.n_kv_heads * s.a.head_width; j++) {
			const size_t after = 2 * s.n * s.a.n_kv_heads * s.a.head_width + j;

			s.k.c[j] = s.v.c[after] = NAN;
			s.v.c[j] = s.k.c[after] = INFINITY;
		}
		s.v.c[2 * s.n * s.a.n_kv_heads * s.a.head_width - 1] = INFINITY;
		attend(&ops_cpu, cpu, &s, s.n);
		clean &= memcmp(first, middle, sample_len - width * sizeof(float)) == 0;
		free(first);
		sequence_free(&s);
	}
	below(most, 40, "attention");
	below(scores, 24, "attention scores");
	below(probs, 40, "attention probabilities");
	ok(same, "%s: attention of a sample in pieces is that of the whole, bit by bit", unit);
	ok(clean, "%s: attention beside poisoned samples, and before poisoned tokens", unit);
}

/* -------- experts */

static void check_routing(void)
{
	enum { ROWS = 9, EXPERTS = 60, CHOSEN = 4 };
	struct twin x = twin_of(ROWS * EXPERTS, 3), w = twin_of(ROWS * CHOSEN, 0);
	int32_t ids_r[ROWS * CHOSEN], ids_c[ROWS * CHOSEN];

	for (size_t i = 0; i < EXPERTS; i++) /* a row of ties */
		x.r[i] = x.c[i] = i % 7 == 3;
	for (int renormalize = 0; renormalize < 2; renormalize++) {
		ops_ref.route(ref, rows_of(x.r, ROWS, EXPERTS), renormalize,
		              (struct routing){ ids_r, w.r, CHOSEN });
		ops_cpu.route(cpu, rows_of(x.c, ROWS, EXPERTS), renormalize,
		              (struct routing){ ids_c, w.c, CHOSEN });
		ok(memcmp(ids_r, ids_c, sizeof ids_r) == 0 && ids_c[0] == 3 && ids_c[1] == 10 &&
		           worst_ulp(&w, 0) <= 1,
		   "%s: routing %s renormalised weights, ties to the lower id", unit,
		   renormalize ? "with" : "without");
	}
	twin_free(x);
	twin_free(w);
}

static void check_lists(void)
{
	static const uint32_t list[] = { 4, 0, 2 };
	struct twin into = twin_of(5 * 37, 1), from = twin_of(3 * 37, 1), factor = twin_of(3, 1);
	struct weight w = { .k = 37, .dtype = DTYPE_F32 };
	struct operand a = operand_of(&ops_cpu, cpu, &w, into.c, 5),
		       b = operand_of(&ops_cpu, cpu, &w, into.c, 3);
	struct operand c;

	for (size_t i = 0; i < 3; i++)
		memcpy(from.c + i * 37, into.c + list[i] * 37, 37 * sizeof(float));
	c = operand_of(&ops_cpu, cpu, &w, from.c, 3);
	ops_cpu.gather(cpu, b, &a, list, 3);
	ok(memcmp(b.p, c.p, 37 * sizeof(float)) == 0, "%s: gather", unit);
	for (size_t i = 0; i < from.n; i++)
		from.r[i] = from.c[i];
	ops_ref.scatter(ref, rows_of(into.r, 5, 37), rows_of(from.r, 3, 37), list, factor.r, 3);
	ops_cpu.scatter(cpu, rows_of(into.c, 5, 37), rows_of(from.c, 3, 37), list, factor.c, 3);
	below(worst(&into, EPS, 2), 4, "scatter");
	ops_ref.add(ref, rows_of(into.r, 3, 37), rows_of(from.r, 3, 37));
	ops_cpu.add(cpu, rows_of(into.c, 3, 37), rows_of(from.c, 3, 37));
	below(worst(&into, EPS, 3), 4, "add");
	free(a.p);
	free(b.p);
	free(c.p);
	twin_free(into);
	twin_free(from);
	twin_free(factor);
}

/* -------- threads */

/* A hash of what product and attend give with n threads. */
static uint64_t with_threads(size_t n)
{
	struct error e;
	struct workers *some = workers_open(n, &e);
	struct device *d = some ? ops_cpu.open(some, &(struct device_choice){ .index = -1 }, &e) : NULL;
	struct sequence s;
	struct tensor_view view;
	uint64_t hash = 0;

	if (!d)
		return n;
	seed = 7;
	s = sequence_of((struct attention){ 4, 2, 48, 0, 0.2, 0 }, 300);
	attend(&ops_cpu, d, &s, 100);

	void *bytes = stored(&view, DTYPE_BF16, 700, 192, false);
	struct weight w = weight_of(&ops_cpu, d, &view, 700, NULL);
	struct operand a = operand_of(&ops_cpu, d, &w, s.y.c, 900);
	float *y = mem_zero(900 * 700, sizeof *y);

	ops_cpu.product(d, &a, &w, rows_of(y, 900, 700), 512);
	for (size_t i = 0; i < 900 * 700; i++) {
		uint32_t bits;

		memcpy(&bits, y + i, sizeof bits);
		hash = (hash ^ bits) * 1099511628211u;
	}
	free(bytes);
	free(w.data);
	free(a.p);
	free(y);
	sequence_free(&s);
	ops_cpu.close(d);
	workers_close(some);
	return hash;
}

static void check_unit(void)
{
	check_products();
	check_fused();
	check_product_bits(DTYPE_F32, 512, 131, 300);
	check_product_bits(DTYPE_F16, 64, 64, 513);
	check_product_bits(DTYPE_BF16, 512, 640, 513);
	check_product_bits(DTYPE_BF16, 64, 1100, 64);
	check_few_rows(DTYPE_F32, 61, 259);
	check_few_rows(DTYPE_F16, 33, 100);
	check_few_rows(DTYPE_BF16, 107, 517);
	check_norms();
	check_activations();
	check_rotation();
	check_rounding();
	check_attention();
	check_routing();
	check_lists();

	const uint64_t one = with_threads(1);

	ok(one == with_threads(2) && one == with_threads(3),
	   "%s: one, two and three threads give the same bits", unit);
}

int main(void)
{
	static const char *const units[] = { "generic", "avx2", "avx512", "avx512_bf16", "amx", "amx_plain" };
	struct error e;
	size_t n = 0;

	workers = workers_open(2, &e);
	ref = workers ? ops_ref.open(workers, &(struct device_choice){ .index = -1 }, &e) : NULL;
	if (!ok(ref != NULL, "ref opens"))
		return done();
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		setenv("ONELAYER_UNIT", units[i], 1);
		cpu = ops_cpu.open(workers, &(struct device_choice){ .index = -1 }, &e);
		if (!cpu) {
			ok(true, "%s # SKIP this processor has no such unit", units[i]);
			continue;
		}
		unit = units[i];
		eps_operand = strcmp(unit, "avx512_bf16") == 0 || strncmp(unit, "amx", 3) == 0 ? EPS_BF16 : EPS;
		check_unit();
		ops_cpu.close(cpu);
		n++;
	}
	ok(n > 0, "%zu units run here", n);
	unsetenv("ONELAYER_UNIT");
	cpu = ops_cpu.open(workers, &(struct device_choice){ .index = -1 }, &e);
	ok(cpu != NULL, "one is chosen: %s", cpu ? ops_cpu.unit(cpu) : e.text);
	ops_cpu.close(cpu);
	ops_ref.close(ref);
	workers_close(workers);
	return done();
}
