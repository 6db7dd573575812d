/*
 * What a sweep takes of memory: how many rows a batch has, and on a device whether layers lie there or pass through a window.
 * Shapes and what is free decide, never the data.
 */
#ifndef SHARES_H
#define SHARES_H

#include "layer.h"
#include "sweep.h"

struct shares {
	struct layer_len layer;         /* the most of any layer */
	size_t rows, tile;              /* of a batch; that a step takes at a time */
	size_t hold;                    /* layers resident at a time: s->hold, or as many as fit, or as there are */
	size_t window;                  /* bytes that weights in the host's memory pass through (ops.h); 0: they lie on the device */
	bool once;                      /* it holds a whole layer */
};

/* The sites whose rows any layer of the sweep reads or changes. */
void shares_sites(const struct sweep *s, bool any[SITE_COUNT]);

/* Bytes of one row of a site as the block leaves it; not for sites whose rows depend on the sample's length. */
size_t shares_site_row_len(const struct sweep *s, enum site site);

/* Finds the shares and takes nothing.  wanted: from shares_sites.  0, or -1: the device has too little memory, and e says what
 * would do. */
int shares_choose(const struct sweep *s, struct shares *a, const bool wanted[SITE_COUNT], struct error *e) MUST_CHECK;

/* Bytes of the device's own memory that are needed with them; 0: it has none. */
uint64_t shares_device_len(const struct sweep *s, const struct shares *a, const bool wanted[SITE_COUNT]);

/* Finds the shares, tells them, and opens the device's window where one is needed.  wanted: from shares_sites.  0, or -1: the
 * device has too little memory, and e says what would do. */
int shares_find(const struct sweep *s, struct shares *a, const bool wanted[SITE_COUNT], struct error *e) MUST_CHECK;

#endif
