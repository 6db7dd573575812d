/* Where a place of the model stands in the forward pass. */
#ifndef FORWARD_H
#define FORWARD_H

#include <stdint.h>

#include "site.h"

/* Rises along the forward pass: embedding, layer by layer, final norm, head.  layer -1: none. */
uint64_t forward_of_site(enum site s, int layer);

/* The same of a checkpoint's tensor, by what names have in common ("model.layers.3.mlp.up_proj.weight"), or of an array
 * of a site's rows ("mlp_out.3").  *layer receives its layer, or -1. */
uint64_t forward_of_tensor(const char *name, int *layer);

/* The name with "*" for its layer; the caller frees it. */
char *forward_pattern(const char *name);

#endif
