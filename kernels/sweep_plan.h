/* What a sweep will need and take, by the shapes of its layers, its hooks and the stream. */
#ifndef SWEEP_PLAN_H
#define SWEEP_PLAN_H

#include "plan.h"
#include "sweep.h"

/* What the caller takes beside the sweep. */
struct sweep_others {
	uint64_t staging;       /* bytes that weights are read through */
	uint64_t taps;          /* bytes of rows that the taps of a layer hold */
	size_t tap_streams;
};

/*
 * Fills p->work (with rates that are measured, plan_probe.h), p->memory and p->vram.  p->stream is known, s->from and to are set, and
 * nothing of the sweep is open.
 */
void sweep_plan(struct plan *p, const struct sweep *s, const struct sweep_others *others);

#endif
