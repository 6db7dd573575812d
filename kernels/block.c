#include "block.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "experts.h"
#include "memory.h"
#include "rotary.h"

/* What lives within one tile, from the step that makes it to the step that uses it. */
enum buffer {
	BUFFER_NORM,            /* (n, H) attn_norm or mlp_norm as rows, where a site wants them */
	BUFFER_QKV,             /* (n, (A + 2G) D) */
	BUFFER_PROJ,            /* (n, H) attention's output */
	BUFFER_GATE_UP,         /* (n, 2I) or (n, I) */
	BUFFER_ACT,             /* (n, I), where a site wants it */
	BUFFER_DOWN,            /* (n, H) the MLP's output */
	BUFFER_ROUTER,          /* (n, E) */
	BUFFER_COUNT
};

enum timer { TIMER_PRODUCT, TIMER_ATTEND, TIMER_NORM, TIMER_REST, TIMER_COUNT };

struct slot {                   /* a thread's memory and clock */
	void *buffer[BUFFER_COUNT];
	void *norm_operand, *act_operand;
	double seconds[TIMER_COUNT], flops;
};

struct block {
	const struct ops *ops;
	struct device *device;
	const struct model *m;
	struct workers *workers;
	size_t max_rows, n_slots;
	size_t buffer_width[BUFFER_COUNT];      /* 0: never used */
	struct slot *slots;
	void *q;                                /* (T, A D) turned queries */
	void *ctx;                              /* (T, A D), where attn_ctx is wanted */
	void *ctx_operand, *mlp_operand;        /* of the whole batch; mlp_operand only with experts */
	void *k, *v;                            /* (T, G D) of samples that lie within the batch */
	struct rotary_tables *tables[MODEL_ROTARIES];
	struct rotary_table *segment_table;     /* (segments of this batch) */
	size_t segment_capacity;
	struct experts *experts;
	void *memory;                           /* all of the above that holds rows */
	/* this run */
	const struct layer *layer;
	struct batch *batch;
	const struct sites *sites;
	enum dtype resid;
	size_t first_step, end_step;
};

struct tile {
	struct block *b;
	struct slot *slot;
	size_t first, n;        /* rows of the batch */
};

/* -------- keys and values that outlive a batch */

struct carry_sample {
	uint64_t sample;
	void *k, *v;            /* (len, G D) */
	uint32_t have, len;     /* positions filled, of */
};

static void carry_drop(struct carry *c, size_t i)
{
	free(c->samples[i].k);
	free(c->samples[i].v);
	c->samples[i] = c->samples[--c->n];
}

void carry_release(struct carry *c)
{
	while (c->n)
		carry_drop(c, c->n - 1);
	free(c->samples);
	*c = (struct carry){ 0 };
}

bool carry_unfinished(const struct carry *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->samples[i].have < c->samples[i].len)
			return true;
	return false;
}

static size_t kv_width(const struct model *m)
{
	return m->n_kv_heads * m->head_width;
}

static size_t q_width(const struct model *m)
{
	return m->n_heads * m->head_width;
}

static int carry_find(struct carry *c, const struct block *b, struct segment *s, struct error *e)
{
	size_t i = 0;
	while (i < c->n && c->samples[i].sample != s->sample)
		i++;
	if ((i == c->n) != (s->first == 0) || (i < c->n && c->samples[i].have != s->first))
		return error_set(e, "sample %llu: rows from position %u on came without those before them",
		                 (unsigned long long)s->sample, s->first);
	if (i == c->n) {
		size_t len = s->len * kv_width(b->m) * dtype_size(b->ops->work);
		struct carry_sample new = { .sample = s->sample, .len = s->len };
		new.k = mem_try(len, "keys of a long sample", e);
		new.v = new.k ? mem_try(len, "values of a long sample", e) : NULL;
		if (!new.v) {
			free(new.k);
			return -1;
		}
		mem_grow((void **)&c->samples, &c->capacity, c->n + 1, sizeof *c->samples);
		c->samples[c->n++] = new;
	}
	c->samples[i].have += (uint32_t)s->n;
	s->k = c->samples[i].k;
	s->v = c->samples[i].v;
	return 0;
}

