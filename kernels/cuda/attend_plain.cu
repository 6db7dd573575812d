/*
 * Attention in steps, in f32: scores, their softmax, the mix of values.  A block of threads has one query of one head; what it
 * adds up, and in what order, depends on the query's position alone.
 */
#include "attend.h"
#include "launches.h"
#include "lanes.h"

namespace {

enum : unsigned { PLAIN_THREADS = 256, WARPS = PLAIN_THREADS / 32 };

struct plain_call {
	const float *k, *v;     /* rows are kv_stride elements apart */
	sheet q, to;            /* (T, A D) */
	float *x;               /* (n, A, len) */
	size_t len, kv_stride;
	uint32_t row, position; /* of the first query */
	unsigned head_width, n_heads, shared;   /* shared: heads a key/value head */
	uint32_t window;
	float scale, softcap;
};

/* The block's query, and the keys that it sees: begin..end-1. */
struct plain_query {
	uint32_t i, head, begin, end;
	float *x;
};

DEVICE plain_query query_of(const plain_call &c)
{
	plain_query q;
	q.i = block_index(0) / c.n_heads;
	q.head = block_index(0) % c.n_heads;
	q.begin = attend_first_key(c.window, c.position + q.i);
	q.end = c.position + q.i + 1;
	q.x = c.x + static_cast<size_t>(block_index(0)) * c.len;
	return q;
}

DEVICE float larger(float a, float b)
{
	return fmaxf(a, b);
}

DEVICE float sum(float a, float b)
{
	return a + b;
}

/* x of all threads, joined.  `shared`: WARPS floats, which nobody else uses until the next barrier. */
template <float (*JOIN)(float, float)> DEVICE float join(float x, float *shared)
{
	for (int other = 16; other; other /= 2)
		x = JOIN(x, warp_shuffle_xor(x, other));
	if (thread_index() % 32 == 0)
		shared[thread_index() / 32] = x;
	block_barrier();
	x = shared[0];
	for (unsigned i = 1; i < WARPS; i++)
		x = JOIN(x, shared[i]);
	block_barrier();
	return x;
}

/* A thread has a key; the query lies in shared memory. */
KERNEL void plain_scores(const plain_call c)
{
	const plain_query a = query_of(c);
	float *q = shared_memory<float>();
	const float *row = reinterpret_cast<const float *>(c.q.p) + (c.row + a.i) * c.q.stride + a.head * c.head_width;
	for (unsigned i = thread_index(); i < (c.head_width + 3) / 4 * 4; i += PLAIN_THREADS)
		q[i] = i < c.head_width ? row[i] : 0;
	block_barrier();
	for (size_t j = thread_index(); j < c.len; j += PLAIN_THREADS) {
		if (j < a.begin || j >= a.end) {
			a.x[j] = -INFINITY;
			continue;
		}
		const float *k = c.k + j * c.kv_stride + a.head / c.shared * c.head_width;
		float s = 0;
		for (unsigned i = 0; i < c.head_width; i += 4) {
			const quad right = quad_take(k, i, c.head_width, c.q.wide);
			for (unsigned e = 0; e < 4; e++)
				s = fmaf(q[i + e], right.x[e], s);
		}
		s *= c.scale;
		a.x[j] = c.softcap > 0 ? c.softcap * tanhf(s / c.softcap) : s;
	}
}

KERNEL void plain_softmax(const plain_call c)
{
	const plain_query a = query_of(c);
	float *shared = shared_memory<float>(), top = -INFINITY, total = 0;
	for (size_t j = thread_index(); j < c.len; j += PLAIN_THREADS)
		if (j >= a.begin && j < a.end)
			top = fmaxf(top, a.x[j]);
		else
			a.x[j] = 0;
	top = join<larger>(top, shared);
	for (size_t j = thread_index(); j < a.end; j += PLAIN_THREADS)
		if (j >= a.begin) {
			a.x[j] = expf(a.x[j] - top);
			total += a.x[j];
		}
	total = join<sum>(total, shared);
	for (size_t j = thread_index(); j < a.end; j += PLAIN_THREADS)
		if (j >= a.begin)
			a.x[j] /= total;
}

/* A thread has a column, in as many slices of the keys as there are threads for; shared: a float a thread. */
KERNEL void plain_mix(const plain_call c)
{
	const plain_query a = query_of(c);
	float *part = shared_memory<float>();
	const unsigned slice = thread_index() / c.head_width, slices = PLAIN_THREADS / c.head_width;
	const unsigned column = thread_index() % c.head_width;
	float y = 0;
	for (size_t j = slice; slice < slices && j < a.end; j += slices)
		if (j >= a.begin)
			y = fmaf(a.x[j], c.v[j * c.kv_stride + a.head / c.shared * c.head_width + column], y);
	part[thread_index()] = y;
	block_barrier();
	if (thread_index() >= c.head_width)
		return;
	for (unsigned i = 1; i < slices; i++)
		y += part[i * c.head_width + column];
	reinterpret_cast<float *>(c.to.p)[(c.row + a.i) * c.to.stride + a.head * c.head_width + column] = y;
}

plain_call call_of(const attention *a, const segment *s, size_t i0, float *x)
{
	plain_call c = {};
	c.k = static_cast<const float *>(s->k);
	c.v = static_cast<const float *>(s->v);
	c.x = x;
	c.len = s->len;
	c.kv_stride = a->n_kv_heads * a->head_width;
	c.row = static_cast<uint32_t>(s->row + i0);
	c.position = static_cast<uint32_t>(s->first + i0);
	c.head_width = static_cast<unsigned>(a->head_width);
	c.n_heads = static_cast<unsigned>(a->n_heads);
	c.shared = static_cast<unsigned>(a->n_heads / a->n_kv_heads);
	c.window = a->window < UINT32_MAX ? static_cast<uint32_t>(a->window) : 0;
	c.scale = static_cast<float>(a->scale);
	c.softcap = static_cast<float>(a->softcap);
	return c;
}

void plain_launch(launch_context *c, void (*kernel)(plain_call), const plain_call &call, size_t n)
{
	const grid g = { static_cast<unsigned>(n * call.n_heads), 1, 1 };
	launch(c->stream, kernel, g, PLAIN_THREADS, PLAIN_THREADS * sizeof(float), call);
}

}

void cuda_scores(launch_context *c, const attention *a, const segment *s, rows q, size_t i0, size_t n, bool probs, float *x)
{
	plain_call call = call_of(a, s, i0, x);
	call.q = sheet_of_rows(q);
	call.q.wide = a->head_width % 4 == 0 && aligned(s->k, 16);
	plain_launch(c, plain_scores, call, n);
	if (probs)
		plain_launch(c, plain_softmax, call, n);
}

void cuda_softmax(launch_context *c, const attention *a, const segment *s, size_t i0, size_t n, float *x)
{
	plain_launch(c, plain_softmax, call_of(a, s, i0, x), n);
}

void cuda_mix(launch_context *c, const attention *a, const segment *s, const float *x, size_t i0, size_t n, rows out)
{
	plain_call call = call_of(a, s, i0, const_cast<float *>(x));
	call.to = sheet_of_rows(out);
	plain_launch(c, plain_mix, call, n);
}
