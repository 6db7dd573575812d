/*
 * Processes on one machine that read the same layers in step, so that the page cache, which they share, needs to read each from
 * disk once.  They meet in a small file that each of them names.
 *
 * A process may be PACE_AHEAD layers ahead of the last of those in step with it.  Who is further behind (it came later) is not
 * waited for, and neither is one that has ended, however it ended: places in the file are held by locks, which end with their
 * process.
 */
#ifndef PACE_H
#define PACE_H

#include <stddef.h>

#include "error.h"

enum { PACE_AHEAD = 2, PACE_PLACES = 64 };

struct pace;

/* Joins those that meet in `path` (made if it isn't there) for the model of this fingerprint (16 hex digits).  NULL and e: the
 * file is something else's, or others meet there for another model, or all places are taken. */
struct pace *pace_open(const char *path, const char *fingerprint, struct error *e) MUST_CHECK;

/* Before layer `layer` is read: waits for those in step.  Layers before it are done with. */
void pace_enter(struct pace *p, size_t layer);

/* The layers that everybody in step, the caller included, is done with: all before the one returned. */
size_t pace_done(const struct pace *p);

/* The caller has read its last layer: nobody waits for it any more. */
void pace_leave(struct pace *p);

/* NULL is allowed. */
void pace_close(struct pace *p);

#endif