/* Where each segment's keys and values go, and which table turns it.  Samples that ended with the layer's last batch are
 * forgotten only now: block_scores may have read them since. */
static int place_segments(struct block *b, struct carry *carry, struct error *e)
{
	for (size_t i = carry->n; i-- > 0;)
		if (carry->samples[i].have == carry->samples[i].len)
			carry_drop(carry, i);
	struct batch *batch = b->batch;
	size_t row_len = kv_width(b->m) * dtype_size(b->ops->work);
	int rotary = b->m->layer[b->layer->index].rotary;
	mem_grow((void **)&b->segment_table, &b->segment_capacity, batch->n_segments, sizeof *b->segment_table);
	for (size_t i = 0; i < batch->n_segments; i++) {
		struct segment *s = &batch->segments[i];
		if (s->first == 0 && s->n == s->len) {
			s->k = (char *)b->k + s->row * row_len;
			s->v = (char *)b->v + s->row * row_len;
		} else if (carry_find(carry, b, s, e) < 0) {
			return -1;
		}
		if (rotary >= 0 && rotary_tables_get(b->tables[rotary], s->len, s->first + s->n, &b->segment_table[i], e) < 0)
			return -1;
	}
	return 0;
}

/* -------- views */

static struct rows columns(struct rows from, size_t first, size_t width, size_t element)
{
	return (struct rows){ (char *)from.p + first * element, from.n, width, from.stride };
}

static struct rows batch_rows(const struct tile *t, void *base, size_t width)
{
	char *p = (char *)base + t->first * width * dtype_size(t->b->ops->work);
	return (struct rows){ p, t->n, width, width };
}

static struct rows x_rows(const struct tile *t)
{
	struct rows x = t->b->batch->x;
	return (struct rows){ (char *)x.p + t->first * x.stride * dtype_size(t->b->ops->work), t->n, x.width, x.stride };
}

static struct rows buffer_rows(const struct tile *t, enum buffer which)
{
	size_t width = t->b->buffer_width[which];
	return (struct rows){ t->slot->buffer[which], t->n, width, width };
}

static struct rows gate_rows(const struct tile *t)
{
	return columns(buffer_rows(t, BUFFER_GATE_UP), 0, t->b->m->inner, 0);
}

static struct rows up_rows(const struct tile *t)
{
	size_t element = dtype_size(t->b->ops->work), inner = t->b->m->inner;
	return columns(buffer_rows(t, BUFFER_GATE_UP), t->b->m->gated ? inner : 0, inner, element);
}

/* q, k or v of the stacked projection. */
static struct rows projected(const struct tile *t, enum site site)
{
	size_t element = dtype_size(t->b->ops->work), q = q_width(t->b->m), kv = kv_width(t->b->m);
	struct rows all = buffer_rows(t, BUFFER_QKV);
	if (site == SITE_Q)
		return columns(all, 0, q, element);
	return columns(all, site == SITE_K ? q : q + kv, kv, element);
}

static bool wanted(const struct tile *t, enum site site)
{
	return t->b->sites->read[site] != NULL;
}

/* A site: its rows are as every later step will see them. */
static void at_site(const struct tile *t, enum site site, struct rows rows)
{
	if (!wanted(t, site))
		return;
	const struct ops *ops = t->b->ops;
	char *to = (char *)t->b->sites->read[site] + t->first * rows.width * dtype_size(ops->work);
	ops->store(t->b->device, to, ops->work, rows);
}

static struct operand operand(const struct tile *t, void *p, const struct weight *w)
{
	return (struct operand){ p, t->n, w->k, w->dtype };
}

/* The tile's rows of an operand that spans the batch. */
static struct operand batch_operand(const struct tile *t, void *p, const struct weight *w)
{
	size_t before = t->b->ops->operand_len(t->b->device, t->first, w->k, w->dtype);
	return (struct operand){ (char *)p + before, t->n, w->k, w->dtype };
}

