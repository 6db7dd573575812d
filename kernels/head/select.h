/* The choice of a back end by --device, and its threads. */
#ifndef SELECT_H
#define SELECT_H

#include "ops.h"

struct backend {
	const struct ops *ops;
	struct workers *workers;
	struct workers *host_workers;   /* NULL: not asked for, or those */
	struct device *device;
	char *name;             /* "cpu avx512": for a stream's history */
	char *told;             /* the name, and why auto found a CUDA module and didn't take it: for -v */
};

/*
 * device: "cpu", "ref", "cuda", "cuda:N", or "auto": cuda if all of it works, else cpu; NULL: auto.  m: the model whose blocks it
 * is to run, or NULL: none.  vram: bytes of a cuda
 * device's memory that may be used, 0: what is free.  0; or -1 and e, which says why the
 * device can't be used, and then backend_close is still due.
 */
int backend_open(struct backend *b, const struct model *m, const char *device, uint64_t vram, struct jobs jobs, struct error *e) MUST_CHECK;

/* Threads for what the host does itself: b->workers or, where they are one because the device shares out its work, as many as
 * `jobs` says; b's until backend_close.  NULL and e. */
struct workers *backend_host_workers(struct backend *b, struct jobs jobs, struct error *e) MUST_CHECK;

/* All zero is allowed. */
void backend_close(struct backend *b);

#endif
