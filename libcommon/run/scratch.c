#include "scratch.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io.h"
#include "memory.h"

#define BUFFER_LEN ((size_t)64 << 10)

const char *scratch_directory(const char *dir)
{
	const char *tmp = getenv("TMPDIR");
	return dir ? dir : tmp && *tmp ? tmp : "/var/tmp";
}

int scratch_file(const char *dir, const char *name, struct error *e)
{
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		return fd;
	/* Not every file system has files without a name. */
	char *path = mem_format("%s/onelayer-XXXXXX", dir);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		error_errno(e, "%s: no temporary file can be made there", name);
	else
		unlink(path);
	free(path);
	return fd;
}

int scratch_open(struct scratch *s, const char *dir, struct error *e)
{
	dir = scratch_directory(dir);
	*s = (struct scratch){ .fd = scratch_file(dir, dir, e) };
	if (s->fd < 0)
		return -1;
	s->name = mem_string(dir);
	s->p = mem_alloc(BUFFER_LEN);
	return 0;
}

static int flush(struct scratch *s, struct error *e)
{
	if (io_write_at(s->fd, s->p, s->buffered, s->len, s->name, e) < 0)
		return -1;
	s->len += s->buffered;
	s->buffered = 0;
	return 0;
}

int scratch_append(struct scratch *s, const void *p, size_t n, struct error *e)
{
	if (s->buffered + n > BUFFER_LEN && flush(s, e) < 0)
		return -1;
	if (n > BUFFER_LEN) {
		if (io_write_at(s->fd, p, n, s->len, s->name, e) < 0)
			return -1;
		s->len += n;
	} else if (n) {
		memcpy(s->p + s->buffered, p, n);
		s->buffered += n;
	}
	return 0;
}

uint64_t scratch_len(const struct scratch *s)
{
	return s->len + s->buffered;
}

int scratch_read(struct scratch *s, void *p, size_t n, uint64_t offset, struct error *e)
{
	if (s->buffered && flush(s, e) < 0)
		return -1;
	return io_read_at(s->fd, p, n, offset, s->name, e);
}

void scratch_close(struct scratch *s)
{
	if (s->p)
		close(s->fd);
	free((char *)s->name);
	free(s->p);
	*s = (struct scratch){ .fd = -1 };
}
