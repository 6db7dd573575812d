/*
 * The cpu back end.  Rows are f32 throughout; weights stay as the checkpoint has them (bf16, f16, f32).
 *
 * Products come in two kinds.  On processors that multiply bf16 faster than f32, bf16 weights are multiplied with operands
 * rounded to bf16: in tiles where there is AMX (vec_amx.h), in pairs on AVX512-BF16 of AMD (vec_pairs.h), by oneDNN where that
 * is asked for.  All other weights are multiplied with f32 operands by the unit's own loop (vec_multiply.h), which widens them
 * on the way.
 *
 * Layouts.  Operand: rows operand_stride elements apart, woven where the multiplier says so (struct sinks).  Weight: panels
 * of multiplier->panel columns, each (k / pair, panel, pair), filled up with zeros; for oneDNN (n, k).
 */
#ifndef CPU_H
#define CPU_H

#include "onednn.h"
#include "ops.h"
#include "unit.h"

enum {
	ROW_TILE = 512,
	EXPERT_TILE = 64,
	/* Columns that are read and packed at a time. */
	PANEL = 256
};

struct slot {           /* a thread's own */
	float *scratch; /* ATTEND_SCRATCH_LEN bytes */
	void *tile;     /* tile_len bytes and 64 to align, see slot_tile */
	size_t tile_len;
};

struct device {
	struct workers *workers;
	const struct unit *unit;
	/* bf16 weights are multiplied by one of these with bf16 operands; both NULL: by the unit. */
	const struct multiplier *bf16;
	struct matmuls *matmuls;
	struct slot *slots;
	size_t n_slots;
	char name[64];
};

/* At least len bytes, 64-byte aligned, of this slot; what they held is lost.  Never NULL
 * (memory.h). */
void *slot_tile(struct device *d, size_t slot, size_t len);

/* What multiplies operands for weights of a type; NULL: oneDNN does. */
static inline const struct multiplier *multiplier_of(const struct device *d, enum dtype dtype)
{
	if (dtype == DTYPE_BF16 && (d->matmuls || d->bf16))
		return d->bf16;
	return &d->unit->product;
}

static inline bool rounds_operands(const struct device *d, enum dtype dtype)
{
	return dtype == DTYPE_BF16 && (d->matmuls || d->bf16);
}

static inline size_t operand_woven(const struct device *d, enum dtype dtype)
{
	const struct multiplier *m = multiplier_of(d, dtype);

	return m ? m->woven : 1;
}

/* Elements between rows of an operand: an odd number of cache lines, so that rows don't meet in one set, and the like for woven
 * rows, of whose tiles a partial sum takes 4 KiB each; dense for oneDNN. */
static inline size_t operand_stride(const struct device *d, size_t k, enum dtype dtype)
{
	const size_t line = operand_woven(d, dtype) > 1 ? 128 : rounds_operands(d, dtype) ? 32 : 16;

	return rounds_operands(d, dtype) && d->matmuls ? k : ((k + line - 1) / line | 1) * line;
}

static inline float *rows_at(struct rows rows, size_t r)
{
	return (float *)rows.p + r * rows.stride;
}

static inline struct sinks operand_sinks(const struct device *d, const struct operand *o)
{
	const struct multiplier *m = multiplier_of(d, o->dtype);
	const bool rounds = rounds_operands(d, o->dtype);

	return (struct sinks){ rounds ? NULL : o->p, rounds ? o->p : NULL, operand_stride(d, o->k, o->dtype),
		               operand_woven(d, o->dtype), m ? m->lanes : 1 };
}

static inline struct sink operand_at(const struct device *d, const struct operand *o, size_t r)
{
	const struct sinks s = operand_sinks(d, o);

	return sink_row(&s, r);
}

/* Wherever a result goes: the rows `out`, or the operand where out.p is NULL. */
static inline struct sinks out_sinks(const struct device *d, struct rows out, const struct operand *packed)
{
	return out.p ? (struct sinks){ out.p, NULL, out.stride, 1, 1 } : operand_sinks(d, packed);
}

static inline struct sink out_at(const struct device *d, struct rows out, const struct operand *packed, size_t r)
{
	const struct sinks s = out_sinks(d, out, packed);

	return sink_row(&s, r);
}

/* The entries of the table; their contracts are in ops.h. */
size_t cpu_weight_len(const struct device *d, size_t n, size_t k, enum dtype type);
void cpu_weight_put(struct device *d, struct weight *w, size_t column,
                    const struct tensor_view *view);
void cpu_vector_put(struct device *d, void *to, const struct tensor_view *view);

void cpu_load(struct device *d, struct rows to, const void *from, enum dtype dtype);
void cpu_store(struct device *d, void *to, enum dtype dtype, struct rows from);
void cpu_copy(struct device *d, struct rows to, struct rows from);
void cpu_pool(struct device *d, bool largest, const struct pooled_row *list, size_t n,
              const struct row_run *runs, struct rows from, double *to);
void cpu_round(struct device *d, struct rows rows, enum dtype dtype);
void cpu_pack(struct device *d, struct operand to, struct rows from);
void cpu_norm(struct device *d, const struct model *m, const struct norm *norm, size_t group,
              struct rows from, struct rows out, struct operand packed);
void cpu_activate(struct device *d, enum activation act, struct rows gate, struct rows up,
                  struct rows out, struct operand packed);
void cpu_add(struct device *d, struct rows into, struct rows from);
void cpu_add_gated(struct device *d, struct rows into, struct rows from, struct rows gate);
void cpu_scale(struct device *d, struct rows x, double c);
void cpu_softcap(struct device *d, struct rows x, double c);
void cpu_rotate(struct device *d, const struct rotary *r, const void *cos_table,
                const void *sin_table, size_t head_width, size_t p0, struct rows from,
                struct rows to);

bool cpu_finishes(const struct device *d);
void cpu_product(struct device *d, const struct operand *a, const struct weight *w, struct rows out,
                 size_t tile);
void cpu_product_add(struct device *d, const struct operand *a, const struct weight *w,
                     struct rows scratch, struct rows into, size_t tile);
void cpu_product_act(struct device *d, const struct operand *a, const struct weight *w,
                     const struct gate *gate, struct operand packed, size_t tile);

void cpu_attend(struct device *d, const struct attention *a, const struct segment *segments,
                size_t n_segments, struct rows q, struct rows out, struct operand packed);
void cpu_scores(struct device *d, const struct attention *a, const struct segment *s, struct rows q,
                size_t i0, size_t n, bool probs, void *to);
void cpu_softmax(struct device *d, const struct attention *a, const struct segment *s, size_t i0,
                 size_t n, void *x);
void cpu_mix(struct device *d, const struct attention *a, const struct segment *s, const void *x,
             size_t i0, size_t n, struct rows out);

void cpu_route(struct device *d, struct rows logits, bool renormalize, struct routing to);
void cpu_gather(struct device *d, struct operand to, const struct operand *from,
                const uint32_t *list, size_t n);
void cpu_scatter(struct device *d, struct rows into, struct rows from, const uint32_t *list,
                 const void *factor, size_t n);

#endif
