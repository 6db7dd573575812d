/*
 * A stream of vectors as pca writes it, and rows projected onto what it holds for their place.
 */
#ifndef PROJECTION_H
#define PROJECTION_H

#include "components.h"
#include "frame.h"
#include "tms.h"
#include "workers.h"

struct projections;

/*
 * Reads all of `path`.  The first k components of each place (0: all).  h is the header of the rows to come: another model's
 * vectors are refused, and variants are matched by name.  NULL and e.
 */
struct projections *projections_open(const char *path, size_t k, const struct tms_header *h, struct error *e) MUST_CHECK;

/* The stream's checksum, 16 hexadecimal digits. */
const char *projections_checksum(const struct projections *p);

/*
 * *out: a frame of the same samples with rows (n, k), f32 (f64 from f64); the caller's.  Vectors fit a frame of their
 * site, layer and variant, those without a variant every variant; resid_post of a layer and resid_pre of the next are one
 * place.
 */
int projections_apply(const struct projections *p, struct workers *w, const struct frame *f, struct frame **out,
                      struct error *e) MUST_CHECK;

void projections_close(struct projections *p);

#endif
