/* Weights as they are stored, into columns of inputs end to end. */
#include "launches.h"
#include "quads.h"

/* Columns and inputs that a block turns at a time, through shared memory: both what it reads and what it writes are runs of
 * neighbours, however the tensor is stored.  One more in a row, so that a column of it lies in different banks. */
enum { TURN = 32, TURN_STRIDE = TURN + 1, TURN_THREADS = 256 };

DEVICE float stored_at(const weight_piece &from, size_t at)
{
	if (from.dtype == DTYPE_F32)
		return static_cast<const float *>(from.bytes)[at];
	return half_to_float(static_cast<const uint16_t *>(from.bytes)[at], from.dtype);
}

DEVICE void put_at(void *to, enum dtype dtype, size_t at, float x)
{
	if (dtype == DTYPE_F32)
		static_cast<float *>(to)[at] = x;
	else
		static_cast<uint16_t *>(to)[at] = dtype == DTYPE_BF16 ? to_bf16(x) : to_f16(x);
}

static KERNEL void turn(void *to, enum dtype dtype, size_t stride, size_t end, weight_piece from)
{
	float *tile = shared_memory<float>();
	const size_t k_tiles = (end + TURN - 1) / TURN, n_tiles = (from.n + TURN - 1) / TURN;
	const unsigned fast = thread_index() % TURN, slow = thread_index() / TURN, rows = block_threads() / TURN;
	for (size_t t = block_index(0); t < n_tiles * k_tiles; t += grid_blocks(0)) {
		const size_t column = t / k_tiles * TURN, input = t % k_tiles * TURN;
		for (unsigned s = slow; s < TURN; s += rows) {
			const unsigned c = from.k_stride <= from.n_stride ? s : fast, i = from.k_stride <= from.n_stride ? fast : s;
			const bool there = column + c < from.n && input + i < from.k;
			tile[c * TURN_STRIDE + i] =
				there ? stored_at(from, from.first + (column + c) * from.n_stride + (input + i) * from.k_stride) : 0;
		}
		block_barrier();
		for (unsigned c = slow; c < TURN; c += rows)
			if (column + c < from.n && input + fast < end)
				put_at(to, dtype, (column + c) * stride + input + fast, tile[c * TURN_STRIDE + fast]);
		block_barrier();
	}
}

void cuda_weight(gpu_stream *s, void *to, enum dtype dtype, size_t stride, size_t end, const weight_piece *from)
{
	const size_t tiles = (from->n + TURN - 1) / TURN * ((end + TURN - 1) / TURN);
	const unsigned blocks = static_cast<unsigned>(tiles < 4096 ? tiles : 4096);
	launch(s, turn, { blocks, 1, 1 }, TURN_THREADS, TURN * TURN_STRIDE * sizeof(float), to, dtype, stride, end, *from);
}
