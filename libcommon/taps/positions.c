#include "positions.h"

int positions_of_taps(const struct option_list *list, const char *program, struct positions *p, bool sites[SITE_COUNT],
                      struct error *e)
{
	for (size_t i = 0; i < list->n; i++) {
		struct selection s;
		if (selection_parse(&s, list->item[i], program, e) < 0)
			return -1;
		for (enum site site = 0; site < SITE_COUNT; site++)
			sites[site] |= s.site[site];
		int status = positions_parse(&p[i], s.pool ? s.pool : "all", e);
		selection_release(&s);
		if (status < 0)
			return error_in(e, "--tap %s", list->item[i]);
	}
	return 0;
}
