/*
 * Inside the taps: what they ask for (tap_plan.c), for the rows that come (tap.c).
 */
#ifndef TAP_PLAN_H
#define TAP_PLAN_H

#include "pooling.h"
#include "tap.h"

struct stream {                 /* one FILE */
	char *target;
	struct tms_writer *writer;
};

struct tap {
	struct selection selection;
	bool *layers;           /* (n_layers) */
	struct pool pool;       /* kind POOL_NONE: every row */
	size_t pool_index;      /* of taps' pools */
	char pool_text[32];
	struct stream *stream;
};

struct taps {
	const struct model *m;
	struct tap *taps;
	size_t n_taps;
	struct pool *pools;             /* each once */
	size_t n_pools;
	struct stream *streams;
	size_t n_streams;
	enum dtype dtype;
	struct tms_header header;
	struct lane *lanes;             /* layers in flight, in order; lanes[0] writes through */
	size_t n_lanes, lane_capacity;
};

/* One tap's one site in one layer, while the layer's rows come in. */
struct cell {
	struct tap *tap;
	enum site site;
	size_t dim[FRAME_DIMS], width;  /* of a row; for scores, of the piece's sample */
	int n_dims;
	enum dtype dtype;
	/* rows as they are: the piece that is being filled */
	struct frame_cursor cursor;
	struct frame piece;
	size_t due, have;               /* rows of it */
	void *rows;
	size_t rows_capacity;
	/* pooled: what of this frame has ended */
	struct pooler *pooler;
	struct frame *pooled;
};

/* Frames of layers behind the one that is written at present wait here; only --hold has any. */
struct lane {
	int layer;
	struct cell *cells;             /* by site, then by tap */
	size_t n_cells;
	struct spill **waiting;         /* (n_streams); NULL: none */
};

/* Whether the tap reads the site in that layer; -1: outside the block. */
bool tap_reads(const struct tap *tap, const struct model *m, enum site s, int layer);

/* The streams' header: kind acts, the model's name and fingerprint, the rest as `from` has it. */
void taps_take_header(struct taps *t, const struct tms_header *from);

/* What the lane holds, but not its place in t->lanes. */
void tap_lane_release(struct taps *t, struct lane *lane);

/* Whether nobody takes what it reads any more. */
bool tap_ended(const struct tap *tap);

/* -------- tap_cell.c: how rows are framed */

/* t->dtype and t->m are borrowed. */
void tap_cell_open(struct cell *c, const struct taps *t, struct tap *tap, enum site s);
void tap_cell_release(struct cell *c);

/* The type of its rows: `work` if none was asked for. */
enum dtype tap_cell_dtype(const struct cell *c, enum dtype work);
/* Elements of one row. */
size_t tap_cell_width(const struct cell *c);

/* Before the first piece of a frame. */
void tap_cell_begin(struct cell *c);
/*
 * The next piece of `like`, c->piece: as frame_cut says, and for scores the rows of one sample, whose length is a dimension.
 * 1, or 0 when all of the frame has been given.
 */
int tap_next_piece(struct cell *c, const struct frame *like, enum dtype dtype);

/* Site, layer, type and shape of a frame of the cell's rows, and the variant of `like`. */
void tap_describe(struct frame *f, const struct cell *c, int layer, const struct frame *like, enum dtype dtype);

#endif