static void product(const struct tile *t, const struct operand *a, const struct weight *w, struct rows out)
{
	double start = clock_seconds();
	t->b->ops->product(t->b->device, a, w, out, t->b->ops->row_tile);
	t->slot->seconds[TIMER_PRODUCT] += clock_seconds() - start;
	t->slot->flops += 2.0 * (double)a->n * (double)w->n * (double)w->k;
}

/* -------- the steps */

static void norm_into(const struct tile *t, const struct norm *norm, enum site site, struct operand to)
{
	const struct ops *ops = t->b->ops;
	struct rows none = { 0 }, x = x_rows(t);
	double start = clock_seconds();
	if (wanted(t, site)) {
		struct rows y = buffer_rows(t, BUFFER_NORM);
		ops->norm(t->b->device, t->b->m, norm, x.width, x, y, to);
		at_site(t, site, y);
		ops->pack(t->b->device, to, y);
	} else {
		ops->norm(t->b->device, t->b->m, norm, x.width, x, none, to);
	}
	t->slot->seconds[TIMER_NORM] += clock_seconds() - start;
}

static void norm_in_place(const struct tile *t, const struct norm *norm, size_t group, struct rows rows)
{
	double start = clock_seconds();
	t->b->ops->norm(t->b->device, t->b->m, norm, group, rows, rows, (struct operand){ 0 });
	t->slot->seconds[TIMER_NORM] += clock_seconds() - start;
}

static void step_qkv(const struct tile *t)
{
	const struct layer *l = t->b->layer;
	struct operand a = operand(t, t->slot->norm_operand, &l->qkv);
	at_site(t, SITE_RESID_PRE, x_rows(t));
	norm_into(t, &l->attn_norm, SITE_ATTN_NORM, a);
	product(t, &a, &l->qkv, buffer_rows(t, BUFFER_QKV));
	for (enum site s = SITE_Q; s <= SITE_V; s++)
		at_site(t, s, projected(t, s));
}

/* Part of a tile that lies in one segment. */
struct run {
	const struct segment *segment;
	const struct rotary_table *table;
	size_t skip, n;         /* rows of the tile */
	size_t position;        /* of the first */
};

static bool next_run(const struct tile *t, size_t *segment, struct run *r)
{
	const struct batch *batch = t->b->batch;
	while (*segment < batch->n_segments && batch->segments[*segment].row + batch->segments[*segment].n <= t->first)
		++*segment;
	if (*segment == batch->n_segments || batch->segments[*segment].row >= t->first + t->n)
		return false;
	const struct segment *s = &batch->segments[*segment];
	size_t from = s->row > t->first ? s->row : t->first;
	size_t end = s->row + s->n < t->first + t->n ? s->row + s->n : t->first + t->n;
	*r = (struct run){ s, &t->b->segment_table[*segment], from - t->first, end - from, s->first + (from - s->row) };
	++*segment;
	return true;
}

static struct rows some(struct rows rows, size_t skip, size_t n, size_t element)
{
	return (struct rows){ (char *)rows.p + skip * rows.stride * element, n, rows.width, rows.stride };
}

