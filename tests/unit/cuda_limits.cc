/*
 * What the back end asks of a card, at sizes that no test can run: every operation is launched on idle fake devices that hold
 * launches to the limits of each kind of card (threads, blocks, shared memory).
 */
#include <cstdio>
#include <cstring>
#include <vector>

#include "check.h"
#include "device.h"
#include "gpu_fake.h"

namespace {

/* Rows of a batch, and as many samples of one token; columns of a head's product; the most columns that rows have here. */
enum : size_t { ROWS = 1000003, VOCABULARY = 262144, WIDE = 131072, MEMORY = static_cast<size_t>(1) << 42 };

struct bench {
	device *d;
	error e;

	explicit bench(unsigned card)
	{
		const fake_choice choice = { { FIBRES_FORWARD, 0 }, FAKE_FINE, MEMORY, 0, card, true };
		const device_choice all = { -1, 0 };
		fake_choose(&choice);
		d = ops_cuda.open(nullptr, &all, &e);
	}
	~bench()
	{
		ops_cuda.close(d);
	}
	/* Rows that lie somewhere in the device's memory: nothing reads or writes them.  off: elements that they begin behind 256 bytes. */
	rows at(size_t n, size_t width, size_t gap = 0, size_t off = 0) const
	{
		return { static_cast<float *>(d->base) + off, n, width, width + gap };
	}
	operand packed(size_t n, size_t k, enum dtype dtype) const
	{
		return { d->base, n, k, dtype };
	}
	bool whole()
	{
		ops_cuda.wait(d);
		const bool so = !ops_cuda.failed(d, &e);
		if (!so)
			printf("# %s\n", e.text);
		return so;
	}
};

const rows NONE = {};
const size_t widths[] = { 1, 3, 64, 80, 1000, 4096, 14336, 16385, WIDE };

void by_rows(const bench &b)
{
	for (const size_t width : widths)
		for (const size_t off : { 0, 1 }) {
			const rows x = b.at(ROWS, width, off, off);
			const operand to = b.packed(ROWS, width, DTYPE_BF16);
			ops_cuda.copy(b.d, x, x);
			ops_cuda.round(b.d, x, DTYPE_BF16);
			ops_cuda.pack(b.d, to, x);
			ops_cuda.add(b.d, x, x);
			ops_cuda.softcap(b.d, x, 30);
			ops_cuda.activate(b.d, ACT_SILU, x, x, NONE, to);
			ops_cuda.gather(b.d, to, &to, static_cast<uint32_t *>(b.d->base), ROWS);
			ops_cuda.scatter(b.d, x, x, static_cast<uint32_t *>(b.d->base), b.d->base, ROWS);
		}
}

void by_groups(const bench &b)
{
	model m = {};
	for (const enum norm_kind kind : { NORM_RMS, NORM_LAYER })
		for (const size_t group : { 8, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 16392 }) {
			m.norm = kind;
			const struct norm n = { b.d->base, b.d->base, group };
			ops_cuda.norm(b.d, &m, &n, group, b.at(ROWS, group * 128), b.at(ROWS, group * 128), {});
			ops_cuda.norm(b.d, &m, &n, group, b.at(ROWS, group), NONE, b.packed(ROWS, group, DTYPE_F16));
		}
	rotary r = {};
	for (const size_t head : { 64, 80, 128, 256 }) {
		r.dims = head / 2;
		ops_cuda.rotate(b.d, &r, b.d->base, b.d->base, head, 0, b.at(ROWS, 128 * head), b.at(ROWS, 128 * head));
		const std::vector<rotation> parts(ops_cuda.row_tile, { b.d->base, b.d->base, 0, 1 });
		ops_cuda.rotate_all(b.d, &r, head, parts.data(), parts.size(), b.at(parts.size(), 128 * head), b.at(parts.size(), 128 * head));
	}
	for (const size_t experts : { 8, 512 })
		ops_cuda.route(b.d, b.at(ROWS, experts), true, { static_cast<int32_t *>(b.d->base), b.d->base, 8 });
}

/* Samples of one token each, and one that is longer than the scratch memory holds keys for. */
void attention_of(const bench &b, size_t head, size_t n_heads, size_t n_kv_heads)
{
	const attention a = { n_heads, n_kv_heads, head, 0, 0.1, 0 };
	std::vector<segment> one(20000), long_one(1);
	for (size_t i = 0; i < one.size(); i++)
		one[i] = { i, i, 1, 0, 1, b.d->base, b.d->base };
	long_one[0] = { 0, 0, 300000, 0, 300000, b.d->base, b.d->base };
	for (const std::vector<segment> &s : { one, long_one }) {
		const size_t n = s.size() > 1 ? s.size() : s[0].n;
		for (const enum dtype dtype : { DTYPE_BF16, DTYPE_F16, DTYPE_F32 })
			ops_cuda.attend(b.d, &a, s.data(), s.size(), b.at(n, n_heads * head), NONE, b.packed(n, n_heads * head, dtype));
	}
	ops_cuda.scores(b.d, &a, long_one.data(), b.at(300000, n_heads * head), 0, 4096, true, b.d->base);
	ops_cuda.softmax(b.d, &a, long_one.data(), 0, 4096, b.d->base);
	ops_cuda.mix(b.d, &a, long_one.data(), b.d->base, 0, 4096, b.at(300000, n_heads * head));
}

void by_products(const bench &b)
{
	for (const enum dtype dtype : { DTYPE_BF16, DTYPE_F16, DTYPE_F32 })
		for (const size_t k : { 16, 1000, 16384 }) {
			const weight w = { VOCABULARY, k, dtype, b.d->base, b.d->base };
			const operand a = b.packed(ROWS, k, dtype);
			ops_cuda.product(b.d, &a, &w, b.at(ROWS, VOCABULARY), ops_cuda.row_tile);
			ops_cuda.product(b.d, &a, &w, b.at(ROWS, VOCABULARY, 3, 1), ops_cuda.row_tile);
		}
}

void across(const bench &b)
{
	std::vector<pooled_row> pooled(100000);
	std::vector<row_run> runs(pooled.size());
	for (size_t i = 0; i < pooled.size(); i++) {
		pooled[i] = { i, 1, false };
		runs[i] = { i, 1 };
	}
	std::vector<double> to(WIDE);
	ops_cuda.pool(b.d, false, pooled.data(), pooled.size(), runs.data(), b.at(pooled.size(), 1), to.data());
	ops_cuda.pool(b.d, true, pooled.data(), 1, runs.data(), b.at(1, WIDE), to.data());
	std::vector<uint16_t> bytes(300000);
	for (const size_t n : { bytes.size(), static_cast<size_t>(1) }) {
		ops_cuda.load(b.d, b.at(n, bytes.size() / n), bytes.data(), DTYPE_BF16);
		ops_cuda.store(b.d, bytes.data(), DTYPE_BF16, b.at(n, bytes.size() / n));
	}
	ops_cuda.wait(b.d);
}

/* Stored the other way round, so that it is turned on the device. */
void by_weights(bench *b)
{
	const size_t n = VOCABULARY, k = 64, len = n * k * 2;
	void *from = ops_cuda.take_staging(b->d, len, &b->e);
	memset(from, 0, len);
	weight w = { n, k, DTYPE_BF16, b->d->base, nullptr };
	const tensor_view turned = { from, DTYPE_BF16, n, k, 0, n, 0, 1, n };
	ops_cuda.weight_put(b->d, &w, 0, &turned);
	ops_cuda.put_wait(b->d);
	ops_cuda.free_staging(b->d, from);
}

void on_card(unsigned card)
{
	bench b(card);
	if (!ok(b.d != nullptr, "sm_%u opens%s%s", card, b.d ? "" : ": ", b.d ? "" : b.e.text))
		return;
	by_rows(b);
	ok(b.whole(), "sm_%u: rows", card);
	by_groups(b);
	ok(b.whole(), "sm_%u: norms, rotation, routing", card);
	for (const size_t head : { 40, 64, 80, 96, 128, 192, 256 }) {
		attention_of(b, head, 8, 8);
		attention_of(b, head, 128, 1);
	}
	ok(b.whole(), "sm_%u: attention", card);
	by_products(b);
	ok(b.whole(), "sm_%u: products", card);
	across(b);
	ok(b.whole(), "sm_%u: rows that come and go", card);
	by_weights(&b);
	ok(b.whole(), "sm_%u: weights", card);
}

}

int main()
{
	for (const unsigned card : { 80u, 86u, 89u, 90u, 120u })
		on_card(card);
	return done();
}
