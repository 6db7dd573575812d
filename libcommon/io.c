#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "memory.h"

static bool is_standard(const char *path)
{
	return !path || !strcmp(path, "-");
}

const char *io_input_name(const char *path)
{
	return is_standard(path) ? "<stdin>" : path;
}

int io_open_input(const char *path, struct error *e)
{
	const char *name = io_input_name(path);
	int fd = is_standard(path) ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
	                           : open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0) {
		error_errno(e, "%s", name);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	if (S_ISDIR(st.st_mode)) {
		close(fd);
		return error_set(e, "%s: is a directory, a file is needed", name);
	}
	return fd;
}

/* After a call that failed: whether to repeat it.  A descriptor that somebody else made non-blocking is waited for. */
static bool try_again(int fd, short event)
{
	if (errno == EINTR)
		return true;
	if (errno != EAGAIN)
		return false;
	struct pollfd p = { .fd = fd, .events = event };
	return poll(&p, 1, -1) >= 0 || errno == EINTR;
}

ssize_t io_read_some(int fd, void *buffer, size_t n, const char *name, struct error *e)
{
	ssize_t k;
	while ((k = read(fd, buffer, n)) < 0)
		if (!try_again(fd, POLLIN))
			return error_errno(e, "%s", name);
	return k;
}

ssize_t io_read_full(int fd, void *buffer, size_t n, const char *name, struct error *e)
{
	size_t done = 0;
	ssize_t k = 1;
	while (k > 0 && done < n) {
		k = io_read_some(fd, (char *)buffer + done, n - done, name, e);
		if (k < 0)
			return -1;
		done += (size_t)k;
	}
	return (ssize_t)done;
}

int io_write(int fd, const void *buffer, size_t n)
{
	size_t done = 0;
	while (done < n) {
		ssize_t k = write(fd, (const char *)buffer + done, n - done);
		if (k > 0) {
			done += (size_t)k;
		} else if (k == 0) {
			errno = ENOSPC;
			return -1;
		} else if (!try_again(fd, POLLOUT)) {
			return -1;
		}
	}
	return 0;
}

int io_write_all(int fd, const void *buffer, size_t n, const char *name, struct error *e)
{
	if (io_write(fd, buffer, n) == 0)
		return 0;
	error_errno(e, "%s", name);
	if (errno == EPIPE)     /* only where a parent had SIGPIPE blocked and main.c was not the one to undo that */
		raise(SIGPIPE);
	return -1;
}

int io_read_at(int fd, void *buffer, size_t n, uint64_t offset, const char *name, struct error *e)
{
	size_t done = 0;
	while (done < n) {
		ssize_t k = pread(fd, (char *)buffer + done, n - done, (off_t)(offset + done));
		if (k == 0)
			return error_set(e, "%s: ends at byte %ju, %zu bytes from byte %ju on are needed", name,
			                 (uintmax_t)(offset + done), n, (uintmax_t)offset);
		if (k > 0)
			done += (size_t)k;
		else if (!try_again(fd, POLLIN))
			return error_errno(e, "%s", name);
	}
	return 0;
}

int io_open_direct(int fd)
{
	char path[40];
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
}

size_t io_read_direct(int fd, void *buffer, size_t n, uint64_t offset)
{
	size_t done = 0;
	/* Past a part of a page, which ends the file or is the device's whim, it can't go on. */
	while (done < n && done % IO_PAGE == 0) {
		ssize_t k = pread(fd, (char *)buffer + done, n - done, (off_t)(offset + done));
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			break;
		done += (size_t)k;
	}
	return done;
}

bool io_is_cold(int fd, uint64_t offset)
{
	char byte;
	struct iovec to = { &byte, 1 };
	return preadv2(fd, &to, 1, (off_t)offset, RWF_NOWAIT) < 0 && errno == EAGAIN;
}

void io_will_need(int fd, uint64_t offset, uint64_t n)
{
	if (n && (io_is_cold(fd, offset) || io_is_cold(fd, offset + n - 1)))
		(void)posix_fadvise(fd, (off_t)offset, (off_t)n, POSIX_FADV_WILLNEED);
}

int io_write_at(int fd, const void *buffer, size_t n, uint64_t offset, const char *name, struct error *e)
{
	size_t done = 0;
	while (done < n) {
		ssize_t k = pwrite(fd, (const char *)buffer + done, n - done, (off_t)(offset + done));
		if (k == 0)
			errno = ENOSPC;
		if (k > 0)
			done += (size_t)k;
		else if (k == 0 || !try_again(fd, POLLOUT))
			return error_errno(e, "%s", name);
	}
	return 0;
}

int io_sync(int fd, const char *name, struct error *e)
{
	return fsync(fd) < 0 && errno != EINVAL && errno != ENOTSUP ? error_errno(e, "%s", name) : 0;
}

int io_sync_directory(const char *dir, struct error *e)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int status = fd < 0 ? error_errno(e, "%s", dir) : io_sync(fd, dir, e);
	if (fd >= 0)
		close(fd);
	return status;
}

/* Reads to the end of fd into *text, which grows; one byte is kept for the NUL. */
static int read_to_end(int fd, char **text, size_t *len, size_t capacity, size_t limit, const char *name,
                       struct error *e)
{
	for (;;) {
		char *larger = realloc(*text, capacity + 1);
		if (!larger)
			return error_set(e, "%s: %zu bytes of memory are needed and cannot be had", name, capacity);
		*text = larger;
		ssize_t k = io_read_full(fd, *text + *len, capacity - *len, name, e);
		if (k < 0)
			return -1;
		*len += (size_t)k;
		if (*len < capacity)
			return 0;
		if (capacity > limit)
			return error_set(e, "%s: is longer than %zu bytes, the most that is read of such a file",
			                 name, limit);
		capacity = capacity > limit / 2 ? limit + 1 : capacity * 2;
	}
}

bool io_regular(const char *path)
{
	struct stat st;
	return !is_standard(path) && stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool io_same_file(const char *a, const char *b)
{
	struct stat one, other;
	return !is_standard(a) && !is_standard(b) && stat(a, &one) == 0 && stat(b, &other) == 0 && S_ISREG(one.st_mode) &&
	       one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

char *io_slurp(const char *path, size_t limit, size_t *len, struct error *e)
{
	int fd = io_open_input(path, e);
	if (fd < 0)
		return NULL;
	struct stat st;
	/* The size is a hint alone: /proc and pipes say 0. */
	size_t capacity = 4096;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
		capacity = (uint64_t)st.st_size < limit ? (size_t)st.st_size + 1 : limit + 1;
	if (capacity > limit)
		capacity = limit + 1;
	char *text = NULL;
	*len = 0;
	int r = read_to_end(fd, &text, len, capacity, limit, io_input_name(path), e);
	close(fd);
	if (r < 0) {
		free(text);
		return NULL;
	}
	text[*len] = 0;
	return text;
}
