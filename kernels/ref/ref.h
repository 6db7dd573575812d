/*
 * The reference back end: every operation of ops.h as its formula reads, in double.  It is the
 * truth that the others are measured against; where speed and clearness differ, clearness wins.
 *
 * Layouts: an operand is (n, k) doubles and a weight (n, k) doubles, both row by row.
 */
#ifndef REF_H
#define REF_H

#include "ops.h"

struct device {
	struct workers *workers;
};

/* Row r, and the same for an operand. */
static inline double *ref_row(struct rows rows, size_t r)
{
	return (double *)rows.p + r * rows.stride;
}

static inline double *ref_operand_row(const struct operand *operand, size_t r)
{
	return (double *)operand->p + r * operand->k;
}

/* Row r of wherever a result goes: the rows `out`, or the operand where out.p is NULL. */
static inline double *ref_out_row(struct rows out, struct operand packed, size_t r)
{
	return out.p ? ref_row(out, r) : ref_operand_row(&packed, r);
}

/* The entries of the table; their contracts are in ops.h. */
void ref_norm(struct device *d, const struct model *m, const struct norm *norm, size_t group,
              struct rows from, struct rows out, struct operand packed);
void ref_activate(struct device *d, enum activation act, struct rows gate, struct rows up,
                  struct rows out, struct operand packed);
void ref_add(struct device *d, struct rows into, struct rows from);
void ref_add_gated(struct device *d, struct rows into, struct rows from, struct rows gate);
void ref_scale(struct device *d, struct rows x, double c);
void ref_softcap(struct device *d, struct rows x, double c);
void ref_rotate(struct device *d, const struct rotary *r, const void *cos_table,
                const void *sin_table, size_t head_width, size_t p0, struct rows from,
                struct rows to);

void ref_product(struct device *d, const struct operand *a, const struct weight *w, struct rows out,
                 size_t tile);
void ref_product_add(struct device *d, const struct operand *a, const struct weight *w,
                     struct rows scratch, struct rows into, size_t tile);
void ref_product_act(struct device *d, const struct operand *a, const struct weight *w,
                     const struct gate *gate, struct operand packed, size_t tile);

void ref_attend(struct device *d, const struct attention *a, const struct segment *segments,
                size_t n_segments, struct rows q, struct rows out, struct operand packed);
void ref_scores(struct device *d, const struct attention *a, const struct segment *s, struct rows q,
                size_t i0, size_t n, bool probs, void *to);
void ref_softmax(struct device *d, const struct attention *a, const struct segment *s, size_t i0,
                 size_t n, void *x);
void ref_mix(struct device *d, const struct attention *a, const struct segment *s, const void *x,
             size_t i0, size_t n, struct rows out);

void ref_route(struct device *d, struct rows logits, bool renormalize, struct routing to);
void ref_gather(struct device *d, struct operand to, const struct operand *from,
                const uint32_t *list, size_t n);
void ref_scatter(struct device *d, struct rows into, struct rows from, const uint32_t *list,
                 const void *factor, size_t n);

#endif
