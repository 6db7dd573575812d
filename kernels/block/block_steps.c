/* The steps of a block, and the order in which they are taken. */
#include "block_steps.h"

#include "clock.h"
#include "experts.h"
#include "memory.h"

/* -------- operations with a stopwatch */

static double begin(const struct tile *t, enum timer kind)
{
	block_lap(t->b, kind);
	return clock_seconds();
}

static void end(const struct tile *t, enum timer kind, double start)
{
	t->watch->seconds[kind] += clock_seconds() - start;
	block_lap(t->b, TIMER_REST);
}

static void count_product(const struct tile *t, const struct operand *a, const struct weight *w, double start)
{
	end(t, TIMER_PRODUCT, start);
	t->watch->flops += 2.0 * (double)a->n * (double)w->n * (double)w->k;
}

static void product(const struct tile *t, const struct operand *a, const struct weight *w, struct rows out)
{
	double start = begin(t, TIMER_PRODUCT);
	t->b->ops->product(t->b->device, a, w, out, t->b->ops->row_tile);
	count_product(t, a, w, start);
}

/* What attention or the MLP gives goes into the stream while it is in cache, unless something is to happen on the way. */
static bool adds_at_once(const struct tile *t, enum site a, enum site b)
{
	const struct model *m = t->b->m;
	return !m->post_norms && m->residual_multiplier == 1 && !site_wanted(t->b, a) && !site_wanted(t->b, b);
}

static void product_add(const struct tile *t, const struct operand *a, const struct weight *w, struct rows scratch)
{
	double start = begin(t, TIMER_PRODUCT);
	t->b->ops->product_add(t->b->device, a, w, scratch, x_rows(t), t->b->ops->row_tile);
	count_product(t, a, w, start);
}

/* Where nothing wants the rows they are born as an operand; else pack_norm rounds them when they have been seen. */
static void norm_stream(const struct tile *t, const struct norm *norm, enum site site, struct operand to)
{
	struct rows x = x_rows(t), out = { 0 };
	double start = begin(t, TIMER_NORM);
	if (site_wanted(t->b, site))
		out = buffer_rows(t, BUFFER_NORM);
	t->b->ops->norm(t->b->device, t->b->m, norm, x.width, x, out, to);
	end(t, TIMER_NORM, start);
}

static void pack_norm(const struct tile *t, enum site site, struct operand to)
{
	if (site_wanted(t->b, site))
		t->b->ops->pack(t->b->device, to, buffer_rows(t, BUFFER_NORM));
}

static void norm_in_place(const struct tile *t, const struct norm *norm, size_t group, struct rows rows)
{
	double start = begin(t, TIMER_NORM);
	t->b->ops->norm(t->b->device, t->b->m, norm, group, rows, rows, (struct operand){ 0 });
	end(t, TIMER_NORM, start);
}

static void add_to_stream(const struct tile *t, struct rows rows)
{
	t->b->ops->add(t->b->device, x_rows(t), rows);
}

/* -------- the steps */

static void step_none(const struct tile *t)
{
	(void)t;
}

static void step_attn_norm(const struct tile *t)
{
	const struct layer *l = t->b->layer;
	norm_stream(t, &l->attn_norm, SITE_ATTN_NORM, tile_operand(t, t->memory->norm_operand, &l->qkv));
}

/* Where nothing is normed before, the stream itself is what products read. */
static void step_attn_bare(const struct tile *t)
{
	t->b->ops->pack(t->b->device, tile_operand(t, t->memory->norm_operand, &t->b->layer->qkv), x_rows(t));
}

static void step_qkv(const struct tile *t)
{
	const struct weight *w = &t->b->layer->qkv;
	struct operand a = tile_operand(t, t->memory->norm_operand, w);
	pack_norm(t, SITE_ATTN_NORM, a);
	product(t, &a, w, buffer_rows(t, BUFFER_QKV));
}

/* Runs of a tile, one behind the other, whose keys and values are that too: what one call can turn. */
enum { MOST_TURNS = 128 };

struct turns {
	struct rotation turn[MOST_TURNS];
	size_t n, skip, n_rows;         /* rows skip..skip+n_rows-1 of the tile */
	struct rows k, v;               /* their places */
};

/* Whether `next` lies behind `to`. */
static bool follows(const struct tile *t, struct rows to, struct rows next)
{
	return some_rows(to, to.n, 0, t).p == next.p;
}

