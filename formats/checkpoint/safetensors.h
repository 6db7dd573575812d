/*
 * One .safetensors file: an 8-byte length, a JSON header, and the tensors' bytes end to end.
 * The header is checked as the format's own library checks it; the file stays open, and nothing
 * is mapped.
 */
#ifndef SAFETENSORS_H
#define SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "dtype.h"
#include "error.h"

enum {
	SAFETENSORS_HEADER_LIMIT = 100000000,   /* bytes; the format's own limit */
	SAFETENSORS_DIMS = 8                    /* a tensor of more is refused */
};

struct safetensor {
	const char *name;
	const char *type;       /* as spelled in the file: "BF16" */
	enum dtype dtype;       /* DTYPE_NONE: known to the format, but nothing to compute with */
	int n_dims;
	uint64_t dim[SAFETENSORS_DIMS];
	uint64_t offset, len;   /* bytes, from the file's start */
};

struct safetensors {
	char *path;
	int fd;
	uint64_t size;                  /* of the file */
	struct safetensor *tensor;      /* (n_tensors), in file order, without holes */
	size_t n_tensors;
	char *names;                    /* where the names lie */
};

/*
 * Opens a file and reads its header.  Refused: a length beyond the file or the limit, text that
 * isn't one JSON object, a name given twice, a tensor without dtype, shape or data_offsets, an
 * unknown dtype, bytes that disagree with dtype and shape, overlaps, holes, and bytes after the
 * last tensor.  NULL and e ("FILE: tensor 'NAME': ...").
 */
struct safetensors *safetensors_open(const char *path, struct error *e) MUST_CHECK;
void safetensors_close(struct safetensors *s);

/* Writes a shape as "[2, 3]", cut to what fits. */
void safetensors_shape(char *to, size_t to_len, const uint64_t *dim, int n_dims);

#endif
