#include "tap_plan.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "run_state.h"
#include "spill.h"

/* -------- ending */

void tap_lane_release(struct taps *t, struct lane *lane)
{
	for (size_t i = 0; i < lane->n_cells; i++)
		tap_cell_release(&lane->cells[i]);
	free(lane->cells);
	for (size_t i = 0; i < t->n_streams; i++)
		spill_close(lane->waiting[i]);
	free(lane->waiting);
}

void taps_abort(struct taps *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n_streams; i++)
		tms_abort(t->streams[i].writer);
	for (size_t i = 0; i < t->n_lanes; i++)
		tap_lane_release(t, &t->lanes[i]);
	free(t->lanes);
	for (size_t i = 0; i < t->n_taps; i++) {
		selection_release(&t->taps[i].selection);
		free(t->taps[i].layers);
	}
	for (size_t i = 0; i < t->n_streams; i++)
		free(t->streams[i].target);
	tms_header_release(&t->header);
	free(t->taps);
	free(t->pools);
	free(t->streams);
	free(t);
}

/* -------- opening */

static struct stream *stream_of(struct taps *t, const char *target)
{
	for (size_t i = 0; i < t->n_streams; i++)
		if (strcmp(t->streams[i].target, target) == 0)
			return &t->streams[i];
	struct stream *s = &t->streams[t->n_streams++];
	*s = (struct stream){ .target = mem_string(target) };
	return s;
}

bool tap_reads(const struct tap *tap, const struct model *m, enum site s, int layer)
{
	if (!tap->selection.site[s] || site_in_block(s) != (layer >= 0))
		return false;
	return layer < 0 || (tap->layers[layer] && site_exists(s, m, (size_t)layer));
}

/* The layer of a place that both read, -1 outside the block.  Whether there is one. */
static bool both_read(const struct taps *t, const struct tap *a, const struct tap *b, enum site s, int *layer)
{
	if (!a->selection.site[s] || !b->selection.site[s])
		return false;
	for (*layer = -1; *layer < (int)t->m->n_layers; ++*layer)
		if (tap_reads(a, t->m, s, *layer) && tap_reads(b, t->m, s, *layer))
			return true;
	return false;
}

/* The same rows twice in one stream would be taken for more samples. */
static int check_twice(const struct taps *t, const struct tap *tap, struct error *e)
{
	int layer;
	for (const struct tap *other = t->taps; other < tap; other++) {
		if (other->stream != tap->stream || strcmp(other->pool_text, tap->pool_text) != 0)
			continue;
		for (enum site s = 0; s < SITE_COUNT; s++)
			if (both_read(t, tap, other, s, &layer))
				return layer < 0 ? error_set(e, "--tap %s: --tap %s writes %s there already", tap->selection.text,
				                             other->selection.text, site_name(s))
				                 : error_set(e, "--tap %s: --tap %s writes %s of layer %d there already",
				                             tap->selection.text, other->selection.text, site_name(s), layer);
	}
	return 0;
}

/* The place of the tap's pool among all taps'. */
static size_t pool_of(struct taps *t, const struct tap *tap)
{
	char text[32];
	size_t i = 0;
	for (; i < t->n_pools; i++) {
		pool_text(&t->pools[i], text);
		if (strcmp(text, tap->pool_text) == 0)
			return i;
	}
	t->pools[t->n_pools++] = tap->pool;
	return i;
}

static int tap_open(struct taps *t, struct tap *tap, const char *text, const char *program, struct error *e)
{
	if (selection_parse(&tap->selection, text, program, e) < 0)
		return -1;
	if (!tap->selection.target || !*tap->selection.target)
		return error_set(e, "--tap %s: needs =FILE, =- or ='|command'", text);
	tap->layers = mem_zero(t->m->n_layers + 1, sizeof *tap->layers);
	if (selection_layers(&tap->selection, t->m, tap->layers, e) < 0)
		return -1;
	if (tap->selection.pool) {
		if (pool_parse(&tap->pool, tap->selection.pool, e) < 0)
			return error_in(e, "--tap %s", text);
		pool_text(&tap->pool, tap->pool_text);
		tap->pool_index = pool_of(t, tap);
		static const enum site unpooled[] = { SITE_ATTN_SCORES, SITE_ATTN_PROBS, SITE_EXPERT_IDX };
		for (size_t i = 0; i < ARRAY_LEN(unpooled); i++)
			if (tap->selection.site[unpooled[i]])
				return error_set(e, "--tap %s: %s can't be pooled, its rows don't add up", text, site_name(unpooled[i]));
	}
	tap->stream = stream_of(t, tap->selection.target);
	return check_twice(t, tap, e);
}

