/*
 * What is asked of OpenBLAS: products and eigenvectors in double.  Every call works on the calling thread alone, so that no bit
 * depends on how many threads there are.
 */
#ifndef LAPACK_H
#define LAPACK_H

#include <stddef.h>

#include "error.h"

/*
 * Loads the library, before any of the others is called; once it is loaded, does nothing.  OPENBLAS_CORETYPE in the environment
 * overrides the choice of its kernels.  0, or -1 and e: it isn't installed, or finds no memory for calls from n_threads threads at
 * once.
 */
int lapack_open(size_t n_threads, struct error *e) MUST_CHECK;

/* The library and the processor's kind that its bits depend on, as a stream's history says it: "cpu openblas 0.3.21 SkylakeX". */
const char *lapack_backend(void);

/* to = a^T b: a (n, p), b (n, q), to (p, q), dense rows.  Sums run over all n at once. */
void lapack_product(size_t p, size_t q, size_t n, const double *a, const double *b, double *to);

/* to = a^T a: a (n, p), to (p, p), of which the lower triangle is written. */
void lapack_square(size_t p, size_t n, const double *a, double *to);

/*
 * The k largest eigenvalues of a symmetric matrix, falling, and their vectors of length 1.
 * a (n, n): the lower triangle is read, all of it is overwritten.  values (k), vectors (k, n).  Householder's
 * reduction to a tridiagonal matrix, then relatively robust representations (LAPACK's dsytrd, dstemr, dormtr).  All values
 * must be finite.  0, or -1 and e: no memory, or no convergence.
 */
int lapack_eigen(size_t n, size_t k, double *a, double *values, double *vectors, struct error *e) MUST_CHECK;

#endif
