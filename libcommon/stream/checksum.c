#include "checksum.h"

#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "memory.h"

struct checksum {
	XXH3_state_t state;
};

uint64_t checksum(const void *p, size_t len)
{
	return XXH3_64bits(p, len);
}

struct checksum *checksum_open(void)
{
	/* XXH3_state_t wants 64-byte alignment, more than malloc gives. */
	struct checksum *c = aligned_alloc(64, sizeof *c);
	if (!c)
		mem_exhausted();
	checksum_start(c);
	return c;
}

void checksum_start(struct checksum *c)
{
	XXH3_64bits_reset(&c->state);
}

void checksum_copy(struct checksum *to, const struct checksum *from)
{
	XXH3_copyState(&to->state, &from->state);
}

void checksum_add(struct checksum *c, const void *p, size_t len)
{
	if (len)
		XXH3_64bits_update(&c->state, p, len);
}

uint64_t checksum_value(const struct checksum *c)
{
	return XXH3_64bits_digest(&c->state);
}

void checksum_close(struct checksum *c)
{
	free(c);
}
