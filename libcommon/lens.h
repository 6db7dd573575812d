/*
 * The streams that the final norm and the output head read: a residual stream after the last layer or, as a lens, rows of any
 * layer: a residual stream, or activations of embed, resid_pre, resid_mid and resid_post, pooled or not.
 */
#ifndef LENS_H
#define LENS_H

#include <stdbool.h>

#include "model.h"
#include "tms.h"

/* Opens `path` (see tms_open): another kind or another model's stream is refused. */
struct tms_reader *lens_open(const char *path, const struct model *m, bool any_layer, struct error *e) MUST_CHECK;

/* Like tms_next, for a frame of rows (n, H) of a floating-point type. */
int lens_next(struct tms_reader *r, const struct model *m, bool any_layer, struct frame **f, struct error *e) MUST_CHECK;

#endif
