/* A resumable run (run_state.h) that is given up. */
#ifndef RUN_DISCARD_H
#define RUN_DISCARD_H

#include "error.h"

struct model;

/*
 * Removes what the record in directory dir names, and nothing else: outputs that don't have their final names yet, the stream
 * between layers, the record and the lock; and dir, if it is then empty.  m: of the run; NULL: of whichever.  0; -1, and all stays:
 * there is no record, it can't be read, it is another model's, or a process is at work there.  -1 if something can't be removed;
 * then the record stays, so that this can be asked for again.
 */
int run_discard(const char *dir, const struct model *m, struct error *e) MUST_CHECK;

#endif
