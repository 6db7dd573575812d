/*
 * Taps: where a run's sites are read to.  --tap SITE[,SITE...][@LAYERS][/POOL]=FILE, any number of them; those with the same
 * FILE share one stream.  A program hands over rows as they come; taps pool them, frame them and write them.
 *
 * A tap stream runs layer by layer; within a layer by the input's frames, and within a frame by rows, sites in the
 * order of the forward pass.  It depends on nothing else: not on how many rows a call hands over.
 */
#ifndef TAP_H
#define TAP_H

#include "model.h"
#include "option.h"
#include "pooling.h"
#include "site.h"
#include "tms.h"

struct run_state;
struct taps;

/*
 * Parses and checks every selection against the model and opens the streams: kind acts, the model's name and fingerprint,
 * variants and history from `header`.  program: "layer-run".  dtype: what rows are written as; DTYPE_NONE: as they
 * are computed.  state: where a run that can be resumed has its outputs, else NULL.  NULL and e.
 */
struct taps *taps_open(const struct option_list *list, const char *program, const struct model *m,
                       const struct tms_header *header, const struct tms_step *step, enum dtype dtype,
                       struct run_state *state, struct error *e) MUST_CHECK;

/* The same without its streams: to ask what is wanted before they can be opened.  Ended by taps_abort. */
struct taps *taps_plan(const struct option_list *list, const char *program, const struct model *m,
                       struct error *e) MUST_CHECK;

/* Which sites are wanted in that layer (-1: outside the block). */
void taps_wanted(const struct taps *t, int layer, bool wanted[SITE_COUNT]);

/* The same in parts: whether somebody wants that site's rows as they are, and whether somebody wants them by a pool, one of
 * taps_n_pools that taps have between them. */
bool taps_want_rows(const struct taps *t, int layer, enum site site);
bool taps_want_pool(const struct taps *t, int layer, enum site site, size_t pool);
size_t taps_n_pools(const struct taps *t);
const struct pool *taps_pool(const struct taps *t, size_t pool);

/* The last layer that any tap names; -1: none inside the block. */
int taps_last_layer(const struct taps *t);

/* Whether any tap is there, and whether all of them ended early ("|command" that went away). */
bool taps_any(const struct taps *t);
bool taps_all_ended(const struct taps *t);

/* Rows of consecutive positions at all sites that are read. */
struct tap_rows {
	enum dtype work;                /* f32 or f64 */
	const void *at[SITE_COUNT];     /* (n, width), dense; int32_t for expert_idx; NULL: nobody wants the site's rows */
	/* attn_scores (or probs) of rows row..row+n-1 of these, all of one sample, to (n, A, len). */
	void (*scores)(void *context, size_t row, size_t n, bool probs, void *to);
	/* What a pool makes of these rows, for pooler_put; NULL: `at` has them.  May be NULL itself. */
	const double *const *(*sums)(void *context, enum site site, size_t pool);
	void *context;
};

/*
 * Rows first..first+n-1 of the input frame `like` (its samples' rows end to end), of one layer (-1: outside the block).
 * A frame's rows come in order, from 0 to its end, before the next frame's.  0 or -1.
 */
int taps_put(struct taps *t, int layer, const struct frame *like, size_t first, size_t n, const struct tap_rows *rows,
             struct error *e) MUST_CHECK;

/* What a pool has made of sample s's rows in the frames before `like`: (width), or NULL: nothing yet. */
const double *taps_sum(const struct taps *t, int layer, enum site site, size_t pool, const struct frame *like,
                       const struct sample *s);

/* All rows of that layer have come.  Layers may run side by side (--hold); they end in order. */
int taps_layer_end(struct taps *t, int layer, struct error *e) MUST_CHECK;

/* Trailers and commits; frees.  0 or -1. */
int taps_finish(struct taps *t, struct error *e) MUST_CHECK;

/* Frees; leaves nothing under the final names.  NULL is allowed. */
void taps_abort(struct taps *t);

#endif
