/* What tdiff compares, tensor by tensor or site by site, and what it says about it. */
#ifndef DIFF_H
#define DIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comparison.h"
#include "dtype.h"
#include "error.h"
#include "site.h"

enum diff_status {
	DIFF_SAME,              /* bit for bit */
	DIFF_CLOSE,             /* within the tolerances */
	DIFF_DIFFERS,
	DIFF_TRANSPOSED,        /* B has A's transpose; the numbers are of that comparison */
	DIFF_SHAPE,             /* of shapes that can't be compared value by value, or at least not the same ones */
	DIFF_TYPE,              /* of types that can't be compared */
	DIFF_MISSING_IN_B,
	DIFF_MISSING_IN_A
};

struct diff_item {
	char *name;             /* "model.norm.weight", or "q", or "mean.diff"; owned */
	char *variant;          /* its name; owned; NULL: none */
	enum site site;
	int layer;              /* -1: none */
	uint64_t rank;          /* its place in the forward pass */
	bool there[2];          /* in A, in B */
	char type[2][16], shape[2][96]; /* of the tensor, or of a row; "" where there is none */
	bool opaque;            /* no numbers: bytes were compared */
	bool rows;              /* rows of samples */
	bool shapes_differ, types_differ, transposed;
	uint64_t only[2];       /* rows that the other doesn't have */
	uint64_t other_tokens, other_labels; /* samples whose token ids, or labels, aren't the same */
	struct comparison found;
};

struct diff_list {
	struct diff_item **item; /* (n) */
	size_t n, capacity;
	char *facts;            /* how the two config.json differ: "rotary theta: 1 in A, 2 in B" lines; owned; NULL: they don't */
	char *hint;             /* what the first difference looks like; owned; NULL: nothing that is known */
	char *models;           /* "A is of model x (0123), B of y (4567)"; owned; NULL: of one, or not said */
};

struct diff_item *diff_add(struct diff_list *l, const char *name);
enum diff_status diff_status(const struct diff_item *d);
const char *diff_status_name(enum diff_status s);
bool diff_is_different(const struct diff_item *d);
/* Anything differs: an item, or the configs. */
bool diff_any(const struct diff_list *l);

/* For an item at the heads of attention whose shapes differ: a sentence, the caller's; else NULL. */
char *diff_shape_hint(const struct diff_item *d);

/* By the forward pass, then by name and variant. */
void diff_order(struct diff_list *l);
/* The first that differs, in the list's present order; NULL. */
const struct diff_item *diff_first(const struct diff_list *l);

/* Layers joined: one item a name, with "*" for the layer.  The list is in the order of the forward pass. */
void diff_join_layers(struct diff_list *l);

/* By a field of the table, the most different first: name, cosine, max, rms, relative, differ, n.  0, or -1 and e. */
int diff_sort(struct diff_list *l, const char *field, struct error *e) MUST_CHECK;

void diff_release(struct diff_list *l);

enum diff_format { DIFF_TEXT, DIFF_TSV, DIFF_JSON };

/*
 * Writes the report to path (as output_open's): text has the items that differ (all of them with `all`), TSV and JSON
 * lines every item.  first: the first that differs in the forward pass.  0 or -1.
 */
int diff_report(const char *path, const struct diff_list *l, const struct diff_item *first, enum diff_format format,
                bool all, struct error *e) MUST_CHECK;

#endif
