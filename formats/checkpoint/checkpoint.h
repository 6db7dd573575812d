/*
 * A model on disk: config.json, and the tensors of one .safetensors file or of an index with
 * shards. Opening reads headers and a few bytes; weights are read layer by layer, straight from the
 * shards.
 *
 * Dimensions as in model.h.
 */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "model.h"

struct checkpoint;

/*
 * Opens `model`, a directory or an org/name[@revision] in the local hub cache (hub.h).  Everything
 * is checked here: every tensor that the family needs must be there, with its shape and a
 * floating-point type.  Only the output head may be missing (a base model without one).
 *
 * The fingerprint is XXH3-64, as 16 hex digits, of: the facts read from config.json (config_facts);
 * name, dtype and shape of every tensor in the files, by name; and the first 64 bytes of each
 * tensor, or, of more than 4,096 tensors, of 4,096 evenly chosen ones.  The directory's name and
 * the sharding aren't in it.
 *
 * NULL and e on any trouble.  Freed by checkpoint_close.
 */
struct checkpoint *checkpoint_open(const char *model, struct error *e) MUST_CHECK;
void checkpoint_close(struct checkpoint *c);

const struct model *checkpoint_model(const struct checkpoint *c);

/* The directory that was read. */
const char *checkpoint_path(const struct checkpoint *c);

/* -------- what there is: shapes, before any weight is read */

/* The parts of a layer, in file order, view.data NULL; *parts is the checkpoint's.  How many. */
size_t checkpoint_layer_parts(const struct checkpoint *c, size_t layer, const struct part **parts);

/* The same for what stands before and after the layers: ROLE_EMBED, ROLE_POSITION, ROLE_FINAL_NORM,
 * ROLE_HEAD. A tied head is a part of its own, ROLE_HEAD, with the embedding's tensor. */
size_t checkpoint_outer_parts(const struct checkpoint *c, const struct part **parts);

/* The one of them with that role (the bias, if `bias`), or NULL: for ROLE_HEAD, the checkpoint has
 * no head. */
const struct part *checkpoint_part(const struct checkpoint *c, enum role role, bool bias);

/* Bytes of a layer's tensors in the files, and of all tensors in the files. */
size_t checkpoint_layer_len(const struct checkpoint *c, size_t layer);
uint64_t checkpoint_len(const struct checkpoint *c);

/* -------- reading */

/* What checkpoint_read_layer reads best with: 64 MiB, less for small layers, more where a piece of
 * a tensor can't be cut smaller. */
size_t checkpoint_staging_len(const struct checkpoint *c);

/*
 * Takes a piece of a part: part->view.data is set and valid until put returns.  view.n may be less
 * than the part's own: a large tensor comes in pieces of whole output columns, part->column says
 * where they begin (pieces begin at multiples of 64 columns of the part where its storage allows).
 * 0, or -1 and e.
 */
typedef int checkpoint_put(void *context, const struct part *part, struct error *e);

/*
 * Reads a layer's tensors in file order and calls `put`, on the calling thread, for every piece of
 * every part exactly once; a fused tensor is read once and put as its several parts.  While put
 * works, threads of this call go on reading into the rest of `staging` (staging_len bytes, at least
 * checkpoint_staging_len).  Pages that weren't in the page cache before are dropped from it after
 * use if all the files together exceed half of the memory available when the checkpoint was opened.
 * Different calls may run at once with their own staging. 0; or -1 and e, put's error included.
 */
int checkpoint_read_layer(struct checkpoint *c, size_t layer, void *staging, size_t staging_len,
                          checkpoint_put *put, void *context, struct error *e) MUST_CHECK;

/* How long a piece is that is read at a time into so much staging; and the pieces of a layer, in file order, without reading
 * them: (*n), freed by the caller. */
size_t checkpoint_piece_len(size_t staging_len);
struct fetch_range;
struct fetch_range *checkpoint_layer_ranges(const struct checkpoint *c, size_t layer, size_t piece_len, size_t *n);

/*
 * From now on layers are read in step with other processes that name the same file (pace.h), up to the one before `end`: what
 * one of them reads from disk the others find in the page cache.  0, or -1 and e.
 */
int checkpoint_share(struct checkpoint *c, const char *path, size_t end, struct error *e) MUST_CHECK;

/*
 * Reads stored rows first..first+n-1 of an outer part's tensor, view.k elements of view.dtype each,
 * end to end (a vector: elements).  They must exist.  Several threads may call it at once.  0 or
 * -1.
 */
int checkpoint_read_part(struct checkpoint *c, const struct part *part, size_t first, size_t n,
                         void *to, struct error *e) MUST_CHECK;

/* An outer part's tensor mapped read-only, (view.n, view.k) of view.dtype at any address; valid
 * until checkpoint_close, and only while nobody cuts the file short.  Not for several threads at
 * once.  NULL and e. */
const void *checkpoint_map(struct checkpoint *c, const struct part *part,
                           struct error *e) MUST_CHECK;

/* Bytes of weights read so far by the two read calls. */
uint64_t checkpoint_bytes_read(const struct checkpoint *c);

#endif
