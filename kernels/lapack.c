#include "lapack.h"

#include <cblas.h>
#include <lapacke.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

/* Columns that dsytrd and dormtr turn at once; more memory than that they don't use well. */
enum { BLOCK = 64 };

static char backend[96];

static void set_one_thread(void)
{
	char version[32] = "";
	openblas_set_num_threads(1);
	sscanf(openblas_get_config(), "OpenBLAS %31s", version);
	snprintf(backend, sizeof backend, "cpu openblas %s %s", version, openblas_get_corename());
}

/* The library would share one call out among threads, in shares that depend on their number. */
static void one_thread(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, set_one_thread);
}

const char *lapack_backend(void)
{
	one_thread();
	return backend;
}

void lapack_product(size_t p, size_t q, size_t n, const double *a, const double *b, double *to)
{
	one_thread();
	cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (blasint)p, (blasint)q, (blasint)n, 1, a, (blasint)p, b,
	            (blasint)q, 0, to, (blasint)q);
}

void lapack_square(size_t p, size_t n, const double *a, double *to)
{
	one_thread();
	cblas_dsyrk(CblasRowMajor, CblasLower, CblasTrans, (blasint)p, (blasint)n, 1, a, (blasint)p, 0, to, (blasint)p);
}

struct space {
	double *diagonal, *beside, *tau, *value, *work;
	lapack_int *support, *iwork;
	lapack_int n_work;
};

static void *take(char **p, size_t n, size_t size)
{
	void *at = *p;
	*p += (n * size + 63) / 64 * 64;
	return at;
}

/* LAPACKE's own allocations would be aligned differently from run to run, which the kernels' bits may depend on. */
static char *take_space(struct space *s, size_t n, size_t k, struct error *e)
{
	s->n_work = (lapack_int)(BLOCK * n);
	size_t numbers = 4 * (n + 8) + (size_t)s->n_work + 8, integers = 2 * k + 10 * n + 32;
	char *memory = mem_try(numbers * sizeof(double) + integers * sizeof(lapack_int), "an eigenproblem", e);
	char *p = memory;
	if (!memory)
		return NULL;
	s->diagonal = take(&p, n, sizeof(double));
	s->beside = take(&p, n, sizeof(double));
	s->tau = take(&p, n, sizeof(double));
	s->value = take(&p, n, sizeof(double));
	s->work = take(&p, (size_t)s->n_work, sizeof(double));
	s->support = take(&p, 2 * k, sizeof(lapack_int));
	s->iwork = take(&p, 10 * n, sizeof(lapack_int));
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

int lapack_eigen(size_t n, size_t k, double *a, double *values, double *vectors, struct error *e)
{
	struct space s;
	char *memory = take_space(&s, n, k, e);
	if (!memory)
		return -1;
	/* A lower triangle in rows is an upper one in columns; a column of vectors is a row of ours. */
	lapack_int in = (lapack_int)n, ik = (lapack_int)k, found = 0, careful = 1;
	one_thread();
	lapack_int info = LAPACKE_dsytrd_work(LAPACK_COL_MAJOR, 'U', in, a, in, s.diagonal, s.beside, s.tau, s.work, s.n_work);
	if (!info)
		info = LAPACKE_dstemr_work(LAPACK_COL_MAJOR, 'V', 'I', in, s.diagonal, s.beside, 0, 0, in - ik + 1, in, &found,
		                           s.value, vectors, in, ik, s.support, &careful, s.work, s.n_work, s.iwork, 10 * in);
	if (!info && found == ik)
		info = LAPACKE_dormtr_work(LAPACK_COL_MAJOR, 'L', 'U', 'N', in, ik, a, in, s.tau, vectors, in, s.work, s.n_work);
	int rc = info || found != ik ? error_set(e, "the eigenproblem of %zu columns did not converge", n) : 0;
	for (size_t i = 0; rc == 0 && i < k; i++)
		values[i] = s.value[k - 1 - i];
	for (size_t i = 0; rc == 0 && i < k / 2; i++)
		swap_rows(vectors + i * n, vectors + (k - 1 - i) * n, n);
	free(memory);
	return rc;
}
