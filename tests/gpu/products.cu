/*
 * products [toy]: whether a row of a product has the same bits however many rows there are, wherever it stands among them, and
 * added to what is there or afterwards, at the shapes of real models.  TAP.  The library's algorithm is chosen by n, k and types
 * alone; this is what that is for.
 */
#include <cstring>
#include <vector>

#include "plain.h"
#include "product.h"

namespace {

struct sizes {
	size_t rows;            /* of the whole */
	std::vector<std::pair<size_t, size_t>> shapes;  /* n, k */
};
/* Llama 8B's and Qwen3 30B's layers, an expert's, and some that tiles don't divide. */
const sizes real = { 4096, { { 6144, 4096 }, { 4096, 4096 }, { 28672, 4096 }, { 4096, 14336 }, { 1536, 2048 }, { 2048, 768 },
	                     { 128, 2048 }, { 2304, 768 }, { 1000, 1600 }, { 257, 80 }, { 3, 16 } } };
const sizes toy = { 40, { { 48, 32 }, { 33, 528 }, { 3, 16 } } };

struct bench {
	gpu *g;
	gpu_stream *s;
	products *p;
	size_t rows;
	char *a, *w, *bias, *whole, *part;
	int count, failures;
};

/* Rows first..first+m-1 by themselves against the same of the whole. */
bool same(const bench &b, product_job job, size_t first, size_t m)
{
	std::vector<char> want(m * job.n * sizeof(float)), got(want.size());
	gpu_copy_out(b.s, want.data(), b.whole + first * job.n * sizeof(float), want.size());
	job.a = static_cast<const char *>(job.a) + first * job.k * dtype_size(job.dtype);
	job.m = m;
	job.d = reinterpret_cast<float *>(b.part);
	gpu_fill(b.s, b.part, want.size());
	products_run(b.p, b.s, &job);
	gpu_copy_out(b.s, got.data(), b.part, got.size());
	gpu_sync(b.s);
	return memcmp(want.data(), got.data(), got.size()) == 0;
}

/* Added to what is there, against the sum of the two. */
bool adds(const bench &b, product_job job)
{
	const size_t n = job.m * job.n, len = n * sizeof(float);
	const std::vector<char> before = normals(n, DTYPE_F32);
	std::vector<float> sum(n), got(n);
	gpu_copy_out(b.s, sum.data(), b.whole, len);
	gpu_copy_in(b.s, b.part, before.data(), len);
	job.d = reinterpret_cast<float *>(b.part);
	job.add = true;
	products_run(b.p, b.s, &job);
	gpu_copy_out(b.s, got.data(), b.part, len);
	gpu_sync(b.s);
	for (size_t i = 0; i < n; i++) {
		float x;
		memcpy(&x, before.data() + i * sizeof x, sizeof x);
		sum[i] += x;
	}
	return memcmp(sum.data(), got.data(), len) == 0;
}

void check(bench *b, size_t n, size_t k, enum dtype dtype, bool bias)
{
	const struct { size_t first, m; } parts[] = {
		{ 0, 1 }, { 1, 1 }, { 5, 2 }, { 17, 7 }, { 3, 16 }, { 64, 64 }, { 100, 100 }, { 128, 129 }, { 1000, 300 }, { 7, 2047 },
		{ 2048, 2048 }, { 1, 4095 }
	};
	const product_job job = { b->rows, n, k, n, dtype, b->a, b->w, bias ? reinterpret_cast<float *>(b->bias) : nullptr,
	                          reinterpret_cast<float *>(b->whole), false };
	plain_fill(b->s, b->a, b->rows * k, dtype);
	plain_fill(b->s, b->w, n * k, dtype);
	products_run(b->p, b->s, &job);
	error e;
	bool all = true;
	for (const auto &p : parts)
		if (p.first < b->rows) {
			const size_t m = std::min(p.m, b->rows - p.first);
			const bool one = same(*b, job, p.first, m) && !gpu_failed(b->g, &e);
			if (!one)
				printf("# %zu rows from row %zu on: other bits than among %zu\n", m, p.first, b->rows);
			all &= one;
		}
	if (product_adds(&job)) {
		const bool one = adds(*b, job);
		if (!one)
			printf("# other bits where it is added to what is there\n");
		all &= one;
	}
	b->failures += !all;
	printf("%s %d - %s%s, n = %zu, k = %zu\n", all ? "ok" : "not ok", ++b->count, dtype_name(dtype), bias ? " with a bias" : "", n, k);
	if (gpu_failed(b->g, &e))
		stop(e.text);
}

}

int main(int argc, char **argv)
{
	const sizes &z = argc > 1 && strcmp(argv[1], "toy") == 0 ? toy : real;
	size_t most_n = 0, most_k = 0, most_w = 0;
	for (const auto &shape : z.shapes) {
		most_n = std::max(most_n, shape.first);
		most_k = std::max(most_k, shape.second);
		most_w = std::max(most_w, shape.first * shape.second);
	}
	bench b = {};
	error e;
	b.g = gpu_open(-1, &e);
	b.s = b.g ? gpu_stream_open(b.g) : nullptr;
	if (!b.s)
		stop(e.text);
	b.rows = z.rows;
	b.a = plain_take(b.g, b.rows * most_k * 4);
	b.w = plain_take(b.g, most_w * 4);
	b.bias = plain_take(b.g, most_n * 4);
	b.whole = plain_take(b.g, b.rows * most_n * 4);
	b.part = plain_take(b.g, b.rows * most_n * 4);
	char *workspace = plain_take(b.g, PRODUCT_WORKSPACE);
	plain_fill(b.s, b.bias, most_n, DTYPE_F32);
	b.p = products_open(b.g, workspace, &e);
	if (!b.p)
		stop(e.text);
	for (enum dtype dtype : { DTYPE_BF16, DTYPE_F16, DTYPE_F32 })
		for (const auto &shape : z.shapes)
			for (const bool bias : { false, true })
				check(&b, shape.first, shape.second, dtype, bias);
	printf("1..%d\n", b.count);
	products_close(b.p);
	for (char *p : { b.a, b.w, b.bias, b.whole, b.part, workspace })
		gpu_give(b.g, p);
	gpu_stream_close(b.s);
	gpu_close(b.g);
	return b.failures ? 1 : 0;
}
