/*
 * Two runs of the same samples through the final norm and the output head, tile by tile: each row beside the one that stands
 * at its place in the other run.  No more logits than two tiles' are in memory.
 */
#ifndef AGAINST_H
#define AGAINST_H

#include "divergence.h"
#include "head.h"
#include "positions.h"
#include "reference.h"

/* Who is told: the rows of a sample in order, then its end (see head.h). */
struct against_reader {
	void *context;
	int (*row)(void *context, const struct frame *f, const struct sample *s, const struct divergence *d, struct error *e);
	int (*sample_end)(void *context, const struct frame *f, const struct sample *s, struct error *e);
};

struct against;

/*
 * at: the positions whose distributions are compared; next_at: those of the tokens that are predicted, each from the row
 * before it, where token ids are known and neither run is pooled.  k: of divergence.common.  All is borrowed.  NULL and e if
 * there is no memory.
 */
struct against *against_open(const struct ops *ops, struct device *d, const struct model *m, struct workers *w,
                             const struct head_weights *weights, struct reference *reference, const struct positions *at,
                             const struct positions *next_at, size_t k, const struct against_reader *reader,
                             struct error *e) MUST_CHECK;

/* For head_open. */
const struct head_reader *against_head(const struct against *a);

/* NULL is allowed. */
void against_close(struct against *a);

#endif
