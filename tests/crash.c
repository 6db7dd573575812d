/*
 * Preloaded into a program: ends it by SIGKILL at the CRASH_AT-th call that brings something to the disk or takes it away, before
 * the call is carried out.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

static atomic_int calls;

static void *real(const char *name)
{
	const char *at = getenv("CRASH_AT");
	if (at && atomic_fetch_add(&calls, 1) + 1 == atoi(at))
		raise(SIGKILL);
	return dlsym(RTLD_NEXT, name);
}

int fsync(int fd)
{
	int (*call)(int) = real("fsync");
	return call(fd);
}

int rename(const char *from, const char *to)
{
	int (*call)(const char *, const char *) = real("rename");
	return call(from, to);
}

int unlink(const char *path)
{
	int (*call)(const char *) = real("unlink");
	return call(path);
}

int truncate(const char *path, off_t len)
{
	int (*call)(const char *, off_t) = real("truncate");
	return call(path, len);
}

int ftruncate(int fd, off_t len)
{
	int (*call)(int, off_t) = real("ftruncate");
	return call(fd, len);
}

int fallocate(int fd, int mode, off_t from, off_t len)
{
	int (*call)(int, int, off_t, off_t) = real("fallocate");
	return call(fd, mode, from, len);
}
