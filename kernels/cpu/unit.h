/*
 * The vectorised loops of the cpu back end.  They are written once (vec_*.h) over a few primitives
 * and compiled once a processor unit (generic.c, x86_avx2.c, x86_avx512.c); struct unit is what
 * comes out.
 *
 * Every function works on one row, or on rows that do not meet: what is computed for a row never
 * depends on the other rows of a call, and in what order its numbers are added depends on its
 * length alone.
 */
#ifndef UNIT_H
#define UNIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dtype.h"
#include "error.h"
#include "model.h"

/*
 * Where rows of results go: floats, or bf16 where h is set.  Rows of floats may be woven: of so many rows, `lanes` numbers of
 * each lie side by side, then the next ones, and the next rows begin `woven` strides later.
 */
struct sinks {
	float *f;
	uint16_t *h;
	size_t stride;
	size_t woven, lanes;    /* woven 1: no */
};

/* A row of them, from column `first` on. */
struct sink {
	float *f;               /* the row's first number */
	uint16_t *h;
	size_t first;
	size_t woven;           /* 0 is 1; the lanes are the unit's */
};

static inline struct sink sink_row(const struct sinks *s, size_t r)
{
	const size_t at = (r - r % s->woven) * s->stride + r % s->woven * s->lanes;

	return (struct sink){ s->f ? s->f + at : NULL, s->h ? s->h + at : NULL, 0, s->woven };
}

struct norm_row {
	enum norm_kind kind;
	size_t width, group;        /* of a row, and the columns that are normed together */
	const float *weight, *bias; /* (period) or NULL */
	size_t period;              /* column c takes weight[c % period] */
	float plus;                 /* added to weight */
	double eps;
};

/* What becomes of c when a product is put there. */
enum into {
	INTO_SET,      /* c = sum */
	INTO_CONTINUE, /* the running sum starts at c */
	INTO_ADD       /* c += sum */
};

/* Queries position..position+n-1 of `heads` heads that share one key/value head. */
struct attend_block {
	const float *q; /* query i, head h: q + i * q_stride + h * width */
	size_t q_stride;
	const float *k, *v; /* key j: k + j * kv_stride */
	size_t kv_stride;
	size_t heads, width, position, n, window;
	double scale;
	float softcap;
	struct sinks out; /* query i, head h: row out_row + i, column out_first + h * width */
	size_t out_row, out_first;
	float *scratch; /* ATTEND_SCRATCH_LEN bytes, 64-byte aligned */
};

enum {
	/* Keys between two corrections of a softmax's maximum; blocks begin at multiples of it in
	   the sample. */
	ATTEND_KEYS = 128,
	ATTEND_SCRATCH_LEN = 4 << 20,
	/* Columns of a head at most: for a few more, the scratch memory has room for one query and one head. */
	ATTEND_WIDTH = 3840
};

/* Inputs, about, that are added up before they join the sum of a product; see partial_sum in vec_multiply.h. */
enum { PARTIAL_SUM = 256 };

/*
 * c (rows, n) = a (rows, k) times columns first..first+n-1 of a weight in panels, of which n is rounded up to lanes.  What is
 * computed for an element, and in what order, depends on k alone.
 */
struct multiply {
	/* f32, woven as the multiplier says, or bf16 where it takes that; a row of an odd k has a zero behind it where `pair`
	   is 2 */
	const void *a;
	size_t a_stride, rows, k;
	const void *b;          /* the weight's panels, from column 0 on */
	enum dtype held;        /* of b: f32, bf16 or f16 */
	size_t first, n;        /* first: a multiple of lanes */
	float *c;               /* with room for rows and n rounded up to 16 */
	size_t c_stride;
	void *scratch;          /* MULTIPLY_SCRATCH_LEN bytes, 64-byte aligned */
};

enum { MULTIPLY_SCRATCH_LEN = 512 << 10 };

/* A way to multiply, and the layout of weights for it: panels of (k / pair, panel, pair), k and n filled up with zeros. */
struct multiplier {
	size_t lanes;           /* columns that cannot be parted */
	size_t panel;           /* columns that are taken together, a multiple of lanes */
	size_t pair, k_multiple;
	size_t rows;            /* of a call at most: more would leave the second-level cache */
	size_t woven;           /* rows of the operand that are woven together, `lanes` numbers of each */
	void (*multiply)(const struct multiply *m);
};

struct unit {
	const char *name;

	/* n numbers of type held (f32, bf16, f16) as floats. */
	void (*widen)(float *to, const void *from, enum dtype held, size_t n);
	void (*narrow)(void *to, const float *from, enum dtype held, size_t n);
	void (*round)(float *x, size_t n);      /* to the nearest bf16, in place */
	void (*put)(struct sink to, const float *from, size_t n);

	/* y (width) += each of n rows of x in turn or, with `largest`, becomes the larger, NaN where either is. */
	void (*pool)(double *y, const float *x, size_t stride, size_t n, size_t width, bool largest);

	struct multiplier product;      /* of f32 operands and weights of any type */

	void (*norm)(const struct norm_row *norm, const float *x, struct sink y);
	/* y = act(gate) * up, or act(up) where gate is NULL. */
	void (*activate)(enum activation act, const float *gate, const float *up, size_t n,
	                 struct sink y);
	void (*add)(float *y, const float *x, size_t n);                 /* y += x */
	void (*add_scaled)(float *y, const float *x, float f, size_t n); /* y += f x */
	void (*scale)(float *x, float f, size_t n);                      /* x *= f */
	void (*softcap)(float *x, size_t n, float c);
	/* One head: the first 2 half columns turn, the others are copied. */
	void (*rotate)(const struct rotary *r, const float *cos, const float *sin, size_t width,
	               const float *x, float *y);

	void (*attend)(const struct attend_block *b);
	/* s[j] = q . k_j for n keys, scaled and capped as in attend. */
	void (*scores)(const struct attend_block *b, const float *q, const float *k, size_t n,
	               float *s);
	/* s = exp(s - max) / sum in place. */
	void (*softmax)(float *s, size_t n);
};

extern const struct unit unit_generic;

/* Of bf16 operands and weights: the processor's tiles, its products of pairs, and each of these in plain C. */
extern const struct multiplier multiply_amx, multiply_amx_plain, multiply_avx512_bf16, multiply_avx512_bf16_plain;
#if defined __x86_64__
extern const struct unit unit_avx2, unit_avx512;

struct x86_features {
	bool avx2;        /* with FMA and F16C */
	bool avx512;      /* F, BW, VL, DQ */
	bool bf16;        /* AVX512-BF16 */
	bool bf16_faster; /* its products are faster than f32 ones */
	bool amx;         /* tiles of bf16, which the system lets this process use */
};
struct x86_features x86_features(void);
#endif

/* What multiplies bf16 weights with bf16 operands; NULL and no oneDNN: the unit, with f32 operands. */
struct bf16_products {
	const struct multiplier *own;
	bool onednn;
	const char *name;       /* "amx": of the choice */
};

/*
 * The unit to use: the best that this processor has, or the one that the environment's ONELAYER_UNIT names, for tests:
 * generic, avx2, avx512, avx512_bf16, amx; onednn (bf16 products by it); amx_plain and avx512_bf16_plain (those kernels
 * without their instructions, everywhere).  NULL and e for a name that this processor has not.
 */
const struct unit *unit_choose(struct bf16_products *bf16, struct error *e) MUST_CHECK;

/* Query rows (queries times heads) of one attend_block at most, for a head of at most ATTEND_WIDTH columns; 1 or more. */
size_t attend_rows(size_t width);

#endif
