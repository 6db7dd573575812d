#include "block.h"

#include <stdlib.h>
#include <string.h>

#include "block_steps.h"
#include "clock.h"
#include "experts.h"
#include "memory.h"

/* -------- the steps, and between them what needs every row */

static bool filtered(const struct block *b, const struct step *s)
{
	bool any = false;
	for (int i = 0; i < STEP_SITES && s->site[i] != SITE_NONE; i++)
		any |= b->sites->filtered[s->site[i]];
	return any;
}

static double timed(const struct stopwatch *w)
{
	double sum = 0;
	for (int i = 0; i < TIMER_COUNT; i++)
		sum += w->seconds[i];
	return sum;
}

/* What no step has put on the watch is the rest. */
static void tile_task(void *argument, size_t i, size_t slot)
{
	struct block *b = argument;
	struct tile t = block_tile(b, i, slot);
	double start = clock_seconds(), before = timed(t.watch);
	for (size_t s = b->first_step; s < b->end_step; s++) {
		if (!block_takes(b, &block_steps[s]))
			continue;
		block_steps[s].tile(&t);
		for (int j = 0; j < STEP_SITES && block_steps[s].site[j] != SITE_NONE; j++)
			at_site(&t, block_steps[s].site[j]);
	}
	t.watch->seconds[TIMER_REST] += clock_seconds() - start - (timed(t.watch) - before);
}

struct site_copy {
	struct block *b;
	enum site site;
	void *dense;
	enum direction direction;
};

static void copy_task(void *argument, size_t i, size_t slot)
{
	const struct site_copy *c = argument;
	struct tile t = block_tile(c->b, i, slot);
	copy_site(&t, c->site, c->dense, c->direction);
}

static void copy_batch(struct block *b, enum site site, void *dense, enum direction direction)
{
	struct site_copy c = { b, site, dense, direction };
	workers_run(b->workers, block_n_tiles(b, b->batch->x.n), copy_task, &c);
}

static int filter_site(struct block *b, enum site site, struct error *e)
{
	struct tile first = block_tile(b, 0, 0);
	size_t width = site == SITE_K_ROT ? kv_width(b->m) : site_rows(&first, site).width, n = b->batch->x.n;
	size_t len = n * width * dtype_size(b->ops->work);
	if (block_take_dense(b, len, e) < 0)
		return -1;
	copy_batch(b, site, b->dense, OUT);
	b->ops->wait(b->device);
	struct rows rows = { b->dense, n, width, width };
	if (b->ops->failed(b->device, e) || b->sites->filter(b->sites->context, site, rows, e) < 0)
		return -1;
	copy_batch(b, site, b->dense, IN);
	if (b->sites->read[site])
		memcpy(b->sites->read[site], b->dense, len);
	if (b->sites->aside[site])
		copy_batch(b, site, b->sites->aside[site], ASIDE);
	return 0;
}

static int filter_step(struct block *b, const struct step *s, struct error *e)
{
	for (int i = 0; i < STEP_SITES && s->site[i] != SITE_NONE; i++)
		if (b->sites->filtered[s->site[i]] && filter_site(b, s->site[i], e) < 0)
			return -1;
	return 0;
}

/* Whether every tile must have come to `s` before it begins: it needs all rows, or a filter does that follows the step
 * before. */
static bool begins_run(const struct block *b, const struct step *s)
{
	return (!s->tile && block_takes(b, s)) || (block_takes(b, s - 1) && filtered(b, s - 1));
}

