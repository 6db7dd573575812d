/* For the programs of tests/gpu: a card without the back end, and numbers for it. */
#ifndef PLAIN_H
#define PLAIN_H

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "gpu.h"

[[noreturn]] inline void stop(const char *what)
{
	fprintf(stderr, "%s\n", what);
	exit(2);
}

/* n random normal values of a type, over and over the same 64 Ki. */
inline std::vector<char> normals(size_t n, enum dtype dtype)
{
	std::vector<float> x(1 << 16);
	uint64_t state = 1;
	const auto uniform = [&state] {
		state = state * 6364136223846793005 + 1442695040888963407;
		return (static_cast<double>(state >> 11) + 0.5) * 0x1p-53;
	};
	for (float &f : x)
		f = static_cast<float>(std::sqrt(-2 * std::log(uniform())) * std::cos(2 * M_PI * uniform()));
	const size_t size = dtype_size(dtype);
	std::vector<char> bytes(n * size);
	for (size_t at = 0; at < n; at += x.size())
		dtype_convert(bytes.data() + at * size, dtype, x.data(), DTYPE_F32, std::min(x.size(), n - at));
	return bytes;
}

inline char *plain_take(gpu *g, size_t len)
{
	char *p = static_cast<char *>(gpu_take(g, len));
	if (!p)
		stop("too little memory on the card");
	return p;
}

inline void plain_fill(gpu_stream *s, char *p, size_t n, enum dtype dtype)
{
	const std::vector<char> x = normals(n, dtype);
	gpu_copy_in(s, p, x.data(), x.size());
	gpu_sync(s);
}

#endif
