/* POOL|all: a choice of positions.  Each position that POOL is made of counts for itself; nothing is pooled. */
#ifndef POSITIONS_H
#define POSITIONS_H

#include <stdbool.h>
#include <string.h>

#include "option.h"
#include "pooling.h"
#include "site.h"

struct positions {
	bool all;
	struct pool pool;
};

static inline MUST_CHECK int positions_parse(struct positions *p, const char *text, struct error *e)
{
	*p = (struct positions){ .all = strcmp(text, "all") == 0 };
	return p->all ? 0 : pool_parse(&p->pool, text, e);
}

static inline bool positions_have(const struct positions *p, const struct sample *s, uint32_t position)
{
	return p->all || pool_wants(&p->pool, s, position);
}

/* -1 and e when the sample hasn't got them (pos:N beyond its end). */
static inline MUST_CHECK int positions_check(const struct positions *p, const struct sample *s, struct error *e)
{
	uint32_t first, n;
	return p->all ? 0 : pool_range(&p->pool, s, &first, &n, e);
}

/*
 * The positions that each --tap of the list reads: p (list->n) receives them, and sites every site that one of them names.
 * 0 or -1.
 */
int positions_of_taps(const struct option_list *list, const char *program, struct positions *p, bool sites[SITE_COUNT],
                      struct error *e) MUST_CHECK;

#endif
