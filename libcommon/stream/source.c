#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory.h"

#define SOURCE_LEN ((size_t)256 << 10)
/* What Linux lets everybody ask for a pipe: fewer switches between its two ends. */
#define PIPE_LEN (1 << 20)

void source_init(struct source *s, int fd, const char *name)
{
	*s = (struct source){ .fd = fd, .name = name, .capacity = SOURCE_LEN };
	s->buffer = s->p = mem_alloc(SOURCE_LEN);
	(void)!fcntl(fd, F_SETPIPE_SZ, PIPE_LEN);
}

void source_release(struct source *s)
{
	if (s->buffer)
		close(s->fd);
	free(s->buffer);
	*s = (struct source){ 0 };
}

/* As many bytes as there are now, at least one.  Their number, 0 at the end, -1. */
static ssize_t read_some(struct source *s, void *to, size_t n, struct error *e)
{
	for (;;) {
		ssize_t k = read(s->fd, to, n);
		if (k >= 0)
			return k;
		struct pollfd p = { .fd = s->fd, .events = POLLIN };
		if (errno != EINTR && (errno != EAGAIN || (poll(&p, 1, -1) < 0 && errno != EINTR)))
			return error_errno(e, "%s", s->name);
	}
}

int source_need(struct source *s, size_t n, struct error *e)
{
	if (s->len >= n)
		return 1;
	size_t used = (size_t)(s->p - s->buffer);
	if (used + n > s->capacity) {
		if (s->len)
			memmove(s->buffer, s->p, s->len);
		mem_grow((void **)&s->buffer, &s->capacity, n, 1);
		s->p = s->buffer;
		used = 0;
	}
	while (s->len < n) {
		ssize_t k = read_some(s, s->p + s->len, s->capacity - used - s->len, e);
		if (k <= 0)
			return (int)k;
		s->len += (size_t)k;
	}
	return 1;
}

void source_skip(struct source *s, size_t n)
{
	s->p += n;
	s->len -= n;
	s->offset += n;
	if (!s->len)
		s->p = s->buffer;
}

int source_take(struct source *s, void *to, size_t n, struct error *e)
{
	size_t k = n < s->len ? n : s->len;
	if (k)
		memcpy(to, s->p, k);
	source_skip(s, k);
	while (k < n) {
		ssize_t got = read_some(s, (char *)to + k, n - k, e);
		if (got <= 0)
			return (int)got;
		k += (size_t)got;
		s->offset += (size_t)got;
	}
	return 1;
}

int source_pass(struct source *s, uint64_t n, struct error *e)
{
	while (n) {
		size_t k = n < s->len ? (size_t)n : s->len;
		source_skip(s, k);
		n -= k;
		if (n && n <= INT64_MAX && lseek(s->fd, (off_t)n, SEEK_CUR) >= 0) {
			s->offset += n;
			return 1;
		}
		int more = n ? source_need(s, 1, e) : 1;
		if (more <= 0)
			return more;
	}
	return 1;
}
