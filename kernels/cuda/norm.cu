/*
 * Norms.  A group of columns is a team's: a warp, or a block where it is long.  Each thread keeps its fours of the group in
 * registers, so memory is read once; a group too long for that, or not of whole aligned fours, is read again for each sum.
 * Sums: a thread's own, in parts of at most PART fours, then a tree over the team.  All of it depends on the group's length
 * alone.
 */
#include "launches.h"
#include "quads.h"

/* WARP_MOST: columns of a warp's group. */
enum { WARP_TEAM = 32, BLOCK_TEAM = 256, WARP_MOST = 1024, BLOCK_THREADS = 256, PART = 16 };

struct norming {
	const float *weight, *bias;     /* (period), or NULL */
	size_t n_items;                 /* groups of all rows */
	unsigned groups, group, period; /* groups of a row, columns of a group */
	float plus, eps;
	bool layer, wide;
};

/* The sum over a team's threads, the same bits for all of them. */
template <unsigned TEAM> DEVICE float team_sum(float x)
{
	for (int mask = 16; mask; mask /= 2)
		x += warp_shuffle_xor(x, mask);
	if (TEAM == WARP_TEAM)
		return x;
	float *part = shared_memory<float>();
	const unsigned lane = thread_index() % 32;
	block_barrier();        /* the sum before has been read by all */
	if (lane == 0)
		part[thread_index() / 32] = x;
	block_barrier();
	x = part[lane % (TEAM / 32)];
	for (int mask = TEAM / 64; mask; mask /= 2)
		x += warp_shuffle_xor(x, mask);
	return x;
}

DEVICE float quad_sum(quad q)
{
	return (q.x[0] + q.x[1]) + (q.x[2] + q.x[3]);
}

/* One thread's fours of a group: QUADS of them kept, which have to be whole and aligned, as those of weights and results; or 0:
 * read each time.  (A way out at each of the kept ones takes long to compile.) */
template <unsigned TEAM, int QUADS> struct share {
	const float *x;
	unsigned n, lane;
	bool wide;
	quad kept[QUADS ? QUADS : 1];

	DEVICE share(const float *row, unsigned columns, bool four) : x(row), n(columns), lane(thread_index() % TEAM), wide(four)
	{
		UNROLL
		for (int j = 0; j < QUADS; j++)
			kept[j] = column(j) < n ? take(x, column(j)) : quad{};
	}

	/* Four of a row, a weight or a bias. */
	DEVICE quad take(const float *p, unsigned i) const
	{
		return QUADS ? *reinterpret_cast<const quad *>(p + i) : quad_take(p, i, n, wide);
	}

	DEVICE void give(const sheet &to, size_t r, unsigned i, quad q) const
	{
		if (QUADS)
			sheet_give_four(to, r, i, q);
		else
			sheet_give(to, r, i, q);
	}

	DEVICE unsigned column(int j) const
	{
		return 4 * (lane + static_cast<unsigned>(j) * TEAM);
	}

	/* f(first column, four) for each. */
	template <class F> DEVICE void each(F f) const
	{
		UNROLL
		for (int j = 0; j < QUADS; j++)
			if (column(j) < n)
				f(column(j), kept[j]);
		for (unsigned i = 4 * lane; QUADS == 0 && i < n; i += 4 * TEAM)
			f(i, take(x, i));
	}

	/* Of term(column, value) over the group. */
	template <class F> DEVICE float sum(F term) const
	{
		quad part = {}, total = {};
		unsigned in_part = 0;
		each([&](unsigned i, quad q) {
			for (unsigned j = 0; j < 4; j++)
				if (QUADS || i + j < n)
					part.x[j] = term(q.x[j], part.x[j]);
			if (++in_part % PART == 0) {
				for (unsigned j = 0; j < 4; j++)
					total.x[j] += part.x[j];
				part = {};
			}
		});
		for (unsigned j = 0; j < 4; j++)
			total.x[j] += part.x[j];
		return team_sum<TEAM>(quad_sum(total));
	}
};

/* 1 / sqrt(x) to half a unit in the last place and a little, without double, which many devices have little of: the root's
 * and the quotient's rounding errors are known exactly. */
DEVICE float inverse_root(float x)
{
	const float root = sqrtf(x), r = 1.0f / root;
	const float error = fmaf(-root, r, 1.0f) - 0.5f * (fmaf(-root, root, x) * r) * r;
	return root > 0 && root < INFINITY ? fmaf(r, error, r) : r;
}

/* A group's columns of a row of results; the last group's has the zeros that close an operand's row. */
DEVICE sheet group_of(const sheet &to, unsigned first, unsigned group)
{
	sheet g = to;
	g.p += first * (to.dtype == DTYPE_F32 ? sizeof(float) : sizeof(uint16_t));
	g.width = group;
	g.end = first + group == to.width ? to.end - first : group;
	g.wide = to.wide && first % 4 == 0;
	return g;
}

