#include "plan_place.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "clock.h"
#include "io.h"
#include "memory.h"
#include "scratch.h"

#define WRITE_LEN ((size_t)8 << 20)
#define WRITE_MOST ((uint64_t)512 << 20)
/* Less is written before anybody looks at his watch. */
#define LEAST_LEN ((uint64_t)64 << 20)

/* -------- files */

static int place_of(struct plan *p, struct plan_file *f, struct error *e)
{
	struct stat st;
	struct statvfs fs;
	if (stat(f->directory, &st) < 0 || statvfs(f->directory, &fs) < 0)
		return error_errno(e, "%s", f->directory);
	for (f->place = 0; f->place < p->n_places; f->place++)
		if (p->places[f->place].device == st.st_dev)
			return 0;
	p->places = mem_resize(p->places, p->n_places + 1, sizeof *p->places);
	p->places[p->n_places++] = (struct plan_place){ .device = st.st_dev, .directory = f->directory,
	                                                .free = (uint64_t)fs.f_bavail * fs.f_frsize, .punches = true };
	return 0;
}

/* Of an absolute path. */
static char *directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash == path ? mem_string("/") : mem_slice(path, (size_t)(slash - path));
}

static int check_other(const struct plan *p, const char *path, const char *name, struct error *e)
{
	for (size_t i = 0; i < p->n_files; i++)
		if (p->files[i].path && strcmp(p->files[i].path, path) == 0)
			return error_set(e, "%s: two outputs cannot go to the same file", name);
	return 0;
}

int plan_file_add(struct plan *p, enum plan_use use, const char *path, uint64_t len, struct error *e)
{
	p->files = mem_resize(p->files, p->n_files + 1, sizeof *p->files);
	struct plan_file *f = &p->files[p->n_files++];
	*f = (struct plan_file){ .use = use, .name = mem_string(path ? path : "-"), .len = len };
	if (use == PLAN_SPILL) {
		f->directory = mem_string(path);
		return place_of(p, f, e);
	}
	char *final;
	if (output_where(path, &final, e) < 0)
		return -1;
	if (!final)
		return 0;
	int status = check_other(p, final, f->name, e);
	f->path = final;
	f->directory = directory_of(final);
	return status < 0 ? -1 : place_of(p, f, e);
}

/* -------- rates */

static int write_for(int fd, const struct plan_place *place, const char *bytes, uint64_t *len, double *seconds, struct error *e)
{
	uint64_t most = place->free / 8 < WRITE_MOST ? place->free / 8 : WRITE_MOST;
	double start = clock_seconds();
	for (*len = 0, *seconds = 0; *len + WRITE_LEN <= most && *seconds < 0.3; *len += WRITE_LEN) {
		if (io_write_at(fd, bytes, WRITE_LEN, *len, place->directory, e) < 0 ||
		    (fdatasync(fd) < 0 && error_errno(e, "%s", place->directory)))
			return -1;
		*seconds = clock_seconds() - start;
	}
	return 0;
}

/* What was written is read from the disk again, as far as it isn't kept in memory all the same. */
static int read_for(int fd, const struct plan_place *place, char *bytes, uint64_t len, double *seconds, struct error *e)
{
	double start = clock_seconds();
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	for (uint64_t at = 0; at < len; at += WRITE_LEN)
		if (io_read_at(fd, bytes, WRITE_LEN, at, place->directory, e) < 0)
			return -1;
	*seconds = clock_seconds() - start;
	return 0;
}

static int measure(struct plan_place *place, int fd, struct error *e)
{
	char *bytes = mem_try(WRITE_LEN, "a file's bytes", e);
	uint64_t len;
	double writing, reading;
	if (!bytes)
		return -1;
	memset(bytes, 'x', WRITE_LEN);
	int status = write_for(fd, place, bytes, &len, &writing, e);
	if (status == 0 && len)
		status = read_for(fd, place, bytes, len, &reading, e);
	free(bytes);
	if (status < 0 || !len)
		return status;
	place->write = (double)len / writing;
	place->read = (double)len / reading;
	place->punches = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)WRITE_LEN) == 0;
	return 0;
}

int plan_places_measure(struct plan *p, struct error *e)
{
	for (size_t i = 0; i < p->n_places; i++) {
		struct plan_place *place = &p->places[i];
		uint64_t len = 0;
		for (size_t k = 0; k < p->n_files; k++)
			if (p->files[k].directory && p->files[k].place == i)
				len += p->files[k].len;
		if (len < LEAST_LEN || place->free < LEAST_LEN)
			continue;
		int fd = scratch_file(place->directory, place->directory, e);
		int status = fd < 0 ? -1 : measure(place, fd, e);
		if (fd >= 0)
			close(fd);
		if (status < 0)
			return -1;
	}
	return 0;
}