/* Queries and keys turn by their positions; keys and values go to where the whole sample's are. */
static void step_rotate(const struct tile *t)
{
	struct block *b = t->b;
	const struct ops *ops = b->ops;
	const struct model *m = b->m;
	size_t element = dtype_size(ops->work), kv = kv_width(m);
	struct rows q = projected(t, SITE_Q), k = projected(t, SITE_K), v = projected(t, SITE_V);
	int rotary = m->layer[b->layer->index].rotary;
	if (m->qk_norm) {
		norm_in_place(t, &b->layer->q_norm, m->head_width, q);
		norm_in_place(t, &b->layer->k_norm, m->head_width, k);
	}
	double start = clock_seconds();
	struct rows turned = batch_rows(t, b->q, q.width);
	size_t segment = 0;
	for (struct run r; next_run(t, &segment, &r);) {
		struct rows to_k = { (char *)r.segment->k + r.position * kv * element, r.n, kv, kv };
		struct rows from_k = some(k, r.skip, r.n, element);
		if (rotary >= 0) {
			const struct rotary *turn = &m->rotary[rotary];
			ops->rotate(b->device, turn, r.table->cos, r.table->sin, m->head_width, r.position,
			            some(q, r.skip, r.n, element), some(turned, r.skip, r.n, element));
			ops->rotate(b->device, turn, r.table->cos, r.table->sin, m->head_width, r.position, from_k, to_k);
		} else {
			ops->store(b->device, some(turned, r.skip, r.n, element).p, ops->work, some(q, r.skip, r.n, element));
			ops->store(b->device, to_k.p, ops->work, from_k);
		}
		ops->store(b->device, (char *)r.segment->v + r.position * kv * element, ops->work, some(v, r.skip, r.n, element));
		struct tile part = { b, t->slot, t->first + r.skip, r.n };
		at_site(&part, SITE_K_ROT, to_k);
	}
	at_site(t, SITE_Q_ROT, turned);
	t->slot->seconds[TIMER_REST] += clock_seconds() - start;
}

static void step_proj(const struct tile *t)
{
	struct block *b = t->b;
	struct operand ctx = batch_operand(t, b->ctx_operand, &b->layer->attn_proj);
	struct rows out = buffer_rows(t, BUFFER_PROJ);
	if (wanted(t, SITE_ATTN_CTX)) {
		struct rows rows = batch_rows(t, b->ctx, q_width(b->m));
		at_site(t, SITE_ATTN_CTX, rows);
		b->ops->pack(b->device, ctx, rows);
	}
	product(t, &ctx, &b->layer->attn_proj, out);
	at_site(t, SITE_ATTN_PROJ, out);
	if (b->m->post_norms)
		norm_in_place(t, &b->layer->attn_post_norm, out.width, out);
	at_site(t, SITE_ATTN_OUT, out);
}

static bool has_experts(const struct block *b)
{
	return b->m->layer[b->layer->index].experts;
}

/* The MLP's normed input: in the batch's operand where experts gather from it, else in the tile's. */
static struct operand mlp_operand(const struct tile *t)
{
	const struct layer *l = t->b->layer;
	if (has_experts(t->b))
		return batch_operand(t, t->b->mlp_operand, &l->expert_gate_up[0]);
	return operand(t, t->slot->norm_operand, &l->gate_up);
}

/* Adds attention's output; with a parallel residual, only after the MLP's norm has read the stream. */
static void step_mlp_norm(const struct tile *t)
{
	struct block *b = t->b;
	struct rows x = x_rows(t), out = buffer_rows(t, BUFFER_PROJ);
	if (b->m->parallel)
		norm_into(t, &b->layer->mlp_norm, SITE_MLP_NORM, mlp_operand(t));
	b->ops->add(b->device, x, out);
	if (b->m->parallel)
		return;
	at_site(t, SITE_RESID_MID, x);
	norm_into(t, &b->layer->mlp_norm, SITE_MLP_NORM, mlp_operand(t));
}

static void step_mlp(const struct tile *t)
{
	struct block *b = t->b;
	const struct layer *l = b->layer;
	struct operand a = mlp_operand(t), h = operand(t, t->slot->act_operand, &l->down);
	product(t, &a, &l->gate_up, buffer_rows(t, BUFFER_GATE_UP));
	double start = clock_seconds();
	struct rows gate = { 0 }, up = up_rows(t), none = { 0 };
	if (b->m->gated) {
		gate = gate_rows(t);
		at_site(t, SITE_MLP_GATE, gate);
	}
	at_site(t, SITE_MLP_UP, up);
	if (wanted(t, SITE_MLP_ACT)) {
		struct rows act = buffer_rows(t, BUFFER_ACT);
		b->ops->activate(b->device, b->m->activation, gate, up, act, h);
		at_site(t, SITE_MLP_ACT, act);
		b->ops->pack(b->device, h, act);
	} else {
		b->ops->activate(b->device, b->m->activation, gate, up, none, h);
	}
	t->slot->seconds[TIMER_REST] += clock_seconds() - start;
	product(t, &h, &l->down, buffer_rows(t, BUFFER_DOWN));
}

