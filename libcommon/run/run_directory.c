#include "run_directory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checksum.h"
#include "memory.h"

static char *lock_path(const struct run_directory *d)
{
	return mem_format("%s/lock", d->path);
}

/* Whether the file that was locked still is the one of that name: who had it before may have removed it. */
static bool is_there(int fd, const char *path)
{
	struct stat own, there;
	return fstat(fd, &own) == 0 && stat(path, &there) == 0 && own.st_dev == there.st_dev && own.st_ino == there.st_ino;
}

static int lock_file(struct run_directory *d, const char *path, struct error *e)
{
	d->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
	if (d->lock < 0)
		return error_errno(e, "--state %s", path);
	while (flock(d->lock, LOCK_EX | LOCK_NB) < 0)
		if (errno == EWOULDBLOCK)
			return error_set(e, "--state %s: another run is at work there; wait for it or end it, or name another directory", d->path);
		else if (errno != EINTR)
			return error_errno(e, "--state %s", path);
	return 0;
}

int run_directory_lock(struct run_directory *d, struct error *e)
{
	char *path = lock_path(d);
	int status = lock_file(d, path, e);
	while (status == 0 && !is_there(d->lock, path)) {
		close(d->lock);
		status = lock_file(d, path, e);
	}
	free(path);
	return status;
}

int run_directory_open(struct run_directory *d, const char *path, bool make, struct error *e)
{
	*d = (struct run_directory){ .path = mem_string(path), .lock = -1 };
	if (make && mkdir(path, 0777) < 0 && errno != EEXIST)
		return error_errno(e, "--state %s", path);
	char *absolute = realpath(path, NULL);
	if (!absolute)
		return error_errno(e, "--state %s", path);
	char *id = mem_format("%016" PRIx64, checksum(absolute, strlen(absolute)));
	memcpy(d->id, id, sizeof d->id);
	free(id);
	free(absolute);
	return 0;
}

void run_directory_close(struct run_directory *d)
{
	if (d->lock >= 0)
		close(d->lock);
	free(d->path);
	*d = (struct run_directory){ .lock = -1 };
}

int run_directory_remove(const struct run_directory *d, struct error *e)
{
	char *path = lock_path(d);
	int status = unlink(path) < 0 ? error_errno(e, "--state %s", path) : 0;
	free(path);
	if (status == 0 && rmdir(d->path) < 0 && errno != ENOTEMPTY && errno != EEXIST && errno != ENOTDIR && errno != EBUSY)
		status = error_errno(e, "--state %s", d->path);
	return status;
}
