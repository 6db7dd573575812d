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

/* Where a row of results goes: floats, or bf16 where h is set. */
struct sink {
	float *f;
	uint16_t *h;
};

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
	struct sink out; /* query i, head h: i * out_stride + h * width */
	size_t out_stride;
	float *scratch; /* ATTEND_SCRATCH_LEN bytes, 64-byte aligned */
};

enum {
	/* Keys between two corrections of a softmax's maximum; blocks begin at multiples of it in
	   the sample. */
	ATTEND_KEYS = 128,
	ATTEND_SCRATCH_LEN = 4 << 20
};

struct unit {
	const char *name;

	/* Columns that multiply takes together; weights are packed in panels of so many
	 * (cpu_weights.c). */
	size_t panel;

	/* n numbers of type held (f32, bf16, f16) as floats. */
	void (*widen)(float *to, const void *from, enum dtype held, size_t n);
	void (*narrow)(uint16_t *bf16, const float *from, size_t n);

	/*
	 * c (rows, panel) <- a (rows, k) b (k, panel), one running sum over k for each element.  b
	 * has stride `panel`.
	 */
	void (*multiply)(const float *a, size_t a_stride, size_t rows, const float *b, float *c,
	                 size_t c_stride, size_t k, enum into into);

	void (*norm)(const struct norm_row *norm, const float *x, struct sink y);
	/* y = act(gate) * up, or act(up) where gate is NULL. */
	void (*activate)(enum activation act, const float *gate, const float *up, size_t n,
	                 struct sink y);
	void (*add)(float *y, const float *x, size_t n);                 /* y += x */
	void (*add_scaled)(float *y, const float *x, float f, size_t n); /* y += f x */
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
#if defined __x86_64__
extern const struct unit unit_avx2, unit_avx512;

struct x86_features {
	bool avx2;        /* with FMA and F16C */
	bool avx512;      /* F, BW, VL, DQ */
	bool bf16;        /* AVX512-BF16 */
	bool bf16_faster; /* its products, or AMX's, are faster than f32 ones */
};
struct x86_features x86_features(void);
#endif

/*
 * The unit to use: the best that this processor has, or the one that the environment's
 * ONELAYER_UNIT names (generic, avx2, avx512, avx512_bf16; for tests).  *bf16: bf16 weights are
 * multiplied by oneDNN with bf16 operands.  NULL and e for a name that this processor has not.
 */
const struct unit *unit_choose(bool *bf16, struct error *e) MUST_CHECK;

/* Query rows (queries times heads) of one attend_block at most, for a head width. */
size_t attend_rows(size_t width);

#endif
