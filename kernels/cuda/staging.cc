#include "staging.h"

#include <algorithm>
#include <string.h>
#include <vector>

enum { PIECE_ALIGNMENT = 256 };

static size_t padded(size_t len)
{
	return (len + PIECE_ALIGNMENT - 1) / PIECE_ALIGNMENT * PIECE_ALIGNMENT;
}

/* -------- rings */

static int ring_open(ring *r, gpu *g, arena *memory, size_t slot_len, error *e)
{
	*r = {};
	r->g = g;
	r->memory = memory;
	r->slot_len = slot_len;
	for (ring_slot &s : r->slot) {
		s.host = static_cast<char *>(gpu_pin(g, slot_len));
		s.device = static_cast<char *>(arena_take(memory, slot_len));
		s.done = gpu_event_open(g);
		if (!s.host || !s.device || !s.done)
			return error_set(e, "CUDA: no memory to stage copies in (%d times %zu bytes, pinned and on the device)", RING_SLOTS,
			                 slot_len);
	}
	return 0;
}

static void ring_close(ring *r)
{
	for (ring_slot &s : r->slot) {
		gpu_unpin(r->g, s.host);
		gpu_event_close(s.done);
		if (s.device)
			arena_give(r->memory, s.device);
	}
}

static bool ring_has_room(const ring *r, size_t len)
{
	return r->filled + len <= r->slot_len;
}

static ring_place ring_place_take(ring *r, size_t len)
{
	const ring_slot &s = r->slot[r->at];
	const ring_place p = { s.host + r->filled, s.device + r->filled };
	r->filled += padded(len);
	return p;
}

static void ring_turn(ring *r)
{
	r->at = (r->at + 1) % RING_SLOTS;
	r->filled = 0;
}

/* -------- in */

int inlet_open(inlet *i, gpu *g, arena *memory, gpu_stream *stream, size_t slot_len, error *e)
{
	i->stream = stream;
	return ring_open(&i->r, g, memory, slot_len, e);
}

void inlet_close(inlet *i)
{
	ring_close(&i->r);
}

ring_place inlet_room(inlet *i, size_t len)
{
	ring *r = &i->r;
	if (!ring_has_room(r, len)) {
		gpu_record(r->slot[r->at].done, i->stream);
		ring_turn(r);
		gpu_event_wait(r->slot[r->at].done);
	}
	return ring_place_take(r, len);
}

void inlet_copy(inlet *in, char *to, const char *from, size_t len)
{
	for (size_t at = 0, n; at < len; at += n) {
		n = std::min(len - at, in->r.slot_len);
		const ring_place p = inlet_room(in, n);
		memcpy(p.host, from + at, n);
		gpu_copy_in(in->stream, to + at, p.host, n);
	}
}

/* -------- out */

struct arrivals {
	std::vector<arrival> list;
};

int outlet_open(outlet *o, gpu *g, arena *memory, gpu_stream *compute, gpu_stream *out, size_t slot_len, error *e)
{
	o->compute = compute;
	o->out = out;
	for (arrivals *&due : o->due)
		due = new arrivals;
	o->written = gpu_event_open(g);
	if (ring_open(&o->r, g, memory, slot_len, e) < 0)
		return -1;
	/* A slot goes to the host as a whole, with the gaps between its pieces. */
	for (const ring_slot &s : o->r.slot)
		gpu_fill(compute, s.device, slot_len);
	return 0;
}

void outlet_close(outlet *o)
{
	gpu_event_close(o->written);
	for (arrivals *due : o->due)
		delete due;
	ring_close(&o->r);
}

/* The slot in use is full enough: off it goes. */
static void send(outlet *o)
{
	const ring_slot &s = o->r.slot[o->r.at];
	if (o->r.filled == 0)
		return;
	gpu_record(o->written, o->compute);
	gpu_stream_wait(o->out, o->written);
	gpu_copy_out(o->out, s.host, s.device, o->r.filled);
	gpu_record(s.done, o->out);
	o->number[o->r.at] = o->sent++;
	ring_turn(&o->r);
}

static void receive(outlet *o, size_t slot)
{
	const ring_slot &s = o->r.slot[slot];
	std::vector<arrival> *due = &o->due[slot]->list;
	if (due->empty())
		return;
	gpu_event_wait(s.done);
	for (const arrival &a : *due)
		dtype_convert(a.to, a.dtype, s.host + a.at, a.staged, a.n);
	due->clear();
}

char *outlet_room(outlet *o, size_t n, enum dtype staged, enum dtype dtype, void *to)
{
	const size_t len = n * dtype_size(staged);
	if (!ring_has_room(&o->r, len))
		send(o);
	if (o->r.filled == 0)
		receive(o, o->r.at);
	o->due[o->r.at]->list.push_back({ o->r.filled, n, staged, dtype, to });
	return ring_place_take(&o->r, len).device;
}

uint64_t outlet_mark(outlet *o)
{
	send(o);
	return o->sent;
}

/* From the oldest slot on: later stores to the same memory win.  The slot in use hasn't been sent, whatever number it had last. */
void outlet_arrive(outlet *o, uint64_t mark)
{
	for (size_t i = 0; i < RING_SLOTS; i++) {
		const size_t slot = (o->r.at + i) % RING_SLOTS;
		const bool filling = slot == o->r.at && o->r.filled;
		if (!filling && o->number[slot] < mark)
			receive(o, slot);
	}
}

void outlet_finish(outlet *o)
{
	outlet_arrive(o, outlet_mark(o));
}

/* -------- rows in pieces */

bool next_row_piece(rows all, size_t most, size_t *at, row_piece *p)
{
	if (*at >= all.n * all.width)
		return false;
	const size_t r = *at / all.width, column = *at % all.width;
	const size_t n = column == 0 && all.width <= most ? std::min(all.n - r, most / all.width) : 1;
	const size_t width = all.width <= most ? all.width : std::min(all.width - column, most);
	p->first = *at;
	p->part = { static_cast<float *>(all.p) + r * all.stride + column, n, width, all.stride };
	*at += n * width;
	return true;
}
