#include "block_memory.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

size_t q_width(const struct model *m)
{
	return m->n_heads * m->head_width;
}

size_t kv_width(const struct model *m)
{
	return m->n_kv_heads * m->head_width;
}

/* The widest MLP that a tile's buffers hold. */
static size_t inner_most(const struct model *m)
{
	return m->inner > m->shared_inner ? m->inner : m->shared_inner;
}

static void widths(const struct model *m, const bool wanted[SITE_COUNT], size_t width[BUFFER_COUNT])
{
	memset(width, 0, BUFFER_COUNT * sizeof *width);
	if (wanted[SITE_ATTN_NORM] || wanted[SITE_MLP_NORM])
		width[BUFFER_NORM] = m->width;
	width[BUFFER_QKV] = q_width(m) + 2 * kv_width(m);
	width[BUFFER_PROJ] = width[BUFFER_DOWN] = m->width;
	width[BUFFER_GATE_UP] = m->gated ? 2 * inner_most(m) : inner_most(m);
	if (wanted[SITE_MLP_ACT])
		width[BUFFER_ACT] = m->inner;
	width[BUFFER_ROUTER] = m->n_experts;
	width[BUFFER_SHARED_GATE] = m->shared_inner > 0;
}

size_t operand_most(const struct ops *ops, struct device *d, size_t n, size_t k)
{
	size_t wide = ops->operand_len(d, n, k, ops->operand_type(d, DTYPE_F32));
	size_t narrow = ops->operand_len(d, n, k, ops->operand_type(d, DTYPE_BF16));
	return wide > narrow ? wide : narrow;
}

/* Gives out memory, or with at == NULL only counts. */
struct taker {
	char *at;
	size_t len;
};

static void *take(struct taker *t, size_t len)
{
	size_t rounded = (len + 255) / 256 * 256;
	void *p = t->at && len ? t->at + t->len : NULL;
	t->len += rounded;
	return p;
}

/* Whether rows of a buffer ever exist: a back end that finishes products in cache needs none for what nobody wants. */
static bool needed(enum buffer which, const struct ops *ops, struct device *d, const struct model *m,
                   const bool wanted[SITE_COUNT])
{
	if (!ops_finish(ops, d))
		return true;
	bool on_the_way = m->post_norms || m->residual_multiplier != 1;
	switch (which) {
	case BUFFER_PROJ: return on_the_way || m->parallel || wanted[SITE_ATTN_PROJ] || wanted[SITE_ATTN_OUT];
	case BUFFER_GATE_UP: return wanted[SITE_MLP_GATE] || wanted[SITE_MLP_UP] || wanted[SITE_MLP_ACT];
	case BUFFER_DOWN: return on_the_way || m->shared_inner || wanted[SITE_MLP_OUT];
	default: return true;
	}
}

static void take_tile(struct taker *t, struct tile_memory *tile, const struct ops *ops, struct device *d,
                      const struct model *m, size_t n, const bool wanted[SITE_COUNT])
{
	size_t width[BUFFER_COUNT];
	widths(m, wanted, width);
	for (enum buffer i = 0; i < BUFFER_COUNT; i++)
		tile->buffer[i] = take(t, needed(i, ops, d, m, wanted) ? n * width[i] * dtype_size(ops->work) : 0);
	tile->norm_operand = take(t, operand_most(ops, d, n, m->width));
	tile->act_operand = take(t, operand_most(ops, d, n, inner_most(m)));
}

static void take_batch(struct taker *t, struct block_memory *b, const struct ops *ops, struct device *d,
                       const struct model *m, size_t n_rows, const bool wanted[SITE_COUNT])
{
	size_t element = dtype_size(ops->work);
	b->q = take(t, n_rows * q_width(m) * element);
	/* Plain attention leaves rows. */
	bool plain = wanted[SITE_ATTN_SCORES] || wanted[SITE_ATTN_PROBS];
	b->ctx = take(t, wanted[SITE_ATTN_CTX] || plain ? n_rows * q_width(m) * element : 0);
	b->ctx_operand = take(t, operand_most(ops, d, n_rows, q_width(m)));
	b->mlp_operand = take(t, m->n_experts ? operand_most(ops, d, n_rows, m->width) : 0);
	b->k = take(t, n_rows * kv_width(m) * element);
	b->v = take(t, n_rows * kv_width(m) * element);
}

size_t block_tile_len(const struct ops *ops, struct device *d, const struct model *m, size_t tile_rows,
                      const bool wanted[SITE_COUNT])
{
	struct taker t = { 0 };
	struct tile_memory tile;
	take_tile(&t, &tile, ops, d, m, tile_rows, wanted);
	return t.len;
}

size_t block_batch_len(const struct ops *ops, struct device *d, const struct model *m, size_t n_rows,
                       const bool wanted[SITE_COUNT])
{
	struct taker t = { 0 };
	struct block_memory b;
	take_batch(&t, &b, ops, d, m, n_rows, wanted);
	return t.len;
}

int block_memory_take(struct block_memory *b, const struct ops *ops, struct device *d, const struct model *m,
                      size_t n_tiles, size_t tile_rows, size_t max_rows, const bool wanted[SITE_COUNT], struct error *e)
{
	size_t len = n_tiles * block_tile_len(ops, d, m, tile_rows, wanted) + block_batch_len(ops, d, m, max_rows, wanted);
	*b = (struct block_memory){ .ops = ops, .device = d, .n_tiles = n_tiles };
	b->all = ops->take(d, len, "a batch", e);
	if (!b->all)
		return -1;
	struct taker t = { b->all, 0 };
	b->tiles = mem_zero(n_tiles, sizeof *b->tiles);
	widths(m, wanted, b->width);
	take_batch(&t, b, ops, d, m, max_rows, wanted);
	for (size_t i = 0; i < n_tiles; i++)
		take_tile(&t, &b->tiles[i], ops, d, m, tile_rows, wanted);
	return 0;
}

void block_memory_release(struct block_memory *b)
{
	if (b->ops)
		b->ops->give(b->device, b->all);
	free(b->tiles);
	*b = (struct block_memory){ 0 };
}
