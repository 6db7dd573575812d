/*
 * What unembed's reports share: lines as JSON or as a table, each of a sample or of a whole sequence of rows, and the sequences
 * that are summed over.
 */
#ifndef TALLY_REPORT_H
#define TALLY_REPORT_H

#include "tally.h"
#include "text_out.h"
#include "tms.h"

struct tally_report {
	struct text_out out;
	const struct tms_header *header; /* names the variants */
	bool json;
	bool lens;              /* the site and layer are told */
	struct tallies tallies;
};

/* 0, or -1 and nothing is open. */
int tally_report_open(struct tally_report *r, const char *path, bool json, bool lens, const struct tms_header *h,
                      struct error *e) MUST_CHECK;

/* JSON: "id":"...", and further members, each after a comma. */
void tally_report_id(struct tally_report *r, const struct sample *s);
void tally_report_value(struct tally_report *r, const char *name, double v);
void tally_report_count(struct tally_report *r, const char *name, uint64_t n);

/* What there is of variant, site and layer: JSON members, each after a comma, or fields after two blanks.  variant < 0: none;
 * site NULL: none; layer < 0: none. */
void tally_report_place(struct tally_report *r, int variant, const char *site, int layer);

/* Whom a line of sums is of, with the place: the first members of a JSON object, or the last fields.  s NULL: the whole
 * sequence; t NULL: no sequence. */
void tally_report_whose(struct tally_report *r, const struct tally *t, const struct sample *s);

/* 0, or -1 and e when something could not be written. */
int tally_report_status(const struct tally_report *r, struct error *e) MUST_CHECK;

/*
 * After the last frame: `total` (NULL: none) puts the line of each sequence, or where there is none that of t NULL; then the
 * output is committed.  Releases.  0, or -1: a sample's last rows never came, or nothing could be written.
 */
int tally_report_finish(struct tally_report *r, void (*total)(void *context, const struct tally *t), void *context,
                        struct error *e) MUST_CHECK;
void tally_report_abort(struct tally_report *r);

#endif
