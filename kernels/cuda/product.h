/*
 * Matrix products by a library: cublasLt on a card (card/product_cublaslt.cc), plain loops on the host
 * (host/product_plain.cc).
 *
 * How one is computed, and so its bits, is settled by the matrix's columns, k, the types and whether there is a bias; m, the
 * places in memory, and which of the columns are asked for at a time have no say.
 */
#ifndef PRODUCT_H
#define PRODUCT_H

#include "gpu.h"

struct products;

enum : size_t { PRODUCT_WORKSPACE = 32 << 20 };

/* d (m, n) = a (m, k) w (n, k)^T [+ bias (n)], or += without a bias: n columns of a matrix of `columns`, the first of them a
 * multiple of PRODUCT_COLUMNS.  Sums in f32; f32 products add parts of at most PRODUCT_PART of k. */
struct product_job {
	size_t m, n, k;         /* m: at most PRODUCT_ROWS; k: elements between rows of a and w too, a multiple of 16 */
	size_t columns;         /* of the whole matrix: elements between rows of d too */
	enum dtype dtype;       /* of a and w: f32, bf16, f16 */
	const void *a, *w;      /* aligned to 32 and to 256 bytes */
	const float *bias;      /* or NULL */
	float *d;               /* product_alignment(columns) */
	bool add;               /* only where product_adds */
};

enum : size_t { PRODUCT_PART = 512, PRODUCT_COLUMNS = 64, PRODUCT_ROWS = 16384 };

/* d's alignment may be asked of its columns alone: that of any row of a matrix that begins at 256 bytes. */
static inline size_t product_alignment(size_t columns)
{
	const size_t len = columns * sizeof(float), lowest = len & (~len + 1);
	return lowest < 256 ? lowest : 256;
}

/* Whether `add` gives the bits of a product that is added afterwards: one sum, and one rounding behind it. */
static inline bool product_adds(const product_job *p)
{
	return !p->bias && (p->dtype != DTYPE_F32 || p->k <= PRODUCT_PART);
}

/* workspace: PRODUCT_WORKSPACE bytes of the device's, the stream's own; borrowed.  NULL and e: the library isn't there. */
products *products_open(gpu *g, void *workspace, error *e) MUST_CHECK;
void products_close(products *p);
/* "cublasLt 13.0.2" */
const char *products_library(const products *p);

/* What goes wrong makes the device failed. */
void products_run(products *p, gpu_stream *s, const product_job *job);

#endif
