/*
 * Pooled taps: a batch's rows become one row a sample where they lie, and only those reach the host.
 *
 * A sample that began in an earlier batch goes on from what the tap had of it.
 */
#ifndef POOLS_H
#define POOLS_H

#include "block.h"
#include "hooks.h"
#include "packing.h"

struct pools;

/* For batches of at most max_rows rows of the sweep; borrows s.  NULL and e: the device's memory is short. */
struct pools *pools_open(const struct sweep *s, size_t max_rows, struct error *e) MUST_CHECK;
void pools_close(struct pools *p);

/* Bytes of the device's memory that pools_open takes for a row of a batch. */
size_t pools_row_len(const struct sweep *s);

/* Whether the layer's rows at that site can be pooled where they lie.  The experts' are the host's. */
bool pools_can(enum site site);

/* Says in sites->aside whose rows the block has to put aside. */
void pools_want(const struct pools *p, size_t layer, struct sites *sites);

/* After the block has turned the batch: asks for everything that taps have pooled in this layer, which has arrived after a wait or
 * a mark.  What it asked for before has, and the taps have it.  -1: memory. */
int pools_run(struct pools *p, size_t layer, const struct packed *b, struct error *e) MUST_CHECK;

/* What became of the batch's samples there, one entry for each of its owners (pooler_put); NULL: it isn't done here. */
const double *const *pools_sums(const struct pools *p, enum site site, size_t pool);

#endif
