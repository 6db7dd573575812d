/*
 * Named arrays in a stream: what statistics are written as.  A place is what has an array of each name: a site, in a layer, of a
 * variant.
 */
#ifndef VECTORS_H
#define VECTORS_H

#include <stdbool.h>
#include <stddef.h>

#include "frame.h"
#include "tms.h"

struct place {
	struct text site;       /* absent: none */
	int layer, variant;     /* -1: none */
};

struct place place_of(const struct frame *f);
/* A copy with a text of its own; freed with place_release. */
struct place place_copy(const struct place *p);
void place_release(struct place *p);

/* The order in which statistics are written: by layer, those without one last; by site in the order of the forward pass; by
 * variant.  < 0, 0 or > 0. */
int place_compare(const struct place *a, const struct place *b);

/* "resid_post, layer 3, variant 1" with what there is of it.  Caller frees. */
char *place_text(const struct place *p);

/* Writes one array of f64.  n_dims 0: a number.  0 or -1. */
int vectors_put(struct tms_writer *w, const struct place *p, const char *name, int n_dims, const size_t *dim,
                const double *values, struct error *e) MUST_CHECK;

/* Writes an array of bytes. */
int vectors_put_bytes(struct tms_writer *w, const struct place *p, const char *name, const void *bytes, size_t len,
                      struct error *e) MUST_CHECK;

/* Whether f is an array (a name, no samples) of that name, type and number of dimensions. */
bool vectors_is(const struct frame *f, const char *name, enum dtype type, int n_dims);

#endif
