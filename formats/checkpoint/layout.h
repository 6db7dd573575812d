/* Where the parts of a model lie in a checkpoint's tensors, by the names of its family. */
#ifndef LAYOUT_H
#define LAYOUT_H

#include <stddef.h>

#include "config.h"
#include "error.h"
#include "model.h"
#include "tensors.h"

/* Parts in file order: the parts of one tensor follow each other. */
struct layout_parts {
	struct part *part;              /* (n), view.data NULL */
	const struct tensor **tensor;   /* (n), the one that each is in */
	size_t n;
};

struct layout {
	struct layout_parts *layer;     /* (n_layers) */
	size_t n_layers;
	struct layout_parts outer;
};

/*
 * Finds every tensor that the model needs and checks shape and type; only the head may be missing.
 * t must outlive *l. 0; or -1, e, and nothing to release.
 */
int layout_init(struct layout *l, const struct config *c, const struct model *m,
                const struct tensors *t, struct error *e) MUST_CHECK;
void layout_release(struct layout *l);

#endif
