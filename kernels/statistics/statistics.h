/*
 * The way of pca, diffmean and moments: rows of one stream, or the states of several, to one scatter a place, handed over in
 * place_compare's order.  In a stream that goes layer by layer a layer's are handed over when the next layer begins.
 */
#ifndef STATISTICS_H
#define STATISTICS_H

#include "option.h"
#include "scatter.h"
#include "series.h"
#include "tms.h"
#include "vectors.h"

struct statistics {
	/* the caller's to set, the rest zero */
	const char *about;              /* what states say of themselves: the program, and after a tab what must agree */
	bool about_any;                 /* of states, whatever is after the tab in the first one */
	struct scatter_kind kind;
	struct workers *workers;
	int (*class_of)(void *context, const struct sample *s, struct error *e);   /* see series.h */
	/* One place's scatter, which it takes over.  0 or -1. */
	int (*each)(void *context, const struct place *p, struct scatter *s, struct error *e);
	void *context;

	struct tms_reader *in;          /* rows */
	struct state_input *states;     /* (n_states) or states */
	size_t n_states;
	struct tms_header header;       /* of what will be written, but for its kind */
	char *first_about;              /* of the states; NULL: they hold none */
};

/*
 * Opens the stream of rows (at most one file), or with merge the states.  Their header: the stream's; the states must be of one
 * model and have the same variants.  0, or -1 and e; statistics_close in any case.
 */
int statistics_open(struct statistics *s, char **files, size_t n_files, bool merge, struct error *e) MUST_CHECK;

/* Reads everything and calls `each`.  0 or -1. */
int statistics_read(struct statistics *s, struct error *e) MUST_CHECK;

void statistics_close(struct statistics *s);

#endif
