/* Where a line of a report belongs: its sample, variant, site and layer. */
#ifndef REPORT_PLACE_H
#define REPORT_PLACE_H

#include "text_out.h"
#include "tms.h"

struct report_places {
	const struct tms_header *header; /* names the variants */
	bool lens;              /* the site and layer are told */
};

/* "id":"..." */
void report_id(struct text_out *t, const struct sample *s);

/* What there is of variant, site and layer: JSON members, each after a comma, or fields after two blanks.  variant < 0: none;
 * site NULL: none; layer < 0: none. */
void report_place_json(struct text_out *t, const struct report_places *p, int variant, const char *site, int layer);
void report_place_table(struct text_out *t, const struct report_places *p, int variant, const char *site, int layer);

#endif
