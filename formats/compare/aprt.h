/*
 * The header of one of aprender's stage tensors ("APRT", written by `apr trace --save-tensor`): 12 bytes, then f32 values.
 * https://github.com/paiml/aprender, contracts/apr-cli-trace-save-tensor-v1.yaml
 */
#ifndef APRT_H
#define APRT_H

#include <stdint.h>

#include "error.h"

enum { APRT_HEADER_LEN = 12 };

struct aprt {
	int layer;              /* -1: of the whole model */
	uint32_t n;             /* values, from APRT_HEADER_LEN on; no shape is told */
};

/* Reads the header of a file of `size` bytes, open at fd.  Refused: a file of another length than it says.  0, or -1, e. */
int aprt_read(struct aprt *a, int fd, uint64_t size, const char *path, struct error *e) MUST_CHECK;

#endif
