/*
 * The cpu back end, with every unit that this processor has, and the cuda one on its fake device, against
 * ref; and the promise of the bits.  Errors are measured in units of eps times a scale that the formula gives; `k` is how many
 * were found.
 */
#include "ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "cuda_module.h"
#include "memory.h"
#include "view.h"

static const double EPS = 0x1p-24, EPS_BF16 = 0x1p-9, EPS_F16 = 0x1p-12;

static struct workers *workers;
static struct device *ref;
/* What is checked. */
static const struct ops *ops = &ops_cpu;
static struct device *dev;
static const char *unit;
static double eps_operand, eps_f16 = EPS; /* of bf16 and f16 weights' operands */
static uint64_t hash; /* of all that came from a device with its own memory */

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

/* -------- the device's memory */

static void *take(size_t len)
{
	struct error e;
	void *p = ops->take(dev, len + 64, "a test", &e);

	if (!p) {
		printf("Bail out! %s\n", e.text);
		exit(2);
	}
	return p;
}

static void give(void *p)
{
	ops->give(dev, p);
}

static void hash_bytes(const void *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ ((const unsigned char *)p)[i]) * 1099511628211u;
}

/* A copy of what lies on the device, freed by the caller. */
static void *fetched(const void *p, size_t len)
{
	void *copy = mem_alloc(len + 1);

	ops->download(dev, copy, p, len);
	hash_bytes(copy, len);
	return copy;
}

static bool same_on_device(const void *a, const void *b, size_t len)
{
	void *x = fetched(a, len), *y = fetched(b, len);
	const bool same = memcmp(x, y, len) == 0;

	free(x);
	free(y);
	return same;
}

/* The same numbers for both back ends: r as double, c as float; d: c on the device, c itself where the device's memory is the
 * host's. */
struct twin {
	double *r;
	float *c, *d;
	size_t n;
};

/* Between c and d, where they are two. */
static void push(const struct twin *t)
{
	if (!ops->host)
		ops->upload(dev, t->d, t->c, t->n * sizeof *t->c);
}

static void pull(const struct twin *t)
{
	if (ops->host)
		return;
	ops->download(dev, t->c, t->d, t->n * sizeof *t->c);
	hash_bytes(t->c, t->n * sizeof *t->c);
}

static struct twin twin_of(size_t n, double scale)
{
	struct twin t = { mem_zero(n + 1, sizeof *t.r), mem_zero(n + 1, sizeof *t.c), NULL, n };

	t.d = ops->host ? t.c : take(n * sizeof *t.d);
	for (size_t i = 0; i < n; i++)
		t.r[i] = t.c[i] = scale == 0 ? 0 : (float)(scale * noise());
	push(&t);
	return t;
}

