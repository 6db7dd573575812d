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

/* Whether the tap reads the site in that layer; -1: outside the block. */
bool tap_reads(const struct tap *tap, const struct model *m, enum site s, int layer);

/* Whether nobody takes what it reads any more. */
bool tap_ended(const struct tap *tap);

#endif
