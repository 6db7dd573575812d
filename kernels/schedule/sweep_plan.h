/* What a sweep will need and take, by the shapes of its layers, its hooks and the stream. */
#ifndef SWEEP_PLAN_H
#define SWEEP_PLAN_H

#include "plan.h"
#include "sweep.h"

/*
 * Fills p->work (with rates that are measured, plan_probe.h), p->memory and p->vram.  Known are p->stream and, of p->memory, now
 * and staging; s->from and to are set, and nothing of the sweep is open.
 */
void sweep_plan(struct plan *p, const struct sweep *s);

#endif
