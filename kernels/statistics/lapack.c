#include "lapack.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "memory.h"

/*
 * Loaded while the program runs, and not linked: OpenBLAS settles on its kernels as it is loaded, and takes a processor that is
 * newer than itself for one of 2004.  (0.3.21 on an Intel Xeon of 2023: 16 GFLOP/s where its AVX-512 kernels do 70.)
 * So it has to be told before.
 *
 * Fortran's calling convention: everything by address, and the lengths of strings, all 1, at the end.
 */
static struct {
	void *library;
	char backend[96];
	void (*dgemm)(const char *, const char *, const int *, const int *, const int *, const double *, const double *,
	              const int *, const double *, const int *, const double *, double *, const int *, size_t, size_t);
	void (*dsyrk)(const char *, const char *, const int *, const int *, const double *, const double *, const int *,
	              const double *, double *, const int *, size_t, size_t);
	void (*dsytrd)(const char *, const int *, double *, const int *, double *, double *, double *, double *, const int *,
	               int *, size_t);
	void (*dstemr)(const char *, const char *, const int *, double *, double *, const double *, const double *, const int *,
	               const int *, int *, double *, double *, const int *, const int *, int *, int *, double *, const int *,
	               int *, const int *, int *, size_t, size_t);
	void (*dormtr)(const char *, const char *, const char *, const int *, const int *, const double *, const int *,
	               const double *, double *, const int *, double *, const int *, int *, size_t, size_t, size_t);
} blas;

/* What OpenBLAS takes for a thread that calls it: 32 << 22 on x86-64, and no more elsewhere. */
static const size_t BUFFER = (size_t)32 << 22;

/* What it maps itself with the libraries that it needs, generously: the file of 0.3.29 has 40 MB. */
static const size_t LIBRARY = (size_t)128 << 20;

/* Columns that dsytrd and dormtr turn at once; more memory than that they don't use well. */
enum { BLOCK = 64 };

/* The kernels for this processor where the library may not know it; NULL: it knows. */
static const char *core(void)
{
#if defined __x86_64__
	__builtin_cpu_init();
	if (!__builtin_cpu_is("intel"))
		return NULL;
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
	    __builtin_cpu_supports("avx512dq"))
		return "SkylakeX";
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
		return "Haswell";
#endif
	return NULL;
}

/* Sets a variable that isn't; its name if it did. */
static const char *set(const char *variable, const char *value)
{
	return value && !getenv(variable) && setenv(variable, value, 1) == 0 ? variable : NULL;
}

/*
 * With variables set that aren't, for as long as that takes: commands that are started later don't see them.  Of threads it
 * would start one a processor, which spin for a while before they sleep.
 */
static void *load(void)
{
	const char *const variables[] = { set("OPENBLAS_CORETYPE", core()), set("OPENBLAS_NUM_THREADS", "1") };
	void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
	if (!library)
		library = dlopen("libopenblas.so", RTLD_NOW | RTLD_LOCAL);
	for (size_t i = 0; i < ARRAY_LEN(variables); i++)
		if (variables[i])
			unsetenv(variables[i]);
	return library;
}

static bool find(void *to, const char *name)
{
	void *at = dlsym(blas.library, name);
	memcpy(to, &at, sizeof at);
	return at != NULL;
}

static bool find_all(void)
{
	void (*set_threads)(int);
	char *(*config)(void);
	char *(*name)(void);
	if (!find(&set_threads, "openblas_set_num_threads") || !find(&config, "openblas_get_config") ||
	    !find(&name, "openblas_get_corename") || !find(&blas.dgemm, "dgemm_") || !find(&blas.dsyrk, "dsyrk_") ||
	    !find(&blas.dsytrd, "dsytrd_") || !find(&blas.dstemr, "dstemr_") || !find(&blas.dormtr, "dormtr_"))
		return false;
	char version[32] = "";
	set_threads(1);
	sscanf(config(), "OpenBLAS %31s", version);
	snprintf(blas.backend, sizeof blas.backend, "cpu openblas %s %s", version, name());
	return true;
}

/*
 * OpenBLAS takes a buffer when it is loaded and one for each thread that calls it, and where it gets none (under ulimit -v) it
 * asks again for ever.  So it is tried here, with pages that are never touched.
 */
static int try_buffers(size_t n_threads, struct error *e)
{
	size_t len = (n_threads + 1) * BUFFER + LIBRARY;
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return error_set(e, "OpenBLAS needs %zu MB of address space for %zu threads, and there is less; raise ulimit -v, or ask for "
		                 "fewer threads with -j", len >> 20, n_threads);
	munmap(at, len);
	return 0;
}

