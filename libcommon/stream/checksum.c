#include "checksum.h"

#include <stdlib.h>
#include <string.h>

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
	if (c)
		memset(c, 0, sizeof *c);        /* checksum_save keeps its buffer, used or not */
	else
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

_Static_assert(sizeof((struct checksum *)0)->state.acc + sizeof((struct checksum *)0)->state.buffer + 3 * 8 == CHECKSUM_STATE,
               "what a sum has come to");

void checksum_save(const struct checksum *c, uint8_t to[CHECKSUM_STATE])
{
	const XXH3_state_t *s = &c->state;
	const uint64_t number[] = { s->bufferedSize, s->nbStripesSoFar, s->totalLen };
	memcpy(to, s->acc, sizeof s->acc);
	memcpy(to + sizeof s->acc, s->buffer, sizeof s->buffer);
	memcpy(to + sizeof s->acc + sizeof s->buffer, number, sizeof number);
}

int checksum_load(struct checksum *c, const uint8_t from[CHECKSUM_STATE])
{
	XXH3_state_t *s = &c->state;
	uint64_t number[3];
	checksum_start(c);
	memcpy(number, from + sizeof s->acc + sizeof s->buffer, sizeof number);
	/* The buffer alone until it has been full, and then never empty; the stripes of a block choose a part of the secret. */
	if (number[0] > sizeof s->buffer || number[0] > number[2] || number[1] > s->nbStripesPerBlock ||
	    (number[2] <= sizeof s->buffer ? number[0] != number[2] || number[1] : !number[0]))
		return -1;
	memcpy(s->acc, from, sizeof s->acc);
	memcpy(s->buffer, from + sizeof s->acc, sizeof s->buffer);
	s->bufferedSize = (XXH32_hash_t)number[0];
	s->nbStripesSoFar = (size_t)number[1];
	s->totalLen = number[2];
	return 0;
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
