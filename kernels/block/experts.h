/*
 * A mixture of experts over a batch: rows are gathered by expert, each expert runs with its own rows only,
 * and what it gives is added back in ascending expert, so that the sum doesn't depend on the batch.
 */
#ifndef EXPERTS_H
#define EXPERTS_H

#include "block.h"

struct experts;

/* Memory for batches of max_rows rows.  NULL and e if there isn't any. */
struct experts *experts_open(const struct ops *ops, struct device *d, const struct model *m, struct workers *w,
                             size_t max_rows, struct error *e) MUST_CHECK;
size_t experts_len(const struct ops *ops, struct device *d, const struct model *m, size_t n_slots, size_t max_rows);
void experts_close(struct experts *x);

/* Before a layer: n_rows of the batch. */
void experts_begin(struct experts *x, size_t n_rows);

/* Chooses experts for rows first..first+logits.n-1 from their router's logits (n, E).  By tile. */
void experts_route(struct experts *x, struct rows logits, size_t first);

/* Their weights for rows first..first+n-1: (n, k), changeable before experts_sort. */
struct rows experts_weights(const struct experts *x, size_t first, size_t n);

/* Copies their ids for these rows to rows first.. of all (T, k). */
void experts_read_ids(const struct experts *x, size_t first, size_t n, int32_t *all);

/* When all rows have theirs: which experts have which rows.  -1: the device broke. */
int experts_sort(struct experts *x, struct error *e) MUST_CHECK;

/* Runs the chosen experts of layer l on the batch's normed rows `a` (T, H).  keep: what each gave, (T, k, H) in the order of
 * ids, or NULL.  The floating-point operations of the products. */
double experts_run(struct experts *x, const struct layer *l, const struct operand *a, void *keep);

/* Takes the sum over experts anew from what each gave, (T, k, H) in the order of ids: the same bits if that is unchanged. */
void experts_sum(struct experts *x, const void *given);

/* The sum over experts for rows first..first+n-1: (n, H). */
struct rows experts_out(const struct experts *x, size_t first, size_t n);

#endif
