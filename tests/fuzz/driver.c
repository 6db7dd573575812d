/*
 * Fuzzing without an engine: every file given, or in a directory given, goes through LLVMFuzzerTestOneInput as it
 * is, cut short, and in N mutations of it.  The sequence depends on nothing but the files and N.
 *
 *     TARGET N SECONDS KEEP FILE...
 *
 * KEEP is a file that holds the input under test, so that after a crash it is the culprit.  An input that takes
 * ten seconds ends the run by SIGALRM.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { MOST = 1 << 16 };

static uint64_t random_state = 0x9e3779b97f4a7c15;

/* xorshift64* (Vigna 2016). */
static uint64_t next_random(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return random_state * 0x2545f4914f6cdd1d;
}

static size_t below(size_t n)
{
	return n ? (size_t)(next_random() % n) : 0;
}

/* The input is copied to memory of its own size, so that a sanitizer sees a read past its end. */
static void run(int keep, const uint8_t *input, size_t n)
{
	uint8_t *exact = malloc(n ? n : 1);
	if (!exact || pwrite(keep, input, n, 0) != (ssize_t)n || ftruncate(keep, (off_t)n) < 0)
		exit(2);
	memcpy(exact, input, n);
	alarm(10);
	LLVMFuzzerTestOneInput(exact, n);
	alarm(0);
	free(exact);
}

static size_t mutate(uint8_t *p, size_t n)
{
	static const uint8_t telling[] = { 0, 1, 0x7f, 0x80, 0xff, '"', '{', '[', '-', ',', '0', 0xc0, 0xc6, 0xdd, 0xdf };
	for (size_t times = 1 + below(4); times; times--) {
		size_t at = below(n), len = 1 + below(8);
		if (at + len > n)
			len = n - at;
		switch (below(6)) {
		case 0:
			if (n)
				p[at] ^= (uint8_t)(1 << below(8));
			break;
		case 1:
			if (n)
				p[at] = telling[below(sizeof telling)];
			break;
		case 2:
			if (n)
				memset(p + at, telling[below(5)], len);
			break;
		case 3:         /* take bytes out */
			memmove(p + at, p + at + len, n - at - len);
			n -= len;
			break;
		case 4:         /* give them twice */
			if (n + len <= MOST) {
				memmove(p + at + len, p + at, n - at);
				n += len;
			}
			break;
		default:        /* copy from elsewhere */
			if (n)
				memmove(p + at, p + below(n - len + 1), len);
		}
	}
	return n;
}

static size_t read_file(const char *path, uint8_t data[MOST])
{
	FILE *f = fopen(path, "rb");
	if (!f) {
		perror(path);
		exit(2);
	}
	size_t n = fread(data, 1, MOST, f);
	fclose(f);
	return n;
}

static double seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static size_t fuzz_file(int keep, const char *path, size_t n_mutations, double end)
{
	static uint8_t seed[MOST], input[MOST];
	size_t n = read_file(path, seed), count = 1;
	run(keep, seed, n);
	/* Every cut of a small file, about 500 of a large one. */
	for (size_t cut = 0; cut < n && seconds() < end; cut += 1 + n / 500, count++)
		run(keep, seed, cut);
	for (size_t i = 0; i < n_mutations && seconds() < end; i++, count++) {
		memcpy(input, seed, n);
		run(keep, input, mutate(input, n));
	}
	return count;
}

static size_t fuzz_path(int keep, const char *path, size_t n_mutations, double end)
{
	struct stat st;
	struct dirent **names;
	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return fuzz_file(keep, path, n_mutations, end);
	size_t count = 0;
	int n = scandir(path, &names, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		char file[4096];
		snprintf(file, sizeof file, "%s/%s", path, names[i]->d_name);
		if (names[i]->d_name[0] != '.')
			count += fuzz_path(keep, file, n_mutations, end);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
	return count;
}

int main(int argc, char **argv)
{
	if (argc < 5) {
		fprintf(stderr, "usage: %s N SECONDS KEEP FILE...\n", argv[0]);
		return 2;
	}
	double end = seconds() + strtod(argv[2], NULL);
	int keep = open(argv[3], O_WRONLY | O_CREAT | O_TRUNC, 0666);
	if (keep < 0) {
		perror(argv[3]);
		return 2;
	}
	size_t count = 0;
	for (int i = 4; i < argc; i++)
		count += fuzz_path(keep, argv[i], strtoul(argv[1], NULL, 10), end);
	printf("%zu inputs\n", count);
	unlink(argv[3]);
	return 0;
}
