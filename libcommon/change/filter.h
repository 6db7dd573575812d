/*
 * Filters: --filter SITE[@LAYERS]=COMMAND.  A command, started once, that reads a stream and answers every frame by one frame
 * of the same samples, shape and dtype, whose rows take the place of those it was given; or the same done without a process.
 */
#ifndef FILTER_H
#define FILTER_H

#include "model.h"
#include "option.h"
#include "site.h"
#include "tms.h"

/* A command that needs no process.  What it answers has the bits that the command of this name would answer. */
struct filter_builtin {
	const char *name;       /* the command's first word */
	/* The words after it, which stay until close, and the header of the stream.  1: *state is open; 0: it doesn't take such
	 * words, and a process is to; -1. */
	int (*open)(char **words, size_t n, const struct tms_header *h, void **state, struct error *e);
	/* The whole command as the history has it: files by what is in them.  The caller frees. */
	char *(*told)(const void *state);
	/* Rows of f's site, layer and shape will come.  0, or -1: they can't be changed. */
	int (*expect)(void *state, const struct frame *f, struct error *e);
	int (*change)(void *state, struct frame *f, struct error *e);  /* f's rows in place.  0 or -1 */
	int (*finish)(void *state, struct error *e);                   /* after the last row.  0 or -1 */
	void (*close)(void *state);
};

struct filter_options {
	struct option_list list;
	uint64_t timeout;       /* seconds: the longest that an answer may take */
	const struct filter_builtin *builtin;
};

struct filters;

/*
 * Parses every selection, checks it against the model and starts the commands; each gets the header of `header`, as
 * activations.  step: the layers that will be run.  A built-in's files take their names' place in the program's history.
 * NULL and e.
 */
struct filters *filters_open(const struct filter_options *o, const char *program, const struct model *m,
                             const struct tms_header *header, const struct tms_step *step, struct error *e) MUST_CHECK;

/* The same without starting a command: to see whether it could be, and which sites would be filtered.  Ended by filters_abort. */
struct filters *filters_check(const struct filter_options *o, const char *program, const struct model *m,
                              const struct tms_header *header, const struct tms_step *step, struct error *e) MUST_CHECK;

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
