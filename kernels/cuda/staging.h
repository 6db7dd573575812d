/*
 * Between the host's memory and the device's: rings of pinned memory, so that copies run while the caller goes on.
 *
 * An inlet's piece is written by the host, and read by work that the caller puts on the inlet's stream.  An outlet's piece is
 * written by kernels, and reaches the host's memory at outlet_finish, or when its slot is needed again.
 */
#ifndef STAGING_H
#define STAGING_H

#include "arena.h"
#include "context.h"

enum { RING_SLOTS = 4 };

struct ring_slot {
	char *host, *device;    /* slot_len bytes each */
	gpu_event *done;        /* in: what reads the slot has; out: the copy to the host has arrived */
};

struct ring {
	gpu *g;
	arena *memory;
	size_t slot_len, at, filled;    /* the slot in use, and bytes of it that are */
	ring_slot slot[RING_SLOTS];
};

struct inlet {
	ring r;
	gpu_stream *stream;     /* of whatever reads a piece last */
};

/* A piece: the same bytes on either side. */
struct ring_place {
	char *host, *device;
};

int inlet_open(inlet *i, gpu *g, arena *memory, gpu_stream *stream, size_t slot_len, error *e) MUST_CHECK;
void inlet_close(inlet *i);
/* len <= slot_len bytes, 256-byte aligned; waits until the device has done with what was there.  Work on the stream that reads
 * the piece is asked for before the next call. */
ring_place inlet_room(inlet *i, size_t len);
/* Any number of bytes to the device's memory `to`, on the inlet's stream; `from` may be used again when it returns. */
void inlet_copy(inlet *i, char *to, const char *from, size_t len);

/* A piece's way to the host: n elements of type `staged`, as `dtype` to `to`. */
struct arrival {
	size_t at, n;
	enum dtype staged, dtype;
	void *to;
};

struct arrivals;

struct outlet {
	ring r;
	gpu_stream *compute, *out;
	gpu_event *written;
	arrivals *due[RING_SLOTS];
	uint64_t sent, number[RING_SLOTS];      /* slots sent off, and the number of each */
};

int outlet_open(outlet *o, gpu *g, arena *memory, gpu_stream *compute, gpu_stream *out, size_t slot_len, error *e) MUST_CHECK;
void outlet_close(outlet *o);
/* Device memory of n elements of type `staged` (slot_len bytes at most) for work on `compute` to write before the next call. */
char *outlet_room(outlet *o, size_t n, enum dtype staged, enum dtype dtype, void *to);
/* Sends off what has been written, and says how much that is; arrive waits for it, finish for everything. */
uint64_t outlet_mark(outlet *o);
void outlet_arrive(outlet *o, uint64_t mark);
void outlet_finish(outlet *o);

/* -------- rows in pieces */

/* Part of rows: whole rows where they fit, else part of one. */
struct row_piece {
	rows part;
	size_t first;           /* its first element, of all counted row by row */
};

/* The piece that begins at element *at, of at most `most` elements; moves *at on.  False: the end. */
bool next_row_piece(rows all, size_t most, size_t *at, row_piece *p);

#endif
