/*
 * The loading thread: fills the memory of coming layers while those before them compute.
 */
#ifndef LOADER_H
#define LOADER_H

#include "layer.h"

struct sweep;
struct loader;

/* How many layers' weights are in memory at a time: `hold` that run and those that come. */
size_t loader_n_arenas(const struct sweep *s, size_t hold);

/* Takes memory for these, `len` each, and starts to load from s->first on.  on_host: weights lie behind a window.  NULL and e. */
struct loader *loader_open(const struct sweep *s, size_t hold, struct layer_len len, bool on_host, struct error *e) MUST_CHECK;

/* Waits until all layers before `end` are loaded.  seconds receives what loading took since the last call.  0, or -1 with the
 * error of the layer that couldn't be. */
int loader_wait(struct loader *l, size_t end, double *seconds, struct error *e) MUST_CHECK;

/* A loaded layer, valid until it is released. */
const struct layer *loader_layer(const struct loader *l, size_t layer);

/* All layers before `end` are done with. */
void loader_release(struct loader *l, size_t end);

void loader_close(struct loader *l);

#endif
