/* The choice of a back end by --device, and its threads. */
#ifndef SELECT_H
#define SELECT_H

#include "ops.h"

struct backend {
	const struct ops *ops;
	struct workers *workers;
	struct device *device;
	char *name;             /* "cpu avx512": for a stream's history */
};

/*
 * device: "auto", "cpu" or "ref"; NULL: auto.  jobs: threads, 0: one a processor.  0; or -1 and e if it isn't known or isn't
 * in this build, and then backend_close is still due.
 */
int backend_open(struct backend *b, const char *device, size_t jobs, struct error *e) MUST_CHECK;

/* All zero is allowed. */
void backend_close(struct backend *b);

#endif
