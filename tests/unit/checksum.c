/* A checksum that is kept as bytes and gone on with is that of all the bytes. */
#include "checksum.h"

#include <string.h>

#include "check.h"

enum { N = 6000 };

/* The whole in pieces of so many bytes, kept and taken up between any two. */
static bool in_pieces(const uint8_t *p, size_t n, size_t piece)
{
	struct checksum *c = checksum_open(), *other = checksum_open();
	bool taken = true;
	for (size_t at = 0; at < n; at += piece) {
		uint8_t state[CHECKSUM_STATE];
		checksum_add(other, "left over", 9);
		checksum_save(c, state);
		taken &= checksum_load(other, state) == 0 && checksum_value(other) == checksum(p, at);
		struct checksum *was = c;
		c = other;
		other = was;
		checksum_add(c, p + at, n - at < piece ? n - at : piece);
	}
	taken &= checksum_value(c) == checksum(p, n);
	checksum_close(c);
	checksum_close(other);
	return taken;
}

static bool refuses(uint64_t buffered, uint64_t stripes, uint64_t total)
{
	const uint64_t number[] = { buffered, stripes, total };
	uint8_t state[CHECKSUM_STATE] = { 0 };
	struct checksum *c = checksum_open();
	memcpy(state + CHECKSUM_STATE - sizeof number, number, sizeof number);
	int status = checksum_load(c, state);
	checksum_close(c);
	return status < 0;
}

int main(void)
{
	static const size_t piece[] = { 1, 63, 64, 65, 240, 256, 257, 1024, 1025, 2048, 5999 };
	uint8_t p[N];
	uint32_t x = 7;
	for (size_t i = 0; i < N; i++)
		p[i] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
	for (size_t i = 0; i < sizeof piece / sizeof *piece; i++)
		ok(in_pieces(p, N, piece[i]), "kept every %zu bytes", piece[i]);
	ok(!refuses(0, 0, 0) && !refuses(256, 0, 256) && !refuses(1, 15, 4000), "what can be is taken");
	ok(refuses(257, 0, 4000) && refuses(UINT64_MAX, 0, UINT64_MAX), "more than the buffer holds");
	ok(refuses(3, 0, 2) && refuses(3, 0, 4) && refuses(3, 1, 3) && refuses(0, 0, 4000), "another length than what is there");
	ok(refuses(1, 17, 4000) && refuses(1, UINT64_MAX, 4000), "a place outside the secret");
	return done();
}
