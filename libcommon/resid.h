/*
 * What the programs that read a residual stream check of it: its kind, its model, the layer that comes next, and
 * every frame's site, layer and shape.
 */
#ifndef RESID_H
#define RESID_H

#include "model.h"
#include "option.h"
#include "tms.h"

/* Opens `path` (see tms_open) as the residual stream of model m: another kind or another model's stream is refused. */
struct tms_reader *resid_open(const char *path, const struct model *m, struct error *e) MUST_CHECK;

/* Like tms_next, for a frame of rows (n, H) of resid_pre; *layer is the layer that comes next (-1 before the first frame,
 * which sets it; a later frame that differs is an error). */
int resid_next(struct tms_reader *r, const struct model *m, int *layer, struct frame **f, struct error *e) MUST_CHECK;

/* A row type given on the command line ("f32", "bf16", "f16", "f64"), or `otherwise` without one. */
int resid_dtype(const char *option, const char *text, enum dtype otherwise, enum dtype *dtype, struct error *e) MUST_CHECK;

/* The one file among a program's operands, or NULL for standard input; more are an error. */
int one_input(char **files, int n_files, const char **path, struct error *e) MUST_CHECK;

#endif
