/*
 * Count, mean and scatter (the sum of products of deviations from the mean) of rows, in one pass.
 *
 * Rows come in blocks.  A block's mean is subtracted from its rows, their products are summed by BLAS, and blocks are joined by
 *     S = Sa + Sb + na nb / (na + nb) d d^T,    d = mean b - mean a
 * (Chan, Golub, LeVeque 1983).  Every sum over blocks is compensated (Knuth's two-sum), so that the error does not grow with
 * the rows.  The matrix lies in panels of SCATTER_PANEL columns and its tiles are the tasks; each is computed by one thread, and
 * nothing that is computed depends on which.
 *
 * W columns, C classes.  Each class has its mean, all share one scatter: that within classes.
 */
#ifndef SCATTER_H
#define SCATTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dtype.h"
#include "error.h"
#include "workers.h"

enum { SCATTER_PANEL = 384, SCATTER_CLASSES = 2 };

struct scatter_kind {
	size_t n_classes;
	bool matrix;            /* all of S; else its diagonal */
	bool range;             /* also extremes, and norms of rows */
};

/* A value and what its roundings have lost. */
struct kept {
	double *sum, *lost;
};

struct scatter {
	struct scatter_kind kind;
	size_t width;
	uint64_t n[SCATTER_CLASSES];
	struct kept total[SCATTER_CLASSES]; /* (W) sums of the rows */
	struct kept s;                  /* tiles of S (see scatter_tile), or its diagonal (W) */
	double *min, *max;              /* (W); NULL unless range */
	double norm, norm_lost;         /* sum of the rows' lengths */
	void *memory;
};

/* Rows of a block.  From W and the kind alone: it decides where sums are cut. */
size_t scatter_block(const struct scatter_kind *kind, size_t width);

/* Bytes that scatter_open takes; SIZE_MAX if it is more than can be counted. */
size_t scatter_len(const struct scatter_kind *kind, size_t width);

/* Of no rows.  NULL and e without memory. */
struct scatter *scatter_open(const struct scatter_kind *kind, size_t width, struct error *e) MUST_CHECK;
void scatter_close(struct scatter *s);

/* Scratch memory for blocks of any width, and the products that are under way. */
struct scatter_work;
struct scatter_work *scatter_work_open(struct workers *w);
void scatter_work_close(struct scatter_work *k);

/*
 * Adds n <= scatter_block rows (n, W), finite and of a floating-point type, to a class.  The rows have been read when it
 * returns, but the sums of products are settled only by scatter_settle: until then other threads work at them.
 * 0, or -1 and e without memory.
 */
int scatter_add(struct scatter *s, struct scatter_work *k, size_t class, const void *rows, enum dtype type, size_t n,
                struct error *e) MUST_CHECK;

/* Waits until all that was added is in the scatters. */
void scatter_settle(struct scatter_work *k);

/* Adds the rows that another has seen; same kind and width. */
void scatter_join(struct scatter *to, const struct scatter *from);

/* (W) */
void scatter_mean(const struct scatter *s, size_t class, double *mean);
void scatter_diagonal(const struct scatter *s, double *diagonal);

/*
 * 0, or -1 and e if the values are so large that a mean, a variance or a row's length is none that double precision can hold.
 */
int scatter_check(const struct scatter *s, struct error *e) MUST_CHECK;

/* Rows of all classes. */
uint64_t scatter_rows(const struct scatter *s);

/* The lower triangle of S to a (W, W). */
void scatter_square(const struct scatter *s, double *a);

/* u^T S u for u (W). */
double scatter_along(const struct scatter *s, const double *u);

/*
 * For a state: the lower triangle's rows SCATTER_PANEL * panel and on, row i with its i + 1 numbers, end to end.  Their number;
 * the rows are written to `to` (NULL: only counted), or read from there.
 */
size_t scatter_n_panels(const struct scatter *s);
size_t scatter_panel(const struct scatter *s, size_t panel, double *to);
void scatter_take_panel(struct scatter *s, size_t panel, const double *from);

/* The first element that is NaN or infinite among n; n if there is none. */
size_t scatter_not_finite(const void *values, enum dtype type, size_t n);

#endif
