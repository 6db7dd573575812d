/*
 * Strings and their ids: a hash table that is filled once and then only read.
 */
#ifndef VOCAB_H
#define VOCAB_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "error.h"

#define VOCAB_NONE UINT32_MAX
#define VOCAB_MOST_IDS ((size_t)1 << 22) /* a larger id is refused */

struct vocab_text {
	size_t at;
	uint32_t len, is; /* is: 1 for an id in use */
};

struct vocab {
	char *pool;
	size_t pool_len, pool_capacity;
	struct vocab_text *text; /* by id */
	size_t n_ids, text_capacity;
	struct vocab_slot {
		uint32_t tag, id;
	} *slot;
	size_t mask; /* slots - 1 */
	size_t count;
};

/* A mix of all the bytes; the same on every machine and in every run. */
static inline uint64_t vocab_hash(const char *s, size_t len)
{
	uint64_t h = len * 0x9e3779b97f4a7c15u + 0x2545f4914f6cdd1du, w;
	for (; len >= 8; s += 8, len -= 8) {
		memcpy(&w, s, 8);
		h = (h ^ w) * 0xd6e8feb86659fd93u;
		h ^= h >> 32;
	}
	if (len >= 4) {
		uint32_t head, tail;
		memcpy(&head, s, 4);
		memcpy(&tail, s + len - 4, 4);
		h = (h ^ head ^ (uint64_t)tail << 32) * 0xd6e8feb86659fd93u;
		h ^= h >> 32;
	} else if (len > 0) {
		w = (unsigned char)s[0] | (uint64_t)(unsigned char)s[len / 2] << 8 |
		    (uint64_t)(unsigned char)s[len - 1] << 16;
		h = (h ^ w) * 0xd6e8feb86659fd93u;
		h ^= h >> 32;
	}
	h *= 0xff51afd7ed558ccdu;
	return h ^ h >> 29;
}

/* Room for `count` strings. */
void vocab_init(struct vocab *v, size_t count);

/* Adds a string (copied).  Returns 0, or -1 where the id is too large, or the id or the string is
 * there already. */
int vocab_add(struct vocab *v, const char *s, size_t len, uint64_t id, struct error *e) MUST_CHECK;

/* The id of a string, or VOCAB_NONE. */
uint32_t vocab_find(const struct vocab *v, const char *s, size_t len);

/* The string of an id (not closed with a NUL), or NULL. */
const char *vocab_text(const struct vocab *v, uint32_t id, size_t *len);

void vocab_release(struct vocab *v);

#endif
