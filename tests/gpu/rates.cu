/*
 * rates [toy]: what the parts of the back end reach on this card, tab separated: name, rate, unit, and where it has one, the
 * ratio to what the card does plainly in the same run.  Shapes are those of a layer of hidden 4096, intermediate 14336 and
 * 32/8 heads of 128; toy: a few rows of a small one, to try the program where there is no card.
 *
 *   product      bare matrix products of the layer's shapes, bf16 with f32 results, all rows in one call
 *   attend       causal attention over one sample of 8,192 tokens, only visible pairs counted, beside `product`
 *   copy         from the device's memory to the device's, read and written bytes
 *   norm ...     the bytes that each must read and write, beside `copy`
 *   pinned       plain asynchronous copies from pinned memory
 *   weights      weight_put of the same bytes, beside `pinned`
 */
#include <chrono>
#include <cmath>
#include <cstring>
#include <functional>

#include "device.h"
#include "plain.h"

namespace {

struct sizes {
	size_t rows, sample, width, inner, heads, kv_heads, memory;
};
const sizes real = { 16384, 8192, 4096, 14336, 32, 8, static_cast<size_t>(5) << 30 };
const sizes toy = { 64, 96, 128, 224, 4, 2, static_cast<size_t>(160) << 20 };

struct bench {
	sizes z;
	const ops *o;
	device *d;              /* the back end */
	gpu *g;                 /* the same card, plainly */
	gpu_stream *s;
	double product, copy;   /* rates */
	double least;           /* seconds that a measurement takes at least */
};

/* Seconds of one f(), by the middle of three rounds that each wait at their end. */
double seconds(const bench &b, const std::function<void()> &f, const std::function<void()> &wait)
{
	using clock = std::chrono::steady_clock;
	const auto round = [&](unsigned n) {
		const auto start = clock::now();
		for (unsigned i = 0; i < n; i++)
			f();
		wait();
		return std::chrono::duration<double>(clock::now() - start).count() / n;
	};
	round(1);
	const double once = round(1);
	const unsigned n = once < b.least ? static_cast<unsigned>(b.least / once) + 1 : 1;
	const double x = round(n), y = round(n), z = round(n);
	return std::max(std::min(x, y), std::min(std::max(x, y), z));
}

void tell(const char *name, double rate, const char *unit, double beside)
{
	printf("%s\t%.3f\t%s", name, rate, unit);
	if (beside > 0)
		printf("\t%.3f", rate / beside);
	printf("\n");
	fflush(stdout);
}

/* -------- the card, plainly */

void run_products(bench *b)
{
	const size_t w = b->z.width, kv = w / b->z.heads * b->z.kv_heads, i = b->z.inner;
	const struct { size_t n, k; } shapes[] = { { w + 2 * kv, w }, { w, w }, { 2 * i, w }, { w, i } };
	error e;
	char *a = plain_take(b->g, b->z.rows * i * 2), *weights = plain_take(b->g, 2 * i * w * 2), *out = plain_take(b->g, b->z.rows * 2 * i * 4);
	char *workspace = plain_take(b->g, PRODUCT_WORKSPACE);
	products *p = products_open(b->g, workspace, &e);
	if (!p)
		stop(e.text);
	plain_fill(b->s, a, b->z.rows * i, DTYPE_BF16);
	plain_fill(b->s, weights, 2 * i * w, DTYPE_BF16);
	double flops = 0, time = 0;
	for (const auto &shape : shapes) {
		const product_job job = { b->z.rows, shape.n, shape.k, shape.n, DTYPE_BF16, a, weights, nullptr, reinterpret_cast<float *>(out), false };
		flops += 2.0 * static_cast<double>(b->z.rows * shape.n * shape.k);
		time += seconds(*b, [&] { products_run(p, b->s, &job); }, [&] { gpu_sync(b->s); });
	}
	products_close(p);
	for (char *x : { a, weights, out, workspace })
		gpu_give(b->g, x);
	b->product = flops / time * 1e-12;
	tell("product", b->product, "TFLOP/s", 0);
}

void run_copy(bench *b)
{
	const size_t len = b->z.rows * b->z.width * 4;
	char *from = plain_take(b->g, len), *to = plain_take(b->g, len);
	plain_fill(b->s, from, len / 4, DTYPE_F32);
	const double t = seconds(*b, [&] { gpu_copy(b->s, to, from, len); }, [&] { gpu_sync(b->s); });
	gpu_give(b->g, from);
	gpu_give(b->g, to);
	b->copy = 2.0 * static_cast<double>(len) / t * 1e-9;
	tell("copy", b->copy, "GB/s", 0);
}

/* -------- the back end */

void *take(const bench &b, size_t len)
{
	error e;
	void *p = b.o->take(b.d, len, "the benchmark", &e);
	if (!p)
		stop(e.text);
	return p;
}

rows take_rows(const bench &b, size_t n, size_t width)
{
	const rows r = { take(b, n * width * 4), n, width, width };
	const std::vector<char> x = normals(n * width, DTYPE_F32);
	b.o->upload(b.d, r.p, x.data(), x.size());
	return r;
}

operand take_operand(const bench &b, size_t n, size_t k)
{
	return { take(b, b.o->operand_len(b.d, n, k, DTYPE_BF16)), n, k, DTYPE_BF16 };
}

double time_of(const bench &b, const std::function<void()> &f)
{
	return seconds(b, f, [&b] { b.o->wait(b.d); });
}

void run_attend(const bench &b)
{
	const size_t n = b.z.sample, width = b.z.width, head = width / b.z.heads, kv = head * b.z.kv_heads;
	const rows q = take_rows(b, n, width), k = take_rows(b, n, kv), v = take_rows(b, n, kv), none = {};
	const operand packed = take_operand(b, n, width);
	const attention a = { b.z.heads, b.z.kv_heads, head, 0, 1 / std::sqrt(static_cast<double>(head)), 0 };
	const segment s = { 0, 0, n, 0, static_cast<uint32_t>(n), k.p, v.p };
	const double t = time_of(b, [&] { b.o->attend(b.d, &a, &s, 1, q, none, packed); });
	tell("attend", 2.0 * static_cast<double>(n) * static_cast<double>(n + 1) * static_cast<double>(width) / t * 1e-12, "TFLOP/s", b.product);
	for (void *p : { q.p, k.p, v.p, packed.p })
		b.o->give(b.d, p);
}

void run_bytes(const bench &b, const char *name, size_t bytes, const std::function<void()> &f)
{
	tell(name, static_cast<double>(bytes) / time_of(b, f) * 1e-9, "GB/s", b.copy);
}

void run_rows(const bench &b)
{
	const size_t n = b.z.rows, width = b.z.width, head = width / b.z.heads, all = n * width;
	const rows x = take_rows(b, n, width), y = take_rows(b, n, width), cos = take_rows(b, n, head / 2), none = {};
	const rows weight = take_rows(b, 1, width);
	const operand packed = take_operand(b, n, width);
	model m = {};
	m.norm = NORM_RMS;
	m.norm_eps = 1e-5;
	const struct norm rms = { weight.p, nullptr, width };
	rotary r = {};
	r.dims = head;
	run_bytes(b, "norm", all * 6, [&] { b.o->norm(b.d, &m, &rms, width, x, none, packed); });
	run_bytes(b, "pack", all * 6, [&] { b.o->pack(b.d, packed, x); });
	run_bytes(b, "round", all * 8, [&] { b.o->round(b.d, y, DTYPE_BF16); });
	run_bytes(b, "add", all * 12, [&] { b.o->add(b.d, y, x); });
	run_bytes(b, "rotate", all * 8 + n * head * 4, [&] { b.o->rotate(b.d, &r, cos.p, cos.p, head, 0, x, y); });
	const rows gate = take_rows(b, n, 2 * b.z.inner);
	const rows left = { gate.p, n, b.z.inner, gate.stride }, right = { static_cast<float *>(gate.p) + b.z.inner, n, b.z.inner, gate.stride };
	const operand act = take_operand(b, n, b.z.inner);
	run_bytes(b, "activate", n * b.z.inner * 10, [&] { b.o->activate(b.d, ACT_SILU, left, right, none, act); });
	for (void *p : { y.p, cos.p, weight.p, gate.p, act.p, x.p, packed.p })
		b.o->give(b.d, p);
}

void run_lists(const bench &b)
{
	const size_t n = std::min(b.z.rows, b.o->expert_chunk), width = b.z.width;
	const rows into = take_rows(b, b.z.rows, width), from = take_rows(b, n, width), factor = take_rows(b, 1, n);
	const operand all = take_operand(b, b.z.rows, width), some = take_operand(b, n, width);
	std::vector<uint32_t> chosen(n);
	for (size_t i = 0; i < n; i++)
		chosen[i] = static_cast<uint32_t>(i * (b.z.rows / n));
	uint32_t *list = static_cast<uint32_t *>(take(b, n * sizeof *list));
	b.o->upload(b.d, list, chosen.data(), n * sizeof *list);
	b.o->pack(b.d, all, into);
	run_bytes(b, "gather", n * width * 4, [&] { b.o->gather(b.d, some, &all, list, n); });
	run_bytes(b, "scatter", n * width * 12, [&] { b.o->scatter(b.d, into, from, list, factor.p, n); });
	for (void *p : { into.p, from.p, factor.p, all.p, some.p, static_cast<void *>(list) })
		b.o->give(b.d, p);
}

void run_weights(const bench &b)
{
	const size_t n = 2 * b.z.inner, k = b.z.width, len = n * k * 2;
	error e;
	char *host = static_cast<char *>(gpu_pin(b.g, len)), *to = plain_take(b.g, len);
	void *staging = b.o->take_staging(b.d, len, &e);
	if (!host || !staging)
		stop("no pinned memory");
	const std::vector<char> x = normals(n * k, DTYPE_BF16);
	memcpy(host, x.data(), len);
	memcpy(staging, x.data(), len);
	weight w = { n, k, DTYPE_BF16, take(b, b.o->weight_len(b.d, n, k, DTYPE_BF16)), nullptr };
	const tensor_view view = { staging, DTYPE_BF16, n, k, 0, n, 0, k, 1 };
	const double plain = seconds(b, [&] { gpu_copy_in(b.s, to, host, len); }, [&] { gpu_sync(b.s); });
	const double ours = seconds(b, [&] { b.o->weight_put(b.d, &w, 0, &view); }, [&] { b.o->put_wait(b.d); });
	tell("pinned", static_cast<double>(len) / plain * 1e-9, "GB/s", 0);
	tell("weights", static_cast<double>(len) / ours * 1e-9, "GB/s", static_cast<double>(len) / plain * 1e-9);
	b.o->give(b.d, w.data);
	b.o->free_staging(b.d, staging);
	gpu_unpin(b.g, host);
	gpu_give(b.g, to);
}

}

int main(int argc, char **argv)
{
	const bool small = argc > 1 && strcmp(argv[1], "toy") == 0;
	bench b = {};
	error e;
	b.z = small ? toy : real;
	b.least = small ? 0.01 : 0.2;
	b.o = onelayer_cuda.ops;
	b.g = gpu_open(-1, &e);
	const device_choice choice = { -1, b.z.memory };
	b.d = b.g ? b.o->open(nullptr, &choice, &e) : nullptr;
	b.s = b.d ? gpu_stream_open(b.g) : nullptr;
	if (!b.s)
		stop(e.text);
	printf("device\t%s\n", b.o->unit(b.d));
	run_products(&b);
	run_attend(b);
	run_products(&b);
	run_copy(&b);
	run_rows(b);
	run_lists(b);
	run_weights(b);
	const bool failed = b.o->failed(b.d, &e) || gpu_failed(b.g, &e);
	if (failed)
		fprintf(stderr, "rates: %s\n", e.text);
	gpu_stream_close(b.s);
	b.o->close(b.d);
	gpu_close(b.g);
	return failed ? 2 : 0;
}
