/*
 * CUDA's attention on the fake device, against ref, and the promise of its bits: in pieces, beside poison, with any scratch
 * memory, in any order of threads.
 */
#include "attend.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

#include "check.h"
#include "gpu_fake.h"
#include "launches.h"

/* Every table has device memory of its own until the test ends; what it was copied from stays too. */
struct launch_tables {
	gpu *g;
	std::vector<void *> device;
	std::vector<std::vector<char>> host;
};

const void *launch_table(launch_context *c, const void *from, size_t len)
{
	launch_tables *t = c->tables;
	t->host.emplace_back(static_cast<const char *>(from), static_cast<const char *>(from) + len);
	t->device.push_back(gpu_take(t->g, len));
	gpu_copy_in(c->stream, t->device.back(), t->host.back().data(), len);
	return t->device.back();
}

namespace {

enum : size_t { MEMORY = 64 << 20, SCRATCH = 4 << 20 };

struct bench {
	gpu *g;
	launch_context c;
	launch_tables tables;
	std::vector<void *> taken;
	error e;

	explicit bench(fibres_order order)
	{
		const fake_choice choice = { order, FAKE_FINE, MEMORY };
		fake_choose(&choice);
		g = gpu_open(-1, &e);
		tables.g = g;
		c = { gpu_stream_open(g), 4, take<char>(SCRATCH), &tables };
	}
	~bench()
	{
		gpu_sync(c.stream);
		for (void *p : taken)
			gpu_give(g, p);
		for (void *p : tables.device)
			gpu_give(g, p);
		gpu_stream_close(c.stream);
		gpu_close(g);
	}
	template <class T> T *take(size_t n)
	{
		taken.push_back(gpu_take(g, n * sizeof(T) + 64));
		return static_cast<T *>(taken.back());
	}
	/* `off` elements behind the beginning of the memory. */
	float *put(const std::vector<float> &x, size_t off)
	{
		float *p = take<float>(x.size() + off) + off;
		gpu_copy_in(c.stream, p, x.data(), x.size() * sizeof(float));
		return p;
	}
	bool failed()
	{
		gpu_sync(c.stream);
		const bool so = gpu_failed(g, &e);
		if (so)
			printf("# %s\n", e.text);
		return so;
	}
};

/* -------- a batch: three samples, that of the middle is looked at */

enum { SAMPLES = 3 };

struct batch {
	attention a;
	size_t len[SAMPLES];
	std::vector<float> q, k, v;     /* (T, A D), (T, G D), (T, G D) */

