/* What a warp does together, on the host: the last thread that comes does it for all (fibres_meet). */
#ifndef HOST_LANES_H
#define HOST_LANES_H

#include <array>
#include <cstring>
#include <functional>

#include "fibres.h"
#include "gpu.h"

/* Queues a launch of `body`, called once a thread. */
void fake_launch(gpu_stream *s, std::array<unsigned, 3> blocks, unsigned threads, size_t shared, std::function<void()> body);

/* Queues f itself: the place of a library's call. */
void fake_run(gpu_stream *s, std::function<void()> f);

float host_from_f16(uint16_t x);
uint16_t host_to_f16(float x);

struct host_shuffle {
	unsigned char word[4];  /* in: mine, out: the other's */
	unsigned from;          /* lane */
};
void host_shuffle_act(void *const lanes[WARP]);

struct host_mma {
	float *c;
	const uint32_t *a, *b;
};

/* Element `which` (0 low, 1 high) of a pair. */
inline uint16_t host_half(uint32_t pair, unsigned which)
{
	return static_cast<uint16_t>(pair >> 16 * which);
}

/* One sum of 16 products in double, rounded once: what a tensor unit gives lies within its error of that. */
template <float (*from)(uint16_t)> void host_mma_act(void *const lanes[WARP])
{
	float a[16][16], b[16][8];
	for (unsigned lane = 0; lane < WARP; lane++) {
		const host_mma *m = static_cast<const host_mma *>(lanes[lane]);
		const unsigned g = lane / 4, i = lane % 4;
		for (unsigned x = 0; x < 4; x++)
			for (unsigned h = 0; h < 2; h++)
				a[g + x % 2 * 8][i * 2 + h + x / 2 * 8] = from(host_half(m->a[x], h));
		for (unsigned x = 0; x < 2; x++)
			for (unsigned h = 0; h < 2; h++)
				b[i * 2 + h + x * 8][g] = from(host_half(m->b[x], h));
	}
	for (unsigned lane = 0; lane < WARP; lane++) {
		float *c = static_cast<const host_mma *>(lanes[lane])->c;
		for (unsigned x = 0; x < 4; x++) {
			const unsigned row = lane / 4 + x / 2 * 8, column = lane % 4 * 2 + x % 2;
			double sum = c[x];
			for (unsigned k = 0; k < 16; k++)
				sum += static_cast<double>(a[row][k]) * static_cast<double>(b[k][column]);
			c[x] = static_cast<float>(sum);
		}
	}
}

struct host_matrix {
	uint32_t *r;
	const void *row;
};

template <bool transposed> void host_matrix_act(void *const lanes[WARP])
{
	uint16_t matrix[4][8][8] = {};
	for (unsigned lane = 0; lane < WARP; lane++) {
		const void *row = static_cast<const host_matrix *>(lanes[lane])->row;
		if (fibres_in_shared(row, sizeof matrix[0][0]))
			memcpy(matrix[lane / 8][lane % 8], row, sizeof matrix[0][0]);
	}
	for (unsigned lane = 0; lane < WARP; lane++)
		for (unsigned m = 0; m < 4; m++) {
			const unsigned row = lane / 4, column = lane % 4 * 2;
			const uint16_t low = transposed ? matrix[m][column][row] : matrix[m][row][column];
			const uint16_t high = transposed ? matrix[m][column + 1][row] : matrix[m][row][column + 1];
			static_cast<const host_matrix *>(lanes[lane])->r[m] = low | static_cast<uint32_t>(high) << 16;
		}
}

#endif
