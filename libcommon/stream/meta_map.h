/*
 * Walking a map of the stream: known keys by their number, each at most once; further keys are kept as
 * they came.
 */
#ifndef META_MAP_H
#define META_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "wire.h"

enum { MAP_EXTRA_LIMIT = 64, MAP_END = -2 };

struct map {
	struct wire_cursor *c;
	const char *what;               /* "the header": for messages */
	const char *const *keys;        /* closed by NULL; at most 32 */
	uint64_t left;
	uint32_t seen;
	size_t n_extra, extra_len;
	struct {
		struct wire_value key;
		const char *p;
		size_t len;
	} extra[MAP_EXTRA_LIMIT];
};

/* Reads the map's head.  0 or -1. */
int map_open(struct map *m, struct wire_cursor *c, const char *what, const char *const *keys, struct error *e)
	MUST_CHECK;

/* The number of the next known key, whose value is next at the cursor; MAP_END after the last pair; -1 and e. */
int map_next(struct map *m, struct error *e) MUST_CHECK;

/* Copies the further pairs to `to` (extra_len bytes). */
void map_extra(const struct map *m, char *to);

/* The value of the key just read.  0, or -1 and e: it is of another type or outside its range. */
int map_uint(struct map *m, int key, uint64_t limit, uint64_t *v, struct error *e) MUST_CHECK;
int map_bytes(struct map *m, int key, enum wire_type type, struct wire_value *v, struct error *e) MUST_CHECK;
int map_array(struct map *m, int key, uint64_t limit, uint64_t *n, struct error *e) MUST_CHECK;

#endif
