/*
 * The operation table: what a back end has to be able to do.  block.c is written once over it; ref, cpu and
 * cuda implement it.
 *
 * `work` is the type that rows are held in between products: f32, or f64 on ref.  An operand is rows as a
 * product reads them: rounded to the weight's operand type, in the back end's own layout.
 *
 * The promise of the bits: a row of a result depends on that row of the arguments and on the shapes N, K and
 * types alone.  Not on how many rows a call has, which tile-mates they are, which thread computes it, or what
 * rows of other samples hold (NaN and Inf included).
 *
 * Calls come from worker threads (workers.h), one call a thread at a time; a back end keeps scratch memory a
 * slot.  No call fails: memory was taken at open and by whoever plans the buffers.
 */
#ifndef OPS_H
#define OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dtype.h"
#include "error.h"
#include "model.h"
#include "workers.h"

struct device;          /* a back end's own */

/* n rows of `width` elements in the working type; row r begins at element r * stride. */
struct rows {
	void *p;
	size_t n, width, stride;
};

/* n rows of a product's input, k elements each, in the device's layout and the type `dtype`. */
struct operand {
	void *p;
	size_t n, k;
	enum dtype dtype;
};

/* A prepared weight: product() gives n columns from k inputs. */
struct weight {
	size_t n, k;
	enum dtype dtype;       /* of the operand that it is multiplied with */
	void *data;             /* weight_len bytes, 64-byte aligned; the layer's arena owns it */
	void *bias;             /* (n) in the working type, or NULL */
};

/* A norm's vectors, (n) in the working type each, or NULL. */
struct norm {
	void *weight, *bias;
	size_t n;
};

/* Rows of one sample in a batch: batch rows row..row+n-1 are its positions first..first+n-1. */
struct segment {
	uint64_t sample;        /* which: the caller's number for it */
	size_t row, n;
	uint32_t first;
	uint32_t len;           /* tokens of the whole sample */
	void *k, *v;            /* the sample's keys and values from position 0 on: (first + n, G D), working type, row stride
	                         * G D; those before `first` were kept from earlier batches */
};

struct attention {
	size_t n_heads, n_kv_heads, head_width;
	size_t window;          /* 0: causal only.  A key j is seen by query i iff j <= i and (window == 0 or j > i - window) */
	double scale, softcap;
};

struct routing {                /* of n rows */
	int32_t *ids;           /* (n, k) chosen experts, by falling probability, ties to the lower id */
	void *weights;          /* (n, k) working type */
	size_t k;
};

struct ops {
	const char *name;       /* "cpu" */
	enum dtype work;
	size_t row_tile;        /* rows that a product is computed for at a time; 512 on cpu */
	size_t expert_tile;     /* the same for experts and the output head; 64 on cpu */

	/* The back end on `workers` (borrowed).  NULL and e if this machine can't. */
	struct device *(*open)(struct workers *workers, struct error *e);
	void (*close)(struct device *d);
	/* Processor unit and library: "avx512_bf16 onednn-2.6.3".  Two devices of one unit give the same bits. */
	const char *(*unit)(const struct device *d);

	/* The type that weights stored as `stored` are held in, and that their operands are for.  Operands are rounded to
	 * it only where the unit multiplies that type; else weights are widened as they are used, and operands stay in the
	 * working type.  ref: f64. */
	enum dtype (*operand_type)(const struct device *d, enum dtype stored);
	size_t (*weight_len)(const struct device *d, size_t n, size_t k, enum dtype operand_type);
	/* Copies a view into columns column..column+view->n-1 of w, converting and packing.  w->n, k, dtype and data are set. */
	void (*weight_put)(struct device *d, struct weight *w, size_t column, const struct tensor_view *view);
	/* A vector view (k = 1) into (n) working-type elements. */
	void (*vector_put)(struct device *d, void *to, const struct tensor_view *view);
	/* Bytes of an operand.  At multiples of row_tile it adds up: rows r.. of a longer operand, r a multiple of row_tile, are
	 * themselves an operand that begins operand_len(r) bytes later. */
	size_t (*operand_len)(const struct device *d, size_t n_rows, size_t k, enum dtype operand_type);

	/* Host bytes of `dtype` (n, width), end to end <-> rows.  store rounds to nearest. */
	void (*load)(struct device *d, struct rows to, const void *from, enum dtype dtype);
	void (*store)(struct device *d, void *to, enum dtype dtype, struct rows from);

