#include "sweep_plan.h"

#include "block_memory.h"
#include "loader.h"
#include "memory.h"
#include "plan_probe.h"
#include "pools.h"
#include "shares.h"

/* -------- operations */

/* Of a token's products in one layer: two for each weight, of experts those that a token goes to. */
static double layer_flops(const struct sweep *s, size_t layer)
{
	const struct part *parts;
	size_t n = s->parts(s->context, layer, &parts);
	double flops = 0;
	for (size_t i = 0; i < n; i++) {
		const struct part *p = &parts[i];
		double all = 2 * (double)p->view.n * (double)p->view.k;
		bool expert = p->role == ROLE_EXPERT_GATE_UP || p->role == ROLE_EXPERT_DOWN;
		if (p->bias || p->role >= ROLE_PRODUCTS)
			continue;
		flops += expert ? all * (double)s->m->experts_per_token / (double)s->m->n_experts : all;
	}
	return flops;
}

static void count_work(struct plan *p, const struct sweep *s)
{
	for (size_t layer = s->from; layer < s->to; layer++) {
		p->work.product_flops += layer_flops(s, layer) * (double)p->stream.tokens;
		/* Scores, and the sum of values. */
		p->work.attend_flops += 4 * (double)q_width(s->m) * p->stream.pairs[layer];
	}
}

/* -------- memory */

struct sizes {
	const struct sweep *s;
	const struct plan_stream *t;
	struct shares a;
	bool wanted[SITE_COUNT];
	size_t rows, element;   /* of a batch that is as full as the stream makes it; bytes */
};

static uint64_t layers_len(const struct sizes *z, size_t hold)
{
	const struct layer_len *l = &z->a.layer;
	size_t n = loader_n_arenas(z->s, hold);
	if (z->s->ops->host)
		return n * (l->vectors + l->weights);
	return z->a.window ? n * l->weights : 0;
}

/* Frames whose rows are in a batch: as they came and, of another type, as they leave. */
static uint64_t frames_len(const struct sizes *z, uint64_t rows)
{
	const struct plan_stream *t = z->t;
	size_t width = z->s->m->width, out = dtype_size(z->s->resid), in = dtype_size(t->dtype);
	if (!t->tokens)
		return 0;
	uint64_t most = rows + t->frame / (width * in);
	uint64_t n = most < t->tokens ? most : t->tokens;
	bool rest = t->held && !t->spilled;     /* then those that leave are among the ones that rest */
	return n * width * ((rest ? 0 : out) + (t->dtype == z->s->resid ? 0 : in));
}

static bool read_anywhere(const struct sizes *z, enum site site)
{
	for (size_t layer = z->s->from; layer < z->s->to; layer++)
		if (taps_want_rows(z->s->hooks->taps, (int)layer, site))
			return true;
	return false;
}

/* Copies of a site's rows on their way through a filter: those asked, its answer, and the answer's frame. */
enum { FILTERED = 3 };

/* On the host whatever the device: what taps read of a batch, and what filters change. */
static uint64_t sites_len(const struct sizes *z)
{
	uint64_t a_row = 0, filtered = 0;
	for (enum site site = 0; site < SITE_COUNT; site++) {
		uint64_t len = site_by_length(site) || !z->wanted[site] ? 0 : shares_site_row_len(z->s, site);
		a_row += read_anywhere(z, site) ? len : 0;
		filtered = z->s->filters && len > filtered ? len : filtered;
	}
	/* A device computes the next batch's while taps are given one's. */
	return z->rows * (a_row * (z->s->ops->host ? 1 : 2) + FILTERED * filtered);
}

static uint64_t batch_len(const struct sizes *z)
{
	const struct sweep *s = z->s;
	size_t tile = z->a.tile < z->rows ? z->a.tile : z->rows, threads = workers_count(s->workers);
	size_t tiles = tile ? (z->rows + tile - 1) / tile : 0;
	if (!s->ops->host)
		return 0;
	return z->rows * (s->m->width * z->element + pools_row_len(s)) +
	       block_len(s->ops, s->device, s->m, tiles < threads ? tiles : threads, z->rows, tile ? tile : 1, z->wanted, s->filters);
}

