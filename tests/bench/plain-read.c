/*
 * plain-read N FILE...: N threads read the files, mapped, a MiB of each in turn, and add up their words.  Prints bytes and
 * seconds: what any program that looks at all of them can hope for.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

enum { FILES = 16, CHUNK = 1 << 20, LANES = 8, THREADS = 1024 };

static const char *start[FILES];
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

static void *work(void *unused)
{
	uint64_t s = 0;
	(void)unused;
	for (size_t at; (at = atomic_fetch_add(&next, CHUNK)) < longest;)
		for (int i = 0; i < n_files; i++) {
			size_t n = at < len[i] ? len[i] - at < CHUNK ? len[i] - at : CHUNK : 0;
			if (!n)
				continue;
#ifdef MADV_POPULATE_READ
			(void)madvise((void *)(start[i] + at), n, MADV_POPULATE_READ);
#endif
			s += sum(start[i] + at, n);
		}
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
	int n_threads = argc > 2 ? atoi(argv[1]) : 0;
	if (n_threads < 1 || n_threads > THREADS || argc - 2 > FILES)
		return fputs("usage: plain-read THREADS FILE...\n", stderr), 2;
	double from = seconds();
	uint64_t bytes = 0;
	for (int i = 2; i < argc; i++) {
		struct stat st;
		int fd = open(argv[i], O_RDONLY);
		if (fd < 0 || fstat(fd, &st) < 0)
			return perror(argv[i]), 2;
		len[n_files] = (size_t)st.st_size;
		start[n_files] = mmap(NULL, len[n_files], PROT_READ, MAP_SHARED, fd, 0);
		if (start[n_files] == MAP_FAILED)
			return perror(argv[i]), 2;
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