/* Takes the run too, if it may; the first always. */
static bool take_run(const struct tile *t, const struct run *r, struct turns *all)
{
	struct rows k = key_rows(t, r, r->segment->k), v = key_rows(t, r, r->segment->v);
	if (all->n && (!t->b->ops->rotate_all || all->n == MOST_TURNS || !follows(t, all->k, k) || !follows(t, all->v, v)))
		return false;
	if (all->n == 0) {
		all->skip = r->skip;
		all->n_rows = 0;
		all->k = k;
		all->v = v;
		all->k.n = all->v.n = 0;
	}
	all->turn[all->n++] = (struct rotation){ r->table->cos, r->table->sin, r->position, r->n };
	all->n_rows += r->n;
	all->k.n += r->n;
	all->v.n += r->n;
	return true;
}

/* Where a layer turns nothing (no rotary positions), rows are only copied to their places. */
static void turn(const struct tile *t, const struct turns *all, struct rows from, struct rows to)
{
	const struct block *b = t->b;
	const struct rotation *one = all->turn;
	int rotary = b->m->layer[b->layer->index].rotary;
	if (rotary < 0)
		b->ops->copy(b->device, to, from);
	else if (all->n == 1)
		b->ops->rotate(b->device, &b->m->rotary[rotary], one->cos, one->sin, b->m->head_width, one->position, from, to);
	else
		b->ops->rotate_all(b->device, &b->m->rotary[rotary], b->m->head_width, one, all->n, from, to);
}

static void norm_heads(const struct tile *t, const struct norm *norm, struct rows rows)
{
	norm_in_place(t, norm, t->b->m->qk_norm == QK_NORM_ROW ? rows.width : t->b->m->head_width, rows);
}

/* Queries and keys turn by their positions; keys and values go to where the whole sample's are. */
static void step_rotate(const struct tile *t)
{
	const struct block *b = t->b;
	struct rows q = site_rows(t, SITE_Q), k = site_rows(t, SITE_K), v = site_rows(t, SITE_V);
	struct rows turned = site_rows(t, SITE_Q_ROT);
	struct turns all;
	struct run r;
	if (b->m->qk_norm != QK_NORM_NONE) {
		norm_heads(t, &b->layer->q_norm, q);
		norm_heads(t, &b->layer->k_norm, k);
	}
	size_t segment = 0;
	bool more = next_run(t, &segment, &r);
	while (more) {
		for (all.n = 0; more && take_run(t, &r, &all);)
			more = next_run(t, &segment, &r);
		turn(t, &all, some_rows(q, all.skip, all.n_rows, t), some_rows(turned, all.skip, all.n_rows, t));
		turn(t, &all, some_rows(k, all.skip, all.n_rows, t), all.k);
		b->ops->copy(b->device, all.v, some_rows(v, all.skip, all.n_rows, t));
	}
}

/* With a parallel residual the stream is still to be read by the MLP's norm. */
static bool attn_adds_at_once(const struct tile *t)
{
	return !t->b->m->parallel && adds_at_once(t, SITE_ATTN_PROJ, SITE_ATTN_OUT);
}

static void step_attn_proj(const struct tile *t)
{
	const struct block *b = t->b;
	const struct weight *w = &b->layer->attn_proj;
	struct operand ctx = batch_operand(t, b->memory.ctx_operand, w);
	if (site_wanted(b, SITE_ATTN_CTX))
		b->ops->pack(b->device, ctx, site_rows(t, SITE_ATTN_CTX));
	if (attn_adds_at_once(t))
		product_add(t, &ctx, w, buffer_rows(t, BUFFER_PROJ));
	else
		product(t, &ctx, w, buffer_rows(t, BUFFER_PROJ));
}

static void step_attn_post_norm(const struct tile *t)
{
	norm_in_place(t, &t->b->layer->attn_post_norm, t->b->m->width, buffer_rows(t, BUFFER_PROJ));
}

static void step_attn_scale(const struct tile *t)
{
	t->b->ops->scale(t->b->device, buffer_rows(t, BUFFER_PROJ), t->b->m->residual_multiplier);
}

static void step_add_attn(const struct tile *t)
{
	if (!attn_adds_at_once(t))
		add_to_stream(t, buffer_rows(t, BUFFER_PROJ));
}

