/*
 * The run that another one is compared with: a second stream of the same samples in the same order, read beside the first.
 * Every sequence of the first (its rows of one variant, site and layer) is compared with the reference's rows of that
 * variant, or with all of a reference without variants; and of that site and layer, or with a residual stream or logits,
 * which have one place only.  One frame a sequence is in memory, which is why a file with several is read several times.
 */
#ifndef REFERENCE_H
#define REFERENCE_H

#include "lens.h"

struct reference;

/* path: not standard input if `of` is read from there.  of: the stream it is compared with, opened; borrowed, as m is.  NULL
 * and e. */
struct reference *reference_open(const char *path, const struct model *m, const struct lens *of, struct error *e) MUST_CHECK;

/* Whether its rows are logits (V), and whether they are pooled: then nothing can be said of the token that follows. */
bool reference_logits(const struct reference *r);
bool reference_pooled(const struct reference *r);

/* Goes to sample s of f (or stays, if f has further rows of it): id and length must agree.  Every sample of every frame in
 * turn.  0, or -1 and e naming it. */
int reference_sample(struct reference *r, const struct frame *f, const struct sample *s, struct error *e) MUST_CHECK;

/*
 * The row that stands at `position` of the same sample, in *dtype, until the next call; positions rise.  next: the token that
 * follows must be the same in both.  0, or -1 and e: it has no such row.
 */
int reference_row(struct reference *r, const struct frame *f, const struct sample *s, uint32_t position, bool next,
                  const void **row, enum dtype *dtype, struct error *e) MUST_CHECK;

/* After the last frame: 0, or -1 and e naming a sample that only the reference has. */
int reference_end(struct reference *r, struct error *e) MUST_CHECK;

void reference_close(struct reference *r);

#endif
