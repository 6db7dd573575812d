/*
 * Sums over the samples of a stream, for each sequence of rows in it: those of one site, layer and variant.
 */
#ifndef TALLY_H
#define TALLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame.h"
#include "error.h"

/* A compensated sum in double of n terms. */
struct tally_sum {
	double sum, lost;
	uint64_t n;
};
void tally_add(struct tally_sum *s, double value, uint64_t n);
static inline double tally_value(const struct tally_sum *s)
{
	return s->sum + s->lost;
}

struct tally {                  /* one sequence */
	char *site;             /* owned; NULL: none */
	int layer, variant;
	struct tally_sum sample, total;
	/* the sample that the sequence is in the middle of */
	bool busy;
	uint64_t seq;
	uint32_t next;          /* the position due */
	char *id;               /* owned */
};

/* All zero to begin with.  Sequences stand in the order in which they were first met. */
struct tallies {
	struct tally **at;      /* (n) */
	size_t n, capacity;
};

/* The sequence that f belongs to. */
struct tally *tally_find(struct tallies *t, const struct frame *f);

/*
 * Rows of s have come.  1: the sample's last one among them (its sums in `sample` are complete until tally_next), 0: more are
 * due, -1 and e: they aren't the rows that were due.
 */
int tally_rows(struct tally *t, const struct sample *s, struct error *e) MUST_CHECK;

/* Adds the sample's sums to the total and makes room for the next sample. */
void tally_next(struct tally *t);

/* After the last frame: 0, or -1 and e when the last rows of a sample never came. */
int tallies_end(const struct tallies *t, struct error *e) MUST_CHECK;

void tallies_release(struct tallies *t);

#endif
