/* Tensors cut into pieces of whole output columns, and the parts that lie in each piece. */
#ifndef PIECES_H
#define PIECES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"

struct piece {
	const struct tensor *tensor;
	uint64_t at, len;       /* bytes of the tensor */
	size_t first_part, n_parts; /* the parts of the tensor, among the layer's */
};

/* The smallest cut of any tensor of these parts, in bytes: a piece is a multiple of it. */
size_t pieces_unit_max(const struct layout_parts *p);

/* Cuts all tensors of the parts in order into pieces of at most max bytes (one unit, where that is
 * more). *n receives their number; the caller frees them. */
struct piece *pieces_cut(const struct layout_parts *p, size_t max, size_t *n);

/* What of a part lies in the piece, whose bytes are at `bytes`: written to *out with its column and
 * view.  false: nothing. */
bool piece_part(const struct piece *piece, const struct part *part, const void *bytes,
                struct part *out);

#endif
