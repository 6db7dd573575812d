#include "shares.h"

#include "loader.h"
#include "pools.h"
#include "progress.h"

size_t shares_site_row_len(const struct sweep *s, enum site site)
{
	return site_width(site, s->m) * (site == SITE_EXPERT_IDX ? sizeof(int32_t) : dtype_size(s->ops->work));
}

/* What grows with a batch: the block's, the rows themselves, and what is read of sites. */
static size_t batch_len(const struct sweep *s, size_t n_rows, const bool wanted[SITE_COUNT])
{
	size_t slots = s->filters ? 1 : workers_count(s->workers), a_row = s->m->width * dtype_size(s->ops->work);
	for (enum site site = 0; site < SITE_COUNT; site++)
		if (wanted[site] && !site_by_length(site))
			a_row += shares_site_row_len(s, site);
	return n_rows * a_row + block_len(s->ops, s->device, s->m, slots, n_rows, s->ops->row_tile, wanted, s->filters) -
	       block_len(s->ops, s->device, s->m, slots, 0, s->ops->row_tile, wanted, s->filters);
}

void shares_sites(const struct sweep *s, bool any[SITE_COUNT])
{
	for (size_t layer = s->from; layer < s->to; layer++) {
		bool wanted[SITE_COUNT] = { false }, patched[SITE_COUNT] = { false }, filtered[SITE_COUNT] = { false };
		taps_wanted(s->hooks->taps, (int)layer, wanted);
		patches_wanted(s->hooks->patches, (int)layer, patched);
		filters_wanted(s->hooks->filters, (int)layer, filtered);
		for (enum site site = 0; site < SITE_COUNT; site++)
			any[site] |= wanted[site] || patched[site] || filtered[site];
		any[SITE_ATTN_SCORES] |= s->plain;
	}
}

/* Of one layer: the most of all. */
static struct layer_len most_layer_len(const struct sweep *s)
{
	struct layer_len len = { 0 };
	for (size_t layer = s->from; layer < s->to; layer++) {
		const struct part *parts;
		size_t n = s->parts(s->context, layer, &parts);
		len = layer_len_most(len, layer_len(s->ops, s->device, s->m, parts, n));
	}
	return len;
}

/* What is taken of the device: coming layers and those that run, rows, the block's buffers. */
static size_t device_len(const struct sweep *s, const struct shares *a, const bool wanted[SITE_COUNT])
{
	return loader_n_arenas(s, a->hold) * (a->layer.vectors + (a->window ? 0 : a->layer.weights)) + a->window +
	       a->rows * pools_row_len(s) + 2 * a->rows * s->m->width * dtype_size(s->ops->work) +
	       block_len(s->ops, s->device, s->m, workers_count(s->workers), a->rows, a->tile, wanted, s->filters);
}

/* With what comes later, and what its pieces are rounded up by. */
static size_t room_len(const struct sweep *s, const struct shares *a, const bool wanted[SITE_COUNT])
{
	enum { ROUNDING = 64 << 10 };
	return device_len(s, a, wanted) + block_run_len(s->ops, s->m, a->rows, a->hold, wanted) +
	       ROUNDING;
}

static int check_room(const struct sweep *s, const struct shares *a, const bool wanted[SITE_COUNT], struct error *e)
{
	return s->ops->check_room(s->device, room_len(s, a, wanted), "the layers' weights and batches", e);
}

static bool fits(const struct sweep *s, struct shares a, size_t n_rows, const bool wanted[SITE_COUNT])
{
	struct error full;
	a.rows = n_rows;
	a.tile = a.window ? n_rows : a.tile;
	return check_room(s, &a, wanted, &full) == 0;
}

/* Rows a batch: as many tiles as fit the memory that the back end allows and a device has, whatever the data.  With filters it depends on the
 * model alone. */
static size_t batch_rows(const struct sweep *s, const struct shares *a, const bool wanted[SITE_COUNT])
{
	size_t memory = s->ops->batch_room(s->device);
	size_t slots = s->filters ? 1 : workers_count(s->workers), tile = s->ops->row_tile, tiles = 4 * slots > 8 ? 4 * slots : 8;
	while (tiles > 1 && (batch_len(s, tiles * tile, wanted) > memory ||
	                     (!s->filters && !fits(s, *a, tiles * tile, wanted))))
		tiles--;
	if (tiles > slots)      /* every thread the same number */
		tiles -= tiles % slots;
	return tile * tiles;
}

