#include "window.h"

#include <algorithm>

#include "product.h"

enum : size_t {
	ALIGNMENT = 256,
	/* More makes products no faster. */
	SLOT_MOST = 64 << 20,
	/* Slots are this part of the window, where they may be larger than they must. */
	SLOT_SHARE = 16
};

static size_t aligned_up(size_t len)
{
	return (len + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static size_t slot_len(size_t len, size_t column_len)
{
	return std::max(aligned_up(PRODUCT_COLUMNS * column_len), std::min<size_t>(len / SLOT_SHARE, SLOT_MOST) / ALIGNMENT * ALIGNMENT);
}

size_t window_len(size_t column_len, size_t keep)
{
	keep = aligned_up(keep);
	size_t len = WINDOW_SLOTS * slot_len(0, column_len) + keep;
	for (size_t slots; slots = WINDOW_SLOTS * slot_len(len, column_len), slots + keep > len;)
		len = slots + keep;
	return len;
}

int window_open(window *w, gpu *g, arena *memory, gpu_stream *compute, size_t len, size_t column_len, error *e)
{
	char *p = static_cast<char *>(arena_take(memory, len));
	if (!p)
		return error_set(e, "CUDA: no %zu MiB of the device's memory for weights to pass through", (len >> 20) + 1);
	w->compute = compute;
	w->slot_len = slot_len(len, column_len);
	w->copies = gpu_stream_open(g);
	w->came = gpu_event_open(g);
	w->turned = gpu_event_open(g);
	for (window_slot &s : w->slot) {
		s = { p, gpu_event_open(g) };
		p += w->slot_len;
	}
	w->kept = p;
	w->kept_len = len - WINDOW_SLOTS * w->slot_len;
	return gpu_failed(g, e) ? -1 : 0;
}

void window_close(window *w, arena *memory)
{
	gpu_stream_close(w->copies);
	gpu_event_close(w->came);
	gpu_event_close(w->turned);
	for (window_slot &s : w->slot)
		gpu_event_close(s.done);
	if (w->slot_len)
		arena_give(memory, w->slot[0].p);
}

size_t window_columns(const window *w, size_t column_len)
{
	return w->slot_len / column_len / PRODUCT_COLUMNS * PRODUCT_COLUMNS;
}

/* Another layer's weights, or others in the same place. */
static void turn(window *w, const char *layer, uint64_t puts)
{
	w->layer = layer;
	w->puts = puts;
	w->places.clear();
	w->kept_filled = 0;
	gpu_record(w->turned, w->compute);
	gpu_stream_wait(w->copies, w->turned);
}

static char *place_for(window *w, const char *from, size_t len)
{
	w->in_slot = len > w->kept_len - w->kept_filled;
	if (w->in_slot) {
		w->at = (w->at + 1) % WINDOW_SLOTS;
		gpu_stream_wait(w->copies, w->slot[w->at].done);
		return w->slot[w->at].p;
	}
	char *p = w->kept + w->kept_filled;
	w->kept_filled = std::min(w->kept_len, w->kept_filled + aligned_up(len));
	w->places[from] = p;
	return p;
}

const char *window_tile(window *w, const char *layer, uint64_t puts, const char *from, size_t len)
{
	if (w->layer != layer || w->puts != puts)
		turn(w, layer, puts);
	w->in_slot = false;
	const auto stayed = w->places.find(from);
	if (stayed != w->places.end())
		return stayed->second;
	char *to = place_for(w, from, len);
	gpu_copy_in(w->copies, to, from, len);
	gpu_record(w->came, w->copies);
	gpu_stream_wait(w->compute, w->came);
	return to;
}

void window_done(window *w)
{
	if (w->in_slot)
		gpu_record(w->slot[w->at].done, w->compute);
}
