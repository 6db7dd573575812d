#include "pools.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "sweep.h"

#define NO_ROW SIZE_MAX

/* Which rows of a batch a pool makes one of: the same at all sites. */
struct plan {
	struct pooled_row *list;        /* (n) */
	const struct owner **whose;     /* (n): the first owner of each */
	struct row_run *runs;
	size_t *row_of;                 /* (n_owners): of the list; NO_ROW where none of a sample's rows is wanted */
	bool *seen;                     /* (n_owners) */
	size_t n, n_runs, list_capacity, whose_capacity, runs_capacity, row_of_capacity, seen_capacity;
};

/* What one pool makes of one site. */
struct cell {
	double *rows;                   /* (n, width) */
	size_t rows_len;                /* bytes that there is room for */
	const double **sums;            /* (n_owners): rows of these */
	size_t sums_capacity;
	bool done;                      /* in the layer and batch that ran last */
};

struct pools {
	const struct sweep *s;
	size_t n;
	struct plan *plans;             /* (n) */
	struct cell *cells;             /* (SITE_COUNT, n) */
	void *aside[SITE_COUNT];        /* (max_rows, width) of the device's memory, where any layer wants it */
};

/* -------- what is wanted */

bool pools_can(enum site site)
{
	return site != SITE_EXPERT_OUT;
}

static bool wanted(const struct sweep *s, size_t layer, enum site site, size_t pool)
{
	return pools_can(site) && taps_want_pool(s->hooks->taps, (int)layer, site, pool);
}

/* Whether the block has to put the site's rows aside in that layer; resid_post stays where it is. */
static bool wanted_aside(const struct sweep *s, size_t layer, enum site site)
{
	bool any = false;
	for (size_t pool = 0; pool < taps_n_pools(s->hooks->taps) && site != SITE_RESID_POST; pool++)
		any |= wanted(s, layer, site, pool);
	return any;
}

static size_t row_len(const struct sweep *s, enum site site)
{
	return site_width(site, s->m) * dtype_size(s->ops->work);
}

/* The same in any layer. */
static bool ever_aside(const struct sweep *s, enum site site)
{
	for (size_t layer = s->from; layer < s->to; layer++)
		if (wanted_aside(s, layer, site))
			return true;
	return false;
}

size_t pools_row_len(const struct sweep *s)
{
	size_t len = 0;
	for (enum site site = 0; site < SITE_COUNT; site++)
		len += ever_aside(s, site) ? row_len(s, site) : 0;
	return len;
}

void pools_want(const struct pools *p, size_t layer, struct sites *sites)
{
	for (enum site site = 0; site < SITE_COUNT; site++)
		if (wanted_aside(p->s, layer, site))
			sites->aside[site] = p->aside[site];
}

/* -------- opening */

struct pools *pools_open(const struct sweep *s, size_t max_rows, struct error *e)
{
	struct pools *p = mem_zero(1, sizeof *p);
	*p = (struct pools){ .s = s, .n = taps_n_pools(s->hooks->taps) };
	p->plans = mem_zero(p->n, sizeof *p->plans);
	p->cells = mem_zero(SITE_COUNT * p->n, sizeof *p->cells);
	for (enum site site = 0; site < SITE_COUNT; site++) {
		if (!ever_aside(s, site))
			continue;
		p->aside[site] = s->ops->take(s->device, max_rows * row_len(s, site), site_name(site), e);
		if (!p->aside[site]) {
			pools_close(p);
			return NULL;
		}
	}
	return p;
}

void pools_close(struct pools *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++) {
		free(p->plans[i].list);
		free(p->plans[i].whose);
		free(p->plans[i].runs);
		free(p->plans[i].row_of);
		free(p->plans[i].seen);
	}
	for (size_t i = 0; i < SITE_COUNT * p->n; i++) {
		free(p->cells[i].rows);
		free(p->cells[i].sums);
	}
	for (enum site site = 0; site < SITE_COUNT; site++)
		p->s->ops->give(p->s->device, p->aside[site]);
	free(p->plans);
	free(p->cells);
	free(p);
}

/* -------- plans */

/* Where the sample's rows go on in this batch: in the next frame, with frames of other variants between. */
static const struct owner *next_part(const struct packed *b, const struct owner *o)
{
	uint32_t due = o->first + (uint32_t)o->n;
	for (const struct owner *next = o + 1; due < o->s->len && next < b->owners + b->n_owners; next++)
		if (next->s->seq == o->s->seq && next->f->variant == o->f->variant && next->first == due)
			return next;
	return NULL;
}

/* A position that a pool lacks is no row here; the pooler says so when it comes to the sample. */
static void add_runs(struct plan *l, const struct pool *pool, const struct owner *o)
{
	struct error ignored;
	struct span run;
	uint32_t at = o->first, end = o->first + (uint32_t)o->n;
	while (pool_next_run(pool, o->s, &at, end, &run, &ignored) > 0) {
		mem_grow((void **)&l->runs, &l->runs_capacity, l->n_runs + 1, sizeof *l->runs);
		l->runs[l->n_runs++] = (struct row_run){ o->row + (run.start - o->first), run.end - run.start };
	}
}

