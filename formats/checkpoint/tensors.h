/* All tensors of a checkpoint's directory, by name: one model.safetensors, or an index with its
 * shards. */
#ifndef TENSORS_H
#define TENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "checksum.h"
#include "error.h"
#include "safetensors.h"

struct tensor {
	const struct safetensor *is;
	const struct safetensors *file;
	size_t file_number;
	bool listed;            /* the index has it in this file */
};

struct tensors {
	char *dir;
	struct safetensors **file;      /* (n_files), all open */
	size_t n_files;
	struct tensor *tensor;          /* (n_tensors), by name, each name once */
	size_t n_tensors;
};

/*
 * Opens model.safetensors, else the files that model.safetensors.index.json names, which must lie
 * in `dir` itself.  Every tensor of the index must be in its file; of two with one name, the index
 * decides.  0; or -1, e, and nothing to close.
 */
int tensors_open(struct tensors *t, const char *dir, struct error *e) MUST_CHECK;
void tensors_close(struct tensors *t);

/* NULL if there is none. */
const struct tensor *tensors_find(const struct tensors *t, const char *name);

/* Bytes of all tensors. */
uint64_t tensors_len(const struct tensors *t);

/* Adds name, dtype and shape of every tensor, then the first 64 bytes of up to 4,096 of them.  0 or
 * -1. */
int tensors_hash(const struct tensors *t, struct checksum *sum, struct error *e) MUST_CHECK;

#endif
