/*
 * What unembed says of rows and samples: JSON lines, or tables for people.
 */
#ifndef REPORT_H
#define REPORT_H

#include "frame.h"
#include "questions.h"
#include "tms.h"
#include "token_value.h"

/* What was found for one row. */
struct answer {
	double next;            /* log-probability of the token that follows, if it was asked for */
	struct token_value *values; /* (top + n_target + n_diff): the largest, the targets, the two of a difference */
	size_t n_target, n_diff;
};

/* n of them, for the questions' most values; freed by the caller, one allocation. */
struct answer *answers_new(size_t n, const struct questions *q);

struct report;

/* path as output_open's.  lens: the site and layer of each row are told.  q and h are borrowed.  NULL and e. */
struct report *report_open(const char *path, const struct questions *q, bool json, bool lens, const struct tms_header *h,
                           struct error *e) MUST_CHECK;

/* A row's answer; a sample's rows come in order.  0, or -1 and e when the output can't be written. */
int report_row(struct report *r, const struct frame *f, const struct sample *s, uint32_t position, const struct answer *a,
               struct error *e) MUST_CHECK;

/* All rows that this frame has of s have come.  0, or -1 and e: some of its rows are missing. */
int report_sample(struct report *r, const struct frame *f, const struct sample *s, struct error *e) MUST_CHECK;

/* The totals, after the last frame.  Commits and frees.  0, or -1 and e: the last rows of a sample never came. */
int report_finish(struct report *r, struct error *e) MUST_CHECK;

/* Frees; nothing is left under the final name.  NULL is allowed. */
void report_abort(struct report *r);

#endif