/* A tile's buffers hold no longer than one run of steps by tile. */
static int run_steps(struct block *b, struct error *e)
{
	for (size_t s = 0; s < block_n_steps; s = b->end_step) {
		b->first_step = s;
		b->end_step = s + 1;
		if (!block_takes(b, &block_steps[s]))
			continue;
		if (!block_steps[s].tile) {
			if (block_steps[s].batch(b, e) < 0)
				return -1;
			continue;
		}
		while (b->end_step < block_n_steps && !begins_run(b, &block_steps[b->end_step]))
			b->end_step++;
		block_lap(b, TIMER_REST);
		workers_run(b->workers, block_n_tiles(b, b->batch->x.n), tile_task, b);
		block_lap(b, TIMER_COUNT);
		const struct step *last = &block_steps[b->end_step - 1];
		if (block_takes(b, last) && filtered(b, last) && filter_step(b, last, e) < 0)
			return -1;
	}
	return 0;
}

/* Where each segment's keys and values go, and which table turns it.  Samples that ended with the layer's last batch are
 * forgotten only now: block_scores may have read them since. */
static int place_segments(struct block *b, struct carry *carry, struct error *e)
{
	struct batch *batch = b->batch;
	size_t row_len = kv_width(b->m) * dtype_size(b->ops->work);
	int rotary = b->m->layer[b->layer->index].rotary;
	carry_forget_finished(carry);
	mem_grow((void **)&b->segment_table, &b->segment_capacity, batch->n_segments, sizeof *b->segment_table);
	for (size_t i = 0; i < batch->n_segments; i++) {
		struct segment *s = &batch->segments[i];
		if (s->first == 0 && s->n == s->len) {
			s->k = (char *)b->memory.k + s->row * row_len;
			s->v = (char *)b->memory.v + s->row * row_len;
		} else if (carry_find(carry, s, row_len, e) < 0) {
			return -1;
		}
		b->segment_table[i] = (struct rotary_table){ 0 };
		if (rotary >= 0 &&
		    rotary_tables_get(b->tables[rotary], s->len, s->first + s->n, &b->segment_table[i], e) < 0)
			return -1;
	}
	return 0;
}

int block_run(struct block *b, const struct layer *l, struct carry *carry, struct batch *batch, enum dtype resid,
              const struct sites *sites, struct error *e)
{
	if (batch->x.n > b->max_rows)
		return error_set(e, "layer %zu: a batch of %zu rows, and the block has room for %zu", l->index, batch->x.n,
		                 b->max_rows);
	b->layer = l;
	b->batch = batch;
	b->sites = sites;
	b->resid = resid;
	if (has_experts(b) && l->router.dtype != l->expert_gate_up[0].dtype)
		return error_set(e, "layer %zu: its router and its experts are stored in different types", l->index);
	if (has_experts(b) && b->m->shared_inner &&
	    (l->shared_gate_up.dtype != l->router.dtype || l->shared_gate.dtype != l->router.dtype))
		return error_set(e, "layer %zu: its shared expert and its router are stored in different types", l->index);
	for (int i = 0; i < 2; i++) {
		free(b->kept[i]);
		b->kept[i] = NULL;
	}
	if (place_segments(b, carry, e) < 0)
		return -1;
	if (has_experts(b))
		experts_begin(b->experts, batch->x.n);
	int status = run_steps(b, e);
	if (status == 0 && b->ops->failed(b->device, e))
		status = -1;
	for (size_t i = 0; i < b->m->n_rotaries; i++)
		rotary_tables_trim(b->tables[i]);
	return status;
}

void block_scores(struct block *b, size_t row, size_t n, bool probs, void *to)
{
	struct attention a = block_attention(b);
	const struct segment *s = b->batch->segments;
	while (s->row + s->n <= row)
		s++;
	if (b->kept[probs])
		block_kept_scores(b, s, row - s->row, n, probs, to);
	else
		block_plain_scores(b, &a, s, block_queries(b), row - s->row, n, probs, to);
}

/* -------- opening */

int block_can(const struct ops *ops, const struct model *m, struct error *e)
{
	if (!ops->head_most || m->head_width <= ops->head_most)
		return 0;
	return error_set(e, "%s: its heads have %zu columns, and attention on %s is for at most %zu; use --device %s", m->name, m->head_width,
	                 ops->name, ops->head_most, m->head_width <= ops_cpu.head_most ? ops_cpu.name : ops_ref.name);
}

