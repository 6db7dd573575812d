#include "tally_report.h"

#include <string.h>

int tally_report_open(struct tally_report *r, const char *path, bool json, bool lens, const struct tms_header *h,
                      struct error *e)
{
	*r = (struct tally_report){ .header = h, .json = json, .lens = lens };
	return text_out_open(&r->out, path, e);
}

/* -------- parts of a line */

void tally_report_id(struct tally_report *r, const struct sample *s)
{
	text_string(&r->out, "\"id\":");
	text_json(&r->out, s->id.p ? s->id.p : "", s->id.len);
}

static void member(struct tally_report *r, const char *name)
{
	text_string(&r->out, ",\"");
	text_string(&r->out, name);
	text_string(&r->out, "\":");
}

void tally_report_value(struct tally_report *r, const char *name, double v)
{
	member(r, name);
	text_value(&r->out, &v, DTYPE_F64, 0, 1);
}

void tally_report_count(struct tally_report *r, const char *name, uint64_t n)
{
	member(r, name);
	text_uint(&r->out, n);
}

static void place_json(struct tally_report *r, const char *variant, const char *site, int layer)
{
	if (variant) {
		member(r, "variant");
		text_json(&r->out, variant, strlen(variant));
	}
	if (!r->lens || !site)
		return;
	member(r, "site");
	text_json(&r->out, site, strlen(site));
	if (layer >= 0)
		tally_report_count(r, "layer", (uint64_t)layer);
}

static void place_table(struct tally_report *r, const char *variant, const char *site, int layer)
{
	if (variant) {
		text_string(&r->out, "  ");
		text_field(&r->out, variant, strlen(variant));
	}
	if (!r->lens || !site)
		return;
	text_string(&r->out, "  ");
	text_string(&r->out, site);
	if (layer < 0)
		return;
	text_char(&r->out, ' ');
	text_uint(&r->out, (uint64_t)layer);
}

void tally_report_place(struct tally_report *r, int variant, const char *site, int layer)
{
	(r->json ? place_json : place_table)(r, variant >= 0 ? r->header->variants[variant] : NULL, site, layer);
}

void tally_report_whose(struct tally_report *r, const struct tally *t, const struct sample *s)
{
	if (s && r->json)
		tally_report_id(r, s);
	else if (s)
		text_field(&r->out, s->id.p ? s->id.p : "", s->id.len);
	else
		text_string(&r->out, r->json ? "\"total\":true" : "total");
	if (t)
		tally_report_place(r, t->variant, t->site, t->layer);
}

/* -------- the end */

int tally_report_status(const struct tally_report *r, struct error *e)
{
	if (r->out.failed)
		*e = r->out.error;
	return r->out.failed ? -1 : 0;
}

int tally_report_finish(struct tally_report *r, void (*total)(void *context, const struct tally *t), void *context,
                        struct error *e)
{
	if (tallies_end(&r->tallies, e) < 0) {
		tally_report_abort(r);
		return -1;
	}
	for (size_t i = 0; total && i < r->tallies.n; i++)
		total(context, r->tallies.at[i]);
	if (total && !r->tallies.n)
		total(context, NULL);
	tallies_release(&r->tallies);
	return text_out_finish(&r->out, e);
}

void tally_report_abort(struct tally_report *r)
{
	tallies_release(&r->tallies);
	text_out_abort(&r->out);
}
