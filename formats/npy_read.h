/* The header of a NumPy file (.npy, versions 1 to 3). */
#ifndef NPY_READ_H
#define NPY_READ_H

#include <stdbool.h>
#include <stdint.h>

#include "dtype.h"
#include "error.h"

enum { NPY_DIMS = 8 };

struct npy {
	char type[16];          /* as spelled: "<f4" */
	enum dtype dtype;       /* DTYPE_NONE: nothing to compute with */
	size_t item_len;        /* bytes of an element */
	bool fortran;           /* the first index runs fastest */
	int n_dims;
	uint64_t dim[NPY_DIMS];
	uint64_t offset, len;   /* of the elements, from the file's start */
};

/*
 * Reads the header of a file of `size` bytes, open at fd.  Two bytes without a meaning ("V2") are taken as bf16, which
 * is what ml_dtypes has NumPy write.  Refused: Python objects, other byte orders, and a file that is shorter or longer
 * than its shape.  0, or -1 and e.
 */
int npy_read(struct npy *n, int fd, uint64_t size, const char *path, struct error *e) MUST_CHECK;

#endif