static void step_route(const struct tile *t)
{
	struct block *b = t->b;
	struct operand a = mlp_operand(t);
	struct rows logits = buffer_rows(t, BUFFER_ROUTER);
	product(t, &a, &b->layer->router, logits);
	at_site(t, SITE_ROUTER_LOGITS, logits);
	experts_route(b->experts, logits, t->first);
}

static void step_end(const struct tile *t)
{
	struct block *b = t->b;
	struct rows x = x_rows(t), out = buffer_rows(t, BUFFER_DOWN);
	if (has_experts(b))
		out = experts_out(b->experts, t->first, t->n);
	if (b->m->post_norms)
		norm_in_place(t, &b->layer->mlp_post_norm, out.width, out);
	at_site(t, SITE_MLP_OUT, out);
	b->ops->add(b->device, x, out);
	b->ops->round(b->device, x, b->resid);
	at_site(t, SITE_RESID_POST, x);
}

/* -------- what needs the whole batch */

static struct rows all_q(const struct block *b)
{
	size_t width = q_width(b->m);
	return (struct rows){ b->q, b->batch->x.n, width, width };
}

static struct attention attention_of(const struct block *b)
{
	const struct model *m = b->m;
	const struct layer_shape *shape = &m->layer[b->layer->index];
	return (struct attention){ m->n_heads, m->n_kv_heads, m->head_width, shape->window,
	                           m->attention_scale / shape->scale_divisor, m->attention_softcap };
}

static void batch_attend(struct block *b)
{
	struct attention a = attention_of(b);
	const struct weight *w = &b->layer->attn_proj;
	struct rows out = { 0 };
	struct operand packed = { b->ctx_operand, b->batch->x.n, w->k, w->dtype };
	if (b->sites->read[SITE_ATTN_CTX])
		out = (struct rows){ b->ctx, b->batch->x.n, w->k, w->k };
	double start = clock_seconds();
	b->ops->attend(b->device, &a, b->batch->segments, b->batch->n_segments, all_q(b), out, packed);
	b->slots[0].seconds[TIMER_ATTEND] += (clock_seconds() - start) * (double)workers_count(b->workers);
}

static void batch_experts(struct block *b)
{
	struct operand a = { b->mlp_operand, b->batch->x.n, b->m->width, b->layer->expert_gate_up[0].dtype };
	double start = clock_seconds(), flops = 0;
	experts_run(b->experts, b->layer, &a, b->sites, &flops);
	b->slots[0].seconds[TIMER_PRODUCT] += (clock_seconds() - start) * (double)workers_count(b->workers);
	b->slots[0].flops += flops;
}

/* -------- the block: steps by tile, and between them what needs every row */

enum who { ALWAYS, DENSE, EXPERTS };

static const struct step {
	void (*tile)(const struct tile *t);
	void (*batch)(struct block *b);
	enum who who;
} steps[] = {
	{ step_qkv, NULL, ALWAYS },
	{ step_rotate, NULL, ALWAYS },
	{ NULL, batch_attend, ALWAYS },
	{ step_proj, NULL, ALWAYS },
	{ step_mlp_norm, NULL, ALWAYS },
	{ step_mlp, NULL, DENSE },
	{ step_route, NULL, EXPERTS },
	{ NULL, batch_experts, EXPERTS },
	{ step_end, NULL, ALWAYS },
};

static bool skipped(const struct block *b, const struct step *s)
{
	return s->who != ALWAYS && (s->who == EXPERTS) != has_experts(b);
}

