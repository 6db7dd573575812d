#include "head_tile.h"

#include <stdlib.h>

#include "memory.h"

static int take_rows(struct head_tile *t, struct rows *r, size_t width, const char *what, struct error *e)
{
	size_t len;
	if (__builtin_mul_overflow(t->ops->expert_tile * dtype_size(t->ops->work), width, &len))
		return error_set(e, "%s: rows of %zu values don't fit in memory", t->m->name, width);
	*r = (struct rows){ mem_try(len, what, e), 0, width, width };
	return r->p ? 0 : -1;
}

int head_tile_open(struct head_tile *t, const struct ops *ops, struct device *d, const struct model *m,
                   const struct layer *after, bool logits, struct error *e)
{
	*t = (struct head_tile){ .ops = ops, .device = d, .m = m, .after = after };
	if (take_rows(t, &t->x, m->width, "rows of the stream", e) < 0 ||
	    take_rows(t, &t->normed, m->width, "normed rows", e) < 0)
		return -1;
	if (!logits)
		return 0;
	const struct weight *w = &after->head;
	t->operand = (struct operand){ .k = w->k, .dtype = w->dtype };
	t->operand.p = mem_try(ops->operand_len(d, ops->expert_tile, w->k, w->dtype), "normed rows", e);
	return t->operand.p ? take_rows(t, &t->logits, w->n, "logits", e) : -1;
}

void head_tile_close(struct head_tile *t)
{
	free(t->x.p);
	free(t->normed.p);
	free(t->logits.p);
	free(t->operand.p);
	*t = (struct head_tile){ 0 };
}

static void load(struct head_tile *t, const struct rows *r, size_t i, const void *from, enum dtype dtype)
{
	struct rows to = { head_tile_row(t, r, i), 1, r->width, r->stride };
	t->ops->load(t->device, to, from, dtype);
}

void head_tile_load(struct head_tile *t, size_t i, const void *from, enum dtype dtype)
{
	load(t, &t->x, i, from, dtype);
}

void head_tile_load_logits(struct head_tile *t, size_t i, const void *from, enum dtype dtype)
{
	load(t, &t->logits, i, from, dtype);
}

static void softcap_row(void *argument, size_t i, size_t slot)
{
	const struct head_tile *t = argument;
	struct rows row = { head_tile_logits(t, i), 1, t->logits.width, t->logits.stride };
	(void)slot;
	t->ops->softcap(t->device, row, t->m->logits_softcap);
}

void head_tile_norm(struct head_tile *t)
{
	t->normed.n = t->logits.n = t->operand.n = t->x.n;
	t->ops->norm(t->device, t->m, &t->after->final_norm, t->m->width, t->x, t->normed, (struct operand){ 0 });
}

void head_tile_product(struct head_tile *t, struct workers *w)
{
	if (!t->logits.p)
		return;
	t->ops->pack(t->device, t->operand, t->normed);
	t->ops->product(t->device, &t->operand, &t->after->head, t->logits, t->ops->expert_tile);
	if (t->m->logits_softcap > 0)
		workers_run(w, t->x.n, softcap_row, t);
}
