/*
 * The head of a GGUF file: its text keys and its tensors.  Enough for control vectors (llama.cpp, repeng); quantised
 * tensors are listed, and not read.
 */
#ifndef GGUF_H
#define GGUF_H

#include <stddef.h>
#include <stdint.h>

#include "dtype.h"
#include "error.h"

enum { GGUF_DIMS = 4 };

struct gguf_tensor {
	char *name;
	enum dtype dtype;       /* DTYPE_NONE: a type that isn't read here */
	int n_dims;
	uint64_t dim[GGUF_DIMS]; /* the contiguous one first, as the file has it */
	uint64_t offset, len;   /* bytes, from the file's start; len 0 with DTYPE_NONE */
};

struct gguf {
	char *path;
	int fd;
	uint64_t size;          /* of the file */
	char *architecture;     /* general.architecture; NULL: none */
	char *model_hint;       /* controlvector.model_hint; NULL: none */
	struct gguf_tensor *tensor; /* (n_tensors) */
	size_t n_tensors;
};

/* Opens a regular file of version 2 or 3.  Refused: a head above 64 MiB, one that is cut, and tensors that lie outside the
 * file.  NULL and e. */
struct gguf *gguf_open(const char *path, struct error *e) MUST_CHECK;
void gguf_close(struct gguf *g);

#endif
