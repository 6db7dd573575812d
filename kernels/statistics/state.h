/*
 * A scatter as frames of a stream of kind state, and back.  For each place, in place_compare's order, the arrays
 *     about    u8 (...)    whose state it is and what must agree, a text
 *     digest   u8 (8)      XXH3-64 of the arrays that follow: states are joined in its order
 *     n        f64 (C)     rows of each class
 *     sum      f64 (C, W)  their sums
 *     scatter.0, scatter.1, ...   f64: the lower triangle of S, SCATTER_PANEL rows each, packed; or `diagonal` f64 (W)
 *     range    f64 (2, W)  smallest and largest values, and
 *     norm     f64 (1)     the sum of the rows' lengths; both only where they are kept
 */
#ifndef STATE_H
#define STATE_H

#include "scatter.h"
#include "tms.h"
#include "vectors.h"

/* Writes one place's state.  0 or -1. */
int state_write(struct tms_writer *w, const struct place *p, const char *about, const struct scatter *s, struct error *e)
	MUST_CHECK;

/* A state stream that is read place by place. */
struct state_input {
	struct tms_reader *in;
	bool ended;
	struct place place;     /* of the state at hand; owned */
	char *about;            /* its text; owned */
	unsigned char digest[8];
	bool begun;
};

/* Opens a stream of kind state and goes to its first place.  0 or -1. */
int state_open(struct state_input *s, const char *path, struct error *e) MUST_CHECK;

/* Reads the rest of the state at hand, a scatter of that kind, and goes to the next place.  0 or -1. */
int state_take(struct state_input *s, const struct scatter_kind *kind, struct scatter **out, struct error *e) MUST_CHECK;

void state_close(struct state_input *s);

#endif
