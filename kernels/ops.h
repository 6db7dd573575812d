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
 * Memory.  Rows, operands, weights, vectors, lists and tables lie in the device's memory: `take` gives it, load, store,
 * upload and download cross over.  Where `host` is set that is ordinary memory, which the caller may read and write between calls.
 *
 * Time.  A device may work behind the caller's back, in the order of the calls.  What `store` and `pool` write has arrived after
 * `wait`, or `wait_for` a mark that came after them; every other host memory that a call was given may be used again when it returns.
 *
 * Calls come from worker threads (workers.h), one call a thread at a time; a back end keeps scratch memory a slot.  The `put`
 * calls may come from one more thread beside them: what they put is there after its put_wait.  No call fails: memory was
 * taken at open and by whoever plans the buffers.  A device that breaks under way says so at `failed`, from the first wait
 * after that on: what arrived since the last such question is of no use.
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
	void *data;             /* weight_len bytes, the layer's arena owns it */
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

/* Rows of one sample, from a position on, and the tables that turn them. */
struct rotation {
	const void *cos, *sin;
	size_t position, n;
};

struct routing {                /* of n rows */
	int32_t *ids;           /* (n, k) chosen experts, by falling probability, ties to the lower id */
	void *weights;          /* (n, k) working type */
	size_t k;
};

/* Rows row..row+n-1, n at least 1. */
struct row_run {
	size_t row, n;
};

/* One row of many: those of runs first..first+n-1 of a list, n at least 1, one after another. */
struct pooled_row {
	size_t first, n;
	bool continues;         /* and before them what its place has already */
};

/* A product's results on their way: what it is for, so that a back end can finish it while it is in cache.  Same bits as the
 * separate operations. */
struct gate {
	enum activation act;
	bool gated;             /* the weight's columns are gate, then up: act(gate) * up; else act(up) */
	struct rows scratch;    /* (n, w->n), for back ends that finish in a second pass (see finishes) */
};

/* The columns of gate (none: p NULL) and of up in gate->scratch; size: of an element of the working type. */
static inline struct rows gate_rows(const struct gate *g)
{
	return (struct rows){ g->gated ? g->scratch.p : NULL, g->scratch.n, g->scratch.width / 2, g->scratch.stride };
}

static inline struct rows up_rows(const struct gate *g, size_t size)
{
	const size_t width = g->gated ? g->scratch.width / 2 : g->scratch.width;
	return (struct rows){ (char *)g->scratch.p + (g->gated ? width * size : 0), g->scratch.n, width, g->scratch.stride };
}

struct device_choice {
	int index;              /* of several devices; -1: the first that can be used */
	size_t memory;          /* bytes of it that may be used; 0: what is free */
};

/* Kinds of work that are timed. */
enum timer { TIMER_PRODUCT, TIMER_ATTEND, TIMER_NORM, TIMER_REST, TIMER_COUNT };

struct ops {
	const char *name;       /* "cpu" */
	enum dtype work;
	bool host;              /* the device's memory is ordinary memory */
	bool one_thread;        /* calls come from one worker: the device shares its work out itself */
	size_t row_tile;        /* rows that a product is computed for at a time; 512 on cpu */
	size_t expert_tile;     /* the same for experts and the output head; 64 on cpu */
	size_t expert_chunk;    /* rows of one expert that a call is given at most, a multiple of expert_tile */
	size_t head_most;       /* columns of a head that attend, scores and mix are given at most; 0: any number */

	/* The back end on `workers` (borrowed).  NULL and e if this machine can't. */
	struct device *(*open)(struct workers *workers, const struct device_choice *choice, struct error *e);
	void (*close)(struct device *d);

