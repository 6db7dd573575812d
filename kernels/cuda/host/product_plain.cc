/* The plain twin of the card's matrix library: one thread a block of columns. */
#include "product.h"

#include <cstring>
#include <vector>

#include "lanes.h"

struct products {
	int none;
};

products *products_open(gpu *, void *, error *)
{
	return new products;
}

void products_close(products *p)
{
	delete p;
}

const char *products_library(const products *)
{
	return "plain";
}

namespace {

enum { COLUMNS = 16, LANES = 16 };

typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));

void widen(std::vector<float> &to, const void *from, enum dtype dtype, size_t first, size_t n)
{
	const size_t size = dtype_size(dtype);
	to.resize(n);
	dtype_convert(to.data(), DTYPE_F32, static_cast<const char *>(from) + first * size, dtype, n);
}

/* Of at most PRODUCT_PART, a multiple of LANES. */
float dot(const float *a, const float *b, size_t n)
{
	lanes sum = {};
	for (size_t i = 0; i < n; i += LANES) {
		lanes x, y;
		memcpy(&x, a + i, sizeof x);
		memcpy(&y, b + i, sizeof y);
		sum += x * y;
	}
	for (int half = LANES / 2; half; half /= 2)
		for (int l = 0; l < half; l++)
			sum[l] += sum[l + half];
	return sum[0];
}

float dot_in_parts(const float *a, const float *b, size_t n)
{
	float sum = 0;
	for (size_t i = 0; i < n; i += PRODUCT_PART)
		sum += dot(a + i, b + i, n - i < PRODUCT_PART ? n - i : static_cast<size_t>(PRODUCT_PART));
	return sum;
}

void multiply(product_job p)
{
	const size_t first = block_index(0) * COLUMNS, n = p.n - first < COLUMNS ? p.n - first : static_cast<size_t>(COLUMNS);
	std::vector<float> w, a;
	widen(w, p.w, p.dtype, first * p.k, n * p.k);
	for (size_t r = 0; r < p.m; r++) {
		float *d = p.d + r * p.columns + first;
		widen(a, p.a, p.dtype, r * p.k, p.k);
		for (size_t c = 0; c < n; c++) {
			const float sum = dot_in_parts(a.data(), w.data() + c * p.k, p.k) + (p.bias ? p.bias[first + c] : 0);
			d[c] = p.add ? d[c] + sum : sum;
		}
	}
}

}

void products_run(products *, gpu_stream *s, const product_job *job)
{
	if (job->m > PRODUCT_ROWS)
		return gpu_fail(gpu_of(s), "a product of more rows than one may have");
	launch(s, multiply, { static_cast<unsigned>((job->n + COLUMNS - 1) / COLUMNS), job->m ? 1u : 0u, 1 }, 1, 0, *job);
}
