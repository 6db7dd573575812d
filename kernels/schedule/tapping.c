#include "tapping.h"

#include <stdlib.h>

#include "memory.h"
#include "pools.h"
#include "shares.h"
#include "sweep.h"

enum { SETS = 2 };

struct tapping {
	const struct sweep *s;
	size_t max_rows;
	struct pools *pools;
	void *site_rows[SETS][SITE_COUNT];      /* (max_rows, width), made when first wanted */
	size_t set;                             /* that the next batch has */
	bool wanted;                            /* any tap reads in this layer */
	/* what is on its way */
	const struct packed *due;               /* whose rows, or NULL */
	struct sites due_sites;
	struct block *block;
	size_t layer;
	uint64_t mark;                          /* of the device, when all of it was asked for */
};

struct tapping *tapping_open(const struct sweep *s, size_t max_rows, struct error *e)
{
	struct tapping *t = mem_zero(1, sizeof *t);
	*t = (struct tapping){ .s = s, .max_rows = max_rows, .pools = pools_open(s, max_rows, e) };
	if (t->pools)
		return t;
	free(t);
	return NULL;
}

void tapping_close(struct tapping *t)
{
	if (!t)
		return;
	for (size_t set = 0; set < SETS; set++)
		for (enum site site = 0; site < SITE_COUNT; site++)
			free(t->site_rows[set][site]);
	pools_close(t->pools);
	free(t);
}

/* -------- what is wanted */

int tapping_want(struct tapping *t, size_t layer, struct sites *sites, struct error *e)
{
	bool wanted[SITE_COUNT];
	void **rows = t->site_rows[t->set];
	taps_wanted(t->s->hooks->taps, (int)layer, wanted);
	t->wanted = false;
	for (enum site site = 0; site < SITE_COUNT; site++) {
		t->wanted |= wanted[site];
		if (!wanted[site] || (pools_can(site) && !taps_want_rows(t->s->hooks->taps, (int)layer, site)))
			continue;
		if (!rows[site]) {
			size_t len = site_by_length(site) ? 1 : t->max_rows * shares_site_row_len(t->s, site);
			rows[site] = mem_try(len, site_name(site), e);
			if (!rows[site])
				return -1;
		}
		sites->read[site] = rows[site];
	}
	pools_want(t->pools, layer, sites);
	return 0;
}

/* -------- what is given */

/* What is tapped of a frame's rows in a batch. */
struct tapped {
	struct block *block;
	size_t batch_row;
	const struct pools *pools;
	size_t owner;           /* the first of its rows */
};

static void give_scores(void *context, size_t row, size_t n, bool probs, void *to)
{
	const struct tapped *t = context;
	block_scores(t->block, t->batch_row + row, n, probs, to);
}

static const double *const *give_sums(void *context, enum site site, size_t pool)
{
	const struct tapped *t = context;
	const double *const *sums = pools_sums(t->pools, site, pool);
	return sums ? sums + t->owner : NULL;
}

static int give(struct tapping *t, const struct packed *b, struct error *e)
{
	const struct sweep *s = t->s;
	struct tapped tapped = { .block = t->block, .pools = t->pools };
	for (size_t i = 0; i < b->n_pieces; i++) {
		const struct piece *o = &b->pieces[i];
		struct tap_rows rows = { .work = s->ops->work, .scores = give_scores, .sums = give_sums, .context = &tapped };
		tapped.batch_row = o->row;
		while (tapped.owner < b->n_owners && b->owners[tapped.owner].row < o->row)
			tapped.owner++;
		for (enum site site = 0; site < SITE_COUNT; site++)
			if (t->due_sites.read[site] && !site_by_length(site))
				rows.at[site] = (char *)t->due_sites.read[site] + o->row * shares_site_row_len(s, site);
		if (taps_put(s->hooks->taps, (int)t->layer, o->t->f, o->first, o->n, &rows, e) < 0)
			return -1;
	}
	return 0;
}

int tapping_settle(struct tapping *t, struct error *e)
{
	const struct packed *b = t->due;
	t->due = NULL;
	if (!b)
		return 0;
	t->s->ops->wait_for(t->s->device, t->mark);
	if (t->s->ops->failed(t->s->device, e))
		return -1;
	return give(t, b, e);
}

/* Scores are computed when a tap comes to them, from what the block has of its latest batch. */
static bool reads_scores(const struct sites *sites)
{
	return sites->read[SITE_ATTN_SCORES] || sites->read[SITE_ATTN_PROBS];
}

int tapping_run(struct tapping *t, struct block *block, size_t layer, const struct packed *b, const struct sites *sites,
                struct error *e)
{
	if (tapping_settle(t, e) < 0)
		return -1;
	if (!t->wanted)
		return 0;
	/* Pools go on from what the taps have, so not before that is given. */
	if (pools_run(t->pools, layer, b, e) < 0)
		return -1;
	t->due = b;
	t->due_sites = *sites;
	t->block = block;
	t->layer = layer;
	t->mark = t->s->ops->mark(t->s->device);
	if (t->s->ops->host || reads_scores(sites))
		return tapping_settle(t, e);
	t->set = (t->set + 1) % SETS;
	return 0;
}