/* A window that keeps so many bytes of weights, and the most rows a batch that fit beside it.  false: not even `least` do. */
static bool open_beside(const struct sweep *s, struct shares *a, size_t keep, size_t least, size_t most, const bool wanted[SITE_COUNT])
{
	a->window = s->ops->window_len(s->device, a->layer.column, keep);
	while (most > least && !fits(s, *a, most, wanted))
		most -= s->ops->expert_tile;
	a->rows = a->tile = most;
	return fits(s, *a, most, wanted);
}

/*
 * Weights that don't fit pass through a window.  If a whole layer fits into it beside a tile of rows, it is copied once; else as
 * much as the window doesn't keep is copied for each batch.  That takes bytes / PCIe rate, so batches have as many
 * rows as fit, up to where products take longer than the copies; experts share a batch's rows among them, and need more.  Of what
 * is left a quarter is for keys of long samples.
 */
static void share_window(const struct sweep *s, struct shares *a, const bool wanted[SITE_COUNT])
{
	size_t weights = a->layer.weights, spare = s->ops->spare(s->device), all = s->ops->window_len(s->device, a->layer.column, weights);
	size_t most = 8 * s->ops->row_tile, least = s->ops->expert_tile, whole = s->ops->row_tile;
	if (s->m->n_experts)
		most *= s->m->n_experts / s->m->experts_per_token < 4 ? s->m->n_experts / s->m->experts_per_token : 4;
	if (s->filters)
		most = least = whole = a->rows;
	if (!open_beside(s, a, weights, whole, most, wanted) &&
	    !open_beside(s, a, spare / WINDOW_SHARE, least, most, wanted) && !open_beside(s, a, 0, least, most, wanted))
		return;
	size_t len = room_len(s, a, wanted);
	if (spare > len)
		a->window += (spare - len) / 4 * 3;
	a->once = a->window >= all;
	a->window = a->once ? all : a->window;
}

uint64_t shares_device_len(const struct sweep *s, const struct shares *a, const bool wanted[SITE_COUNT])
{
	return s->ops->host ? 0 : room_len(s, a, wanted);
}

static void tell_shares(const struct sweep *s, const struct shares *a, const bool wanted[SITE_COUNT])
{
	size_t len = device_len(s, a, wanted);
	progress_note("%.1f MiB of the device's memory for weights and batches, and %zu MiB left for rows", (double)len / 0x1p20,
	              (s->ops->spare(s->device) - len) >> 20);
	if (a->hold < s->hold && a->hold < s->to - s->from)
		progress_note("--hold %zu: %zu at a time are held, more don't fit", s->hold, a->hold);
	if (!a->window)
		return;
	progress_note("a layer's weights, %zu MiB, lie in the host's memory and pass through %zu MiB of the device's%s",
	              (a->layer.weights >> 20) + 1, a->window >> 20, a->once ? ", once" : "");
	if (!a->once)
		progress_note("what doesn't fit there is copied for each batch of %zu rows", a->rows);
}

int shares_choose(const struct sweep *s, struct shares *a, const bool wanted[SITE_COUNT], struct error *e)
{
	size_t n_layers = s->to - s->from;
	*a = (struct shares){ .layer = most_layer_len(s), .tile = s->ops->row_tile, .hold = s->hold < n_layers ? s->hold : n_layers };
	a->rows = batch_rows(s, a, wanted);
	if (s->ops->host)
		return 0;
	/* Behind a window held layers would be copied for every batch, one after another. */
	while (a->hold > 1 && !fits(s, *a, a->rows, wanted)) {
		a->hold--;
		a->rows = batch_rows(s, a, wanted);
	}
	if (!fits(s, *a, a->rows, wanted))
		share_window(s, a, wanted);
	return check_room(s, a, wanted, e);
}

int shares_find(const struct sweep *s, struct shares *a, const bool wanted[SITE_COUNT], struct error *e)
{
	if (shares_choose(s, a, wanted, e) < 0)
		return -1;
	if (s->ops->host)
		return 0;
	tell_shares(s, a, wanted);
	return a->window ? s->ops->open_window(s->device, a->window, a->layer.column, e) : 0;
}
