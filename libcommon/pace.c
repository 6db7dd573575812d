#include "pace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "memory.h"

#define NOWHERE UINT64_MAX

static const char MAGIC[16] = "onelayer pace 1";

/* The file.  Byte 0 is locked while somebody joins, byte 1 + i by whoever has place i. */
struct table {
	char magic[16], fingerprint[16];
	_Atomic uint64_t at[PACE_PLACES];       /* the layer that each one reads; NOWHERE before its first and after its last */
};

struct pace {
	int fd;
	size_t place;
	struct table *table;
};

static int lock(int fd, int command, short type, off_t byte, struct flock *l)
{
	*l = (struct flock){ .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
	int status;
	do
		status = fcntl(fd, command, l);
	while (status < 0 && errno == EINTR);
	return status;
}

static bool is_taken(const struct pace *p, size_t place)
{
	struct flock l;
	return lock(p->fd, F_OFD_GETLK, F_WRLCK, (off_t)(1 + place), &l) == 0 && l.l_type != F_UNLCK;
}

static bool anybody(const struct pace *p)
{
	for (size_t i = 0; i < PACE_PLACES; i++)
		if (is_taken(p, i))
			return true;
	return false;
}

/* The file as a table: an empty one becomes it, another must be one. */
static int map_table(struct pace *p, const char *path, struct error *e)
{
	struct stat s;
	if (fstat(p->fd, &s) < 0)
		return error_errno(e, "%s", path);
	if (!S_ISREG(s.st_mode) || (s.st_size != 0 && s.st_size != sizeof *p->table))
		return error_set(e, "%s: isn't a file that processes share weights by; name one that doesn't exist", path);
	if (s.st_size == 0 && ftruncate(p->fd, sizeof *p->table) < 0)
		return error_errno(e, "%s", path);
	void *at = mmap(NULL, sizeof *p->table, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, 0);
	if (at == MAP_FAILED)
		return error_errno(e, "%s", path);
	p->table = at;
	if (s.st_size == 0)
		memcpy(p->table->magic, MAGIC, sizeof MAGIC);
	if (memcmp(p->table->magic, MAGIC, sizeof MAGIC) != 0)
		return error_set(e, "%s: isn't a file that processes share weights by; name one that doesn't exist", path);
	return 0;
}

static int take_place(struct pace *p, const char *path, struct error *e)
{
	struct flock l;
	for (p->place = 0; p->place < PACE_PLACES; p->place++)
		if (lock(p->fd, F_OFD_SETLK, F_WRLCK, (off_t)(1 + p->place), &l) == 0) {
			pace_leave(p);
			return 0;
		}
	return error_set(e, "%s: %d processes share these weights already", path, PACE_PLACES);
}

static int join(struct pace *p, const char *path, const char *fingerprint, struct error *e)
{
	struct flock l;
	if (lock(p->fd, F_OFD_SETLKW, F_WRLCK, 0, &l) < 0)
		return error_errno(e, "%s: can't be locked", path);
	int status = map_table(p, path, e);
	if (status == 0 && !anybody(p))
		memcpy(p->table->fingerprint, fingerprint, sizeof p->table->fingerprint);
	if (status == 0 && memcmp(p->table->fingerprint, fingerprint, sizeof p->table->fingerprint) != 0)
		status = error_set(e, "%s: other processes share the weights of another model by it", path);
	if (status == 0)
		status = take_place(p, path, e);
	(void)lock(p->fd, F_OFD_SETLK, F_UNLCK, 0, &l);
	return status;
}

struct pace *pace_open(const char *path, const char *fingerprint, struct error *e)
{
	struct pace *p = mem_zero(1, sizeof *p);
	p->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (p->fd < 0)
		error_errno(e, "%s", path);
	else if (join(p, path, fingerprint, e) == 0)
		return p;
	pace_close(p);
	return NULL;
}

/* The least layer of those that are at most `reach` behind `layer`. */
static size_t last_in_step(const struct pace *p, size_t layer, size_t reach)
{
	size_t least = layer;
	for (size_t i = 0; i < PACE_PLACES; i++) {
		uint64_t at = atomic_load(&p->table->at[i]);
		if (i != p->place && at < least && at + reach >= layer && is_taken(p, i))
			least = (size_t)at;
	}
	return least;
}

void pace_enter(struct pace *p, size_t layer)
{
	const struct timespec moment = { 0, 5000000 };
	atomic_store(&p->table->at[p->place], layer);
	while (last_in_step(p, layer, PACE_AHEAD + 1) + PACE_AHEAD < layer)
		nanosleep(&moment, NULL);
}

size_t pace_done(const struct pace *p)
{
	return last_in_step(p, (size_t)p->table->at[p->place], PACE_AHEAD + 1);
}

void pace_leave(struct pace *p)
{
	atomic_store(&p->table->at[p->place], NOWHERE);
}

void pace_close(struct pace *p)
{
	if (!p)
		return;
	if (p->table)
		munmap(p->table, sizeof *p->table);
	if (p->fd >= 0)
		close(p->fd);
	free(p);
}
