/*
 * Frames packed end to end into batches of a fixed number of rows, whatever the frames are.
 *
 * A frame is read when a batch has room for its first row, and leaves with the batch that has its last.
 */
#ifndef PACKING_H
#define PACKING_H

#include "block.h"
#include "frame.h"
#include "ops.h"

struct sweep;

/* A frame on its way through a pass. */
struct traveller {
	struct frame *f;        /* its rows are where they will leave; NULL while they need no room */
	enum dtype from;        /* the type they came in, */
	void *rows;             /* and as they came; NULL when they have been loaded */
	size_t total, taken;    /* rows; those that some batch has */
};

/* Rows first..first+n-1 of a frame are rows row..row+n-1 of the batch. */
struct piece {
	struct traveller *t;
	size_t first, n, row;
	bool last;              /* of the frame, which then belongs to this batch */
};

/* Batch rows of one sample of one frame. */
struct owner {
	size_t row, n;
	const struct frame *f;
	const struct sample *s;
	uint32_t first;         /* position of the first */
};

/* A batch and whose rows it has. */
struct packed {
	struct batch batch;             /* batch.x.p: (batch_rows, H) of the device's memory */
	struct piece *pieces;           /* (n_pieces) */
	struct owner *owners;           /* (n_owners), in the order of the rows */
	size_t n_pieces, n_owners, piece_capacity, owner_capacity, segment_capacity;
	uint64_t stored;                /* the device's mark after packed_store */
	struct packed *next;            /* for whoever keeps several */
};

struct packing {
	const struct sweep *s;
	size_t batch_rows;
	bool finished;                  /* the source has ended */
	bool whole;                     /* no batch has the first rows of a frame and not the last, if it has other rows */
	struct traveller *waiting;      /* a frame of which some rows are still to be packed, or NULL */
};

/* An empty batch with room for its rows.  NULL and e: the device's memory is short. */
struct packed *packed_open(const struct packing *p, struct error *e) MUST_CHECK;
/* With the frames that belong to it; NULL is allowed. */
void packed_free(const struct packing *p, struct packed *b);

/* Packs the source's next rows, in place of what the batch had: full, or the source has ended.  -1: the source failed. */
int packing_fill(struct packing *p, struct packed *b, struct error *e) MUST_CHECK;

/* Whether all rows of every frame that some batch has rows of have been packed. */
bool packing_whole(const struct packing *p);

/* The batch's rows: from the frames to the device, and from there to the frames, which have them after packed_arrive.
 * -1: memory. */
void packed_load(const struct packing *p, struct packed *b);
int packed_store(const struct packing *p, struct packed *b, struct error *e) MUST_CHECK;

void packed_arrive(const struct packing *p, const struct packed *b);

/* Forgets the rows of frames that lie wholly on the device; their room is taken again by packed_store. */
void packed_forget_rows(struct packed *b);

/* Whether every frame that begins in this batch ends in it. */
bool packed_whole(const struct packed *b);
/* Bytes of its frames' samples. */
size_t packed_meta_len(const struct packed *b);

/* Gives the frames that end in this batch to s->put, as resid_pre of layer `to`.  -1: put failed. */
int packed_give(const struct packing *p, struct packed *b, size_t to, struct error *e) MUST_CHECK;

void packing_release(struct packing *p);

#endif
