/*
 * Weights that the device has no room for: they lie in the host's memory, laid out as on the device, and pass through a window
 * of the device's memory while they are multiplied.
 *
 * A product takes its matrix by tiles of columns (multiply.cu).  A tile is copied on a stream of the window's own, which runs as
 * far ahead of the products as the window has room, so copies hide behind products where a batch has rows enough; products wait
 * for nothing but their tile.  The first tiles that a layer's products ask for stay until another layer's come: the next batch
 * finds them.  The others go through WINDOW_SLOTS slots in turn, for each batch again.  So a layer that fits is copied once, and of
 * a larger one only what the window doesn't hold is copied for each batch.
 *
 * Bits: a product's algorithm is chosen by the whole matrix (product.h), so neither the window's size nor the cut into tiles
 * changes any.
 *
 * Order, by events: a slot is filled again when the product that read it is done; what stayed is overwritten when everything
 * asked for before is.  The host's bytes are read until the products that were given them are done.
 */
#ifndef WINDOW_H
#define WINDOW_H

#include <unordered_map>

#include "arena.h"
#include "gpu.h"

enum { WINDOW_SLOTS = 3 };

struct window_slot {
	char *p;                /* slot_len bytes */
	gpu_event *done;        /* on `compute`: what reads it has */
};

struct window {
	gpu_stream *copies, *compute;
	gpu_event *came, *turned;
	size_t slot_len, at;    /* 0: no window was opened; the slot that was filled last */
	window_slot slot[WINDOW_SLOTS];
	bool in_slot;           /* the latest tile is in one */
	char *kept;             /* kept_len bytes, of which kept_filled are taken */
	size_t kept_len, kept_filled;
	std::unordered_map<const char *, char *> places;        /* of the tiles that stayed */
	const char *layer;      /* whose tiles those are: where its weights begin, and how often they were put */
	uint64_t puts;
};

/* Bytes of a window whose slots have room for PRODUCT_COLUMNS columns of at most column_len bytes each, and that keeps `keep` bytes. */
size_t window_len(size_t column_len, size_t keep);

/* Takes len bytes, at least window_len(column_len, 0), which stay taken until window_close.  -1 and e. */
int window_open(window *w, gpu *g, arena *memory, gpu_stream *compute, size_t len, size_t column_len, error *e) MUST_CHECK;
/* Before its arena and its streams.  One that was never opened is allowed. */
void window_close(window *w, arena *memory);

/* Columns of a matrix that a tile has at most: a multiple of PRODUCT_COLUMNS. */
size_t window_columns(const window *w, size_t column_len);

/* The tile's bytes on the device, for work that is put on `compute` before window_done.  layer, puts: see struct window. */
const char *window_tile(window *w, const char *layer, uint64_t puts, const char *from, size_t len);
/* That work was asked for. */
void window_done(window *w);

#endif