static void tile_task(void *argument, size_t i, size_t slot)
{
	struct block *b = argument;
	struct tile t = { b, &b->slots[slot], i * b->ops->row_tile, b->ops->row_tile };
	if (t.first + t.n > b->batch->x.n)
		t.n = b->batch->x.n - t.first;
	for (size_t s = b->first_step; s < b->end_step; s++)
		if (!skipped(b, &steps[s]))
			steps[s].tile(&t);
}

static void run_steps(struct block *b)
{
	size_t n_tiles = (b->batch->x.n + b->ops->row_tile - 1) / b->ops->row_tile;
	for (size_t s = 0; s < ARRAY_LEN(steps); s = b->end_step) {
		b->first_step = s;
		b->end_step = s + 1;
		if (!steps[s].tile) {
			if (!skipped(b, &steps[s]))
				steps[s].batch(b);
			continue;
		}
		while (b->end_step < ARRAY_LEN(steps) && steps[b->end_step].tile)
			b->end_step++;
		workers_run(b->workers, n_tiles, tile_task, b);
	}
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
	if (place_segments(b, carry, e) < 0)
		return -1;
	if (has_experts(b))
		experts_begin(b->experts, batch->x.n);
	run_steps(b);
	for (size_t i = 0; i < b->m->n_rotaries; i++)
		rotary_tables_trim(b->tables[i]);
	return 0;
}

void block_scores(struct block *b, size_t row, size_t n, bool probs, void *to)
{
	struct attention a = attention_of(b);
	const struct segment *s = b->batch->segments;
	while (s->row + s->n <= row)
		s++;
	b->ops->scores(b->device, &a, s, all_q(b), row - s->row, n, probs, to);
}

/* -------- memory */

static void widths(const struct model *m, const bool want[SITE_COUNT], size_t width[BUFFER_COUNT])
{
	memset(width, 0, BUFFER_COUNT * sizeof *width);
	if (want[SITE_ATTN_NORM] || want[SITE_MLP_NORM])
		width[BUFFER_NORM] = m->width;
	width[BUFFER_QKV] = q_width(m) + 2 * kv_width(m);
	width[BUFFER_PROJ] = width[BUFFER_DOWN] = m->width;
	width[BUFFER_GATE_UP] = m->gated ? 2 * m->inner : m->inner;
	if (want[SITE_MLP_ACT])
		width[BUFFER_ACT] = m->inner;
	width[BUFFER_ROUTER] = m->n_experts;
}

/* Operands are planned in the widest type that the device has: layers of one model may differ. */
static size_t operand_most(const struct ops *ops, struct device *d, size_t n, size_t k)
{
	size_t wide = ops->operand_len(d, n, k, ops->operand_type(d, DTYPE_F32));
	size_t narrow = ops->operand_len(d, n, k, ops->operand_type(d, DTYPE_BF16));
	return wide > narrow ? wide : narrow;
}

static size_t most(size_t a, size_t b)
{
	return a > b ? a : b;
}

struct layout {                 /* bytes, each a multiple of 64 */
	size_t buffer[BUFFER_COUNT], norm_operand, act_operand;         /* a slot */
	size_t q, ctx, ctx_operand, mlp_operand, kv;                    /* the batch */
};

static size_t aligned(size_t n)
{
	return (n + 63) / 64 * 64;
}

static struct layout layout_of(const struct ops *ops, struct device *d, const struct model *m, const bool want[],
                               size_t max_rows)
{
	struct layout l = { 0 };
	size_t width[BUFFER_COUNT], element = dtype_size(ops->work), tile = ops->row_tile;
	widths(m, want, width);
	for (int i = 0; i < BUFFER_COUNT; i++)
		l.buffer[i] = aligned(tile * width[i] * element);
	l.norm_operand = aligned(operand_most(ops, d, tile, m->width));
	l.act_operand = aligned(operand_most(ops, d, tile, m->inner));
	l.q = aligned(max_rows * q_width(m) * element);
	l.ctx = want[SITE_ATTN_CTX] ? l.q : 0;
	l.ctx_operand = aligned(operand_most(ops, d, max_rows, q_width(m)));
	l.mlp_operand = m->n_experts ? aligned(operand_most(ops, d, max_rows, m->width)) : 0;
	l.kv = aligned(max_rows * kv_width(m) * element);
	return l;
}

