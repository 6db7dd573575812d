/*
 * Text on its way through a tokenizer: slices point into somebody's bytes, buffers own them.
 * Both can say which bytes of the document each byte came from.
 */
#ifndef SLICE_H
#define SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The document bytes [from, to) that a byte stands for; empty for a byte that was put in. */
struct origin {
	uint32_t from, to;
};

struct slice {
	const char *text;         /* valid UTF-8, except between a byte mapping and the model */
	size_t len;               /* bytes */
	const struct origin *map; /* one a byte, or NULL: byte i is document byte at + i */
	size_t at;                /* used without a map */
	bool first;               /* begins where the document begins */
};

struct buffer {
	char *text;
	size_t len, capacity;
	struct origin *map; /* NULL until wanted */
	size_t map_capacity;
	bool mapped;        /* keep origins */
};

/* The part of s from byte `start` to byte `end`. */
static inline struct slice slice_part(const struct slice *s, size_t start, size_t end)
{
	return (struct slice){ s->text + start, end - start, s->map == NULL ? NULL : s->map + start,
			       s->at + start, s->first && start == 0 };
}

/* What bytes [start, end) of s stand for; start < end. */
static inline struct origin slice_origin(const struct slice *s, size_t start, size_t end)
{
	if (s->map == NULL)
		return (struct origin){ (uint32_t)(s->at + start), (uint32_t)(s->at + end) };
	return (struct origin){ s->map[start].from, s->map[end - 1].to };
}

/* Empties the buffer and says whether it keeps origins. */
void buffer_reset(struct buffer *b, bool mapped);

/* Appends n bytes that all stand for `from`. */
void buffer_put(struct buffer *b, const char *bytes, size_t n, struct origin from);

/* Appends bytes [start, end) of s as they are. */
void buffer_copy(struct buffer *b, const struct slice *s, size_t start, size_t end);

/* The whole buffer as a slice; `was` is what it was made from. */
struct slice buffer_slice(const struct buffer *b, const struct slice *was);

void buffer_release(struct buffer *b);

#endif
