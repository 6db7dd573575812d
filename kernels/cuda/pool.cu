/* Rows of a batch that become one: a thread adds up a column, so that neighbours read neighbours and every sum has its order. */
#include "launches.h"
#include "lanes.h"

#include <string.h>
#include <vector>

enum : unsigned { POOL_THREADS = 128, POOL_AHEAD = 8 };

/* As the device reads them: rows, and behind them all their runs. */
struct device_run {
	uint32_t row, n;
};

struct device_row {
	uint32_t to, first, n, continues;
};

DEVICE double joined(double y, float x, bool largest)
{
	const double wide = x;
	if (!largest)
		return y + wide;
	return wide > y || wide != wide ? wide : y;
}

/* Several rows are on their way before the first of them is added. */
DEVICE double pool_run(double y, const float *x, size_t stride, unsigned n, bool largest)
{
	for (unsigned r = 0; r < n; r += POOL_AHEAD) {
		float ahead[POOL_AHEAD];
		UNROLL
		for (unsigned j = 0; j < POOL_AHEAD; j++)
			ahead[j] = r + j < n ? x[(r + j) * stride] : 0;
		UNROLL
		for (unsigned j = 0; j < POOL_AHEAD; j++)
			if (r + j < n)
				y = joined(y, ahead[j], largest);
	}
	return y;
}

static KERNEL void pool(const device_row *rows, unsigned n, const device_run *runs, const float *from, size_t stride, unsigned width,
                        bool largest, double *to)
{
	const unsigned column = block_index(0) * block_threads() + thread_index();
	for (unsigned i = block_index(1); i < n && column < width; i += grid_blocks(1)) {
		const device_row row = rows[i];
		double *y = to + static_cast<size_t>(row.to) * width + column, sum = row.continues ? *y : 0;
		bool begun = row.continues != 0;
		for (unsigned k = row.first; k < row.first + row.n; k++) {
			const float *x = from + runs[k].row * stride + column;
			if (begun) {
				sum = pool_run(sum, x, stride, runs[k].n, largest);
				continue;
			}
			sum = pool_run(*x, x + stride, stride, runs[k].n - 1, largest);
			begun = true;
		}
		*y = sum;
	}
}

/* -------- launching: as many rows and runs as a table holds; what is left of a row goes on in the next */

struct pool_table {
	std::vector<device_row> rows;
	std::vector<device_run> runs;
};

static bool is_full(const pool_table &t)
{
	return (t.rows.size() + 1) * sizeof(device_row) + (t.runs.size() + 1) * sizeof(device_run) > LAUNCH_TABLE;
}

static void pool_launch(launch_context *c, pool_table *t, bool largest, rows from, double *to)
{
	const size_t rows_len = t->rows.size() * sizeof(device_row), runs_len = t->runs.size() * sizeof(device_run);
	if (rows_len == 0)
		return;
	std::vector<char> bytes(rows_len + runs_len);
	memcpy(bytes.data(), t->rows.data(), rows_len);
	memcpy(bytes.data() + rows_len, t->runs.data(), runs_len);
	const char *table = static_cast<const char *>(launch_table(c, bytes.data(), bytes.size()));
	const unsigned n = static_cast<unsigned>(t->rows.size()), blocks = static_cast<unsigned>((from.width + POOL_THREADS - 1) / POOL_THREADS);
	launch(c->stream, pool, { blocks, n < 65535 ? n : 65535, 1 }, POOL_THREADS, 0, reinterpret_cast<const device_row *>(table), n,
	       reinterpret_cast<const device_run *>(table + rows_len), static_cast<const float *>(from.p), from.stride,
	       static_cast<unsigned>(from.width), largest, to);
	t->rows.clear();
	t->runs.clear();
}

void cuda_pool(launch_context *c, bool largest, const pooled_row *list, size_t n, const row_run *runs, rows from, double *to)
{
	pool_table t;
	for (size_t i = 0; i < n; i++) {
		bool begins = true;
		for (size_t k = list[i].first; k < list[i].first + list[i].n; k++) {
			if (is_full(t))
				pool_launch(c, &t, largest, from, to);
			if (begins || t.rows.empty())
				t.rows.push_back({ static_cast<uint32_t>(i), static_cast<uint32_t>(t.runs.size()), 0, !begins || list[i].continues });
			t.runs.push_back({ static_cast<uint32_t>(runs[k].row), static_cast<uint32_t>(runs[k].n) });
			t.rows.back().n++;
			begins = false;
		}
	}
	pool_launch(c, &t, largest, from, to);
}
