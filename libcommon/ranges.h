/*
 * Positions of a sample, or heads, as the command line names them: all, last, N, from:N, A-B (both included), A-B:STEP, or
 * several of these with commas between.  A negative N counts from the end: -1 is the last.
 */
#ifndef RANGES_H
#define RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

struct range {
	int64_t first, last;    /* negative: from the end */
	int64_t step;
};

struct ranges {
	struct range *range;    /* (n), owned */
	size_t n;
};

int ranges_parse(struct ranges *r, const char *text, struct error *e) MUST_CHECK;
void ranges_release(struct ranges *r);

/* Every position of any sample. */
bool ranges_all(const struct ranges *r);

/* Whether that position of a sample of len tokens is named. */
bool ranges_have(const struct ranges *r, uint32_t len, uint32_t position);

#endif