void taps_take_header(struct taps *t, const struct tms_header *from)
{
	struct tms_header *header = &t->header;
	tms_header_release(header);
	tms_header_copy(header, from);
	free(header->model);
	free(header->fingerprint);
	header->kind = from->kind == TMS_LOGITS ? TMS_LOGITS : TMS_ACTS;
	header->order = TMS_ORDER_LAYER;
	header->model = mem_string(t->m->name);
	header->fingerprint = mem_string(t->m->fingerprint);
}

static int streams_open(struct taps *t, const struct tms_header *from, const struct tms_step *step, struct run_state *state,
                        struct error *e)
{
	struct tms_header *header = &t->header;
	taps_take_header(t, from);
	for (size_t i = 0; i < t->n_streams; i++) {
		t->streams[i].writer = run_state_create(state, t->streams[i].target, header, step, e);
		if (!t->streams[i].writer)
			return -1;
	}
	return 0;
}

struct taps *taps_plan(const struct option_list *list, const char *program, const struct model *m, struct error *e)
{
	struct taps *t = mem_zero(1, sizeof *t);
	t->m = m;
	t->taps = mem_zero(list->n, sizeof *t->taps);
	t->pools = mem_zero(list->n, sizeof *t->pools);
	t->streams = mem_zero(list->n, sizeof *t->streams);
	for (size_t i = 0; i < list->n; i++) {
		if (tap_open(t, &t->taps[t->n_taps++], list->item[i], program, e) < 0) {
			taps_abort(t);
			return NULL;
		}
	}
	return t;
}

struct taps *taps_open(const struct option_list *list, const char *program, const struct model *m,
                       const struct tms_header *header, const struct tms_step *step, enum dtype dtype,
                       struct run_state *state, struct error *e)
{
	struct taps *t = taps_plan(list, program, m, e);
	if (!t)
		return NULL;
	t->dtype = dtype;
	for (size_t i = 0; step && i < t->n_taps; i++)
		selection_warn_unreached(&t->taps[i].selection, "--tap", m, t->taps[i].layers, step->from, step->to);
	if (streams_open(t, header, step, state, e) < 0) {
		taps_abort(t);
		return NULL;
	}
	return t;
}

bool tap_ended(const struct tap *tap)
{
	return tap->stream->writer && tms_ended_early(tap->stream->writer);
}

void taps_wanted(const struct taps *t, int layer, bool wanted[SITE_COUNT])
{
	memset(wanted, 0, SITE_COUNT * sizeof *wanted);
	for (size_t i = 0; i < t->n_taps; i++)
		for (enum site s = 0; s < SITE_COUNT && !tap_ended(&t->taps[i]); s++)
			wanted[s] |= tap_reads(&t->taps[i], t->m, s, layer);
}

bool taps_want_rows(const struct taps *t, int layer, enum site site)
{
	for (size_t i = 0; i < t->n_taps; i++) {
		const struct tap *tap = &t->taps[i];
		if (tap->pool.kind == POOL_NONE && !tap_ended(tap) && tap_reads(tap, t->m, site, layer))
			return true;
	}
	return false;
}

size_t taps_n_pools(const struct taps *t)
{
	return t->n_pools;
}

const struct pool *taps_pool(const struct taps *t, size_t pool)
{
	return &t->pools[pool];
}

bool taps_want_pool(const struct taps *t, int layer, enum site site, size_t pool)
{
	for (size_t i = 0; i < t->n_taps; i++) {
		const struct tap *tap = &t->taps[i];
		if (tap->pool.kind != POOL_NONE && tap->pool_index == pool && !tap_ended(tap) && tap_reads(tap, t->m, site, layer))
			return true;
	}
	return false;
}

int taps_last_layer(const struct taps *t)
{
	bool wanted[SITE_COUNT];
	for (int layer = (int)t->m->n_layers - 1; layer >= 0; layer--) {
		taps_wanted(t, layer, wanted);
		for (enum site s = 0; s < SITE_COUNT; s++)
			if (wanted[s])
				return layer;
	}
	return -1;
}

bool taps_any(const struct taps *t)
{
	return t->n_taps > 0;
}

bool taps_all_ended(const struct taps *t)
{
	for (size_t i = 0; i < t->n_streams; i++)
		if (!tms_ended_early(t->streams[i].writer))
			return false;
	return t->n_streams > 0;
}