template <unsigned TEAM, int QUADS> DEVICE void norm_item(const norming &m, const sheet &to, const sheet &from, size_t item)
{
	const size_t r = item / m.groups;
	const unsigned first = static_cast<unsigned>(item % m.groups) * m.group, at = m.period ? first % m.period : 0;
	const share<TEAM, QUADS> x(reinterpret_cast<const float *>(from.p) + r * from.stride + first, m.group, m.wide);
	const float n = static_cast<float>(m.group);
	float mean = 0;
	if (m.layer)
		mean = x.sum([](float v, float sum) { return sum + v; }) / n;
	const float variance = x.sum([=](float v, float sum) { return fmaf(v - mean, v - mean, sum); }) / n;
	const float scale = inverse_root(variance + m.eps);
	const sheet mine = group_of(to, first, m.group);
	x.each([&](unsigned i, quad q) {
		const quad one = { { 1, 1, 1, 1 } };
		const quad w = m.weight ? x.take(m.weight + at, i) : one;
		const quad b = m.bias ? x.take(m.bias + at, i) : quad{};
		for (int j = 0; j < 4; j++) {
			q.x[j] = (q.x[j] - mean) * scale;
			if (m.weight)
				q.x[j] *= w.x[j] + m.plus;
			if (m.bias)
				q.x[j] += b.x[j];
		}
		x.give(mine, r, i, q);
	});
	for (unsigned i = (m.group + 3) / 4 * 4 + 4 * x.lane; i < mine.end; i += 4 * TEAM)
		sheet_give(mine, r, i, quad{});
}

/* Blocks that a multiprocessor holds at once: while one adds up, the others' rows come in. */
constexpr int at_once(int quads)
{
	return quads < 4 ? 4 : quads == 4 ? 3 : 2;
}

template <unsigned TEAM, int QUADS> static KERNEL BLOCKS_OF(BLOCK_THREADS, at_once(QUADS)) void norm_groups(norming m, sheet to, sheet from)
{
	const unsigned teams = block_threads() / TEAM;
	size_t item = static_cast<size_t>(block_index(0)) * teams + thread_index() / TEAM;
	for (; item < m.n_items; item += static_cast<size_t>(grid_blocks(0)) * teams)
		norm_item<TEAM, QUADS>(m, to, from, item);
}

typedef void norm_kernel(norming, sheet, sheet);

/* whole: rows, weights and results are whole aligned fours. */
static norm_kernel *kernel_for(size_t group, bool whole)
{
	static const struct {
		size_t most;
		norm_kernel *kernel;
	} kernels[] = {
		{ 128, norm_groups<WARP_TEAM, 1> },      { 256, norm_groups<WARP_TEAM, 2> },   { 512, norm_groups<WARP_TEAM, 4> },
		{ WARP_MOST, norm_groups<WARP_TEAM, 8> },     { 2048, norm_groups<BLOCK_TEAM, 2> }, { 4096, norm_groups<BLOCK_TEAM, 4> },
		{ 8192, norm_groups<BLOCK_TEAM, 8> },    { 16384, norm_groups<BLOCK_TEAM, 16> }
	};
	for (const auto &k : kernels)
		if (whole && group <= k.most)
			return k.kernel;
	return group <= WARP_MOST ? norm_groups<WARP_TEAM, 0> : norm_groups<BLOCK_TEAM, 0>;
}

void cuda_norm(launch_context *c, const model *m, const struct norm *norm, size_t group, rows from, rows out, operand packed)
{
	if (m->norm == NORM_NONE) {
		if (out.p)
			cuda_copy(c, out, from);
		else
			cuda_pack(c, packed, from);
		return;
	}
	const sheet to = sheet_of_result(out, packed), x = sheet_of_rows(from);
	const float *weight = norm ? static_cast<const float *>(norm->weight) : nullptr;
	const float *bias = norm ? static_cast<const float *>(norm->bias) : nullptr;
	norming n = { weight, bias, from.n * (from.width / group), static_cast<unsigned>(from.width / group),
	              static_cast<unsigned>(group), static_cast<unsigned>(norm ? norm->n : 0),
	              m->norm_plus_one ? 1.0f : 0.0f, static_cast<float>(m->norm_eps), m->norm == NORM_LAYER, false };
	n.wide = x.wide && group % 4 == 0 && aligned(weight, 16) && aligned(bias, 16);
	const size_t teams = group <= WARP_MOST ? BLOCK_THREADS / WARP_TEAM : 1, most = 32 * static_cast<size_t>(c->multiprocessors);
	const size_t blocks = (n.n_items + teams - 1) / teams;
	norm_kernel *kernel = kernel_for(group, n.wide && to.wide);
	launch(c->stream, kernel, { static_cast<unsigned>(blocks < most ? blocks : most), 1, 1 }, BLOCK_THREADS,
	       BLOCK_THREADS / 32 * sizeof(float), n, to, x);
}
