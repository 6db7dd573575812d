/*
 * Named tensors in files, which stay open and are read by whoever wants the values: those of a .safetensors file, of a
 * checkpoint's directory (one file, or an index with shards), of a .npy or APRT file, or of a directory of these.
 */
#ifndef TENSOR_LIST_H
#define TENSOR_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dtype.h"
#include "error.h"
#include "tensors.h"

struct listed {
	char *name;             /* owned; of a .npy file, its name less ".npy"; of an APRT file, its site or stage and layer */
	char *type;             /* as spelled in the file, owned */
	enum dtype dtype;       /* of the elements; u8 for the bytes of what can't be computed with */
	bool opaque;            /* it can't: only its bytes mean anything */
	bool fortran;           /* the first index runs fastest */
	bool flat;              /* the file has no shape, only a number of elements */
	int n_dims;
	uint64_t dim[SAFETENSORS_DIMS];
	uint64_t n;             /* elements */
	int fd;                 /* the file, */
	const char *path;       /* its name, */
	uint64_t offset;        /* and where in it the elements begin */
	int layer;              /* forward.h; -1: none */
	uint64_t rank;
};

struct array_file;

struct tensor_list {
	char *path;             /* for messages; of a checkpoint the directory */
	bool checkpoint;        /* a directory, which may have a config.json */
	struct listed *tensor;  /* (n), in the order of the forward pass, then by name */
	size_t n;
	struct tensors files;
	struct array_file *array; /* (n_arrays): files of one tensor */
	size_t n_arrays;
};

/* Whether the path is to be read as a tensor stream: standard input, anything that is no regular file or directory, or a
 * file that begins like one.  1, 0, or -1 and e (no such file). */
int tensor_list_is_stream(const char *path, struct error *e) MUST_CHECK;

/*
 * path: a file, a directory, an index file, or an org/name in the local hub cache.  0; or -1, e, and nothing to close.
 */
int tensor_list_open(struct tensor_list *l, const char *path, struct error *e) MUST_CHECK;
void tensor_list_close(struct tensor_list *l);

/* The one of that name; NULL. */
const struct listed *tensor_list_find(const struct tensor_list *l, const struct listed *like);

#endif
