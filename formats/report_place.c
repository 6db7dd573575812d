#include "report_place.h"

#include <string.h>

static const char *variant_of(const struct report_places *p, int variant)
{
	return variant >= 0 ? p->header->variants[variant] : NULL;
}

void report_id(struct text_out *t, const struct sample *s)
{
	text_string(t, "\"id\":");
	text_json(t, s->id.p ? s->id.p : "", s->id.len);
}

void report_place_json(struct text_out *t, const struct report_places *p, int variant, const char *site, int layer)
{
	const char *name = variant_of(p, variant);
	if (name) {
		text_string(t, ",\"variant\":");
		text_json(t, name, strlen(name));
	}
	if (!p->lens || !site)
		return;
	text_string(t, ",\"site\":");
	text_json(t, site, strlen(site));
	if (layer < 0)
		return;
	text_string(t, ",\"layer\":");
	text_uint(t, (uint64_t)layer);
}

void report_place_table(struct text_out *t, const struct report_places *p, int variant, const char *site, int layer)
{
	const char *name = variant_of(p, variant);
	if (name) {
		text_string(t, "  ");
		text_field(t, name, strlen(name));
	}
	if (!p->lens || !site)
		return;
	text_string(t, "  ");
	text_string(t, site);
	if (layer < 0)
		return;
	text_char(t, ' ');
	text_uint(t, (uint64_t)layer);
}