static size_t tiles_at_once(size_t n_threads, size_t max_rows, size_t tile_rows, bool barriers)
{
	size_t all = (max_rows + tile_rows - 1) / tile_rows;
	return barriers && all > n_threads ? all : n_threads;
}

size_t block_len(const struct ops *ops, struct device *d, const struct model *m, size_t n_threads, size_t max_rows,
                 size_t tile_rows, const bool want[SITE_COUNT], bool barriers)
{
	return tiles_at_once(n_threads, max_rows, tile_rows, barriers) * block_tile_len(ops, d, m, tile_rows, want) +
	       block_batch_len(ops, d, m, max_rows, want) + experts_len(ops, d, m, n_threads, max_rows);
}

size_t block_run_len(const struct ops *ops, const struct model *m, size_t max_rows, size_t held, const bool want[SITE_COUNT])
{
	size_t element = dtype_size(ops->work), longest = max_rows > ops->row_tile ? max_rows : ops->row_tile;
	size_t len = 2 * held * ops->row_tile * 2 * kv_width(m) * element;
	for (size_t i = 0; i < m->n_rotaries; i++)
		len += rotary_tables_len(&m->rotary[i], ops, longest);
	if (want[SITE_ATTN_SCORES] || want[SITE_ATTN_PROBS])
		len += block_scores_most(ops, m, max_rows, longest);
	return len;
}

struct block *block_open(const struct ops *ops, struct device *d, const struct model *m, struct workers *w, size_t max_rows,
                         size_t tile_rows, const bool want[SITE_COUNT], bool barriers, struct error *e)
{
	struct block *b = mem_zero(1, sizeof *b);
	size_t tiles = tiles_at_once(workers_count(w), max_rows, tile_rows, barriers);
	*b = (struct block){ .ops = ops, .device = d, .m = m, .workers = w, .max_rows = max_rows,
	                     .tile_rows = tile_rows, .barriers = barriers };
	b->watches = mem_zero(workers_count(w), sizeof *b->watches);
	for (size_t i = 0; i < m->n_rotaries; i++)
		b->tables[i] = rotary_tables_open(&m->rotary[i], ops, d);
	if (block_memory_take(&b->memory, ops, d, m, tiles, tile_rows, max_rows, want, e) < 0 ||
	    (m->n_experts && !(b->experts = experts_open(ops, d, m, w, max_rows, e)))) {
		block_close(b);
		return NULL;
	}
	return b;
}

void block_take_device_times(struct block *b)
{
	b->timed = b->ops->lap != NULL;
}

void block_times(const struct block *b, struct block_times *t)
{
	*t = (struct block_times){ 0 };
	for (size_t i = 0; i < workers_count(b->workers); i++) {
		const struct stopwatch *w = &b->watches[i];
		t->product += w->seconds[TIMER_PRODUCT];
		t->attend += w->seconds[TIMER_ATTEND];
		t->norm += w->seconds[TIMER_NORM];
		t->rest += w->seconds[TIMER_REST];
		t->product_flops += w->flops;
	}
	if (b->timed) {
		double seconds[TIMER_COUNT];
		b->ops->lap_seconds(b->device, seconds);
		t->product = seconds[TIMER_PRODUCT];
		t->attend = seconds[TIMER_ATTEND];
		t->norm = seconds[TIMER_NORM];
		t->rest = seconds[TIMER_REST];
	}
}

void block_close(struct block *b)
{
	if (!b)
		return;
	experts_close(b->experts);
	for (size_t i = 0; i < MODEL_ROTARIES; i++)
		rotary_tables_close(b->tables[i]);
	block_memory_release(&b->memory);
	free(b->segment_table);
	free(b->watches);
	free(b->dense);
	free(b->patched);
	if (b->device_scores)
		b->ops->give(b->device, b->device_scores);
	free(b->kept[0]);
	free(b->kept[1]);
	free(b);
}