/* The MLP's normed input: in the batch's operand where experts gather from it, else in the tile's. */
static struct operand mlp_operand(const struct tile *t)
{
	const struct layer *l = t->b->layer;
	if (has_experts(t->b))
		return batch_operand(t, t->b->memory.mlp_operand, &l->expert_gate_up[0]);
	return tile_operand(t, t->memory->norm_operand, &l->gate_up);
}

static void step_mlp_norm(const struct tile *t)
{
	const struct layer *l = t->b->layer;
	norm_stream(t, t->b->m->shared_norm ? &l->attn_norm : &l->mlp_norm, SITE_MLP_NORM, mlp_operand(t));
}

static void step_mlp_bare(const struct tile *t)
{
	t->b->ops->pack(t->b->device, mlp_operand(t), x_rows(t));
}

/* Where nobody wants what lies between, activations are made while the product is in cache. */
static bool activates_at_once(const struct tile *t)
{
	const struct block *b = t->b;
	return !site_wanted(b, SITE_MLP_GATE) && !site_wanted(b, SITE_MLP_UP) && !site_wanted(b, SITE_MLP_ACT);
}

static void step_gate_up(const struct tile *t)
{
	const struct block *b = t->b;
	const struct weight *w = &b->layer->gate_up;
	struct operand a = mlp_operand(t);
	struct rows out = buffer_rows(t, BUFFER_GATE_UP);
	pack_norm(t, SITE_MLP_NORM, a);
	if (!activates_at_once(t)) {
		product(t, &a, w, out);
		return;
	}
	struct gate gate = { b->m->activation, b->m->gated, out };
	double start = begin(t, TIMER_PRODUCT);
	b->ops->product_act(b->device, &a, w, &gate, tile_operand(t, t->memory->act_operand, &b->layer->down), b->ops->row_tile);
	count_product(t, &a, w, start);
}

static void step_act(const struct tile *t)
{
	const struct block *b = t->b;
	struct rows gate = { 0 }, out = { 0 };
	if (activates_at_once(t))
		return;
	if (b->m->gated)
		gate = site_rows(t, SITE_MLP_GATE);
	if (site_wanted(b, SITE_MLP_ACT))
		out = buffer_rows(t, BUFFER_ACT);
	b->ops->activate(b->device, b->m->activation, gate, site_rows(t, SITE_MLP_UP), out,
	                 tile_operand(t, t->memory->act_operand, &b->layer->down));
}

static void step_down(const struct tile *t)
{
	const struct weight *w = &t->b->layer->down;
	struct operand h = tile_operand(t, t->memory->act_operand, w);
	if (site_wanted(t->b, SITE_MLP_ACT))
		t->b->ops->pack(t->b->device, h, buffer_rows(t, BUFFER_ACT));
	if (adds_at_once(t, SITE_MLP_OUT, SITE_MLP_OUT))
		product_add(t, &h, w, buffer_rows(t, BUFFER_DOWN));
	else
		product(t, &h, w, buffer_rows(t, BUFFER_DOWN));
}

static void step_router(const struct tile *t)
{
	struct operand a = mlp_operand(t);
	pack_norm(t, SITE_MLP_NORM, a);
	product(t, &a, &t->b->layer->router, buffer_rows(t, BUFFER_ROUTER));
}

static void step_choose(const struct tile *t)
{
	experts_route(t->b->experts, buffer_rows(t, BUFFER_ROUTER), t->first);
	if (t->b->sites->read[SITE_EXPERT_IDX])
		experts_read_ids(t->b->experts, t->first, t->n, t->b->sites->read[SITE_EXPERT_IDX]);
}

/* The expert that every token has: an MLP whose gate, one number a row, opens it. */
static void step_shared_expert(const struct tile *t)
{
	const struct block *b = t->b;
	const struct layer *l = b->layer;
	struct operand a = mlp_operand(t), act = tile_operand(t, t->memory->act_operand, &l->shared_down);
	struct rows out = buffer_rows(t, BUFFER_DOWN), open = buffer_rows(t, BUFFER_SHARED_GATE);
	size_t width = l->shared_gate_up.n;
	struct gate gate = { b->m->activation, b->m->gated, { t->memory->buffer[BUFFER_GATE_UP], t->n, width, width } };
	double start = begin(t, TIMER_PRODUCT);
	b->ops->product_act(b->device, &a, &l->shared_gate_up, &gate, act, b->ops->row_tile);
	count_product(t, &a, &l->shared_gate_up, start);
	product(t, &act, &l->shared_down, out);
	product(t, &a, &l->shared_gate, open);
	b->ops->add_gated(b->device, mlp_rows(t), out, open);
}

