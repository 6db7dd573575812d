/*
 * What unembed --against says: how far a run is from its reference, by sample and in total, as JSON lines or a table.
 * Of rows, with p the reference's distribution and q the run's: the means of KL(p||q) and KL(q||p), the share of rows whose
 * largest is the same, and the mean share of the k largest.  Of predicted tokens, with a = -log p and b = -log q of
 * the token, n of them, and P = exp(mean a), Q = exp(mean b): the rms of q - p, P, Q, Q - P with its standard error
 * sqrt(var(Q b - P a) / n), and mean b - a with its standard error sqrt(var(b - a) / n); var over n - 1.
 */
#ifndef AGAINST_REPORT_H
#define AGAINST_REPORT_H

#include "divergence.h"
#include "frame.h"
#include "tms.h"

struct against_report;

/* path as output_open's.  k: of divergence.common.  lens: site and layer are told.  h is borrowed.  NULL and e. */
struct against_report *against_report_open(const char *path, size_t k, bool json, bool lens, const struct tms_header *h,
                                           struct error *e) MUST_CHECK;

/* report: a struct against_report, untyped for those who know a reader and not what it writes.  A row; a sample's rows come in
 * order.  0. */
int against_report_row(void *report, const struct frame *f, const struct sample *s, const struct divergence *d,
                       struct error *e) MUST_CHECK;

/* All rows that this frame has of s have come.  0, or -1 and e: some are missing, or the output can't be written. */
int against_report_sample(void *report, const struct frame *f, const struct sample *s, struct error *e) MUST_CHECK;

/* The totals.  Commits and frees.  0 or -1. */
int against_report_finish(struct against_report *r, struct error *e) MUST_CHECK;

/* Frees; nothing is left under the final name.  NULL is allowed. */
void against_report_abort(struct against_report *r);

#endif
