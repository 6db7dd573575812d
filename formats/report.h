/*
 * What unembed says of rows and samples: JSON lines, or tables for people.
 */
#ifndef REPORT_H
#define REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame.h"
#include "tally.h"
#include "tms.h"
#include "token_text.h"
#include "token_value.h"

/* One row. */
struct report_row {
	const struct frame *frame;
	const struct sample *sample;
	uint32_t position;
	const struct token_value *top, *target, *diff; /* (n_top), (n_target), (2) or NULL: logit of the first less the second's */
	size_t n_top, n_target;
};

struct report;

/* path as output_open's.  lens: the site and layer of each row are told.  h and names are borrowed.  NULL and e. */
struct report *report_open(const char *path, bool json, bool lens, const struct tms_header *h,
                           const struct token_text *names, struct error *e) MUST_CHECK;

/* 0, or -1 and e when the output can't be written. */
int report_row(struct report *r, const struct report_row *row, struct error *e) MUST_CHECK;

/* The negative log-likelihood of a sample of the sequence t; sample NULL: the total of the sequence; t NULL: of none. */
int report_nll(struct report *r, const struct tally *t, const struct sample *sample, struct error *e) MUST_CHECK;

/* Commits and frees.  0 or -1. */
int report_finish(struct report *r, struct error *e) MUST_CHECK;

/* Frees; nothing is left under the final name.  NULL is allowed. */
void report_abort(struct report *r);

#endif
