#include "head_weights.h"

#include "head_tile.h"
#include "progress.h"

struct room {
	const struct ops *ops;
	struct device *device;
	const struct model *m;
	struct layer_len len;
	size_t n_heads;
	bool logits;
};

/* Of the device, beside the weights. */
static size_t beside(const struct room *r, size_t tile)
{
	return r->len.vectors + r->n_heads * head_tile_len(r->ops, r->device, r->m, r->logits, tile);
}

static int check(const struct room *r, size_t weights, size_t tile, struct error *e)
{
	return r->ops->check_room(r->device, weights + beside(r, tile), "the output head and a tile of rows", e);
}

/* Bytes of a window, and the tile's rows.  0: the weights fit the device.  -1: not even the smallest window does. */
static int find_window(const struct room *r, size_t *tile, size_t *window, struct error *e)
{
	const struct ops *ops = r->ops;
	struct error full;
	*tile = ops->expert_tile;
	*window = 0;
	if (check(r, r->len.weights, *tile, e) == 0)
		return 0;
	if (!ops->window_len || !r->logits)
		return -1;
	size_t column = r->len.column, least = ops->window_len(r->device, column, 0);
	size_t usual = ops->window_len(r->device, column, ops->spare(r->device) / WINDOW_SHARE);
	size_t all = ops->window_len(r->device, column, r->len.weights);
	size_t most = HEAD_LOGITS_LEN / (r->m->vocab * dtype_size(ops->work));
	while (*tile + ops->expert_tile <= most && check(r, usual, *tile + ops->expert_tile, &full) == 0)
		*tile += ops->expert_tile;
	if (check(r, least, *tile, e) < 0)
		return -1;
	*window = ops->spare(r->device) - beside(r, *tile);
	*window = *window < all ? *window : all;
	return 0;
}

int head_weights_open(struct head_weights *h, const struct ops *ops, struct device *d, const struct model *m, const struct part *parts,
                      size_t n_parts, bool logits, size_t n_heads, struct error *e)
{
	struct room r = { ops, d, m, layer_len(ops, d, m, parts, n_parts), n_heads, logits };
	size_t window;
	*h = (struct head_weights){ .ops = ops, .device = d };
	if (find_window(&r, &h->tile, &window, e) < 0)
		return -1;
	if (window)
		progress_note("the output head, %zu MiB, lies in the host's memory and passes through %zu MiB of the device's; what doesn't fit "
		              "there is copied for each %zu rows", (r.len.weights >> 20) + 1, window >> 20, h->tile);
	if ((window && ops->open_window(d, window, r.len.column, e) < 0) ||
	    layer_memory_take(&h->memory, ops, d, r.len, window > 0, "the output head", e) < 0 ||
	    layer_init(&h->after, ops, d, m, m->n_layers, parts, n_parts, &h->memory, e) < 0) {
		head_weights_close(h);
		return -1;
	}
	return 0;
}

void head_weights_close(struct head_weights *h)
{
	if (!h->ops)
		return;
	layer_release(&h->after);
	layer_memory_give(&h->memory, h->ops, h->device);
	*h = (struct head_weights){ 0 };
}