	/* `len` bytes of the device's memory for `what`, 64-byte aligned (256 on cuda).  NULL and e without.  give takes NULL. */
	void *(*take)(struct device *d, size_t len, const char *what, struct error *e);
	void (*give)(struct device *d, void *p);
	/* Before anything is taken: 0 if len bytes can be, in several pieces; -1 and e, with how much memory for `what` would do. */
	int (*check_room)(const struct device *d, size_t len, const char *what, struct error *e);
	/* Bytes that take can still give. */
	size_t (*spare)(const struct device *d);
	/* Bytes that a batch's buffers may take (block_len). */
	size_t (*batch_room)(const struct device *d);
	/* Host memory that weight_put and vector_put read from fastest, and that weights may lie in (open_window); released with
	 * free_staging. */
	void *(*take_staging)(struct device *d, size_t len, struct error *e);
	void (*free_staging)(struct device *d, void *p);
	/*
	 * For weights that don't fit into the device's memory; both NULL where that is the host's.  Behind a window, a weight's `data`
	 * (not its bias) may lie in memory of take_staging: products copy it to the device as they come to it, tile by tile, and what
	 * the window has room for stays there for further products while one such memory's weights are used.  A window of
	 * len bytes is opened once, and stays; column_len: the most bytes of a weight's column (weight_len).  -1 and e without.
	 * window_len: bytes of one that keeps `keep` bytes of weights; 0: the smallest.
	 */
	size_t (*window_len)(const struct device *d, size_t column_len, size_t keep);
	int (*open_window)(struct device *d, size_t len, size_t column_len, struct error *e);

	void (*upload)(struct device *d, void *to, const void *from, size_t len);
	void (*download)(struct device *d, void *to, const void *from, size_t len);
	void (*clear)(struct device *d, void *p, size_t len);   /* zeros */
	void (*wait)(struct device *d);
	/* A moment between calls, and the wait for what was asked before it. */
	uint64_t (*mark)(struct device *d);
	void (*wait_for)(struct device *d, uint64_t mark);
	/*
	 * The device's own stopwatch, where it works behind the caller's back; else both NULL.  From `lap` on what is asked for is of
	 * that kind, TIMER_COUNT: of none, until the next.  lap_seconds: how long the device was at each, of what was done before the
	 * latest `wait`.
	 */
	void (*lap)(struct device *d, enum timer kind);
	void (*lap_seconds)(struct device *d, double seconds[TIMER_COUNT]);
	/* Whether the device broke since it was opened, and then what it said. */
	bool (*failed)(const struct device *d, struct error *e);

	/* Processor unit and library: "avx512 avx512_bf16".  Two devices of one unit give the same bits. */
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
	/* Zeros, in the order of the puts. */
	void (*zero_put)(struct device *d, void *to, size_t len);
	void (*put_wait)(struct device *d);
	/* Bytes of an operand.  At multiples of row_tile it adds up: rows r.. of a longer operand, r a multiple of row_tile, are
	 * themselves an operand that begins operand_len(r) bytes later. */
	size_t (*operand_len)(const struct device *d, size_t n_rows, size_t k, enum dtype operand_type);

	/* Host bytes of `dtype` (n, width), end to end <-> rows.  store rounds to nearest. */
	void (*load)(struct device *d, struct rows to, const void *from, enum dtype dtype);
	void (*store)(struct device *d, void *to, enum dtype dtype, struct rows from);
	/* Rows to rows of the same width. */
	void (*copy)(struct device *d, struct rows to, struct rows from);

	/*
	 * to (n, width) f64, the host's memory: row i is the sum of the rows that list[i] names among `from` or, with `largest`, the
	 * largest of each column (a NaN among them: NaN), in double, one row after another in their order, beginning with a copy
	 * of the first.  Called once a batch; shares its work out over the workers itself.
	 */
	void (*pool)(struct device *d, bool largest, const struct pooled_row *list, size_t n, const struct row_run *runs,
	             struct rows from, double *to);

	/* Rounds rows in place to the nearest value of `dtype`. */
	void (*round)(struct device *d, struct rows rows, enum dtype dtype);

	/* Rows to operand, rounding.  to.n rows; the rest of the last tile is zeros where the layout has one. */
	void (*pack)(struct device *d, struct operand to, struct rows from);

	/*
	 * RMS:   y = x / sqrt(mean(x^2) + eps) * (w [+ 1])
	 * LAYER: y = (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) * (w [+ 1]) + b
	 * over each `group` of columns of a row (group = width: the whole row; D: by head), w and b of norm->n columns, one group or
	 * several, which then come round again.  Where to goes: rows
	 * `out` (out.p may be from.p), or, with out.p NULL, the operand `packed`.
	 */
	void (*norm)(struct device *d, const struct model *m, const struct norm *norm, size_t group, struct rows from,
	             struct rows out, struct operand packed);

	/*
	 * out (n, w->n) = a (n, w->k) w^T + bias.  Sums in f32 (f64 on ref); f32 products add partial sums over at most 512 of
	 * K.  tile is row_tile or expert_tile: what the rows of a are cut into.  Idle workers help by panels of columns.
	 */
	void (*product)(struct device *d, const struct operand *a, const struct weight *w, struct rows out, size_t tile);

