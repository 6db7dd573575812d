#include "against.h"

#include <stdlib.h>

#include "head_tile.h"
#include "logits_pair.h"
#include "memory.h"

struct against {
	struct workers *workers;
	struct reference *reference;
	const struct positions *at, *next_at;
	size_t k;
	const struct against_reader *reader;
	struct head_reader head;
	struct head_tile tile;          /* of the reference */
	struct divergence *found;       /* (rows of a tile) */
};

static bool asks_row(const struct against *a, const struct frame *f, const struct sample *s, uint32_t position)
{
	return f->pool.p || positions_have(a->at, s, position);
}

static bool asks_next(const struct against *a, const struct frame *f, const struct sample *s, uint32_t position)
{
	return !f->pool.p && !reference_pooled(a->reference) && s->tokens && position + 1 < s->len &&
	       positions_have(a->next_at, s, position + 1);
}

static bool wants(void *context, const struct frame *f, const struct sample *s, uint32_t position)
{
	const struct against *a = context;
	return asks_row(a, f, s, position) || asks_next(a, f, s, position);
}

static int sample_begin(void *context, const struct frame *f, const struct sample *s, struct error *e)
{
	const struct against *a = context;
	return reference_sample(a->reference, f, s, e);
}

static int gathered(void *context, size_t i, const struct head_row *row, struct error *e)
{
	struct against *a = context;
	const void *from;
	enum dtype dtype;
	struct divergence *d = &a->found[i];
	*d = (struct divergence){ .row = asks_row(a, row->frame, row->sample, row->position),
	                          .next = asks_next(a, row->frame, row->sample, row->position) };
	if (reference_row(a->reference, row->frame, row->sample, row->position, d->next, &from, &dtype, e) < 0)
		return -1;
	if (reference_logits(a->reference))
		head_tile_load_logits(&a->tile, i, from, dtype);
	else
		head_tile_load(&a->tile, i, from, dtype);
	return 0;
}

static void computed(void *context, size_t n)
{
	struct against *a = context;
	a->tile.x.n = n;
	if (reference_logits(a->reference))
		return;
	head_tile_norm(&a->tile);
	head_tile_product(&a->tile, a->workers);
}

static void reduce(void *context, size_t i, const struct head_row *row, const void *logits)
{
	struct against *a = context;
	const struct head_tile *t = &a->tile;
	struct divergence *d = &a->found[i];
	const struct logits reference = { head_tile_logits(t, i), t->logits.width, t->ops->work };
	const struct logits ours = { logits, t->logits.width, t->ops->work };
	logits_compare(&reference, &ours, d->next ? row->sample->tokens[row->position + 1] : 0, a->k, d);
}

static int take(void *context, size_t i, const struct head_row *row, struct error *e)
{
	const struct against *a = context;
	return a->reader->row(a->reader->context, row->frame, row->sample, &a->found[i], e);
}

static int sample_end(void *context, const struct frame *f, const struct sample *s, struct error *e)
{
	const struct against *a = context;
	return a->reader->sample_end(a->reader->context, f, s, e);
}

struct against *against_open(const struct ops *ops, struct device *d, const struct model *m, struct workers *w,
                             const struct head_weights *weights, struct reference *reference, const struct positions *at,
                             const struct positions *next_at, size_t k, const struct against_reader *reader, struct error *e)
{
	struct against *a = mem_zero(1, sizeof *a);
	*a = (struct against){ .workers = w, .reference = reference, .at = at, .next_at = next_at, .k = k, .reader = reader };
	a->head = (struct head_reader){ .context = a, .wants = wants, .reduce = reduce, .take = take, .sample_end = sample_end,
	                                .sample_begin = sample_begin, .gathered = gathered, .computed = computed };
	a->found = mem_zero(weights->tile, sizeof *a->found);
	if (head_tile_open(&a->tile, ops, d, m, weights, true, e) == 0)
		return a;
	against_close(a);
	return NULL;
}

const struct head_reader *against_head(const struct against *a)
{
	return &a->head;
}

void against_close(struct against *a)
{
	if (!a)
		return;
	head_tile_close(&a->tile);
	free(a->found);
	free(a);
}
