/* The file systems that a run will write to. */
#ifndef PLAN_PLACE_H
#define PLAN_PLACE_H

#include "plan.h"

/* Adds a file to the plan; path as output_open's, or the spill's directory.  -1: it couldn't be made there. */
int plan_file_add(struct plan *p, enum plan_use use, const char *path, uint64_t len, struct error *e) MUST_CHECK;

/*
 * Finds out what room their file systems have and, where much is to be written, at which rate: by a file without a name
 * (scratch_file) that is gone afterwards.  For each less than a second.  0 or -1.
 */
int plan_places_measure(struct plan *p, struct error *e) MUST_CHECK;

#endif
