/*
 * Inside the block: what its steps (block.c) and its views of rows and sites (block_tile.c) share.
 */
#ifndef BLOCK_TILE_H
#define BLOCK_TILE_H

#include "block.h"
#include "block_memory.h"
#include "frame.h"
#include "rotary.h"

struct stopwatch {              /* of one thread */
	double seconds[TIMER_COUNT], flops;
};

struct block {
	const struct ops *ops;
	struct device *device;
	const struct model *m;
	struct workers *workers;
	size_t max_rows, tile_rows;
	bool barriers, timed;
	struct block_memory memory;
	struct stopwatch *watches;              /* (threads) */
	struct rotary_tables *tables[MODEL_ROTARIES];
	struct rotary_table *segment_table;     /* (segments of this batch) */
	size_t segment_capacity;
	struct experts *experts;
	void *kept[2];                          /* scores and probs of plain attention, segment by segment */
	void *dense;                            /* (T, width): a site on its way through a filter */
	size_t dense_len;
	char *patched;                          /* a tile's rows on the host while they are patched, where the device has its own memory */
	size_t patched_len;
	void *device_scores;                    /* attention scores in the plain, where the device has its own memory */
	size_t device_scores_len;
	/* this run */
	const struct layer *layer;
	struct batch *batch;
	const struct sites *sites;
	enum dtype resid;
	size_t first_step, end_step;
};

struct tile {
	struct block *b;
	const struct tile_memory *memory;
	struct stopwatch *watch;
	size_t first, n;        /* rows of the batch */
};

/* What is asked of the device from here on is of that kind, TIMER_COUNT: of none. */
void block_lap(const struct block *b, enum timer kind);

size_t block_n_tiles(const struct block *b, size_t n_rows);
/* Tile i, in the hands of the thread `slot`. */
struct tile block_tile(struct block *b, size_t i, size_t slot);

/* b->dense of at least len bytes.  -1 and e. */
int block_take_dense(struct block *b, size_t len, struct error *e) MUST_CHECK;

/* Part of a tile that lies in one segment. */
struct run {
	const struct segment *segment;
	const struct rotary_table *table;
	size_t skip, n;         /* rows of the tile */
	size_t position;        /* of the first */
};

/* The tile's next run; *segment begins at 0 and moves on. */
bool next_run(const struct tile *t, size_t *segment, struct run *r);

/* Rows skip..skip+n-1 of rows. */
struct rows some_rows(struct rows rows, size_t skip, size_t n, const struct tile *t);
struct rows x_rows(const struct tile *t);
struct rows buffer_rows(const struct tile *t, enum buffer which);
/* What the MLP, or its experts, add to the stream. */
struct rows mlp_rows(const struct tile *t);
/* A run's rows among its sample's keys or values. */
struct rows key_rows(const struct tile *t, const struct run *r, void *base);
/* A site's rows of this tile; only k_rot's lie with their samples and are walked by next_run. */
struct rows site_rows(const struct tile *t, enum site site);

struct operand tile_operand(const struct tile *t, void *p, const struct weight *w);
/* The tile's rows of an operand that spans the batch. */
struct operand batch_operand(const struct tile *t, void *p, const struct weight *w);

bool has_experts(const struct block *b);

/* Whether anything reads, patches or filters the site in this layer. */
bool site_wanted(const struct block *b, enum site s);

/* After the step that made it: patched, and read unless a filter has still to answer. */
void at_site(const struct tile *t, enum site site);

/* Between a site's rows of this tile and a dense (T, width): the host's, or the device's of what is put aside. */
enum direction { OUT, IN, ASIDE };
void copy_site(const struct tile *t, enum site site, void *dense, enum direction direction);

/* -------- block_plain.c */

/* Whether this layer's attention runs unfused: something changes scores, or it was asked for. */
bool block_plain(const struct block *b);

/* out (T, A D) = attention of q, with the sites attn_scores and attn_probs on the way.  0, or -1. */
int block_attend_plain(struct block *b, const struct attention *a, struct rows q, struct rows out, struct error *e);

/* Scores or (probs) probabilities of rows i0..i0+n-1 of a segment to `to` (n, A, len), on the host. */
void block_plain_scores(struct block *b, const struct attention *a, const struct segment *s, struct rows q, size_t i0, size_t n,
                        bool probs, void *to);

/* Bytes of scores that the device holds at a time, of up to so many rows of samples of up to len tokens. */
size_t block_scores_most(const struct ops *ops, const struct model *m, size_t n_rows, size_t len);

/* What block_scores gives after plain attention. */
void block_kept_scores(const struct block *b, const struct segment *s, size_t i0, size_t n, bool probs, void *to);

#endif
