#include "head_tile.h"

#include <stdlib.h>

#include "block_memory.h"
#include "memory.h"

static int rows_len(const struct head_tile *t, size_t width, size_t *len, struct error *e)
{
	if (__builtin_mul_overflow(t->tile * dtype_size(t->ops->work), width, len))
		return error_set(e, "%s: rows of %zu values don't fit in memory", t->m->name, width);
	return 0;
}

static int take_device(struct head_tile *t, struct rows *r, size_t width, const char *what, struct error *e)
{
	size_t len;
	if (rows_len(t, width, &len, e) < 0)
		return -1;
	*r = (struct rows){ t->ops->take(t->device, len, what, e), 0, width, width };
	return r->p ? 0 : -1;
}

/* On the device, and where the host can read and change them. */
static int take_both(struct head_tile *t, struct rows *device, struct rows *host, size_t width, const char *what,
                     struct error *e)
{
	size_t len;
	if (take_device(t, device, width, what, e) < 0 || rows_len(t, width, &len, e) < 0)
		return -1;
	*host = *device;
	if (!t->ops->host)
		host->p = mem_try(len, what, e);
	return host->p ? 0 : -1;
}

int head_tile_open(struct head_tile *t, const struct ops *ops, struct device *d, const struct model *m,
                   const struct head_weights *weights, bool logits, struct error *e)
{
	*t = (struct head_tile){ .ops = ops, .device = d, .m = m, .after = &weights->after, .tile = weights->tile };
	if (take_device(t, &t->x, m->width, "rows of the stream", e) < 0 ||
	    take_both(t, &t->device_normed, &t->normed, m->width, "normed rows", e) < 0)
		return -1;
	if (!logits)
		return 0;
	const struct weight *w = &weights->after.head;
	t->operand = (struct operand){ .k = w->k, .dtype = w->dtype };
	t->operand.p = ops->take(d, ops->operand_len(d, t->tile, w->k, w->dtype), "normed rows", e);
	return t->operand.p ? take_both(t, &t->device_logits, &t->logits, w->n, "logits", e) : -1;
}

static size_t aligned(size_t len)
{
	return (len + 255) / 256 * 256;
}

size_t head_tile_len(const struct ops *ops, struct device *d, const struct model *m, bool logits, size_t tile)
{
	size_t row = dtype_size(ops->work);
	size_t len = 2 * aligned(tile * m->width * row);
	return logits ? len + aligned(operand_most(ops, d, tile, m->width)) + aligned(tile * m->vocab * row) : len;
}

void head_tile_close(struct head_tile *t)
{
	if (!t->ops)
		return;
	if (!t->ops->host) {
		free(t->normed.p);
		free(t->logits.p);
	}
	t->ops->give(t->device, t->x.p);
	t->ops->give(t->device, t->device_normed.p);
	t->ops->give(t->device, t->device_logits.p);
	t->ops->give(t->device, t->operand.p);
	*t = (struct head_tile){ 0 };
}

void head_tile_load(struct head_tile *t, size_t i, const void *from, enum dtype dtype)
{
	struct rows to = { head_tile_row(t, &t->x, i), 1, t->x.width, t->x.stride };
	t->ops->load(t->device, to, from, dtype);
}

void head_tile_load_logits(struct head_tile *t, size_t i, const void *from, enum dtype dtype)
{
	dtype_convert(head_tile_logits(t, i), t->ops->work, from, dtype, t->logits.width);
}

static void finish_row(void *argument, size_t i, size_t slot)
{
	const struct head_tile *t = argument;
	const struct rows *all = &t->device_logits;
	struct rows row = { head_tile_row(t, all, i), 1, all->width, all->stride };
	(void)slot;
	if (t->m->logits_multiplier != 1)
		t->ops->scale(t->device, row, t->m->logits_multiplier);
	if (t->m->logits_softcap > 0)
		t->ops->softcap(t->device, row, t->m->logits_softcap);
}

/* What the device made, where the host can see it. */
static void fetch(struct head_tile *t, struct rows host, struct rows device)
{
	if (t->ops->host)
		return;
	t->ops->store(t->device, host.p, t->ops->work, device);
	t->ops->wait(t->device);
}

void head_tile_norm(struct head_tile *t)
{
	t->normed.n = t->logits.n = t->device_normed.n = t->device_logits.n = t->operand.n = t->x.n;
	t->ops->norm(t->device, t->m, &t->after->final_norm, t->m->width, t->x, t->device_normed, (struct operand){ 0 });
	fetch(t, t->normed, t->device_normed);
}

void head_tile_product(struct head_tile *t, struct workers *w)
{
	if (!t->logits.p)
		return;
	if (!t->ops->host)      /* they may have been changed */
		t->ops->load(t->device, t->device_normed, t->normed.p, t->ops->work);
	t->ops->pack(t->device, t->operand, t->device_normed);
	t->ops->product(t->device, &t->operand, &t->after->head, t->device_logits, t->ops->expert_tile);
	if (t->m->logits_softcap > 0 || t->m->logits_multiplier != 1)
		workers_run(w, t->x.n, finish_row, t);
	fetch(t, t->logits, t->device_logits);
}
