/*
 * Taps inside the block: what they want of a layer, and a batch's rows on their way to them.
 *
 * A device computes behind the host's back, so a batch's rows arrive, and are given to the taps, while the device turns the next
 * batch: two sets of rows take turns.  Where the device's memory is the host's they are given at once, from one set.
 */
#ifndef TAPPING_H
#define TAPPING_H

#include "block.h"
#include "packing.h"

struct tapping;

/* For batches of at most max_rows rows of the sweep; borrows s.  NULL and e: the device's memory is short. */
struct tapping *tapping_open(const struct sweep *s, size_t max_rows, struct error *e) MUST_CHECK;
void tapping_close(struct tapping *t);

/* What taps want of the layer's next batch, in sites->read and sites->aside.  -1: memory. */
int tapping_want(struct tapping *t, size_t layer, struct sites *sites, struct error *e) MUST_CHECK;

/*
 * After the block has turned b by that layer, with the sites of tapping_want: gives what is still on its way, and sends b's own
 * rows on theirs.  b, and the frames whose rows it has, stay as they are until that has been given: by the next call or by
 * tapping_settle.  -1: memory, the device broke, or a tap failed.
 */
int tapping_run(struct tapping *t, struct block *block, size_t layer, const struct packed *b, const struct sites *sites,
                struct error *e) MUST_CHECK;

/* Gives what is still on its way.  0, or -1 as above. */
int tapping_settle(struct tapping *t, struct error *e) MUST_CHECK;

#endif