	/* Rounds rows in place to the nearest value of `dtype`. */
	void (*round)(struct device *d, struct rows rows, enum dtype dtype);

	/* Rows to operand, rounding.  to.n rows; the rest of the last tile is zeros where the layout has one. */
	void (*pack)(struct device *d, struct operand to, struct rows from);

	/*
	 * RMS:   y = x / sqrt(mean(x^2) + eps) * (w [+ 1])
	 * LAYER: y = (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) * (w [+ 1]) + b
	 * over each `group` of columns of a row (group = width: the whole row; D: by head, w of length D).  Where to goes: rows
	 * `out` (out.p may be from.p), or, with out.p NULL, the operand `packed`.
	 */
	void (*norm)(struct device *d, const struct model *m, const struct norm *norm, size_t group, struct rows from,
	             struct rows out, struct operand packed);

	/*
	 * out (n, w->n) = a (n, w->k) w^T + bias.  Sums in f32 (f64 on ref); f32 products add partial sums over at most 512 of
	 * K.  tile is row_tile or expert_tile: what the rows of a are cut into.  Idle workers help by panels of columns.
	 */
	void (*product)(struct device *d, const struct operand *a, const struct weight *w, struct rows out, size_t tile);

	/* Columns first..first+n-1 of the same product, for the output head: out is (rows, n). */
	void (*product_columns)(struct device *d, const struct operand *a, const struct weight *w, size_t first, size_t n,
	                        struct rows out, size_t tile);

	/* act(gate) * up, or act(up) where gate.p is NULL, into rows `out` or, with out.p NULL, the operand. */
	void (*activate)(struct device *d, enum activation act, struct rows gate, struct rows up, struct rows out,
	                 struct operand packed);

	/* into += from; one rounding. */
	void (*add)(struct device *d, struct rows into, struct rows from);

	/* x = c tanh(x / c) in place. */
	void (*softcap)(struct device *d, struct rows x, double c);

	/*
	 * Turns the first r->dims of each head (width head_width) of `from` by its row's position and writes all of the head
	 * to `to` (may be the same).  positions p0..p0+n-1 for the n rows.  cos, sin: (positions, dims/2) working type.
	 */
	void (*rotate)(struct device *d, const struct rotary *r, const void *cos, const void *sin, size_t head_width,
	               size_t p0, struct rows from, struct rows to);

	/*
	 * ctx = softmax(scale q k^T, masked) v for every row of the segments; q (T, A D).  Query head h reads key/value head
	 * h / (A/G).  Memory linear in the sample's length.  Into rows `out` or, with out.p NULL, the operand.  Called
	 * once a batch; shares its work out over the workers itself.
	 */
	void (*attend)(struct device *d, const struct attention *a, const struct segment *segments, size_t n_segments,
	               struct rows q, struct rows out, struct operand packed);

	/*
	 * Beside attend, and in its place where something changes scores on their way.  Rows i0..i0+n-1 of one segment; x is
	 * (n, A, s->len), and only places that the query sees are read or hold anything.
	 *   scores   x = scaled and capped scores, -inf elsewhere; with probs their softmax, 0 elsewhere
	 *   softmax  x = softmax of x, 0 elsewhere
	 *   mix      out row s->row + i0 + i (A D) = x v
	 */
	void (*scores)(struct device *d, const struct attention *a, const struct segment *s, struct rows q, size_t i0, size_t n,
	               bool probs, void *x);
	void (*softmax)(struct device *d, const struct attention *a, const struct segment *s, size_t i0, size_t n, void *x);
	void (*mix)(struct device *d, const struct attention *a, const struct segment *s, const void *x, size_t i0, size_t n,
	            struct rows out);

	/* softmax over all E logits, the k largest (ties to the lower id), renormalised or not. */
	void (*route)(struct device *d, struct rows logits, bool renormalize, struct routing to);

	/* to row i = from row list[i]. */
	void (*gather)(struct device *d, struct operand to, const struct operand *from, const uint32_t *list, size_t n);

	/* into row list[i] += factor[i] * from row i, working-type factors.  The caller calls in ascending expert. */
	void (*scatter)(struct device *d, struct rows into, struct rows from, const uint32_t *list, const void *factor,
	                size_t n);
};

extern const struct ops ops_ref, ops_cpu;

#endif