	size_t n() const
	{
		return len[0] + len[1] + len[2];
	}
	size_t width() const
	{
		return a.n_heads * a.head_width;
	}
	size_t kv() const
	{
		return a.n_kv_heads * a.head_width;
	}
};

uint64_t seed = 1;

float noise()
{
	float sum = -2;
	for (int i = 0; i < 4; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		sum += static_cast<float>(seed >> 40) * 0x1p-24f;
	}
	return sum;
}

/* Of values that `exact` holds, so that rounding the operands changes nothing. */
std::vector<float> numbers(size_t n, float scale, enum dtype exact)
{
	std::vector<float> x(n);
	for (float &f : x)
		f = scale * noise();
	dtype_round(x.data(), DTYPE_F32, exact, n);
	return x;
}

batch batch_of(attention a, size_t len, enum dtype exact)
{
	batch b = { a, { 5, len, 3 }, {}, {}, {} };
	b.q = numbers(b.n() * b.width(), 2, exact);
	b.k = numbers(b.n() * b.kv(), 2, exact);
	b.v = numbers(b.n() * b.kv(), 1, exact);
	return b;
}

/* The middle sample cut into pieces of `piece` rows; k and v: of the batch, elements of `size` bytes. */
std::vector<segment> segments_of(const batch &b, void *k, void *v, size_t size, size_t piece)
{
	std::vector<segment> s;
	size_t row = 0;
	for (size_t i = 0; i < SAMPLES; row += b.len[i++])
		for (size_t at = 0, n; at < b.len[i]; at += n) {
			n = i == 1 && piece < b.len[i] - at ? piece : b.len[i] - at;
			const size_t off = row * b.kv() * size;
			s.push_back({ i, row + at, n, static_cast<uint32_t>(at), static_cast<uint32_t>(b.len[i]),
			              static_cast<char *>(k) + off, static_cast<char *>(v) + off });
		}
	return s;
}

/* The middle sample's of (T, A D). */
template <class T> std::vector<T> middle_of(const batch &b, const std::vector<T> &all)
{
	const T *first = all.data() + b.len[0] * b.width();
	return { first, first + b.len[1] * b.width() };
}

struct way {
	enum dtype dtype;
	bool packed;            /* into an operand */
	size_t piece = SIZE_MAX, scratch = SCRATCH;
	unsigned tiles = 32000;
	bool roomy = true;
	fibres_order order = { FIBRES_FORWARD, 0 };
	size_t off = 0;         /* where rows begin, and what their stride has beside the width */
};

/* Rows (T, A D) of the middle sample; empty if something is wrong. */
std::vector<float> attend(const batch &b, const way &w)
{
	bench d(w.order);
	const size_t n = b.n(), width = b.width(), stride = width + w.off;
	std::vector<float> wide(n * stride, NAN), result(n * width);
	for (size_t i = 0; i < n; i++)
		std::copy_n(&b.q[i * width], width, &wide[i * stride]);
	std::vector<segment> s = segments_of(b, d.put(b.k, w.off), d.put(b.v, w.off), sizeof(float), w.piece);
	const rows q = { d.put(wide, w.off), n, width, stride };
	const size_t to = w.packed ? operand_stride(width) : stride, size = w.packed && w.dtype != DTYPE_F32 ? 2 : 4;
	char *out = d.take<char>(n * to * size + 4 * w.off) + (w.packed ? 0 : 4 * w.off);
	const operand packed = { w.packed ? out : nullptr, n, width, w.dtype };
	const rows plain = { w.packed ? nullptr : out, n, width, stride };
	attend_within(&d.c, &b.a, s.data(), s.size(), q, plain, packed, { w.scratch, w.tiles, w.roomy });
	std::vector<char> bytes(n * to * size);
	gpu_copy_out(d.c.stream, bytes.data(), out, bytes.size());
	if (d.failed())
		return {};
	std::vector<float> all(n * to);
	dtype_convert(all.data(), DTYPE_F32, bytes.data(), size == 4 ? DTYPE_F32 : w.dtype, all.size());
	for (size_t i = 0; i < n; i++) {
		std::copy_n(&all[i * to], width, &result[i * width]);
		for (size_t j = width; w.packed && j < to; j++)
			if (all[i * to + j] != 0)
				return {};
	}
	return middle_of(b, result);
}

bool same(const std::vector<float> &a, const std::vector<float> &b)
{
	return !a.empty() && a.size() == b.size() && memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

device *ref;

std::vector<double> doubles(const std::vector<float> &x)
{
	return { x.begin(), x.end() };
}

std::vector<double> truth(const batch &b)
{
	std::vector<double> q = doubles(b.q), k = doubles(b.k), v = doubles(b.v), y(q.size());
	std::vector<segment> s = segments_of(b, k.data(), v.data(), sizeof(double), SIZE_MAX);
	const rows from = { q.data(), b.n(), b.width(), b.width() }, to = { y.data(), b.n(), b.width(), b.width() };
	ops_ref.attend(ref, &b.a, s.data(), s.size(), from, to, {});
	return middle_of(b, y);
}

/* -------- the checks */

/*
 * What may be wrong with operands that rounding left alone, u being half a unit in the last place of the type: each
 * probability by u of itself, so the result by u max|v|; then the result by u of itself where it is rounded.  In f32 what
 * little is left: scores by some 2^-24 of their terms' sum, which the exponential passes on.
 */
double error_of(const batch &b, const way &w, const std::vector<float> &y)
{
	const std::vector<double> t = truth(b);
	const double u = w.dtype == DTYPE_BF16 ? 0x1p-8 : w.dtype == DTYPE_F16 ? 0x1p-11 : 0;
	float top = 0;
	for (float v : b.v)
		top = std::max(top, fabsf(v));
	const double scores = fabs(b.a.scale) * sqrt(static_cast<double>(b.a.head_width)) * 1.5 + b.a.softcap + 4;
	double most = t.size() == y.size() ? 0 : INFINITY;
	for (size_t i = 0; i < y.size(); i++) {
		const double bound = u * top + (w.packed ? u * fabs(t[i]) : 0) + 8 * 0x1p-24 * scores * top;
		const double d = fabs(y[i] - t[i]) / bound;
		most = d > most || std::isnan(d) ? d : most;
	}
	return most;
}

const struct {
	attention a;
	size_t n;
} shapes[] = {
	{ { 1, 1, 1, 0, 1, 0 }, 1 },
	{ { 2, 2, 8, 0, 0.5, 0 }, 70 },
	{ { 6, 2, 10, 0, 0.3, 0 }, 37 },
	{ { 2, 1, 16, 0, -0.25, 0 }, 33 },
	{ { 4, 1, 64, 0, 0.125, 0 }, 150 },
	{ { 2, 2, 80, 5, 0.1, 0 }, 140 },
	{ { 20, 1, 33, 67, 0.1, 20 }, 90 },
	{ { 3, 1, 96, 0, 0.1, 0 }, 75 },
	{ { 10, 1, 16, 0, 0.3, 0 }, 200 },      /* rows of a tile that are nobody's, before a key block */
	{ { 8, 1, 128, 64, 0.08, 30 }, 135 },
	{ { 5, 1, 127, 0, 0.08, 0 }, 66 },
	{ { 4, 2, 192, 0, 0.07, 0 }, 70 },
	{ { 8, 2, 256, 40, 0.06, 50 }, 68 },
};

const char *name_of(const attention &a)
{
	static char name[200];
	snprintf(name, sizeof name, "%zu heads for q, %zu for k and v, of %zu, window %zu, cap %g", a.n_heads, a.n_kv_heads,
	         a.head_width, a.window, a.softcap);
	return name;
}

void check_shape(const attention &a, size_t n, enum dtype dtype)
{
	const batch b = batch_of(a, n, dtype);
	way w = { dtype, false };
	const std::vector<float> whole = attend(b, w);
	const double k = error_of(b, w, whole);
	bool alike = true;
	for (size_t piece : { size_t(1), n / 3 + 1 }) {
		way p = w;
		p.piece = piece;
		p.off = 1;
		p.scratch = piece == 1 ? 0 : 70000;
		p.tiles = piece == 1 ? 32000 : 3;
		alike &= n > 80 && piece == 1 ? true : same(whole, attend(b, p));
	}
	w.packed = true;
	w.roomy = false;
	w.order = { FIBRES_SHUFFLED, n };
	const std::vector<float> packed = attend(b, w);
	const double k_packed = error_of(b, w, packed);
	std::vector<float> rounded = whole;
	dtype_round(rounded.data(), DTYPE_F32, dtype, rounded.size());
	const char *type = dtype_name(dtype);
	ok(k <= 1 && k_packed <= 1, "%s, %s: %zu tokens, k = %.2f, packed %.2f of 1", type, name_of(a), n, k, k_packed);
	ok(alike, "the same bits in pieces, unaligned, with little scratch memory, few tiles a launch");
	ok(same(rounded, packed), "the same bits packed, from smaller cards' kernels, in another order of threads");
}

double root_mean_square(const std::vector<float> &x)
{
	double sum = 0;
	for (float f : x)
		sum += static_cast<double>(f) * f;
	return sqrt(sum / static_cast<double>(x.size()));
}

/*
 * Operands that are rounded.  A score's D terms err by u of themselves, with either sign: by about u sqrt(D) |scale| rms(q)
 * rms(k) together, four times that at most.  What a probability errs by, and v, the result errs by, times max|v|.
 */
void check_rounding(enum dtype dtype)
{
	const batch b = batch_of({ 4, 2, 64, 0, 0.125, 0 }, 100, DTYPE_F32);
	const std::vector<double> t = truth(b);
	const std::vector<float> y = attend(b, { dtype, false });
	const double u = dtype == DTYPE_BF16 ? 0x1p-8 : 0x1p-11;
	float top = 0;
	for (float v : b.v)
		top = std::max(top, fabsf(v));
	const double bound = (4 * b.a.scale * 8 * root_mean_square(b.q) * root_mean_square(b.k) + 2) * u * top;
	double most = t.size() == y.size() ? 0 : INFINITY;
	for (size_t i = 0; i < y.size(); i++) {
		const double d = fabs(y[i] - t[i]) / bound;
		most = d > most || std::isnan(d) ? d : most;
	}
	ok(most <= 1, "%s: operands that are rounded, k = %.2f of 1", dtype_name(dtype), most);
}

/* Other samples, and the last token, of NaN and infinities. */
void check_poison(const attention &a, enum dtype dtype)
{
	batch b = batch_of(a, 80, dtype);
	const std::vector<float> before = attend(b, { dtype, false });
	const size_t first = b.len[0], end = first + b.len[1], kv = b.kv();
	for (size_t i = 0; i < b.n(); i++)
		for (size_t j = 0; (i < first || i >= end - 1) && j < kv; j++) {
			b.k[i * kv + j] = j % 2 ? NAN : INFINITY;
			b.v[i * kv + j] = j % 2 ? -INFINITY : NAN;
		}
	for (size_t i = 0; i < b.n(); i++)
		for (size_t j = 0; (i < first || i >= end) && j < b.width(); j++)
			b.q[i * b.width() + j] = NAN;
	bool clean = true, spoilt = true, alike = true;
	std::vector<float> first_seen;
	for (size_t scratch : { size_t(SCRATCH), size_t(0) }) {
		way w = { dtype, false };
		w.scratch = scratch;
		const std::vector<float> after = attend(b, w);
		const size_t len = (before.size() - b.width()) * sizeof(float);
		clean &= after.size() == before.size() && memcmp(before.data(), after.data(), len) == 0;
		for (size_t j = 0; j < b.width(); j++)
			spoilt &= after.empty() ? false : !std::isfinite(after[after.size() - b.width() + j]);
	}
	ok(clean, "%s, %s: beside poisoned samples, and before a poisoned token", dtype_name(dtype), name_of(a));
	ok(spoilt, "the row of the poisoned token is poisoned");
	/* An infinite value in the middle: of all that see it, whatever tile or piece they are in. */
	batch c = batch_of(a, 80, dtype);
	const std::vector<float> fine = attend(c, { dtype, false });
	c.v[(first + 30) * kv + 1] = -INFINITY;
	const std::vector<float> whole = attend(c, { dtype, false });
	way w = { dtype, false };
	w.piece = 17;
	w.scratch = 0;
	w.roomy = false;
	alike = same(whole, attend(c, w));
	bool right = whole.size() == fine.size();
	const size_t shared = a.n_heads / a.n_kv_heads;
	for (size_t i = 0; right && i < whole.size(); i++) {
		const size_t row = i / b.width(), column = i % b.width();
		const bool sees = row >= 30 && !(a.window && row >= 30 + a.window);
		const bool reads = column / a.head_width < shared && column % a.head_width == 1;
		right = sees && reads ? whole[i] == -INFINITY : memcmp(&whole[i], &fine[i], sizeof(float)) == 0;
	}
	ok(alike && right, "an infinite value reaches those that see it, and nobody else");
}

void check_orders(const attention &a, size_t n, enum dtype dtype)
{
	const batch b = batch_of(a, n, dtype);
	const std::vector<float> first = attend(b, { dtype, true });
	bool all = true;
	const fibres_order orders[] = {
		{ FIBRES_BACKWARD, 0 }, { FIBRES_SHUFFLED, 1 }, { FIBRES_SHUFFLED, 2 }, { FIBRES_SHUFFLED, 3 }
	};
	for (const fibres_order &o : orders)
		for (size_t scratch : { size_t(SCRATCH), size_t(0) }) {
			way w = { dtype, true };
			w.order = o;
			w.scratch = scratch;
			all &= same(first, attend(b, w));
		}
	ok(all, "%s, %s: threads in any order", dtype_name(dtype), name_of(a));
}

/* -------- scores, softmax, mix */

struct steps {
	std::vector<float> scores, probs, mixed;
};

/* Of rows i0.. of the middle sample, x (n, A, len). */
steps take_steps(const batch &b, size_t i0, size_t n, fibres_order order)
{
	bench d(order);
	const size_t len = n * b.a.n_heads * b.len[1], at = (b.len[0] + i0) * b.width();
	const std::vector<segment> s = segments_of(b, d.put(b.k, 0), d.put(b.v, 0), sizeof(float), SIZE_MAX);
	const rows q = { d.put(b.q, 1), b.n(), b.width(), b.width() };
	const rows out = { d.take<float>(b.q.size()), b.n(), b.width(), b.width() };
	float *x = d.take<float>(len);
	steps r = { std::vector<float>(len), std::vector<float>(len), std::vector<float>(n * b.width()) };
	cuda_scores(&d.c, &b.a, &s[1], q, i0, n, false, x);
	gpu_copy_out(d.c.stream, r.scores.data(), x, len * sizeof(float));
	cuda_softmax(&d.c, &b.a, &s[1], i0, n, x);
	gpu_copy_out(d.c.stream, r.probs.data(), x, len * sizeof(float));
	cuda_mix(&d.c, &b.a, &s[1], x, i0, n, out);
	gpu_copy_out(d.c.stream, r.mixed.data(), static_cast<float *>(out.p) + at, n * b.width() * sizeof(float));
	std::vector<float> probs(len);
	cuda_scores(&d.c, &b.a, &s[1], q, i0, n, true, x);
	gpu_copy_out(d.c.stream, probs.data(), x, len * sizeof(float));
	if (d.failed() || !same(probs, r.probs))
		return {};
	return r;
}

/* Largest difference, in 2^-24 of `scale`; what is infinite must be equal. */
double worst(const std::vector<float> &a, const std::vector<double> &b, double scale)
{
	double most = a.size() == b.size() ? 0 : INFINITY;
	for (size_t i = 0; most < INFINITY && i < a.size(); i++) {
		const double d = std::isinf(b[i]) && a[i] == b[i] ? 0 : fabs(a[i] - b[i]) / (0x1p-24 * scale);
		most = d <= most ? most : std::isnan(d) ? INFINITY : d;
	}
	return most;
}

void check_steps(const attention &a, size_t len)
{
	batch b = batch_of(a, len, DTYPE_F32);
	const size_t n = std::min(len, size_t(4)), i0 = len - n, end = b.len[0] + b.len[1];
	const steps r = take_steps(b, i0, n, { FIBRES_FORWARD, 0 });
	std::vector<double> q = doubles(b.q), k = doubles(b.k), v = doubles(b.v), y(q.size());
	std::vector<double> x(n * a.n_heads * len), p(x.size());
	const std::vector<segment> s = segments_of(b, k.data(), v.data(), sizeof(double), SIZE_MAX);
	const rows rq = { q.data(), b.n(), b.width(), b.width() }, ry = { y.data(), b.n(), b.width(), b.width() };
	ops_ref.scores(ref, &a, &s[1], rq, i0, n, false, x.data());
	ops_ref.scores(ref, &a, &s[1], rq, i0, n, true, p.data());
	ops_ref.mix(ref, &a, &s[1], p.data(), i0, n, ry);
	const auto mixed = y.begin() + static_cast<ptrdiff_t>((b.len[0] + i0) * b.width());
	const double scale = fabs(a.scale) * 1.5 * sqrt(static_cast<double>(a.head_width)) + 1;
	const double ks = worst(r.scores, x, scale), kp = worst(r.probs, p, 1);
	const double km = worst(r.mixed, { mixed, mixed + static_cast<ptrdiff_t>(n * b.width()) }, 1);
	ok(ks <= 24 && kp <= 40 && km <= 60, "steps, %s: scores k = %.1f of 24, probabilities %.1f of 40, mix %.1f of 60",
	   name_of(a), ks, kp, km);
	for (size_t i = 0; i < b.n(); i++)
		for (size_t j = 0; (i < b.len[0] || i >= end - 1) && j < b.kv(); j++)
			b.k[i * b.kv() + j] = b.v[i * b.kv() + j] = NAN;
	const steps after = take_steps(b, i0, n, { FIBRES_SHUFFLED, 7 });
	const size_t rows_before = (n - 1) * b.width() * sizeof(float);
	ok(after.mixed.size() == r.mixed.size() && memcmp(after.mixed.data(), r.mixed.data(), rows_before) == 0,
	   "the same bits beside poison, in another order of threads");
}

}

int main()
{
	error e;
	workers *w = workers_open(1, &e);
	const device_choice choice = { -1, 0 };
	ref = w ? ops_ref.open(w, &choice, &e) : nullptr;
	if (!ref)
		return 2;
	for (enum dtype dtype : { DTYPE_BF16, DTYPE_F16, DTYPE_F32 })
		for (const auto &s : shapes)
			check_shape(s.a, s.n, dtype);
	for (enum dtype dtype : { DTYPE_BF16, DTYPE_F16 })
		check_rounding(dtype);
	for (enum dtype dtype : { DTYPE_BF16, DTYPE_F16, DTYPE_F32 })
		for (const attention &a : { attention{ 2, 2, 24, 0, 0.2, 0 }, attention{ 4, 2, 16, 20, 0.25, 0 } })
			check_poison(a, dtype);
	check_orders({ 4, 2, 80, 30, 0.1, 0 }, 90, DTYPE_BF16);
	check_orders({ 4, 2, 128, 0, 0.1, 0 }, 90, DTYPE_F16);
	check_orders({ 2, 1, 160, 0, 0.1, 0 }, 50, DTYPE_BF16);
	check_orders({ 4, 2, 64, 0, 0.1, 0 }, 90, DTYPE_F32);
	for (const auto &s : shapes)
		check_steps(s.a, s.n);
	ops_ref.close(ref);
	workers_close(w);
	return done();
}
