/*
 * The streams that the final norm and the output head read: a residual stream after the last layer or, as a lens, rows of any
 * layer: a residual stream, or activations of embed, resid_pre, resid_mid and resid_post, pooled or not.
 */
#ifndef LENS_H
#define LENS_H

#include <stdbool.h>

#include "model.h"
#include "tms.h"

struct lens {
	struct tms_reader *in;
	const struct model *m;
	/* the caller's to set */
	bool any_layer;         /* as a lens */
	const char *positions_for; /* who needs the rows of every position ("--nll"); NULL: pooled rows will do */
	const char *one_for;    /* who needs all frames to be of one site and layer; NULL: nobody */
	bool logits;            /* of lens_open_reference: rows (n, V) of logits */
	/* where the frames before were from */
	char *site;
	int layer;
};

/* Opens `path` (see tms_open): another kind or another model's stream is refused. */
int lens_open(struct lens *l, const char *path, const struct model *m, bool any_layer, struct error *e) MUST_CHECK;

/* The same for a run that is compared with: logits are taken too, whichever model's of the same vocabulary. */
int lens_open_reference(struct lens *l, const char *path, const struct model *m, bool any_layer, struct error *e) MUST_CHECK;

/*
 * Like tms_next, for a frame of rows (n, H) of a floating-point type; the token ids of its samples, where they are known, are
 * below V.
 */
int lens_next(struct lens *l, struct frame **f, struct error *e) MUST_CHECK;

void lens_close(struct lens *l);

#endif
