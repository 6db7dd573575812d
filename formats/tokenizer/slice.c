#include "slice.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

void buffer_reset(struct buffer *b, bool mapped)
{
	b->len = 0;
	b->mapped = mapped;
}

static char *buffer_room(struct buffer *b, size_t n)
{
	if (n > b->capacity - b->len)
		mem_grow((void **)&b->text, &b->capacity, b->len + n, 1);
	if (b->mapped && b->len + n > b->map_capacity)
		mem_grow((void **)&b->map, &b->map_capacity, b->len + n, sizeof *b->map);
	return b->text + b->len;
}

void buffer_put(struct buffer *b, const char *bytes, size_t n, struct origin from)
{
	char *to = buffer_room(b, n);
	for (size_t i = 0; i < n; i++)
		to[i] = bytes[i];
	if (b->mapped)
		for (size_t i = 0; i < n; i++)
			b->map[b->len + i] = from;
	b->len += n;
}

void buffer_copy(struct buffer *b, const struct slice *s, size_t start, size_t end)
{
	if (start == end)
		return;
	size_t n = end - start;
	memcpy(buffer_room(b, n), s->text + start, n);
	if (b->mapped)
		for (size_t i = 0; i < n; i++)
			b->map[b->len + i] = slice_origin(s, start + i, start + i + 1);
	b->len += n;
}

struct slice buffer_slice(const struct buffer *b, const struct slice *was)
{
	return (struct slice){ b->text, b->len, b->mapped ? b->map : NULL, 0, was->first };
}

void buffer_release(struct buffer *b)
{
	free(b->text);
	free(b->map);
	*b = (struct buffer){ 0 };
}
