/*
 * The CUDA back end is a shared object, onelayer-cuda.so, so that programs need no CUDA to be built or to run.  It exports
 * `onelayer_cuda` and takes no symbol from the program.  Sought beside the program, then in ../lib/onelayer from there; the
 * environment's ONELAYER_CUDA_MODULE names another file (for tests).
 */
#ifndef CUDA_MODULE_H
#define CUDA_MODULE_H

#include "ops.h"

struct cuda_module {
	uint32_t abi;           /* CUDA_ABI of cuda_abi.inc: a checksum of the headers that program and module share */
	const char *version;
	const struct ops *ops;
};

extern const struct ops ops_cuda;               /* the module's own */
/* What it exports; nothing else of it is seen from outside. */
extern const struct cuda_module onelayer_cuda __attribute__((visibility("default")));

/* Whether there is a module to load at all. */
bool cuda_module_exists(void);

/* Its operations, loaded until exit.  NULL and e: there is none (and where it was sought), it can't be loaded, or it belongs
 * to another build. */
const struct ops *cuda_module_load(struct error *e) MUST_CHECK;

#endif