static void step_mlp_post_norm(const struct tile *t)
{
	norm_in_place(t, &t->b->layer->mlp_post_norm, t->b->m->width, mlp_rows(t));
}

static void step_mlp_scale(const struct tile *t)
{
	t->b->ops->scale(t->b->device, mlp_rows(t), t->b->m->residual_multiplier);
}

static void step_add_mlp(const struct tile *t)
{
	struct rows x = x_rows(t);
	if (has_experts(t->b) || !adds_at_once(t, SITE_MLP_OUT, SITE_MLP_OUT))
		add_to_stream(t, mlp_rows(t));
	t->b->ops->round(t->b->device, x, t->b->resid);
}

/* -------- what needs the whole batch */

struct rows block_queries(const struct block *b)
{
	size_t width = q_width(b->m);
	return (struct rows){ b->memory.q, b->batch->x.n, width, width };
}

struct attention block_attention(const struct block *b)
{
	const struct model *m = b->m;
	const struct layer_shape *shape = &m->layer[b->layer->index];
	return (struct attention){ m->n_heads, m->n_kv_heads, m->head_width, shape->window,
	                           m->attention_scale / shape->scale_divisor, m->attention_softcap };
}

/* Time of all threads goes on the first one's watch. */
static void all_threads(struct block *b, enum timer timer, double start)
{
	block_lap(b, TIMER_COUNT);
	b->watches[0].seconds[timer] += (clock_seconds() - start) * (double)workers_count(b->workers);
}

static void pack_ctx(void *argument, size_t i, size_t slot)
{
	struct block *b = argument;
	struct tile t = block_tile(b, i, slot);
	b->ops->pack(b->device, batch_operand(&t, b->memory.ctx_operand, &b->layer->attn_proj), site_rows(&t, SITE_ATTN_CTX));
}

static int batch_attend(struct block *b, struct error *e)
{
	struct attention a = block_attention(b);
	const struct weight *w = &b->layer->attn_proj;
	struct rows rows = { b->memory.ctx, b->batch->x.n, w->k, w->k }, none = { 0 };
	struct operand packed = { b->memory.ctx_operand, b->batch->x.n, w->k, w->dtype };
	bool wanted = site_wanted(b, SITE_ATTN_CTX), plain = block_plain(b);
	double start = clock_seconds();
	block_lap(b, TIMER_ATTEND);
	if (plain && block_attend_plain(b, &a, block_queries(b), rows, e) < 0)
		return -1;
	if (!plain)
		b->ops->attend(b->device, &a, b->batch->segments, b->batch->n_segments, block_queries(b), wanted ? rows : none, packed);
	else if (!wanted)
		workers_run(b->workers, block_n_tiles(b, b->batch->x.n), pack_ctx, b);
	all_threads(b, TIMER_ATTEND, start);
	return 0;
}

/* What every expert gave is a site of its own; where it was changed the sum is taken anew from it. */
static int change_experts(struct block *b, void *given, struct error *e)
{
	size_t width = b->m->experts_per_token * b->m->width;
	struct rows rows = { given, b->batch->x.n, width, width };
	const struct sites *sites = b->sites;
	if (!sites->patched[SITE_EXPERT_OUT] && !sites->filtered[SITE_EXPERT_OUT])
		return 0;
	b->ops->wait(b->device);
	if (sites->patched[SITE_EXPERT_OUT])
		sites->patch(sites->context, SITE_EXPERT_OUT, 0, rows);
	if (sites->filtered[SITE_EXPERT_OUT] && sites->filter(sites->context, SITE_EXPERT_OUT, rows, e) < 0)
		return -1;
	experts_sum(b->experts, given);
	return 0;
}

static int batch_experts(struct block *b, struct error *e)
{
	struct operand a = { b->memory.mlp_operand, b->batch->x.n, b->m->width, b->layer->expert_gate_up[0].dtype };
	void *given = b->sites->read[SITE_EXPERT_OUT];
	size_t row = b->m->experts_per_token * b->m->width * dtype_size(b->ops->work);
	if (!given && site_wanted(b, SITE_EXPERT_OUT)) {
		if (block_take_dense(b, b->batch->x.n * row, e) < 0)
			return -1;
		given = b->dense;
	}
	double start = clock_seconds();
	if (experts_sort(b->experts, e) < 0)
		return -1;
	block_lap(b, TIMER_PRODUCT);
	b->watches[0].flops += experts_run(b->experts, b->layer, &a, given);
	all_threads(b, TIMER_PRODUCT, start);
	return change_experts(b, given, e);
}