/* Whether positions before the owner's are wanted: those were in an earlier batch. */
static bool has_begun(const struct pool *pool, const struct owner *o)
{
	struct error ignored;
	struct span run;
	uint32_t at = 0;
	return o->first && pool_next_run(pool, o->s, &at, o->first, &run, &ignored) > 0;
}

/* All that the batch has of a sample, from its first owner on. */
static void plan_sample(struct plan *l, const struct pool *pool, const struct packed *b, const struct owner *first)
{
	size_t run = l->n_runs, row = NO_ROW;
	for (const struct owner *o = first; o; o = next_part(b, o))
		add_runs(l, pool, o);
	if (l->n_runs > run) {
		mem_grow((void **)&l->list, &l->list_capacity, l->n + 1, sizeof *l->list);
		mem_grow((void **)&l->whose, &l->whose_capacity, l->n + 1, sizeof *l->whose);
		l->list[l->n] = (struct pooled_row){ run, l->n_runs - run, has_begun(pool, first) };
		l->whose[l->n] = first;
		row = l->n++;
	}
	for (const struct owner *o = first; o; o = next_part(b, o)) {
		l->row_of[o - b->owners] = row;
		l->seen[o - b->owners] = true;
	}
}

static void make_plan(struct plan *l, const struct pool *pool, const struct packed *b)
{
	l->n = l->n_runs = 0;
	mem_grow((void **)&l->row_of, &l->row_of_capacity, b->n_owners, sizeof *l->row_of);
	mem_grow((void **)&l->seen, &l->seen_capacity, b->n_owners, sizeof *l->seen);
	for (size_t i = 0; i < b->n_owners; i++)
		l->seen[i] = false;
	for (size_t i = 0; i < b->n_owners; i++)
		if (!l->seen[i])
			plan_sample(l, pool, b, &b->owners[i]);
}

/* -------- pooling */

static int take_rows(struct cell *c, size_t len, struct error *e)
{
	if (len <= c->rows_len)
		return 0;
	free(c->rows);
	c->rows_len = 0;
	c->rows = mem_try(len, "pooled rows", e);
	if (!c->rows)
		return -1;
	c->rows_len = len;
	return 0;
}

/* What the tap has of samples that began in an earlier batch.  Nothing: the stream is broken, which the pooler says. */
static void bring_begun(const struct pools *p, size_t layer, enum site site, size_t pool, double *rows, size_t width)
{
	const struct plan *l = &p->plans[pool];
	for (size_t i = 0; i < l->n; i++) {
		if (!l->list[i].continues)
			continue;
		const struct owner *o = l->whose[i];
		const double *sum = taps_sum(p->s->hooks->taps, (int)layer, site, pool, o->f, o->s);
		if (sum)
			memcpy(rows + i * width, sum, width * sizeof *rows);
		else
			memset(rows + i * width, 0, width * sizeof *rows);
	}
}

static int pool_site(struct pools *p, size_t layer, enum site site, size_t pool, const struct packed *b, struct error *e)
{
	const struct sweep *s = p->s;
	const struct plan *l = &p->plans[pool];
	struct cell *c = &p->cells[site * p->n + pool];
	size_t width = site_width(site, s->m);
	struct rows rows = { p->aside[site], b->batch.x.n, width, width };
	if (take_rows(c, l->n * width * sizeof *c->rows, e) < 0)
		return -1;
	bring_begun(p, layer, site, pool, c->rows, width);
	s->ops->pool(s->device, pool_largest(taps_pool(s->hooks->taps, pool)), l->list, l->n, l->runs,
	             site == SITE_RESID_POST ? b->batch.x : rows, c->rows);
	mem_grow((void **)&c->sums, &c->sums_capacity, b->n_owners + 1, sizeof *c->sums);
	for (size_t i = 0; i < b->n_owners; i++)
		c->sums[i] = l->row_of[i] == NO_ROW ? NULL : c->rows + l->row_of[i] * width;
	c->done = true;
	return 0;
}

int pools_run(struct pools *p, size_t layer, const struct packed *b, struct error *e)
{
	for (size_t pool = 0; pool < p->n; pool++) {
		bool planned = false;
		for (enum site site = 0; site < SITE_COUNT; site++) {
			p->cells[site * p->n + pool].done = false;
			if (!wanted(p->s, layer, site, pool))
				continue;
			if (!planned)
				make_plan(&p->plans[pool], taps_pool(p->s->hooks->taps, pool), b);
			if (pool_site(p, layer, site, pool, b, e) < 0)
				return -1;
			planned = true;
		}
	}
	return 0;
}

const double *const *pools_sums(const struct pools *p, enum site site, size_t pool)
{
	const struct cell *c = &p->cells[site * p->n + pool];
	return c->done ? c->sums : NULL;
}