int lapack_open(size_t n_threads, struct error *e)
{
	if (blas.library)
		return 0;
	if (try_buffers(n_threads, e) < 0)
		return -1;
	blas.library = load();
	if (!blas.library)
		return error_set(e, "OpenBLAS (libopenblas.so.0) can't be loaded: %s; Debian has it in libopenblas0", dlerror());
	if (find_all())
		return 0;
	dlclose(blas.library);
	blas.library = NULL;
	return error_set(e, "libopenblas.so.0 lacks functions of OpenBLAS or LAPACK; install another build of it");
}

const char *lapack_backend(void)
{
	return blas.backend;
}

/* A matrix in rows is its transpose in Fortran's columns. */
void lapack_product(size_t p, size_t q, size_t n, const double *a, const double *b, double *to)
{
	const int ip = (int)p, iq = (int)q, in = (int)n;
	const double one = 1, zero = 0;
	blas.dgemm("N", "T", &iq, &ip, &in, &one, b, &iq, a, &ip, &zero, to, &iq, 1, 1);
}

void lapack_square(size_t p, size_t n, const double *a, double *to)
{
	const int ip = (int)p, in = (int)n;
	const double one = 1, zero = 0;
	blas.dsyrk("U", "N", &ip, &in, &one, a, &ip, &zero, to, &ip, 1, 1);
}

struct space {
	double *diagonal, *beside, *tau, *value, *work;
	int *support, *iwork;
	int n_work, n_iwork;
};

static void *take(char **p, size_t n, size_t size)
{
	void *at = *p;
	*p += (n * size + 63) / 64 * 64;
	return at;
}

/* One piece of memory, aligned alike in every run: kernels may take another path elsewhere. */
static char *take_space(struct space *s, size_t n, size_t k, struct error *e)
{
	s->n_work = (int)(BLOCK * n);
	s->n_iwork = (int)(10 * n);
	size_t numbers = 4 * (n + 8) + BLOCK * n + 8, integers = 2 * k + 10 * n + 32;
	char *memory = mem_try(numbers * sizeof(double) + integers * sizeof(int), "an eigenproblem", e);
	char *p = memory;
	if (!memory)
		return NULL;
	s->diagonal = take(&p, n, sizeof(double));
	s->beside = take(&p, n, sizeof(double));
	s->tau = take(&p, n, sizeof(double));
	s->value = take(&p, n, sizeof(double));
	s->work = take(&p, BLOCK * n, sizeof(double));
	s->support = take(&p, 2 * k, sizeof(int));
	s->iwork = take(&p, 10 * n, sizeof(int));
	return memory;
}

static void swap_rows(double *a, double *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		double t = a[i];
		a[i] = b[i];
		b[i] = t;
	}
}

/* Ascending, as LAPACK gives them: values to s->value.  Whether all was found. */
static bool solve(const struct space *s, size_t n, size_t k, double *a, double *vectors)
{
	const int in = (int)n, ik = (int)k, first = in - ik + 1;
	const double none = 0;
	int info, found = 0, careful = 1;
	blas.dsytrd("U", &in, a, &in, s->diagonal, s->beside, s->tau, s->work, &s->n_work, &info, 1);
	if (info)
		return false;
	blas.dstemr("V", "I", &in, s->diagonal, s->beside, &none, &none, &first, &in, &found, s->value, vectors, &in, &ik,
	            s->support, &careful, s->work, &s->n_work, s->iwork, &s->n_iwork, &info, 1, 1);
	if (info || found != ik)
		return false;
	blas.dormtr("L", "U", "N", &in, &ik, a, &in, s->tau, vectors, &in, s->work, &s->n_work, &info, 1, 1, 1);
	return !info;
}

int lapack_eigen(size_t n, size_t k, double *a, double *values, double *vectors, struct error *e)
{
	struct space s;
	if (n > INT_MAX / BLOCK)
		return error_set(e, "an eigenproblem of %zu columns is larger than LAPACK can count", n);
	char *memory = take_space(&s, n, k, e);
	if (!memory)
		return -1;
	bool solved = solve(&s, n, k, a, vectors);
	for (size_t i = 0; solved && i < k; i++)
		values[i] = s.value[k - 1 - i];
	for (size_t i = 0; solved && i < k / 2; i++)
		swap_rows(vectors + i * n, vectors + (k - 1 - i) * n, n);
	free(memory);
	return solved ? 0 : error_set(e, "the eigenproblem of %zu columns did not converge", n);
}
