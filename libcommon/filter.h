/*
 * Filters: --filter SITE[@LAYERS]=COMMAND.  A command, started once, that reads a stream and answers every frame by one frame
 * of the same samples, shape and dtype, whose rows take the place of those it was given.
 */
#ifndef FILTER_H
#define FILTER_H

#include "model.h"
#include "option.h"
#include "site.h"
#include "tms.h"

struct filters;

/*
 * Parses every selection, checks it against the model and starts the commands; each gets the header of `header`, as
 * activations.  seconds: the longest that an answer may take.  NULL and e.
 */
struct filters *filters_open(const struct option_list *list, const char *program, const struct model *m,
                             const struct tms_header *header, uint64_t seconds, struct error *e) MUST_CHECK;

bool filters_any(const struct filters *f);

/* Adds the sites that are filtered in that layer (-1: outside the block). */
void filters_wanted(const struct filters *f, int layer, bool wanted[SITE_COUNT]);

/* The last layer that any filter names; -1: none. */
int filters_last_layer(const struct filters *f);

/*
 * Passes rows (n, width) of type `work`, those of `frame` (its site, layer, dtype and dims are set here), through every filter
 * of that site and layer, in the order of the command line, and puts the answers in their place.  0, or -1: the
 * command died, was silent too long, or answered something else; e names it.
 */
int filters_run(struct filters *f, enum site site, int layer, const struct frame *frame, enum dtype work, void *rows,
                struct error *e) MUST_CHECK;

/* Sends trailers and waits: a command must send its own trailer and exit with 0.  Frees.  0 or -1. */
int filters_finish(struct filters *f, struct error *e) MUST_CHECK;

/* Ends the commands and frees.  NULL is allowed. */
void filters_abort(struct filters *f);

#endif