/* -------- the block: steps by tile, and between them what needs every row */

enum when {                     /* what a layer may have */
	DENSE = 1, EXPERTS = 2, POST_NORMS = 4, PARALLEL = 8, SEQUENTIAL = 16, PRE_NORMS = 32, BARE = 64, SCALED = 128,
	SHARED_EXPERT = 256
};

#define SITES(...) { __VA_ARGS__ }
#define NO_SITES { SITE_NONE }

const struct step block_steps[] = {
	{ 0, step_none, NULL, SITES(SITE_RESID_PRE, SITE_NONE) },
	{ PRE_NORMS, step_attn_norm, NULL, SITES(SITE_ATTN_NORM, SITE_NONE) },
	{ BARE, step_attn_bare, NULL, NO_SITES },
	{ 0, step_qkv, NULL, SITES(SITE_Q, SITE_K, SITE_V) },
	{ 0, step_rotate, NULL, SITES(SITE_Q_ROT, SITE_K_ROT, SITE_NONE) },
	{ 0, NULL, batch_attend, NO_SITES },
	{ 0, step_none, NULL, SITES(SITE_ATTN_CTX, SITE_NONE) },
	{ 0, step_attn_proj, NULL, SITES(SITE_ATTN_PROJ, SITE_NONE) },
	{ POST_NORMS, step_attn_post_norm, NULL, NO_SITES },
	{ SCALED, step_attn_scale, NULL, NO_SITES },
	{ 0, step_none, NULL, SITES(SITE_ATTN_OUT, SITE_NONE) },
	/* With a parallel residual the MLP's norm reads the stream before attention is added. */
	{ PARALLEL | PRE_NORMS, step_mlp_norm, NULL, SITES(SITE_MLP_NORM, SITE_NONE) },
	{ PARALLEL | BARE, step_mlp_bare, NULL, NO_SITES },
	{ PARALLEL, step_add_attn, NULL, NO_SITES },
	{ SEQUENTIAL, step_add_attn, NULL, SITES(SITE_RESID_MID, SITE_NONE) },
	{ SEQUENTIAL | PRE_NORMS, step_mlp_norm, NULL, SITES(SITE_MLP_NORM, SITE_NONE) },
	{ SEQUENTIAL | BARE, step_mlp_bare, NULL, NO_SITES },
	{ DENSE, step_gate_up, NULL, SITES(SITE_MLP_GATE, SITE_MLP_UP, SITE_NONE) },
	{ DENSE, step_act, NULL, SITES(SITE_MLP_ACT, SITE_NONE) },
	{ DENSE, step_down, NULL, NO_SITES },
	{ EXPERTS, step_router, NULL, SITES(SITE_ROUTER_LOGITS, SITE_NONE) },
	{ EXPERTS, step_choose, NULL, SITES(SITE_ROUTER_WEIGHTS, SITE_NONE) },
	{ EXPERTS, NULL, batch_experts, NO_SITES },
	{ SHARED_EXPERT, step_shared_expert, NULL, NO_SITES },
	{ POST_NORMS, step_mlp_post_norm, NULL, NO_SITES },
	{ SCALED, step_mlp_scale, NULL, NO_SITES },
	{ 0, step_none, NULL, SITES(SITE_MLP_OUT, SITE_NONE) },
	{ 0, step_add_mlp, NULL, SITES(SITE_RESID_POST, SITE_NONE) },
};

const size_t block_n_steps = ARRAY_LEN(block_steps);

bool block_takes(const struct block *b, const struct step *s)
{
	unsigned has = has_experts(b) ? EXPERTS : DENSE;
	has |= b->m->parallel ? PARALLEL : SEQUENTIAL;
	has |= b->m->pre_norms ? PRE_NORMS : BARE;
	has |= b->m->post_norms ? POST_NORMS : 0;
	has |= b->m->residual_multiplier != 1 ? SCALED : 0;
	has |= has_experts(b) && b->m->shared_inner ? SHARED_EXPERT : 0;
	return (s->when & ~has) == 0;
}

