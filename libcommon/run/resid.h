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

/* What resid_open checks. */
int resid_check_header(const struct tms_reader *r, const struct model *m, struct error *e) MUST_CHECK;

/* Like tms_next, for a frame of rows (n, H) of resid_pre; *layer is the layer that comes next (-1 before the first frame,
 * which sets it; a later frame that differs is an error). */
int resid_next(struct tms_reader *r, const struct model *m, int *layer, struct frame **f, struct error *e) MUST_CHECK;

/*
 * A residual stream as a program runs it: the first frame is read at once, to learn the layer that comes next, and a
 * stream without variants is given n_variants copies of every frame, one a variant, where that is set.
 */
struct resid_input {
	struct tms_reader *in;
	const struct model *m;
	int layer;              /* that comes next; -1: the stream has no frame */
	size_t n_variants;      /* the caller's to set; 0: frames as they are */
	struct frame *first, *copied;
	size_t copy;            /* the next variant of `copied` */
};

/* 0 or -1; all zero, or opened in part, may be closed. */
int resid_input_open(struct resid_input *r, const char *path, const struct model *m, struct error *e) MUST_CHECK;
/* As tms_next. */
int resid_input_next(struct resid_input *r, struct frame **f, struct error *e) MUST_CHECK;
/* The layers that a program runs: *first is the one that the input says is next, which `from` must be, *end is `to`.  UINT64_MAX:
 * whichever; the number of the model's layers.  0 or -1. */
int resid_input_range(const struct resid_input *r, uint64_t from, uint64_t to, size_t *first, size_t *end,
                      struct error *e) MUST_CHECK;

void resid_input_close(struct resid_input *r);

/* A row type given on the command line ("f32", "bf16", "f16", "f64"), or `otherwise` without one. */
int resid_dtype(const char *option, const char *text, enum dtype otherwise, enum dtype *dtype, struct error *e) MUST_CHECK;

/* The one file among a program's operands, or NULL for standard input; more are an error. */
int one_input(char **files, int n_files, const char **path, struct error *e) MUST_CHECK;

#endif
