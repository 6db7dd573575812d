/* What a plan has to know of a checkpoint's weights. */
#ifndef WEIGHTS_PLAN_H
#define WEIGHTS_PLAN_H

#include "checkpoint.h"
#include "plan.h"

/*
 * Bytes of layers p->from..to-1, how much of them is in the page cache, and the rates at which a run will read them (fetch.h):
 * tried on some of what isn't in the cache, which leaves it again, and on some of what is.  Below a second.  staging: at
 * least checkpoint_staging_len; counted in p->memory.  0 or -1.
 */
int weights_plan(struct plan *p, const struct checkpoint *c, void *staging, size_t staging_len, struct error *e) MUST_CHECK;

#endif