/* Whether some layer's attention runs unfused (block_plain). */
static bool plain_anywhere(const struct sizes *z)
{
	bool changed[SITE_COUNT] = { false };
	for (size_t layer = z->s->from; layer < z->s->to; layer++) {
		patches_wanted(z->s->hooks->patches, (int)layer, changed);
		filters_wanted(z->s->hooks->filters, (int)layer, changed);
	}
	return z->s->plain || changed[SITE_ATTN_SCORES] || changed[SITE_ATTN_PROBS];
}

/* Of unfused attention: a step's scores, and a batch's where they are read. */
static uint64_t scores_len(const struct sizes *z)
{
	uint64_t all = z->s->m->n_heads * z->element * (uint64_t)(z->t->typical * (double)z->rows);
	bool read = read_anywhere(z, SITE_ATTN_SCORES) || read_anywhere(z, SITE_ATTN_PROBS);
	if (!plain_anywhere(z))
		return 0;
	return (all < FRAME_ROWS_LEN ? all : FRAME_ROWS_LEN) * (z->s->filters ? FILTERED : 1) + (read ? all : 0);
}

/* Keys and values of a sample that is spread over batches, beside which the next one's may begin, and tables by position. */
static uint64_t samples_len(const struct sizes *z)
{
	const struct sweep *s = z->s;
	const struct model *m = s->m;
	uint64_t longest = z->t->longest, positions = longest < 512 ? 512 : longest + longest / 4, tables = 0;
	for (size_t i = 0; i < m->n_rotaries; i++)
		tables += positions * m->rotary[i].dims * z->element;
	if (!s->ops->host)
		return tables + scores_len(z);
	uint64_t keys = z->t->tokens > z->rows ? 2 * longest * kv_width(m) * z->element : 0;
	return 2 * tables + scores_len(z) + 2 * keys * z->a.hold;
}

/* Rows of pooled taps, of the samples of a batch. */
static uint64_t pools_len(const struct sizes *z)
{
	const struct sweep *s = z->s;
	uint64_t samples = z->t->typical > 0 ? (uint64_t)((double)z->rows / z->t->typical) + 1 : 0, len = 0;
	samples = samples < z->t->samples ? samples : z->t->samples;
	for (enum site site = 0; site < SITE_COUNT; site++)
		len += z->wanted[site] && !read_anywhere(z, site) ? samples * site_width(site, s->m) * sizeof(double) : 0;
	return 2 * taps_n_pools(s->hooks->taps) * len;
}

static void count_memory(struct plan *p, const struct sizes *z)
{
	struct plan_memory *m = &p->memory;
	m->layers = layers_len(z, z->a.hold);
	m->layers_least = layers_len(z, 1);
	m->stream = p->stream.held + p->stream.meta + frames_len(z, z->rows);
	m->batch = batch_len(z) + sites_len(z);
	m->taps = z->a.hold * p->stream.tap_held + (z->a.hold - 1) * p->stream.n_taps * ((uint64_t)4 << 20) + pools_len(z);
	m->samples = samples_len(z);
}

/* What a window doesn't keep comes again for each batch. */
static uint64_t copied_len(const struct sizes *z)
{
	const struct sweep *s = z->s;
	const struct shares *a = &z->a;
	uint64_t batches = a->rows ? (z->t->tokens + a->rows - 1) / a->rows : 0, len = a->layer.weights;
	size_t slots = a->window ? s->ops->window_len(s->device, a->layer.column, 0) : 0, kept = a->window - slots;
	if (a->window && !a->once)
		len = batches * (len - kept) + kept;
	return s->ops->host ? 0 : (s->to - s->from) * len;
}

void sweep_plan(struct plan *p, const struct sweep *s)
{
	struct sizes z = { .s = s, .t = &p->stream, .element = dtype_size(s->ops->work) };
	p->memory.available = mem_available();
	if (s->from >= s->to)
		return;
	count_work(p, s);
	shares_sites(s, z.wanted);
	if (shares_choose(s, &z.a, z.wanted, &p->vram.refused) == 0)
		p->vram.refused.text[0] = 0;
	p->vram.need = shares_device_len(s, &z.a, z.wanted);
	p->vram.copied = copied_len(&z);
	p->vram.left = s->ops->host ? 0 : s->ops->spare(s->device);
	z.rows = p->stream.tokens < z.a.rows ? (size_t)p->stream.tokens : z.a.rows;
	count_memory(p, &z);
	if (!*p->vram.refused.text)
		plan_probe(s, &p->stream, &p->work);
}
