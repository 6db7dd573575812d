/* Ranges of files through a ring: the right bytes in the right order, whether they come from the page cache or past it. */
#include "fetch.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "io.h"
#include "memory.h"

enum { FILES = 2, FILE_LEN = (24 << 20) + 4321, RING_LEN = 6 << 20, RANGES = 64 };

static int fd[FILES];

/* Of byte i of a file; no page is like another. */
static unsigned char byte_of(int file, size_t i)
{
	return (unsigned char)((i * 2654435761u + i / 4096 * 97 + (size_t)file * 13) >> 7);
}

static bool make_file(int file, const char *directory)
{
	char path[200];
	unsigned char *bytes = mem_alloc(FILE_LEN);
	snprintf(path, sizeof path, "%s/fetch-%d-%ld", directory, file, (long)getpid());
	for (size_t i = 0; i < FILE_LEN; i++)
		bytes[i] = byte_of(file, i);
	int out = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
	bool good = out >= 0 && io_write(out, bytes, FILE_LEN) == 0 && fsync(out) == 0 && close(out) == 0;
	fd[file] = open(path, O_RDONLY);
	unlink(path);
	free(bytes);
	return good && fd[file] >= 0;
}

static void forget(void)
{
	for (int file = 0; file < FILES; file++)
		(void)!posix_fadvise(fd[file], 0, 0, POSIX_FADV_DONTNEED);
}

/* How many pages of the files are in memory; asking brings none there. */
static int cached_pages(void)
{
	enum { PAGES = (FILE_LEN + 4095) / 4096 };
	int n = 0;
	for (int file = 0; file < FILES; file++) {
		unsigned char in[PAGES];
		void *at = mmap(NULL, FILE_LEN, PROT_READ, MAP_SHARED, fd[file], 0);
		if (at == MAP_FAILED || mincore(at, FILE_LEN, in) < 0)
			return -1;
		for (int i = 0; i < PAGES; i++)
			n += in[i] & 1;
		munmap(at, FILE_LEN);
	}
	return n;
}

struct seen {
	const struct fetch_range *range;
	size_t next, wrong;
};

static int look(void *context, size_t i, const void *bytes, struct error *e)
{
	struct seen *s = context;
	const struct fetch_range *r = &s->range[i];
	const unsigned char *p = bytes;
	s->wrong += i != s->next++ || (uintptr_t)bytes % 8 != 0;
	for (size_t k = 0; k < r->len; k++)
		s->wrong += p[k] != byte_of(r->fd == fd[1], r->offset + k);
	(void)e;
	return 0;
}

/* Of all sizes, the small ones beginning anywhere, in the files' order; some are neighbours, and one ends with its file. */
static void choose(struct fetch_range *range, unsigned seed)
{
	uint64_t next[FILES] = { 0 };
	srand(seed);
	for (int i = 0; i < RANGES; i++) {
		int file = i / 7 % FILES;
		size_t len = (size_t)rand() % (i % 8 == 0 ? 5 << 20 : i % 3 == 0 ? 9000 : 200);
		uint64_t offset = next[file] + (i % 2 ? 0 : (uint64_t)rand() % 5000);
		if (i % 5 != 4 || len >= 9000)
			offset = (offset + 7) / 8 * 8;
		if (i == 62) {
			offset = offset > FILE_LEN - 3000 ? offset : (FILE_LEN - 3000) / 8 * 8;
			len = FILE_LEN - offset;
		}
		range[i] = (struct fetch_range){ fd[file], "file", offset, len };
		next[file] = offset + len;
	}
}

/* Runs that began with nothing in memory, and those after which most of it still isn't: the kernel may add to what is probed. */
static int n_cold, n_past;

static void count(const struct fetch_range *range)
{
	size_t all = 0;
	for (int i = 0; i < RANGES; i++)
		all += range[i].len / IO_PAGE;
	n_cold++;
	n_past += (size_t)cached_pages() < all / 2;
}

static void run(const char *what, unsigned seed, bool transient, bool cold)
{
	struct fetch_range range[RANGES];
	struct seen seen = { .range = range };
	struct error e = { "" };
	char *ring = mem_alloc(RING_LEN);
	choose(range, seed);
	if (cold)
		forget();
	int before = cached_pages();
	int status = fetch_run(range, RANGES, ring, RING_LEN, transient, NULL, look, &seen, &e);
	ok(status == 0 && seen.next == RANGES && seen.wrong == 0, "%s, ranges %u: every byte %s", what, seed, e.text);
	if (cold && transient && before == 0)
		count(range);
	free(ring);
}

int main(void)
{
	const char *directory = getenv("TMPDIR") ? getenv("TMPDIR") : "/var/tmp";
	if (!ok(make_file(0, directory) && make_file(1, directory), "files in %s", directory))
		return done();
	for (unsigned seed = 1; seed <= 6; seed++) {
		run("from the disk, to stay", seed, false, true);
		run("from memory", seed, true, false);
		run("from the disk, not to stay", seed, true, true);
	}
	int direct = io_open_direct(fd[0]);
	if (direct < 0 || !n_cold)
		ok(true, "past the page cache # SKIP this file system can't, or forgets nothing");
	else
		ok(n_past > 0, "%d of %d went past the page cache", n_past, n_cold);
	return done();
}
