/* The words of kernels on the host: what each does, and that a kernel which needs more order than it has is seen. */
#include "lanes.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

#include "check.h"
#include "gpu_fake.h"

namespace {

/* A device whose threads take turns in that order; `in` goes to the device, the kernel gets in and out, `out` comes back. */
struct bench {
	gpu *g;
	gpu_stream *s;
	error e;

	explicit bench(fibres_order order, size_t memory = 1 << 20)
	{
		const fake_choice c = { order, FAKE_FINE, memory };
		fake_choose(&c);
		g = gpu_open(-1, &e);
		s = gpu_stream_open(g);
	}
	~bench()
	{
		gpu_stream_close(s);
		gpu_close(g);
	}
	template <class T> T *take(size_t n)
	{
		return static_cast<T *>(gpu_take(g, n * sizeof(T)));
	}
	bool failed()
	{
		gpu_sync(s);
		return gpu_failed(g, &e);
	}
};

const fibres_order orders[] = {
	{ FIBRES_FORWARD, 0 }, { FIBRES_BACKWARD, 0 }, { FIBRES_SHUFFLED, 0 }, { FIBRES_SHUFFLED, 1 }, { FIBRES_SHUFFLED, 2 },
	{ FIBRES_SHUFFLED, 3 }, { FIBRES_SHUFFLED, 4 },
};

/* out = kernel(in) under one order; an empty vector if the kernel was found at fault. */
template <class T> std::vector<T> run(fibres_order order, void (*kernel)(const T *, T *), const std::vector<T> &in, size_t n_out,
                                      unsigned blocks, unsigned threads, size_t shared)
{
	bench b(order);
	T *from = b.take<T>(in.size()), *to = b.take<T>(n_out);
	std::vector<T> out(n_out);
	gpu_copy_in(b.s, from, in.data(), in.size() * sizeof(T));
	launch(b.s, kernel, { blocks, 1, 1 }, threads, shared, from, to);
	gpu_copy_out(b.s, out.data(), to, n_out * sizeof(T));
	if (b.failed())
		out.clear();
	gpu_give(b.g, from);
	gpu_give(b.g, to);
	return out;
}

template <class T> bool same(const std::vector<T> &a, const std::vector<T> &b)
{
	return a.size() == b.size() && memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

template <class T> bool same_in_all_orders(void (*kernel)(const T *, T *), const std::vector<T> &in, size_t n_out, unsigned blocks,
                                           unsigned threads, size_t shared)
{
	const std::vector<T> first = run(orders[0], kernel, in, n_out, blocks, threads, shared);
	bool all = !first.empty();
	for (const fibres_order &o : orders)
		all &= same(first, run(o, kernel, in, n_out, blocks, threads, shared));
	return all;
}

std::vector<float> numbers(size_t n)
{
	std::vector<float> x(n);
	uint32_t state = 12345;
	for (float &f : x) {
		state = state * 1664525 + 1013904223;
		f = static_cast<float>(state >> 8) / 0x1p23f - 1;
	}
	return x;
}

/* -------- barriers */

enum { THREADS = 128, BLOCKS = 3 };

/* Each block's values in reverse: written by one thread, read by another. */
template <bool barrier> KERNEL void reverse(const float *in, float *out)
{
	float *held = shared_memory<float>();
	const unsigned t = thread_index(), first = block_index(0) * block_threads();
	held[t] = in[first + t];
	if (barrier)
		block_barrier();
	out[first + t] = held[block_threads() - 1 - t];
}

/* Twice around: the second write must not overtake the first read. */
template <bool barrier> KERNEL void twice(const float *in, float *out)
{
	float *held = shared_memory<float>();
	const unsigned t = thread_index(), n = block_threads();
	held[t] = in[t];
	block_barrier();
	const float other = held[(t + 1) % n];
	if (barrier)
		block_barrier();
	held[t] = other;
	block_barrier();
	out[t] = held[(t + 1) % n];
}

/* Warps exchange through memory of their own. */
template <bool barrier> KERNEL void within_warps(const float *in, float *out)
{
	float *held = shared_memory<float>();
	const unsigned t = thread_index();
	held[t] = in[t];
	if (barrier)
		warp_barrier();
	out[t] = held[t ^ 5];
}

KERNEL void parting(const float *in, float *out)
{
	if (thread_index() < 8)
		out[thread_index()] = warp_shuffle(in[0], 0);
}

KERNEL void crossing(const float *in, float *out)
{
	if (thread_index() % 2)
		block_barrier();
	else
		out[0] = warp_shuffle(in[0], 0);
}

KERNEL void beyond(const float *in, float *out)
{
	copy_async(shared_memory<float>() + block_threads(), in, true);
	copy_async_commit();
	copy_async_wait<0>();
	out[thread_index()] = 0;
}

KERNEL void unset(const float *, float *out)
{
	out[thread_index()] = shared_memory<float>()[thread_index()];
}

void test_barriers()
{
	const std::vector<float> in = numbers(THREADS * BLOCKS);
	const size_t len = THREADS * sizeof(float);
	ok(same_in_all_orders(reverse<true>, in, in.size(), BLOCKS, THREADS, len), "a barrier between write and read: one result");
	ok(run(orders[0], reverse<true>, in, in.size(), BLOCKS, THREADS, len)[1] == in[THREADS - 2], "and it is the right one");
	ok(!same_in_all_orders(reverse<false>, in, in.size(), BLOCKS, THREADS, len), "a barrier that is missing there is seen");
	ok(same_in_all_orders(twice<true>, in, THREADS, 1, THREADS, len), "a barrier between read and write: one result");
	ok(!same_in_all_orders(twice<false>, in, THREADS, 1, THREADS, len), "a barrier that is missing there is seen");
	ok(same_in_all_orders(within_warps<true>, in, THREADS, 1, THREADS, len), "a warp's barrier: one result");
	ok(!same_in_all_orders(within_warps<false>, in, THREADS, 1, THREADS, len), "a warp's barrier that is missing is seen");
	ok(run(orders[0], parting, in, 8, 1, THREADS, 0).empty(), "a shuffle without all of a warp is a fault");
	ok(run(orders[0], crossing, in, 1, 1, THREADS, 0).empty(), "a barrier and a shuffle at once are a fault");
	ok(run(orders[0], beyond, in, THREADS, 1, THREADS, len).empty(), "a copy behind the shared memory is a fault");
	ok(std::isnan(run(orders[0], unset, in, THREADS, 1, THREADS, len)[7]), "shared memory begins as NaN");
}

/* -------- a warp together */

KERNEL void shuffles(const float *in, float *out)
{
	const unsigned t = thread_index();
	float sum = in[t];
	for (int mask = 16; mask; mask /= 2)
		sum += warp_shuffle_xor(sum, mask);
	out[t] = sum;
	out[block_threads() + t] = warp_shuffle(in[t], static_cast<int>(t + 3) % WARP);
}

void test_shuffles()
{
	std::vector<float> in(2 * WARP);
	for (size_t i = 0; i < in.size(); i++)
		in[i] = static_cast<float>(i);
	const std::vector<float> out = run(orders[0], shuffles, in, 4 * WARP, 1, 2 * WARP, 0);
	ok(out[0] == 496 && out[WARP + 9] == 496 + WARP * WARP, "sums over a warp by shuffles stay within it");
	ok(out[2 * WARP] == 3 && out[3 * WARP - 1] == 2 && out[3 * WARP] == WARP + 3, "a shuffle from a lane");
	ok(same_in_all_orders(shuffles, in, 4 * WARP, 1, 2 * WARP, 0), "shuffles in all orders");
}

/* d (16, 8) = 2 + a (16, 16) b (16, 8): a and b of `in` end to end, rounded to 16 bits as they are packed; d after the rounded
 * a and b in out. */
template <bool bf16> KERNEL void product(const float *in, float *out)
{
	const unsigned g = thread_index() / 4, i = thread_index() % 4 * 2;
	const float *a = in, *b = in + 256;
	uint32_t ra[4], rb[2];
	for (unsigned x = 0; x < 4; x++) {
		const unsigned row = g + x % 2 * 8, column = i + x / 2 * 8;
		const float low = a[row * 16 + column], high = a[row * 16 + column + 1];
		ra[x] = bf16 ? pack_bf16(low, high) : pack_f16(low, high);
	}
	for (unsigned x = 0; x < 2; x++) {
		const unsigned row = i + x * 8;
		const float low = b[row * 8 + g], high = b[(row + 1) * 8 + g];
		rb[x] = bf16 ? pack_bf16(low, high) : pack_f16(low, high);
	}
	float c[4] = { 2, 2, 2, 2 };
	if (bf16)
		mma_bf16(c, ra, rb);
	else
		mma_f16(c, ra, rb);
	for (unsigned x = 0; x < 4; x++)
		out[(g + x / 2 * 8) * 8 + i + x % 2] = c[x];
}

double rounded(float x, bool bf16)
{
	return static_cast<double>(bf16 ? from_bf16(to_bf16(x)) : from_f16(to_f16(x)));
}

template <bool bf16> void test_product(const char *name)
{
	const std::vector<float> in = numbers(256 + 128), out = run(orders[0], product<bf16>, in, 128, 1, WARP, 0);
	double worst = 0;
	for (size_t row = 0; row < 16; row++)
		for (size_t column = 0; column < 8; column++) {
			double sum = 2;
			for (size_t k = 0; k < 16; k++)
				sum += rounded(in[row * 16 + k], bf16) * rounded(in[256 + k * 8 + column], bf16);
			worst = std::fmax(worst, std::fabs(sum - static_cast<double>(out[row * 8 + column])));
		}
	/* One rounding of a sum below 18. */
	ok(worst <= 0x1p-20, "mma_%s against a plain product in double: %g", name, worst);
	ok(same_in_all_orders(product<bf16>, in, 128, 1, WARP, 0), "mma_%s in all orders", name);
}

/* Four matrices of 8 rows, a row to each thread: in shared memory 16 elements apart. */
template <bool transposed> KERNEL void matrices(const uint16_t *in, uint16_t *out)
{
	uint16_t *held = shared_memory<uint16_t>();
	const unsigned t = thread_index();
	for (unsigned i = 0; i < 8; i++)
		held[t * 16 + i] = in[t * 8 + i];
	warp_barrier();
	uint32_t r[4];
	if (transposed)
		load_matrix_x4_transposed(r, held + t * 16);
	else
		load_matrix_x4(r, held + t * 16);
	for (unsigned m = 0; m < 4; m++) {
		out[m * 64 + t / 4 * 8 + t % 4 * 2] = static_cast<uint16_t>(r[m]);
		out[m * 64 + t / 4 * 8 + t % 4 * 2 + 1] = static_cast<uint16_t>(r[m] >> 16);
	}
}

void test_matrices()
{
	std::vector<uint16_t> in(4 * 64), turned(4 * 64);
	for (size_t i = 0; i < in.size(); i++)
		in[i] = static_cast<uint16_t>(i * 251 + 7);
	for (size_t m = 0; m < 4; m++)
		for (size_t row = 0; row < 8; row++)
			for (size_t column = 0; column < 8; column++)
				turned[m * 64 + column * 8 + row] = in[m * 64 + row * 8 + column];
	const size_t len = WARP * 16 * sizeof(uint16_t);
	ok(same(in, run(orders[0], matrices<false>, in, in.size(), 1, WARP, len)), "load_matrix_x4: rows to the lanes of an mma");
	ok(same(turned, run(orders[0], matrices<true>, in, in.size(), 1, WARP, len)), "load_matrix_x4_transposed: columns");
	ok(same_in_all_orders(matrices<true>, in, in.size(), 1, WARP, len), "load_matrix_x4_transposed in all orders");
}

/* -------- copies that arrive later */

enum { PART = 16 / sizeof(float) };

/* Two groups in flight; out: the first before any wait, after the first's wait, the second then, and after its wait. */
KERNEL void groups(const float *in, float *out)
{
	float *first = shared_memory<float>() + thread_index() * 2 * PART, *second = first + PART;
	copy_async(first, in + thread_index() * 2 * PART, true);
	copy_async_commit();
	copy_async(second, in + thread_index() * 2 * PART + PART, thread_index() % 2 == 0);
	copy_async_commit();
	float *to = out + thread_index() * 4;
	to[0] = first[0];
	copy_async_wait<1>();
	to[1] = first[0];
	to[2] = second[1];
	copy_async_wait<0>();
	to[3] = second[1];
}

void test_copies()
{
	const std::vector<float> in = numbers(WARP * 2 * PART);
	const std::vector<float> out = run(orders[0], groups, in, WARP * 4, 1, WARP, WARP * 32);
	ok(std::isnan(out[0]) && std::isnan(out[2]), "what is copied isn't there before its wait");
	ok(out[1] == in[0] && out[3] == in[PART + 1], "it is after it, group by group");
	ok(out[7] == 0 && out[5] == in[2 * PART], "zeros where there is nothing to copy");
	ok(same_in_all_orders(groups, in, WARP * 4, 1, WARP, WARP * 32), "copies in all orders");
}

void test_conversions()
{
	bool all = true;
	for (uint32_t h = 0; h < 0x10000; h++) {
		const float a = from_f16(static_cast<uint16_t>(h)), b = from_bf16(static_cast<uint16_t>(h));
		all &= std::isnan(a) ? std::isnan(from_f16(to_f16(a))) : to_f16(a) == h;
		all &= std::isnan(b) ? std::isnan(from_bf16(to_bf16(b))) : to_bf16(b) == h;
	}
	ok(all, "every 16-bit number there and back");
	ok(pack_bf16(1, -2) == 0xc0003f80 && pack_f16(1, -2) == 0xc0003c00, "pairs have the first below");
	ok(to_bf16(1 + 0x1p-8f) == 0x3f80 && to_bf16(1 + 0x3p-8f) == 0x3f82, "ties go to even");
}

}

int main()
{
	test_barriers();
	test_shuffles();
	test_product<true>("bf16");
	test_product<false>("f16");
	test_matrices();
	test_copies();
	test_conversions();
	return done();
}
