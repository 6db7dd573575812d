/*
 * POOL: many rows of a sample into one.  last, first, mean[:N], max[:N], pos:N, span[:mean|last|first|max].
 * Sums are in double, in the order of positions, so the same rows give the same bits however they are framed.
 */
#ifndef POOLING_H
#define POOLING_H

#include <stddef.h>
#include <stdint.h>

#include "dtype.h"
#include "frame.h"
#include "error.h"

enum pool_kind { POOL_NONE, POOL_LAST, POOL_FIRST, POOL_MEAN, POOL_MAX, POOL_POS, POOL_SPAN };

struct pool {
	enum pool_kind kind;
	enum pool_kind over;    /* of POOL_SPAN: MEAN, LAST, FIRST or MAX of the span's positions */
	int64_t n;              /* mean, max: positions skipped; pos: the position, negative from the end */
};

int pool_parse(struct pool *p, const char *text, struct error *e) MUST_CHECK;

/* POOL as the frame's `pool` spells it, in its shortest form ("mean", "mean:1", "pos:-2"). */
void pool_text(const struct pool *p, char text[32]);

/* Whether the row at a position of the sample goes into the pooled row: others need not be computed. */
int pool_wants(const struct pool *p, const struct sample *s, uint32_t position);

/* The range of positions first..first+n-1 that the pooled row is made of, from its first to its last; n = 0: there is
 * no row (an empty sample, no span, a mean that skips everything).  A position outside the sample is an error (pos:N). */
int pool_range(const struct pool *p, const struct sample *s, uint32_t *first, uint32_t *n, struct error *e) MUST_CHECK;

/*
 * The next run of positions that go into the pooled row, at or after *at and before `end`, and *at behind it.
 * 1; 0: none is left; -1 and e: pool_range's error.
 */
int pool_next_run(const struct pool *p, const struct sample *s, uint32_t *at, uint32_t end, struct span *run,
                  struct error *e) MUST_CHECK;

/* Whether the pooled row is the largest of its rows; else it is their sum, to be divided for a mean. */
bool pool_largest(const struct pool *p);

/*
 * Pools streams of frames sample by sample.  A sample's rows may arrive over several frames; its pooled row is
 * complete with the frame in which its last position (len - 1) has come.  Sums and means of spans take each
 * position once, also where spans overlap.  The largest of values among which is a NaN is NaN.
 */
struct pooler;
struct pooler *pooler_open(const struct pool *p);
/* Pools f's rows (f32, f64, bf16, f16; f itself unchanged).  *out receives a frame of one row a sample, in f32 (f64 from f64),
 * for those samples that ended in f, or NULL if none ended; the caller's.  Rows of one (site, layer, variant) must come
 * in order; several such sequences may interleave.  0 or -1. */
int pooler_add(struct pooler *p, const struct frame *f, struct frame **out, struct error *e) MUST_CHECK;
/*
 * The same where somebody else has pooled f's rows; f->rows isn't read.  sums: for each of f's samples that has rows here, in
 * order, (width) what the sample's rows have come to, with those of frames before f: their sum, largest or the one row.  NULL where
 * the pool wants none of its positions here.
 */
int pooler_put(struct pooler *p, const struct frame *f, const double *const *sums, struct frame **out,
               struct error *e) MUST_CHECK;
/* What the rows of sample s have come to in the frames before f: (width), or NULL where none has been pooled. */
const double *pooler_sum(const struct pooler *p, const struct frame *f, const struct sample *s);
/* After the last frame.  0, or -1 and e: a sample's last positions never came. */
int pooler_end(const struct pooler *p, struct error *e) MUST_CHECK;
void pooler_close(struct pooler *p);

#endif
