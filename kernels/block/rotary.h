/*
 * Rotary position embedding: frequencies by kind, and tables of cosines and sines.
 */
#ifndef ROTARY_H
#define ROTARY_H

#include <stddef.h>

#include "dtype.h"
#include "model.h"
#include "error.h"
#include "ops.h"

/*
 * inverse (dims/2): the angle that one position adds to each pair, for a sample of len tokens (dynamic and
 * longrope depend on it); returns what cos and sin are multiplied by.  The formulas are those of Hugging
 * Face's modeling_rope_utils.py, in double.
 */
double rotary_frequencies(const struct rotary *r, size_t len, double *inverse);

/* Tables for every sample length that the rotary tells apart. */
struct rotary_tables;

struct rotary_table {
	const void *cos, *sin;  /* (positions, dims/2) in the working type, the device's memory */
};

struct rotary_tables *rotary_tables_open(const struct rotary *r, const struct ops *ops, struct device *d);

/* Bytes that the tables of samples of up to so many positions take together, as they grow. */
size_t rotary_tables_len(const struct rotary *r, const struct ops *ops, size_t positions);

/* The table for samples of len tokens, made or lengthened to at least `positions` rows if need be.  Not to be called while
 * threads read tables.  Tables given before stay valid until rotary_tables_trim.  -1: e says how much memory is short. */
int rotary_tables_get(struct rotary_tables *t, size_t len, size_t positions, struct rotary_table *table,
                      struct error *e) MUST_CHECK;

/* Between batches: forgets what the next one is unlikely to need. */
void rotary_tables_trim(struct rotary_tables *t);

void rotary_tables_close(struct rotary_tables *t);

#endif