static size_t slot_len(const struct layout *l)
{
	size_t n = l->norm_operand + l->act_operand;
	for (int i = 0; i < BUFFER_COUNT; i++)
		n += l->buffer[i];
	return n;
}

static size_t batch_len(const struct layout *l)
{
	return l->q + l->ctx + l->ctx_operand + l->mlp_operand + 2 * l->kv;
}

void block_memory(const struct ops *ops, struct device *d, const struct model *m, size_t n_slots,
                  const bool want[SITE_COUNT], size_t *fixed, size_t *a_row)
{
	size_t rows = most(ops->row_tile, 64);
	struct layout l = layout_of(ops, d, m, want, rows);
	*fixed = n_slots * slot_len(&l) + experts_memory(ops, d, m, n_slots, 0);
	*a_row = batch_len(&l) / rows + 1;
	if (m->n_experts)
		*a_row += (experts_memory(ops, d, m, n_slots, rows) - experts_memory(ops, d, m, n_slots, 0)) / rows + 1;
}

static void *take(char **at, size_t len)
{
	void *p = *at;
	*at += len;
	return len ? p : NULL;
}

static void place_buffers(struct block *b, const struct layout *l)
{
	char *at = b->memory;
	b->q = take(&at, l->q);
	b->ctx = take(&at, l->ctx);
	b->ctx_operand = take(&at, l->ctx_operand);
	b->mlp_operand = take(&at, l->mlp_operand);
	b->k = take(&at, l->kv);
	b->v = take(&at, l->kv);
	for (size_t i = 0; i < b->n_slots; i++) {
		struct slot *s = &b->slots[i];
		for (int j = 0; j < BUFFER_COUNT; j++)
			s->buffer[j] = take(&at, l->buffer[j]);
		s->norm_operand = take(&at, l->norm_operand);
		s->act_operand = take(&at, l->act_operand);
	}
}

struct block *block_open(const struct ops *ops, struct device *d, const struct model *m, struct workers *w, size_t max_rows,
                         const bool want[SITE_COUNT], struct error *e)
{
	struct block *b = mem_zero(1, sizeof *b);
	*b = (struct block){ .ops = ops, .device = d, .m = m, .workers = w, .max_rows = max_rows,
	                     .n_slots = workers_count(w) };
	b->slots = mem_zero(b->n_slots, sizeof *b->slots);
	widths(m, want, b->buffer_width);
	struct layout l = layout_of(ops, d, m, want, max_rows);
	b->memory = mem_try(b->n_slots * slot_len(&l) + batch_len(&l), "a batch", e);
	if (!b->memory) {
		block_close(b);
		return NULL;
	}
	place_buffers(b, &l);
	for (size_t i = 0; i < m->n_rotaries; i++)
		b->tables[i] = rotary_tables_open(&m->rotary[i], ops->work);
	if (m->n_experts && !(b->experts = experts_open(ops, d, m, w, max_rows, e))) {
		block_close(b);
		return NULL;
	}
	return b;
}

void block_times(const struct block *b, struct block_times *t)
{
	*t = (struct block_times){ 0 };
	for (size_t i = 0; i < b->n_slots; i++) {
		const struct slot *s = &b->slots[i];
		t->product += s->seconds[TIMER_PRODUCT];
		t->attend += s->seconds[TIMER_ATTEND];
		t->norm += s->seconds[TIMER_NORM];
		t->rest += s->seconds[TIMER_REST];
		t->product_flops += s->flops;
	}
}

void block_close(struct block *b)
{
	if (!b)
		return;
	experts_close(b->experts);
	for (size_t i = 0; i < MODEL_ROTARIES; i++)
		rotary_tables_close(b->tables[i]);
	free(b->segment_table);
	free(b->slots);
	free(b->memory);
	free(b);
}
