/* Which frames and samples of a stream are wanted: --select, --ids, --variant, and the shards of --split. */
#ifndef PICK_H
#define PICK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "frame.h"
#include "tms.h"

/*
 * A frame of those samples of f for which keep (n_samples) is true, with their rows; *out is NULL if there are
 * none.  0 or -1.
 */
int frame_pick(const struct frame *f, const bool *keep, struct frame **out, struct error *e) MUST_CHECK;

struct pick;

/* select: (n_select) SITE[,SITE...][@LAYERS]; ids, variants: comma-separated, NULL: all.  A variant is its name in the
 * header or its number from 0. */
struct pick *pick_open(const char *const *select, size_t n_select, const char *ids, const char *variants,
                       const struct tms_header *h, struct error *e) MUST_CHECK;

/* Replaces *f by what is wanted of it; NULL if nothing is.  0 or -1. */
int pick_frame(struct pick *p, struct frame **f, struct error *e) MUST_CHECK;

void pick_close(struct pick *p);

/* Deals out samples in turn: the i-th of each site, layer and variant goes to shard i mod n. */
struct deal;
struct deal *deal_open(size_t n);
/* shard (n_samples) receives where each sample of f goes; a sample that began in an earlier frame goes where it began. */
void deal_frame(struct deal *d, const struct frame *f, size_t *shard);
void deal_close(struct deal *d);

#endif
