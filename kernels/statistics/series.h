/*
 * Rows sorted by where they come from: each (site, layer, variant) of a stream is a series with a scatter of its own.  Rows wait
 * until a block is full, so that where sums are cut depends on their number in the series alone, not on frames.
 */
#ifndef SERIES_H
#define SERIES_H

#include <stddef.h>
#include <stdint.h>

#include "frame.h"
#include "scatter.h"
#include "vectors.h"
#include "workers.h"

struct series {
	struct place place;
	size_t width;
	enum dtype dtype;
	struct scatter *scatter;        /* NULL once it was given away */
	struct {
		char *rows;
		size_t n, capacity;
	} waiting[SCATTER_CLASSES];
	uint64_t len;                   /* bytes of all this */
};

struct series_set {
	/* the caller's to set, the rest zero */
	struct scatter_kind kind;
	struct workers *workers;
	/* The class of a sample's rows: 0..n_classes-1; n_classes: none, they are left out; -1 and e.  NULL: all are class 0. */
	int (*class_of)(void *context, const struct sample *s, struct error *e);
	void *context;

	struct scatter_work *work;
	struct series **at;             /* (n) */
	size_t n, capacity;
	uint64_t room, taken;           /* bytes there were at first, and that the series take */
};

/*
 * Adds a frame's rows.  Refused: integers, named arrays, rows that change their width or type, NaN and infinities (with their
 * sample), and more memory than there is (with the number).
 */
int series_add(struct series_set *set, const struct frame *f, struct error *e) MUST_CHECK;

/* Puts the series whose layer comes before `layer` (-1: all) in order at the front and adds what rows wait.  Their number in *n. */
int series_end(struct series_set *set, int layer, size_t *n, struct error *e) MUST_CHECK;

/* Frees the first n. */
void series_drop(struct series_set *set, size_t n);
void series_release(struct series_set *set);

/* "what needs N GB, and M GB are free, ..."; returns -1. */
int series_no_room(struct error *e, const char *what, uint64_t need, uint64_t room);

#endif
