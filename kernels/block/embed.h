/*
 * Token and position embedding: ids to the rows that enter layer 0.
 */
#ifndef EMBED_H
#define EMBED_H

#include <stdint.h>

#include "dtype.h"
#include "model.h"

struct embed {
	const struct model *m;
	const void *table;              /* (V, H) of table_dtype, at any address */
	enum dtype table_dtype;
	const void *positions;          /* (context, H) of positions_dtype, or NULL */
	enum dtype positions_dtype;
	double *row;                    /* (2 H) scratch; embed_rows' own */
};

/* The type in which rows leave: the table's where they are copied unchanged, else f32. */
enum dtype embed_dtype(const struct embed *x);

/*
 * rows (n, H) of `dtype`: row i = table[ids[i]] * m->embed_multiplier + positions[first + i], computed in double and
 * rounded once.  Every id is below V and, with a position table, first + n is at most its length.
 */
void embed_rows(const struct embed *x, const uint32_t *ids, uint32_t first, size_t n, void *rows, enum dtype dtype);

#endif
