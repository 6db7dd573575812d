#include "weights_plan.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "fetch.h"
#include "io.h"
#include "memory.h"

enum {
	/* Places of the files that stand for all. */
	PLACES = 512,
	FIRST_SLICE = 8 << 20
};

/* The part of the weights that layers from..to-1 are read by. */
struct ranges {
	struct fetch_range *range;
	size_t n, start;        /* where reading begins: somewhere else every time, so that no plan meets what the last one read */
	uint64_t len;
};

static bool is_cold(const struct fetch_range *r)
{
	return io_is_cold(r->fd, r->offset + r->len / 2);
}

static double cached_part(const struct ranges *all)
{
	size_t cold = 0, n = all->n < PLACES ? all->n : PLACES;
	for (size_t i = 0; i < n; i++)
		cold += is_cold(&all->range[(all->start + i * all->n / n) % all->n]);
	return n ? 1 - (double)cold / (double)n : 0;
}

static int nothing(void *context, size_t i, const void *bytes, struct error *e)
{
	(void)context;
	(void)i;
	(void)bytes;
	(void)e;
	return 0;
}

/* Up to `len` bytes of ranges of one kind, from *at on, which moves on. */
static size_t take(const struct ranges *all, bool cold, uint64_t len, size_t *at, struct fetch_range *to, uint64_t *taken)
{
	size_t n = 0;
	/* To ask makes some systems read ahead there. */
	for (*taken = 0; *at < all->n && *at < PLACES && *taken < len; ++*at) {
		const struct fetch_range *r = &all->range[(all->start + *at) % all->n];
		if (is_cold(r) != cold)
			continue;
		to[n++] = *r;
		*taken += r->len;
	}
	return n;
}

/* Slices that grow, for a third of a second; the last and largest counts.  0: there is nothing of that kind. */
static int rate_of(const struct ranges *all, bool cold, void *staging, size_t staging_len, double *rate, struct error *e)
{
	struct fetch_range *slice = mem_zero(all->n, sizeof *slice);
	double start = clock_seconds();
	uint64_t len = FIRST_SLICE, taken;
	size_t at = 0, n;
	int status = 0;
	for (*rate = 0; status == 0 && (n = take(all, cold, len, &at, slice, &taken)) > 0; len *= 2) {
		double before = clock_seconds();
		if (*rate > 0 && (before - start > 0.15 || taken < len / 2))
			break;
		status = fetch_run(slice, n, staging, staging_len, cold, NULL, nothing, NULL, e);
		*rate = (double)taken / (clock_seconds() - before);
	}
	free(slice);
	return status;
}

static void gather(struct ranges *all, const struct checkpoint *c, size_t from, size_t to, size_t piece_len)
{
	size_t capacity = 0;
	for (size_t layer = from; layer < to; layer++) {
		size_t n;
		struct fetch_range *of_layer = checkpoint_layer_ranges(c, layer, piece_len, &n);
		void *p = all->range;
		mem_grow(&p, &capacity, all->n + n, sizeof *all->range);
		all->range = p;
		for (size_t i = 0; i < n; i++) {
			all->range[all->n++] = of_layer[i];
			all->len += of_layer[i].len;
		}
		free(of_layer);
	}
	all->start = all->n ? (size_t)(clock_seconds() * 1e6) % all->n : 0;
}

int weights_plan(struct plan *p, const struct checkpoint *c, void *staging, size_t staging_len, struct error *e)
{
	struct plan_weights *w = &p->weights;
	struct ranges all = { 0 };
	p->memory.staging = staging_len;
	memset(staging, 0, staging_len); /* or the first slice would pay for the pages */
	for (size_t layer = p->from; layer < p->to; layer++) {
		uint64_t len = checkpoint_layer_len(c, layer);
		w->layer = len > w->layer ? len : w->layer;
		w->total += len;
	}
	gather(&all, c, p->from, p->to, checkpoint_piece_len(staging_len));
	w->cached = cached_part(&all);
	int status = w->cached < 1 ? rate_of(&all, true, staging, staging_len, &w->disk, e) : 0;
	if (status == 0 && w->cached > 0)
		status = rate_of(&all, false, staging, staging_len, &w->cache, e);
	free(all.range);
	return status;
}