	/* Whether product_add and product_act finish while results are in cache: their scratch rows may then have p NULL.
	 * NULL: never. */
	bool (*finishes)(const struct device *d);

	/* product, then into += it.  scratch (n, w->n): for back ends that finish in a second pass. */
	void (*product_add)(struct device *d, const struct operand *a, const struct weight *w, struct rows scratch,
	                    struct rows into, size_t tile);

	/* product, then activate into the operand. */
	void (*product_act)(struct device *d, const struct operand *a, const struct weight *w, const struct gate *gate,
	                    struct operand packed, size_t tile);

	/* act(gate) * up, or act(up) where gate.p is NULL, into rows `out` or, with out.p NULL, the operand. */
	void (*activate)(struct device *d, enum activation act, struct rows gate, struct rows up, struct rows out,
	                 struct operand packed);

	/* into += from; one rounding. */
	void (*add)(struct device *d, struct rows into, struct rows from);

	/* into += sigmoid(gate) * from, gate (n, 1). */
	void (*add_gated)(struct device *d, struct rows into, struct rows from, struct rows gate);

	/* x *= c in place. */
	void (*scale)(struct device *d, struct rows x, double c);

	/* x = c tanh(x / c) in place. */
	void (*softcap)(struct device *d, struct rows x, double c);

	/*
	 * Turns the first r->dims of each head (width head_width) of `from` by its row's position and writes all of the head
	 * to `to` (may be the same).  positions p0..p0+n-1 for the n rows.  cos, sin: (positions, dims/2) working type.
	 */
	void (*rotate)(struct device *d, const struct rotary *r, const void *cos, const void *sin, size_t head_width,
	               size_t p0, struct rows from, struct rows to);
	/* The same for parts[0].n rows, the parts[1].n behind them and so on, at most row_tile in all, in one call.  NULL: calls
	 * cost nothing. */
	void (*rotate_all)(struct device *d, const struct rotary *r, size_t head_width, const struct rotation *parts,
	                   size_t n_parts, struct rows from, struct rows to);

	/*
	 * ctx = softmax(scale q k^T, masked) v for every row of the segments; q (T, A D).  Query head h reads key/value head
	 * h / (A/G).  Memory linear in the sample's length.  Into rows `out` or, with out.p NULL, the operand.  Called
	 * once a batch; shares its work out over the workers itself.
	 */
	void (*attend)(struct device *d, const struct attention *a, const struct segment *segments, size_t n_segments,
	               struct rows q, struct rows out, struct operand packed);

	/*
	 * Beside attend, and in its place where something changes scores on their way.  Rows i0..i0+n-1 of one segment; x is
	 * (n, A, s->len) of the device's memory, and only places that the query sees are read or hold anything.
	 *   scores   x = scaled and capped scores, -inf elsewhere; with probs their softmax, 0 elsewhere
	 *   softmax  x = softmax of x, 0 elsewhere
	 *   mix      out row s->row + i0 + i (A D) = x v
	 */
	void (*scores)(struct device *d, const struct attention *a, const struct segment *s, struct rows q, size_t i0, size_t n,
	               bool probs, void *x);
	void (*softmax)(struct device *d, const struct attention *a, const struct segment *s, size_t i0, size_t n, void *x);
	void (*mix)(struct device *d, const struct attention *a, const struct segment *s, const void *x, size_t i0, size_t n,
	            struct rows out);

	/* ids and weights of `to`, list and factor below: the device's memory.
	 * softmax over all E logits, the k largest (ties to the lower id), renormalised or not. */
	void (*route)(struct device *d, struct rows logits, bool renormalize, struct routing to);

	/* to row i = from row list[i]. */
	void (*gather)(struct device *d, struct operand to, const struct operand *from, const uint32_t *list, size_t n);

	/* into row list[i] += factor[i] * from row i, working-type factors.  The caller calls in ascending expert. */
	void (*scatter)(struct device *d, struct rows into, struct rows from, const uint32_t *list, const void *factor,
	                size_t n);
};

static inline bool ops_finish(const struct ops *ops, const struct device *d)
{
	return ops->finishes && ops->finishes(d);
}

extern const struct ops ops_ref, ops_cpu;

#endif
