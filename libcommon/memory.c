#include "memory.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cgroup.h"

void mem_exhausted(void)
{
	fputs("out of memory\n", stderr);
	exit(2);
}

static void *or_exit(void *p)
{
	if (!p)
		mem_exhausted();
	return p;
}

static size_t product(size_t count, size_t size)
{
	size_t n;
	if (__builtin_mul_overflow(count, size, &n))
		or_exit(NULL);
	return n ? n : 1;
}

void *mem_alloc(size_t size)
{
	return or_exit(malloc(size ? size : 1));
}

void *mem_zero(size_t count, size_t size)
{
	return or_exit(calloc(1, product(count, size)));
}

void *mem_resize(void *p, size_t count, size_t size)
{
	return or_exit(realloc(p, product(count, size)));
}

char *mem_string(const char *s)
{
	return s ? mem_slice(s, strlen(s)) : NULL;
}

char *mem_slice(const char *s, size_t n)
{
	char *copy = mem_alloc(n + 1);
	if (n)
		memcpy(copy, s, n);
	copy[n] = 0;
	return copy;
}

char *mem_format(const char *format, ...)
{
	va_list ap;
	char *text = NULL;
	va_start(ap, format);
	if (vasprintf(&text, format, ap) < 0)
		text = NULL;
	va_end(ap);
	return or_exit(text);
}

void mem_grow(void **p, size_t *capacity, size_t need, size_t size)
{
	if (need <= *capacity)
		return;
	size_t n = *capacity ? *capacity : 16;
	while (n < need)
		n = n > SIZE_MAX / 2 ? need : n * 2;
	*p = mem_resize(*p, n, size);
	*capacity = n;
}

static void *try_aligned(size_t size, size_t unit, const char *what, struct error *e)
{
	void *p = NULL;
	size_t rounded = size + (unit - size % unit) % unit;
	if (rounded < size || posix_memalign(&p, unit, rounded ? rounded : unit) != 0) {
		error_set(e, "%s: %zu bytes of memory are needed and cannot be had", what, size);
		return NULL;
	}
	return p;
}

/* From LARGE on memory is asked for in the processor's large pages: a product's rows lie far apart. */
enum { LARGE = 4 << 20, LARGE_PAGE = 2 << 20 };

void *mem_try(size_t size, const char *what, struct error *e)
{
	return size < LARGE ? try_aligned(size, 64, what, e) : mem_try_huge(size, what, e);
}

void *mem_try_huge(size_t size, const char *what, struct error *e)
{
	if (size < LARGE_PAGE)
		return mem_try(size, what, e);
	void *p = try_aligned(size, LARGE_PAGE, what, e);
	/* A wish: where the system has none, small ones do. */
	if (p)
		(void)!madvise(p, size, MADV_HUGEPAGE);
	return p;
}

/* Bytes of this process: all, resident, shared, of the program, 0, of data and stack. */
static uint64_t own_size(size_t column)
{
	unsigned long long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");
	for (size_t i = 0; f && i <= column; i++)
		if (fscanf(f, "%llu", &pages) != 1)
			pages = 0;
	if (f)
		fclose(f);
	return pages * (unsigned long long)sysconf(_SC_PAGESIZE);
}

uint64_t mem_resident(void)
{
	return own_size(1);
}

static uint64_t below_limit(int resource, size_t column)
{
	struct rlimit limit;
	if (getrlimit(resource, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
		return UINT64_MAX;
	uint64_t used = own_size(column);
	return used < limit.rlim_cur ? limit.rlim_cur - used : 0;
}

static uint64_t system_available(void)
{
	unsigned long long kilobytes = UINT64_MAX / 1024;
	char line[128];
	FILE *f = fopen("/proc/meminfo", "re");
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "MemAvailable: %llu", &kilobytes) == 1)
			break;
	if (f)
		fclose(f);
	return kilobytes * 1024;
}

uint64_t mem_available(void)
{
	const uint64_t limits[] = { cgroup_memory(""), below_limit(RLIMIT_AS, 0), below_limit(RLIMIT_DATA, 5) };
	uint64_t least = system_available();
	for (size_t i = 0; i < ARRAY_LEN(limits); i++)
		least = limits[i] < least ? limits[i] : least;
	return least;
}
