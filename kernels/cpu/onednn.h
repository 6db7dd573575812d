/* Products by oneDNN, whose C interface changed between releases 2 and 3: nothing outside onednn.c
 * sees it. */
#ifndef ONEDNN_H
#define ONEDNN_H

#include <stddef.h>

#include "dtype.h"
#include "error.h"

struct matmuls; /* those made so far, one for each shape */

/* NULL and e where oneDNN has no bf16 product for this processor. */
struct matmuls *matmuls_open(struct error *e) MUST_CHECK;
void matmuls_close(struct matmuls *m);

/* "onednn-2.6.3" */
const char *matmuls_library(void);

/* c (rows, n) = a (rows, k) b^T with b (n, k), all dense; c and the sums in f32. */
struct matmul_shape {
	size_t rows, n, k;
	enum dtype dtype; /* of a and b: bf16 or f32 */
};

/*
 * Computes it on the calling thread alone.  scratch: matmul_scratch_len bytes that no other thread
 * uses, 64-byte aligned.  A shape's primitive is made at its first use; if that fails, memory has
 * run out, and the process ends as in memory.h.
 */
size_t matmul_scratch_len(struct matmuls *m, const struct matmul_shape *shape);
void matmul_run(struct matmuls *m, const struct matmul_shape *shape, const void *a, const void *b,
                float *c, void *scratch);

#endif
