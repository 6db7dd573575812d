/*
 * Directions and bases from a file: a stream of diffmean's or pca's, a .npy array, a GGUF control vector, or
 * .safetensors.  What the file is, its first bytes say.
 */
#ifndef DIRECTIONS_H
#define DIRECTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "dtype.h"
#include "error.h"
#include "frame.h"

struct direction {
	char *name;             /* "direction", "components_"; NULL: none */
	char *site;             /* NULL: the file doesn't say */
	int layer;              /* -1: none */
	size_t dim[FRAME_DIMS];
	int n_dims;
	enum dtype dtype;
	void *values;           /* (dim) little-endian */
};

struct directions {
	char *path;             /* for messages */
	struct direction *direction;
	size_t n;
	char *model, *fingerprint; /* whose they are; NULL: not known */
	char identity[17];      /* the stream's checksum, or the file's, in hexadecimal */
};

/*
 * Reads the arrays called `name`; NULL: "direction" or, without one, "components_", or the arrays that have no name.  A
 * GGUF tensor "direction.N" is a direction at resid_post of layer N, where llama.cpp adds it; a .safetensors tensor is
 * placed by its name, SITE.LAYER.NAME or blocks.LAYER.HOOK, if it is such a name.  Only a stream may come from a pipe.
 * NULL and e.
 */
struct directions *directions_open(const char *path, const char *name, struct error *e) MUST_CHECK;
void directions_close(struct directions *v);

/*
 * The one for a place of the model; resid_pre of L and resid_post of L-1 are one place.  A vector that stands alone in
 * its file is taken anywhere; *elsewhere tells that its own place is another.  NULL and e, listing those there are.
 */
const struct direction *directions_find(const struct directions *v, struct text site, int layer, bool *elsewhere,
                                  struct error *e) MUST_CHECK;

/*
 * Its values as rows of `width`, in double: one, or dim[0] of them.  set (NULL: all) picks among *n_rows; *n receives how
 * many came.  The caller's.  NULL and e: another width.
 */
size_t direction_rows(const struct direction *v, size_t width);
double *direction_values(const struct directions *of, const struct direction *v, size_t width, const bool *set, size_t *n,
                      struct error *e) MUST_CHECK;

#endif