static void twin_free(struct twin t)
{
	if (!ops->host)
		give(t.d);
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

	pull(t);
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

	pull(t);
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

static void *take_for(const struct ops *o, size_t len)
{
	return o == ops ? take(len) : mem_zero(1, len + 1);
}

static void give_for(const struct ops *o, void *p)
{
	if (o == ops)
		give(p);
	else
		free(p);
}

static struct weight weight_of(const struct ops *o, struct device *d, const struct tensor_view *view,
                               size_t n, void *bias)
{
	struct weight w = {
		.n = n, .k = view->k, .dtype = o->operand_type(d, view->dtype), .bias = bias
	};

	w.data = take_for(o, o->weight_len(d, n, w.k, w.dtype));
	o->weight_put(d, &w, 0, view);
	o->put_wait(d);
	return w;
}

static struct operand operand_of(const struct ops *o, struct device *d, const struct weight *w,
                                 void *rows, size_t n)
{
	struct operand a = { .n = n, .k = w->k, .dtype = w->dtype };

	a.p = take_for(o, o->operand_len(d, n, w->k, w->dtype));
	o->pack(d, a, rows_of(rows, n, w->k));
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
		      wc = weight_of(ops, dev, &view, n, bias.d);
	struct operand ar = operand_of(&ops_ref, ref, &wr, x.r, n_rows),
		       ac = operand_of(ops, dev, &wc, x.d, n_rows);
	const double eps = dtype == DTYPE_BF16 ? eps_operand : dtype == DTYPE_F16 ? eps_f16 : EPS;

	ops_ref.product(ref, &ar, &wr, (struct rows){ y.r, n_rows, n, n + 3 }, tile);
	ops->product(dev, &ac, &wc, (struct rows){ y.d, n_rows, n, n + 3 }, tile);

	double most = worst(&y, eps, 0.6 * 0.03 * sqrt((double)k) + 0.06);

	free(bytes);
	give_for(&ops_ref, wr.data);
	give_for(ops, wc.data);
	give_for(&ops_ref, ar.p);
	give_for(ops, ac.p);
	twin_free(x);
	twin_free(bias);
	twin_free(y);
	return most;
}

/* product_add and product_act against the operations that they stand for, bit for bit.  Scratch memory is given only to a
 * unit that says that it needs it. */
static bool fused_like_apart(size_t n_rows, size_t n, size_t k, enum dtype dtype, bool gated,
                             bool biased)
{
	struct tensor_view view;
	void *bytes = stored(&view, dtype, n, k, false);
	struct twin x = twin_of(n_rows * k, 1), bias = twin_of(n, 0.1), into = twin_of(n_rows * n, 1),
		    scratch = twin_of(n_rows * n, 0), apart = twin_of(n_rows * n, 0);
	struct weight w = weight_of(ops, dev, &view, n, biased ? bias.d : NULL);
	struct operand a = operand_of(ops, dev, &w, x.d, n_rows);
	const struct gate gate = { ACT_SILU, gated, rows_of(scratch.d, n_rows, n) };
	const struct gate given = { ACT_SILU, gated, rows_of(ops_finish(ops, dev) ? NULL : scratch.d, n_rows, n) };
	const size_t width = gated ? n / 2 : n;
	struct operand one = { NULL, n_rows, width, w.dtype }, two = one;
	const size_t len = ops->operand_len(dev, n_rows, width, w.dtype);

	one.p = take(len);
	two.p = take(len);
	ops->clear(dev, one.p, len);
	ops->clear(dev, two.p, len);
	ops->product_act(dev, &a, &w, &given, one, 512);
	ops->product(dev, &a, &w, gate.scratch, 512);
	ops->activate(dev, ACT_SILU, gate_rows(&gate), up_rows(&gate, sizeof(float)), (struct rows){ 0 },
	              two);

	bool same = same_on_device(one.p, two.p, len);

	ops->copy(dev, rows_of(apart.d, n_rows, n), rows_of(into.d, n_rows, n));
	ops->add(dev, rows_of(apart.d, n_rows, n), gate.scratch);
	ops->product_add(dev, &a, &w, given.scratch, rows_of(into.d, n_rows, n), 512);
	same = same && same_on_device(into.d, apart.d, n_rows * n * sizeof(float));
	free(bytes);
	give(w.data);
	give(a.p);
	give(one.p);
	give(two.p);
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

		ok(fused_like_apart(1, 96, 64, type, true, true) &&
		           fused_like_apart(2, 1000, 300, type, true, false) &&
		           fused_like_apart(7, 34, 50, type, true, false) &&
		           fused_like_apart(513, 1090, 300, type, true, true) &&
		           fused_like_apart(70, 129, 1100, type, false, false),
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
	struct weight w = weight_of(ops, dev, &view, n, NULL);
	struct operand a = operand_of(ops, dev, &w, x.d, MANY);
	bool same = true;

	ops->product(dev, &a, &w, rows_of(all.d, MANY, n), 512);
	for (a.n = 1; a.n < MANY; a.n += a.n < 40 ? 1 : 51) {
		ops->product(dev, &a, &w, rows_of(few.d, a.n, n), a.n % 2 ? 64 : 512);
		same &= same_on_device(few.d, all.d, a.n * n * sizeof(float));
	}
	ok(same, "%s: few rows by %s weights (%zu, %zu) give the bits of many", unit, dtype_name(dtype), n, k);
	free(bytes);
	give(w.data);
	give(a.p);
	twin_free(x);
	twin_free(all);
	twin_free(few);
}

static void check_products(void)
{
	static const struct {
		size_t rows, n, k;
	} shapes[] = { { 0, 5, 7 },     { 1, 1, 1 },       { 7, 3, 129 },    { 13, 131, 61 },
		       { 64, 64, 128 }, { 130, 577, 300 }, { 519, 97, 1031 }, { 67, 50, 5 } };

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
	struct weight w = weight_of(ops, dev, &view, n, NULL);
	struct operand a = operand_of(ops, dev, &w, x.d, 1);
	bool same = true;

	ops->product(dev, &a, &w, rows_of(alone.d, 1, n), tile);
	give(a.p);
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		for (size_t j = 0; j < many.n; j++)
			many.c[j] = mates[(i + j / k) % ARRAY_LEN(mates)];
		memcpy(many.c + places[i] * k, x.c, k * sizeof(float));
		push(&many);
		a = operand_of(ops, dev, &w, many.d, 515);
		ops->product(dev, &a, &w, rows_of(y.d, 515, n), tile);
		same &= same_on_device(y.d + places[i] * n, alone.d, n * sizeof(float));
		give(a.p);
	}
	ok(same,
	   "%s: a row's product by %s weights (%zu, %zu) alone and among any mates, tiles of %zu",
	   unit, dtype_name(dtype), n, k, tile);
	free(bytes);
	give(w.data);
	twin_free(x);
	twin_free(many);
	twin_free(y);
	twin_free(alone);
}

/* -------- rows */

static void check_norms(void)
{
	static const size_t widths[] = { 1, 7, 64, 200, 500, 1000, 2048, 2051, 8000, 16000, 20001 };
	double most = 0;

	for (size_t i = 0; i < ARRAY_LEN(widths); i++)
		for (int kind = NORM_RMS; kind <= NORM_LAYER; kind++)
			for (int heads = 1; heads <= 4; heads += heads) {
				/* Four heads have weights of their own, two share theirs. */
				const size_t width = widths[i] * (size_t)heads, period = heads == 4 ? width : widths[i];
				const struct model m = { .norm = (enum norm_kind)kind,
					                 .norm_eps = 1e-5,
					                 .norm_plus_one = i % 2 };
				struct twin x = twin_of(3 * width, 2), y = twin_of(3 * width, 0),
					    w = twin_of(period, 1);
				struct twin b = twin_of(period, 1);
				const struct norm nr = { w.r, heads == 2 ? NULL : b.r, w.n };
				const struct norm nc = { w.d, heads == 2 ? NULL : b.d, w.n };

				ops_ref.norm(ref, &m, &nr, widths[i], rows_of(x.r, 3, width),
				             rows_of(y.r, 3, width), (struct operand){ 0 });
				ops->norm(dev, &m, &nc, widths[i], rows_of(x.d, 3, width),
				          rows_of(y.d, 3, width), (struct operand){ 0 });
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

/* A row by its own gate, from shut to open. */
static void check_add_gated(void)
{
	enum { ROWS = 41, WIDTH = 77 };
	struct twin x = twin_of(ROWS * WIDTH, 1), y = twin_of(x.n, 1), gate = twin_of(ROWS, 0);

	for (size_t i = 0; i < ROWS; i++)
		gate.r[i] = gate.c[i] = (float)i - 20;
	push(&gate);
	ops_ref.add_gated(ref, rows_of(y.r, ROWS, WIDTH), rows_of(x.r, ROWS, WIDTH), rows_of(gate.r, ROWS, 1));
	ops->add_gated(dev, rows_of(y.d, ROWS, WIDTH), rows_of(x.d, ROWS, WIDTH), rows_of(gate.d, ROWS, 1));
	below(worst(&y, EPS, 4), 2, "a gated sum");
	twin_free(x);
	twin_free(y);
	twin_free(gate);
}

static void check_activations(void)
{
	static const char *const names[] = { "silu", "gelu", "gelu_tanh", "gelu_quick", "relu" };
	struct twin x = twin_of(40001, 0), y = twin_of(x.n, 0);
	const struct rows none = { 0 };

	for (size_t i = 0; i < x.n; i++)
		x.r[i] = x.c[i] = (float)(((double)i - 20000) * 1e-3);
	push(&x);
	for (int act = 0; act < ACT_COUNT; act++) {
		ops_ref.activate(ref, (enum activation)act, none, rows_of(x.r, 1, x.n),
		                 rows_of(y.r, 1, x.n), (struct operand){ 0 });
		ops->activate(dev, (enum activation)act, none, rows_of(x.d, 1, x.n),
		              rows_of(y.d, 1, x.n), (struct operand){ 0 });
		/* The sharp tail: e^-x^2/2 of a rounded x. */
		below(worst_ulp(&y, 1e-4), 32, names[act]);
		ops_ref.activate(ref, (enum activation)act, rows_of(x.r, 1, x.n),
		                 rows_of(x.r, 1, x.n), rows_of(y.r, 1, x.n), (struct operand){ 0 });
		ops->activate(dev, (enum activation)act, rows_of(x.d, 1, x.n),
		              rows_of(x.d, 1, x.n), rows_of(y.d, 1, x.n), (struct operand){ 0 });
		below(worst_ulp(&y, 1e-3), 32, "times up");
	}
	memcpy(y.c, x.c, x.n * sizeof *x.c);
	memcpy(y.r, x.r, x.n * sizeof *x.r);
	push(&y);
	ops_ref.softcap(ref, rows_of(y.r, 1, x.n), 7);
	ops->softcap(dev, rows_of(y.d, 1, x.n), 7);
	below(worst_ulp(&y, 1e-30), 8, "softcap");
	ops_ref.scale(ref, rows_of(y.r, 1, x.n), 0.3);
	ops->scale(dev, rows_of(y.d, 1, x.n), 0.3);
	below(worst_ulp(&y, 1e-30), 9, "scale");
	for (int act = 0; act < ACT_COUNT; act++) {
		struct twin odd = twin_of(5, 0), z = twin_of(5, 0);
		static const float values[] = { NAN, 1e38f, -1e38f, 1e-40f, -0.0f };

		for (size_t i = 0; i < 5; i++)
			odd.r[i] = odd.c[i] = values[i];
		push(&odd);
		ops_ref.activate(ref, (enum activation)act, none, rows_of(odd.r, 1, 5),
		                 rows_of(z.r, 1, 5), (struct operand){ 0 });
		ops->activate(dev, (enum activation)act, none, rows_of(odd.d, 1, 5), rows_of(z.d, 1, 5),
		              (struct operand){ 0 });
		pull(&z);
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
			ops->rotate(dev, &r, c.d, s.d, 64, 4, rows_of(x.d, 5, width),
			            rows_of(y.d, 5, width));
			most = fmax(most, worst(&y, EPS, 2));
			ops->rotate(dev, &r, c.d, s.d, 64, 4, rows_of(x.d, 5, width),
			            rows_of(x.d, 5, width));
			pull(&x);
			if (memcmp(x.c, y.c, x.n * sizeof *x.c) != 0)
				most = INFINITY;
			twin_free(c);
			twin_free(s);
			twin_free(x);
			twin_free(y);
		}
	below(most, 4, "rotation, in place too");
}

/* Rows of several samples at once, against each by itself: the same bits. */
static void check_turns(void)
{
	static const struct {
		size_t position, n;
	} runs[] = { { 0, 3 }, { 5, 1 }, { 2, 4 }, { 0, 1 }, { 7, 2 } };
	const struct rotary r = { .dims = 20 };
	const size_t head = 24, width = 2 * head, half = 10, n = 11;
	bool same = true;

	if (!ops->rotate_all)
		return;
	for (size_t off = 0; off < 2; off++) {
		struct twin c = twin_of(9 * half + off, 1), s = twin_of(9 * half + off, 1), x = twin_of(n * width, 1),
			    y = twin_of(x.n, 0), z = twin_of(x.n, 0);
		struct rotation turns[ARRAY_LEN(runs)];
		size_t at = 0;

		for (size_t i = 0; i < ARRAY_LEN(runs); i++) {
			turns[i] = (struct rotation){ (const float *)c.d + off, (const float *)s.d + off, runs[i].position, runs[i].n };
			ops->rotate(dev, &r, turns[i].cos, turns[i].sin, head, runs[i].position,
			            rows_of((float *)x.d + at * width, runs[i].n, width),
			            rows_of((float *)y.d + at * width, runs[i].n, width));
			at += runs[i].n;
		}
		ops->rotate_all(dev, &r, head, turns, ARRAY_LEN(runs), rows_of(x.d, n, width), rows_of(z.d, n, width));
		pull(&y);
		pull(&z);
		same &= memcmp(y.c, z.c, y.n * sizeof *y.c) == 0;
		twin_free(c);
		twin_free(s);
		twin_free(x);
		twin_free(y);
		twin_free(z);
	}
	ok(same, "%s: rotation of several samples at once", unit);
}

static void check_rounding(void)
{
	static const enum dtype types[] = { DTYPE_F32, DTYPE_BF16, DTYPE_F16, DTYPE_F64 };
	struct twin x = twin_of(3 * 1031, 100), y = twin_of(x.n, 0), z = twin_of(x.n, 0);
	void *bytes = mem_zero(x.n, sizeof *x.r), *want = mem_zero(x.n, sizeof *x.r);

	x.c[1] = NAN;
	x.c[2] = -INFINITY;
	x.c[3] = 3.4e38f;
	x.c[4] = 1e-41f;
	push(&x);
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		const size_t len = x.n * dtype_size(types[i]);

		dtype_convert(want, types[i], x.c, DTYPE_F32, x.n);
		ops->store(dev, bytes, types[i], rows_of(x.d, 3, 1031));
		ops->wait(dev);
		ops->load(dev, rows_of(y.d, 3, 1031), bytes, types[i]);
		ops->copy(dev, rows_of(z.d, 3, 1031), rows_of(x.d, 3, 1031));
		ops->round(dev, rows_of(z.d, 3, 1031), types[i]);
		ok(memcmp(bytes, want, len) == 0 && same_on_device(y.d, z.d, x.n * sizeof *y.d),
		   "%s: store, load and round of %s as dtype_convert has it", unit,
		   dtype_name(types[i]));
	}
	free(bytes);
	free(want);
	twin_free(x);
	twin_free(y);
	twin_free(z);
}

/* -------- places: what rows hold at odd ones and among odd mates is what they hold alone */

enum { PLACE_ROWS = 5, PLACE_GAP = 3 };

/* Rows of x at element 1 of a buffer with gaps that hold `fill`, as hostile to vector loads as can be. */
static struct twin at_odd_place(const struct twin *x, size_t width, float fill)
{
	const size_t stride = width + PLACE_GAP;
	struct twin t = twin_of(PLACE_ROWS * stride + 1, 0);

	for (size_t i = 0; i < t.n; i++)
		t.c[i] = fill;
	for (size_t r = 0; r < PLACE_ROWS; r++)
		memcpy(t.c + 1 + r * stride, x->c + r * width, width * sizeof *x->c);
	push(&t);
	return t;
}

static struct rows odd_rows(const struct twin *t, size_t width)
{
	return (struct rows){ t->d + 1, PLACE_ROWS, width, width + PLACE_GAP };
}

/* The rows are y's, and the gaps untouched. */
static bool odd_rows_are(const struct twin *t, const struct twin *y, size_t width, float fill)
{
	bool same = true;

	pull(t);
	pull(y);
	for (size_t i = 0; i < t->n; i++) {
		const size_t r = (i - 1) / (width + PLACE_GAP), c = (i - 1) % (width + PLACE_GAP);
		const float want = i == 0 || c >= width ? fill : y->c[r * width + c];

		same &= memcmp(&want, &t->c[i], sizeof want) == 0;
	}
	return same;
}

enum place_op { PLACE_NORM, PLACE_ACTIVATE, PLACE_ADD, PLACE_SOFTCAP, PLACE_SCALE, PLACE_GATED, PLACE_ROUND, PLACE_COPY, PLACE_OPS };

static const char *const place_names[] = { "norm", "activate", "add", "softcap", "scale", "a gated sum", "round", "copy" };

/* to = op(to), or of from, in place where the operation is. */
static void run_place(enum place_op op, const struct norm *norm, size_t group, struct rows to, struct rows from)
{
	const struct model m = { .norm = NORM_LAYER, .norm_eps = 1e-5 };
	const struct operand none = { 0 };

	switch (op) {
	case PLACE_NORM:
		ops->norm(dev, &m, norm, group, to, to, none);
		break;
	case PLACE_ACTIVATE:
		ops->activate(dev, ACT_GELU, from, to, to, none);
		break;
	case PLACE_ADD:
		ops->add(dev, to, from);
		break;
	case PLACE_SOFTCAP:
		ops->softcap(dev, to, 3);
		break;
	case PLACE_SCALE:
		ops->scale(dev, to, 0.7);
		break;
	case PLACE_GATED:
		ops->add_gated(dev, to, from, (struct rows){ from.p, from.n, 1, from.stride });
		break;
	case PLACE_ROUND:
		ops->round(dev, to, DTYPE_F16);
		break;
	default:
		ops->copy(dev, to, from);
	}
}

static bool place_bits(enum place_op op, size_t group, size_t groups)
{
	const size_t width = group * groups;
	struct twin x = twin_of(PLACE_ROWS * width, 1), y = twin_of(x.n, 1), w = twin_of(group, 1);
	struct twin odd_x = at_odd_place(&x, width, NAN), odd_y = at_odd_place(&y, width, INFINITY);
	const struct norm norm = { w.d, w.d, group };

	run_place(op, &norm, group, rows_of(x.d, PLACE_ROWS, width), rows_of(y.d, PLACE_ROWS, width));
	run_place(op, &norm, group, odd_rows(&odd_x, width), odd_rows(&odd_y, width));

	const bool same = odd_rows_are(&odd_x, &x, width, NAN);

	twin_free(x);
	twin_free(y);
	twin_free(w);
	twin_free(odd_x);
	twin_free(odd_y);
	return same;
}

static void check_places(void)
{
	static const size_t groups[][2] = { { 1, 1 }, { 5, 1 }, { 7, 3 }, { 64, 2 }, { 130, 1 }, { 1031, 1 }, { 2052, 2 } };

	for (enum place_op op = 0; op < PLACE_OPS; op++) {
		bool same = true;

		for (size_t i = 0; i < ARRAY_LEN(groups); i++)
			same &= place_bits(op, groups[i][0], groups[i][1]);
		ok(same, "%s: %s of rows at odd places, with odd neighbours", unit, place_names[op]);
	}
}

/* What an operation leaves in an operand, against the same rows packed: ends of rows too. */
static bool packs_alike(size_t group, size_t groups, enum dtype dtype)
{
	const size_t width = group * groups, len = ops->operand_len(dev, 3, width, dtype);
	const struct model m = { .norm = NORM_RMS, .norm_eps = 1e-5 };
	const struct rows none = { 0 };
	struct twin x = twin_of(3 * width, 1), y = twin_of(3 * width, 0), w = twin_of(group, 1);
	const struct norm norm = { w.d, w.d, group };
	struct operand one = { take(len), 3, width, dtype }, two = { take(len), 3, width, dtype };
	bool same;

	/* cpu leaves what lies behind a row as it was. */
	ops->clear(dev, one.p, len);
	ops->clear(dev, two.p, len);
	ops->norm(dev, &m, &norm, group, rows_of(x.d, 3, width), none, one);
	ops->norm(dev, &m, &norm, group, rows_of(x.d, 3, width), rows_of(y.d, 3, width), one);
	ops->pack(dev, two, rows_of(y.d, 3, width));
	same = same_on_device(one.p, two.p, len);
	ops->activate(dev, ACT_SILU, none, rows_of(x.d, 3, width), none, one);
	ops->activate(dev, ACT_SILU, none, rows_of(x.d, 3, width), rows_of(y.d, 3, width), one);
	ops->pack(dev, two, rows_of(y.d, 3, width));
	same &= same_on_device(one.p, two.p, len);
	give(one.p);
	give(two.p);
	twin_free(x);
	twin_free(y);
	twin_free(w);
	return same;
}

static void check_packing(void)
{
	static const size_t groups[][2] = { { 1, 1 }, { 7, 5 }, { 30, 3 }, { 64, 2 }, { 2051, 1 } };
	static const enum dtype types[] = { DTYPE_F32, DTYPE_BF16, DTYPE_F16 };

	for (size_t t = 0; t < ARRAY_LEN(types); t++) {
		bool same = true;

		for (size_t i = 0; i < ARRAY_LEN(groups); i++)
			same &= packs_alike(groups[i][0], groups[i][1], ops->operand_type(dev, types[t]));
		ok(same, "%s: norms and activations into operands of %s as into rows that are packed", unit, dtype_name(types[t]));
	}
}

/* -------- weights in every guise, seen through products with rows of the unit matrix */

/* (n, 1) and (n, k) views of `group` columns every third group; transposed: the inputs lie side by side. */
static bool weight_is(enum dtype dtype, size_t n, size_t k, size_t group, bool transposed, bool staged)
{
	const size_t stored_n = 3 * ((n + group - 1) / group) * group, count = stored_n * k;
	struct tensor_view view = { NULL, dtype, n, k, 0, group, 0, transposed ? 1 : k, transposed ? stored_n : 1 };
	struct twin x = twin_of(count, 1), unit_rows = twin_of(k * k, 0), y = twin_of(k * n, 0);
	float *v = take(n * sizeof *v), *got, *want = mem_zero(n * k + 1, sizeof *want);
	struct error e;
	void *bytes = staged ? ops->take_staging(dev, count * dtype_size(dtype), &e) : mem_zero(count, dtype_size(dtype));
	bool same = true;

	if (!bytes)
		exit(2);
	view.group_stride = 3 * group * view.n_stride;
	view.data = bytes;
	dtype_convert(bytes, dtype, x.c, DTYPE_F32, count);
	view_read(want, DTYPE_F32, &view, 0, n, 0, k);
	for (size_t i = 0; i < k; i++)
		unit_rows.c[i * k + i] = 1;
	push(&unit_rows);

	struct weight w = weight_of(ops, dev, &view, n, NULL);
	const struct tensor_view column = { bytes, dtype, n, 1, 0, group, view.group_stride, view.n_stride, 1 };

	ops->zero_put(dev, v, n * sizeof *v);
	ops->vector_put(dev, v, &column);
	ops->put_wait(dev);
	/* The tensor is the caller's again. */
	memset(bytes, 0xff, count * dtype_size(dtype));

	struct operand a = operand_of(ops, dev, &w, unit_rows.d, k);

	ops->product(dev, &a, &w, rows_of(y.d, k, n), 512);
	pull(&y);
	got = fetched(v, n * sizeof *v);
	for (size_t c = 0; c < n; c++) {
		for (size_t i = 0; i < k; i++)
			same &= y.c[i * n + c] == want[c * k + i];
		same &= got[c] == want[c * k];
	}
	if (staged)
		ops->free_staging(dev, bytes);
	else
		free(bytes);
	free(want);
	free(got);
	give(v);
	give(w.data);
	give(a.p);
	twin_free(x);
	twin_free(unit_rows);
	twin_free(y);
	return same;
}

static void check_weights(void)
{
	static const enum dtype types[] = { DTYPE_F32, DTYPE_BF16, DTYPE_F16, DTYPE_F64, DTYPE_F8E4M3 };

	for (size_t t = 0; t < ARRAY_LEN(types); t++)
		for (int staged = 0; staged < 2; staged++)
			ok(weight_is(types[t], 1, 1, 1, false, staged) && weight_is(types[t], 37, 80, 37, false, staged) &&
			           weight_is(types[t], 37, 45, 5, false, staged) && weight_is(types[t], 64, 33, 1, false, staged) &&
			           weight_is(types[t], 50, 35, 50, true, staged) && weight_is(types[t], 9, 64, 4, true, staged),
			   "%s: %s weights and vectors, plain, in groups, transposed%s", unit, dtype_name(types[t]),
			   staged ? ", from staging memory" : "");
}

/* More than any buffer between host and device holds: many rows, and one long one. */
static void check_crossing(void)
{
	enum { N = 1500001 };
	struct twin x = twin_of(N, 100), y = twin_of(N, 0);
	const struct rows shapes[] = { rows_of(x.d, 1, N), rows_of(x.d, 300, 5000), { x.d + 1, 1499, 997, 1000 } };
	uint16_t *bytes = mem_zero(N, sizeof *bytes), *want = mem_zero(N, sizeof *want);

	for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
		const struct rows from = shapes[i], to = { y.d + (from.p == x.d ? 0 : 1), from.n, from.width, from.stride };
		bool same = true;

		ops->clear(dev, y.d, N * sizeof *y.d);
		for (size_t r = 0; r < from.n; r++)
			dtype_convert(want + r * from.width, DTYPE_F16, x.c + (from.p == x.d ? 0 : 1) + r * from.stride, DTYPE_F32,
			              from.width);
		ops->store(dev, bytes, DTYPE_F16, from);
		ops->wait(dev);
		same &= memcmp(bytes, want, from.n * from.width * sizeof *want) == 0;
		ops->load(dev, to, bytes, DTYPE_F16);
		memset(bytes, 0, N * sizeof *bytes);
		/* A row at a time, as sites of single rows do it. */
		for (size_t r = 0; r < from.n; r++)
			ops->store(dev, bytes + r * from.width, DTYPE_F16,
			           (struct rows){ (float *)to.p + r * to.stride, 1, to.width, to.stride });
		ops->wait(dev);
		same &= memcmp(bytes, want, from.n * from.width * sizeof *want) == 0;
		ok(same, "%s: (%zu, %zu) rows out, in and out again", unit, from.n, from.width);
	}
	free(bytes);
	free(want);
	twin_free(x);
	twin_free(y);
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
	char *k = doubles ? (char *)s->k.r : (char *)s->k.d,
	     *v = doubles ? (char *)s->v.r : (char *)s->v.d;
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

static void attend(const struct ops *o, struct device *d, struct sequence *s, size_t piece)
{
	const bool doubles = o == &ops_ref;
	const size_t width = s->a.n_heads * s->a.head_width;
	struct segment *segments = mem_zero(3 * s->n, sizeof *segments);
	const size_t n = segments_of(s, doubles, piece, segments);

	o->attend(d, &s->a, segments, n,
	          rows_of(doubles ? (void *)s->q.r : (void *)s->q.d, 3 * s->n, width),
	          rows_of(doubles ? (void *)s->y.r : (void *)s->y.d, 3 * s->n, width),
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

/* With the widest heads that there are kernels for last. */
static void check_attention(void)
{
	double most = 0, scores = 0, probs = 0;
	bool same = true, clean = true;

	for (size_t i = 0; i <= ARRAY_LEN(attentions); i++) {
		const bool widest = i == ARRAY_LEN(attentions);
		struct sequence s = widest ? sequence_of((struct attention){ 3, 1, ops->head_most, 0, 0.01, 0 }, 6)
		                           : sequence_of(attentions[i].a, attentions[i].n);
		const size_t width = s.a.n_heads * s.a.head_width,
			     sample_len = s.n * width * sizeof(float);
		float *first = mem_alloc(sample_len);
		float *middle = s.y.c + s.n * width;

		attend(&ops_ref, ref, &s, s.n);
		attend(ops, dev, &s, s.n);
		most = fmax(most, worst(&s.y, EPS, 1));

		/* Cut into pieces, as batches cut long samples: not a bit changes. */
		memcpy(first, middle, sample_len);
		/* Fibres are slow; cuda_attend.cc has more of it. */
		for (size_t piece = ops->host ? 1 : 47; piece < (ops->host ? 140u : 48u); piece += 46) {
			memset(middle, 0xff, sample_len);
			push(&s.y);
			attend(ops, dev, &s, piece);
			pull(&s.y);
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
		ops->scores(dev, &s.a, last, rows_of(s.q.d, 3 * s.n, width), s.n - rows, rows, false,
		            t.d);
		pull(&t);
		for (size_t j = 0; j < len; j++)
			if (isinf(t.r[j]) && t.r[j] == t.c[j])
				t.r[j] = t.c[j] = 0;
		push(&t);
		scores = fmax(scores,
		              worst(&t, EPS, s.a.scale * 1.4 * sqrt((double)s.a.head_width) + 1));
		ops->scores(dev, &s.a, last, rows_of(s.q.d, 3 * s.n, width), s.n - rows, rows, true,
		            t.d);
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
		push(&s.q);
		push(&s.k);
		push(&s.v);
		attend(ops, dev, &s, s.n);
		pull(&s.y);
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
	int32_t ids_r[ROWS * CHOSEN], *ids = take(sizeof ids_r);

	for (size_t i = 0; i < EXPERTS; i++) /* a row of ties */
		x.r[i] = x.c[i] = i % 7 == 3;
	push(&x);
	for (int renormalize = 0; renormalize < 2; renormalize++) {
		ops_ref.route(ref, rows_of(x.r, ROWS, EXPERTS), renormalize,
		              (struct routing){ ids_r, w.r, CHOSEN });
		ops->route(dev, rows_of(x.d, ROWS, EXPERTS), renormalize,
		           (struct routing){ ids, w.d, CHOSEN });

		int32_t *ids_c = fetched(ids, sizeof ids_r);

		ok(memcmp(ids_r, ids_c, sizeof ids_r) == 0 && ids_c[0] == 3 && ids_c[1] == 10 &&
		           worst_ulp(&w, 0) <= 1,
		   "%s: routing %s renormalised weights, ties to the lower id", unit,
		   renormalize ? "with" : "without");
		free(ids_c);
	}
	give(ids);
	twin_free(x);
	twin_free(w);
}

static void check_lists(void)
{
	static const uint32_t list[] = { 4, 0, 2 };
	struct twin into = twin_of(5 * 37, 1), from = twin_of(3 * 37, 1), factor = twin_of(3, 1);
	struct weight w = { .k = 37, .dtype = DTYPE_F32 };
	const size_t len = ops->operand_len(dev, 3, 37, DTYPE_F32);
	struct operand a = operand_of(ops, dev, &w, into.d, 5), b = { take(len), 3, 37, DTYPE_F32 }, c = b;
	uint32_t *places = take(sizeof list);

	ops->upload(dev, places, list, sizeof list);
	for (size_t i = 0; i < 3; i++)
		memcpy(from.c + i * 37, into.c + list[i] * 37, 37 * sizeof(float));
	push(&from);
	c.p = take(len);
	/* What lies behind a row is left as it was. */
	ops->clear(dev, b.p, len);
	ops->clear(dev, c.p, len);
	ops->pack(dev, c, rows_of(from.d, 3, 37));
	ops->gather(dev, b, &a, places, 3);
	ok(same_on_device(b.p, c.p, len), "%s: gather", unit);
	for (size_t i = 0; i < from.n; i++)
		from.r[i] = from.c[i];
	ops_ref.scatter(ref, rows_of(into.r, 5, 37), rows_of(from.r, 3, 37), list, factor.r, 3);
	ops->scatter(dev, rows_of(into.d, 5, 37), rows_of(from.d, 3, 37), places, factor.d, 3);
	below(worst(&into, EPS, 2), 4, "scatter");
	ops_ref.add(ref, rows_of(into.r, 3, 37), rows_of(from.r, 3, 37));
	ops->add(dev, rows_of(into.d, 3, 37), rows_of(from.d, 3, 37));
	below(worst(&into, EPS, 3), 4, "add");
	give(places);
	give(a.p);
	give(b.p);
	give(c.p);
	twin_free(into);
	twin_free(from);
	twin_free(factor);
}

/* -------- pooling: ref's bits, whatever lies between the rows */

enum { POOL_ROWS = 300, POOL_LIST = 60 };

static uint32_t below_n(uint32_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % n;
}

/* Rows of up to three runs, some of which go on from what is there; marks the rows that are named. */
static size_t pool_list(struct pooled_row *list, struct row_run *runs, bool *named)
{
	size_t n_runs = 0;

	for (size_t i = 0; i < POOL_LIST; i++) {
		list[i] = (struct pooled_row){ n_runs, 1 + below_n(3), i % 4 == 3 };
		for (size_t k = 0; k < list[i].n; k++) {
			struct row_run run = { below_n(POOL_ROWS), 1 + below_n(i % 3 ? 40 : 2) };

			if (run.row + run.n > POOL_ROWS)
				run.n = POOL_ROWS - run.row;
			for (size_t r = run.row; r < run.row + run.n; r++)
				named[r] = true;
			runs[n_runs++] = run;
		}
	}
	return n_runs;
}

static bool same_doubles(const double *a, const double *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (isnan(a[i]) != isnan(b[i]) || (!isnan(a[i]) && memcmp(&a[i], &b[i], sizeof *a) != 0))
			return false;
	return true;
}

static bool pools_as_ref(bool largest, const struct pooled_row *list, size_t n, const struct row_run *runs,
                         const struct twin *x, size_t n_rows, size_t width, size_t stride)
{
	double *got = mem_zero(n * width + 1, sizeof *got), *want = mem_zero(n * width + 1, sizeof *want);

	for (size_t i = 0; i < n * width; i++)
		got[i] = want[i] = noise();
	ops_ref.pool(ref, largest, list, n, runs, (struct rows){ x->r, n_rows, width, stride }, want);
	ops->pool(dev, largest, list, n, runs, (struct rows){ x->d, n_rows, width, stride }, got);
	ops->wait(dev);

	const bool same = same_doubles(got, want, n * width);

	hash_bytes(got, n * width * sizeof *got);
	free(got);
	free(want);
	return same;
}

static bool pools_rows(size_t width, size_t gap)
{
	struct pooled_row list[POOL_LIST];
	struct row_run runs[3 * POOL_LIST];
	bool named[POOL_ROWS] = { false };
	const size_t stride = width + gap;
	struct twin x = twin_of(POOL_ROWS * stride, 1);

	pool_list(list, runs, named);
	for (size_t i = 0; i < x.n; i++)
		if (!named[i / stride] || i % stride >= width)
			x.r[i] = x.c[i] = i % 2 ? NAN : -INFINITY;
	x.r[runs[0].row * stride] = x.c[runs[0].row * stride] = -0.0f;
	x.r[runs[5].row * stride] = x.c[runs[5].row * stride] = NAN;
	x.r[runs[8].row * stride] = x.c[runs[8].row * stride] = INFINITY;
	push(&x);

	const bool same = pools_as_ref(false, list, POOL_LIST, runs, &x, POOL_ROWS, width, stride) &&
	                  pools_as_ref(true, list, POOL_LIST, runs, &x, POOL_ROWS, width, stride);

	twin_free(x);
	return same;
}

/* More runs than a table on its way to a device holds, and a row that is longer than a piece on its way back. */
static bool pools_much(void)
{
	enum { MANY = 140000, WIDE = 70001 };
	struct row_run *runs = mem_zero(MANY, sizeof *runs);
	const struct pooled_row many[] = { { 0, 10, false }, { 3, MANY - 3, true }, { 7, 20, false } },
	                        wide[] = { { 0, 2, false }, { 1, 1, true } };
	struct twin x = twin_of(3 * WIDE, 1);

	for (size_t i = 0; i < MANY; i++)
		runs[i] = (struct row_run){ i % 3, 1 };

	const bool same = pools_as_ref(false, many, 3, runs, &x, 3, 1, WIDE) &&
	                  pools_as_ref(false, wide, 2, runs, &x, 3, WIDE, WIDE);

	free(runs);
	twin_free(x);
	return same;
}

static void check_pooling(void)
{
	static const size_t widths[] = { 1, 3, 7, 64, 1031 };
	bool same = true;

	for (size_t i = 0; i < ARRAY_LEN(widths); i++)
		same &= pools_rows(widths[i], 0) && pools_rows(widths[i], 5);
	ok(same, "%s: pooled rows, whatever lies beside theirs", unit);
	ok(pools_much(), "%s: pooled rows of very many runs, and very long ones", unit);
	ops->pool(dev, false, NULL, 0, NULL, rows_of(NULL, 0, 7), NULL);
	ops->wait(dev);
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
	uint64_t sum = 0;

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
		sum = (sum ^ bits) * 1099511628211u;
	}
	free(bytes);
	give(w.data);
	give(a.p);
	free(y);
	sequence_free(&s);
	ops_cpu.close(d);
	workers_close(some);
	return sum;
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
	check_add_gated();
	check_rotation();
	check_turns();
	check_rounding();
	check_places();
	check_packing();
	check_weights();
	check_crossing();
	check_attention();
	check_routing();
	check_lists();
	check_pooling();
}

static void check_threads(void)
{
	const uint64_t one = with_threads(1);

	ok(one == with_threads(2) && one == with_threads(3),
	   "%s: one, two and three threads give the same bits", unit);
}

/* -------- cuda: the module of the host, whose fake device runs a block's threads in the order that it is told */

static const char *const orders[] = { "forward", "backward", "shuffled,seed=1" };

static void check_cuda(const char *module)
{
	struct error e;
	uint64_t first = 0;

	setenv("ONELAYER_CUDA_MODULE", module, 1);
	ops = cuda_module_load(&e);
	if (!ok(ops != NULL, "cuda: the host's module%s%s", ops ? "" : ": ", ops ? "" : e.text))
		return;
	eps_operand = EPS_BF16;
	eps_f16 = EPS_F16;
	/* Sanitizers look for other things, and fibres are slow under them. */
	for (size_t i = 0; i < (getenv("SANITIZED") ? 1 : ARRAY_LEN(orders)); i++) {
		char name[64];

		setenv("ONELAYER_FAKE_GPU", orders[i], 1);
		snprintf(name, sizeof name, "cuda %s", orders[i]);
		unit = name;
		seed = 1;
		hash = 0;
		dev = ops->open(workers, &(struct device_choice){ .index = -1 }, &e);
		if (!ok(dev != NULL, "%s: opens%s%s", unit, dev ? "" : ": ", dev ? "" : e.text))
			return;
		check_unit();
		ok(!ops->failed(dev, &e), "%s: the device is whole", unit);
		ops->close(dev);
		first = i ? first : hash;
		ok(hash == first, "%s: the same bits as forward", unit);
	}
}

/* kernels NAME...: these units alone, or cuda. */
static bool wanted(int argc, char **argv, const char *name)
{
	bool named = argc == 1;

	for (int i = 1; i < argc; i++)
		named |= strcmp(argv[i], name) == 0;
	return named;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		bool rounds; /* operands of bf16 weights */
	} units[] = { { "generic", false },  { "avx2", false }, { "avx512", false },   { "avx512_bf16", true },
		      { "avx512_bf16_plain", true }, { "amx", true },   { "amx_plain", true }, { "onednn", true } };
	struct error e;
	size_t n = 0;

	workers = workers_open(2, &e);
	ref = workers ? ops_ref.open(workers, &(struct device_choice){ .index = -1 }, &e) : NULL;
	if (!ok(ref != NULL, "ref opens"))
		return done();
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (!wanted(argc, argv, units[i].name))
			continue;
		setenv("ONELAYER_UNIT", units[i].name, 1);
		dev = ops_cpu.open(workers, &(struct device_choice){ .index = -1 }, &e);
		if (!dev) {
			ok(true, "%s # SKIP this processor has no such unit", units[i].name);
			continue;
		}
		unit = units[i].name;
		eps_operand = units[i].rounds ? EPS_BF16 : EPS;
		check_unit();
		check_threads();
		ops_cpu.close(dev);
		n++;
	}
	ok(n > 0 || argc > 1, "%zu units run here", n);
	unsetenv("ONELAYER_UNIT");
	dev = ops_cpu.open(workers, &(struct device_choice){ .index = -1 }, &e);
	ok(dev != NULL, "one is chosen: %s", dev ? ops_cpu.unit(dev) : e.text);
	ops_cpu.close(dev);
	if (wanted(argc, argv, "cuda"))
		check_cuda(getenv("BUILD") ? mem_format("%s/cuda-host/onelayer-cuda.so", getenv("BUILD")) : "build/cuda-host/onelayer-cuda.so");
	ops_ref.close(ref);
	workers_close(workers);
	return done();
}
