/* How fast the back end is at this model's shapes, tried on zeros before any weight is read. */
#ifndef PLAN_PROBE_H
#define PLAN_PROBE_H

#include "plan.h"
#include "sweep.h"

/*
 * Fills the rates of `w`: products of the model's inputs with some of a layer's columns, on all threads and by tiles as the
 * block does it; attention of samples as long as a token's is; and one thread's preparation of weights.  Below two
 * seconds.  What the device has no memory for is left 0.
 */
void plan_probe(const struct sweep *s, const struct plan_stream *t, struct plan_work *w);

#endif
