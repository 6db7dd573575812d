/*
 * plain-read N AHEAD FILE...: N threads read the files, a MiB of each in turn, and add up their words.  AHEAD MiB of each
 * are asked for before their turn (0: none).  Prints bytes and seconds: what any program that looks at all of them can hope
 * for.  Pieces that stay in a core's cache are read faster than mapped pages are found.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FILES = 16, CHUNK = 1 << 20, PIECE = 1 << 17, LANES = 8, THREADS = 1024 };

static int fd[FILES];
static size_t ahead;
static size_t len[FILES], longest;
static int n_files;
static atomic_size_t next;
static _Atomic uint64_t total;

static uint64_t sum(const char *p, size_t n)
{
	uint64_t s[LANES] = { 0 };
	const uint64_t *word = (const uint64_t *)p;
	for (size_t i = 0; i + LANES <= n / 8; i += LANES)
		for (size_t k = 0; k < LANES; k++)
			s[k] += word[i + k];
	for (int k = 1; k < LANES; k++)
		s[0] += s[k];
	return s[0];
}

/* What there is of n bytes from at on. */
static size_t rest(int file, size_t at, size_t n)
{
	return at >= len[file] ? 0 : len[file] - at < n ? len[file] - at : n;
}

static uint64_t read_chunk(int file, char *piece, size_t at)
{
	uint64_t s = 0;
	if (ahead && rest(file, at + ahead, CHUNK))
		(void)posix_fadvise(fd[file], (off_t)(at + ahead), CHUNK, POSIX_FADV_WILLNEED);
	for (size_t end = at + rest(file, at, CHUNK), n; at < end; at += n) {
		n = end - at < PIECE ? end - at : PIECE;
		if (pread(fd[file], piece, n, (off_t)at) != (ssize_t)n)
			perror("read"), exit(2);
		s += sum(piece, n);
	}
	return s;
}

static void *work(void *unused)
{
	uint64_t s = 0;
	char *piece = aligned_alloc(4096, PIECE);
	(void)unused;
	for (size_t at; (at = atomic_fetch_add(&next, CHUNK)) < longest;)
		for (int i = 0; i < n_files; i++)
			s += read_chunk(i, piece, at);
	free(piece);
	atomic_fetch_add(&total, s);
	return NULL;
}

static double seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv)
{
	int n_threads = argc > 3 ? atoi(argv[1]) : 0;
	if (n_threads < 1 || n_threads > THREADS || argc - 3 > FILES)
		return fputs("usage: plain-read THREADS AHEAD FILE...\n", stderr), 2;
	ahead = (size_t)atoi(argv[2]) << 20;
	double from = seconds();
	uint64_t bytes = 0;
	for (int i = 3; i < argc; i++) {
		struct stat st;
		fd[n_files] = open(argv[i], O_RDONLY);
		if (fd[n_files] < 0 || fstat(fd[n_files], &st) < 0)
			return perror(argv[i]), 2;
		len[n_files] = (size_t)st.st_size;
		for (size_t at = 0; at < ahead; at += CHUNK)
			(void)posix_fadvise(fd[n_files], (off_t)at, CHUNK, POSIX_FADV_WILLNEED);
		bytes += len[n_files];
		longest = len[n_files] > longest ? len[n_files] : longest;
		n_files++;
	}
	pthread_t thread[THREADS];
	for (int i = 0; i < n_threads; i++)
		pthread_create(&thread[i], NULL, work, NULL);
	for (int i = 0; i < n_threads; i++)
		pthread_join(thread[i], NULL);
	/* The sum is told so that it is taken. */
	printf("%" PRIu64 " %.6f %016" PRIx64 "\n", bytes, seconds() - from, (uint64_t)total);
	return 0;
}
