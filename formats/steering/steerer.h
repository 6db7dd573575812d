/*
 * What steer(1) does to a stream's rows, from its options to the last row: for the program, and for
 * the filter of its name (steer_filter.h).
 */
#ifndef STEERER_H
#define STEERER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "frame.h"
#include "option.h"
#include "tms.h"

/* As typed; NULL: not given. */
struct steer_options {
	const char *vector, *name, *component, *alpha, *strengths, *positions, *mode;
	bool unit;
};

/* The rows of an option table; `o` is its struct steer_options. */
#define OPTION_STEER(o) \
	{ OPTION_STRING, 0, "vector", &(o).vector, "FILE", "a direction or basis: of diffmean, pca, .npy, GGUF or .safetensors", HISTORY_YES, 0 }, \
	{ OPTION_STRING, 0, "name", &(o).name, "NAME", "the array of FILE (default: direction, else components_)", HISTORY_YES, 0 }, \
	{ OPTION_STRING, 0, "component", &(o).component, "LIST", "rows of it, as 3, 0-5 or 0,2", HISTORY_YES, 0 }, \
	{ OPTION_FLAG, 0, "unit", &(o).unit, NULL, "scale the vector to length 1 first", HISTORY_YES, 0 }, \
	{ OPTION_STRING, 0, "alpha", &(o).alpha, "A[,A...]", "how strongly; several make a variant each", HISTORY_YES, 0 }, \
	{ OPTION_STRING, 0, "strengths", &(o).strengths, "FILE", "lines ID alpha [positions]: only these samples, their alpha times --alpha", HISTORY_YES, 0 }, \
	{ OPTION_STRING, 0, "positions", &(o).positions, "WHICH", "last, all, N, from:N or A-B, commas between (default all)", HISTORY_YES, 0 }, \
	{ OPTION_STRING, 0, "mode", &(o).mode, "MODE", "add, ablate, project, clamp, set or zero (default add)", HISTORY_YES, 0 }

struct steerer;

/*
 * Checks the options, whose strings must stay, and reads the table of strengths and the vectors.  piped: standard input is the
 * stream.  NULL and e.
 */
struct steerer *steerer_open(const struct steer_options *o, bool piped, struct error *e) MUST_CHECK;

/* Takes up a stream with this header, called `name`: warns of another model's vector, and gives h the variants.  0 or -1. */
int steerer_begin(struct steerer *s, struct tms_header *h, const char *name, struct error *e) MUST_CHECK;

/* How many frames become of one: a variant each, or 1 and the frame stays what it is. */
size_t steerer_fan_out(const struct steerer *s);

/* The options as the history has them, after steerer_begin: files by what is in them.  The steerer's. */
const struct steer_options *steerer_told(const struct steerer *s);

/* Whether rows as wide as f's can be changed at its site and layer.  0 or -1. */
int steerer_expect(struct steerer *s, const struct frame *f, struct error *e) MUST_CHECK;

/* Changes f's rows in place, with steerer_fan_out those of its variant.  0, or -1 without the frame's name in e. */
int steerer_change(struct steerer *s, struct frame *f, struct error *e) MUST_CHECK;

/* Rows that were seen. */
uint64_t steerer_rows(const struct steerer *s);

/* After the last row of the stream `name`: every line of the table must have met a row, and some row a position.  0 or -1. */
int steerer_check(const struct steerer *s, const char *name, struct error *e) MUST_CHECK;

/* NULL is allowed. */
void steerer_close(struct steerer *s);

#endif
