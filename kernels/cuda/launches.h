/*
 * The functions that launch kernels: what each computes is said in ops.h at the entry of its name.  They return at once; the
 * work follows on c->stream.  Shapes may be any, 0 rows included.
 */
#ifndef LAUNCHES_H
#define LAUNCHES_H

#include "context.h"

/* -------- rows.cu */

/* bytes (n, width) of f32, bf16 or f16, end to end, any alignment of their type; f32 rows. */
void cuda_load(launch_context *c, rows to, const void *bytes, enum dtype dtype);
void cuda_store(launch_context *c, void *bytes, enum dtype dtype, rows from);
void cuda_copy(launch_context *c, rows to, rows from);
/* to (n, from.width) f64 of the device's memory; runs and rows are those of ops.h. */
void cuda_pool(launch_context *c, bool largest, const pooled_row *list, size_t n, const row_run *runs, rows from, double *to);
void cuda_round(launch_context *c, rows x, enum dtype dtype);    /* f32, bf16, f16 */
void cuda_pack(launch_context *c, operand to, rows from);
void cuda_add(launch_context *c, rows into, rows from);
void cuda_add_gated(launch_context *c, rows into, rows from, rows gate);
void cuda_scale(launch_context *c, rows x, float factor);
void cuda_softcap(launch_context *c, rows x, float cap);

/* -------- norm.cu, activate.cu, rotate.cu: into rows `out` or, with out.p NULL, the operand */

void cuda_norm(launch_context *c, const model *m, const struct norm *norm, size_t group, rows from, rows out, operand packed);
void cuda_activate(launch_context *c, enum activation act, rows gate, rows up, rows out, operand packed);
void cuda_rotate(launch_context *c, const rotary *r, size_t head_width, const rotation *parts, size_t n_parts,
                 rows from, rows to);

/* -------- route.cu: experts */

void cuda_route(launch_context *c, rows logits, bool renormalize, routing to);
void cuda_gather(launch_context *c, operand to, const operand *from, const uint32_t *list, size_t n);
void cuda_scatter(launch_context *c, rows into, rows from, const uint32_t *list, const float *factor, size_t n);

/* -------- weights.cu */

/* A piece of a view, its bytes on the device: element (column i of n, input j of k) is element first + i n_stride + j k_stride of
 * `bytes`. */
struct weight_piece {
	const void *bytes;
	enum dtype dtype;               /* f32, bf16, f16 */
	size_t n, k, first, n_stride, k_stride;
};

/* To elements (i, j) of (n, stride) of type `dtype` at `to`; zeros to columns k..end-1. */
void cuda_weight(gpu_stream *s, void *to, enum dtype dtype, size_t stride, size_t end, const weight_piece *from);

/* -------- attend.cc and its neighbours */

/* Columns of a head at most. */
enum : unsigned { ATTEND_WIDTH = 256 };

void cuda_attend(launch_context *c, const attention *a, const segment *segments, size_t n_segments, rows q, rows out,
                 operand packed);
void cuda_scores(launch_context *c, const attention *a, const segment *s, rows q, size_t i0, size_t n, bool probs, float *x);
void cuda_softmax(launch_context *c, const attention *a, const segment *s, size_t i0, size_t n, float *x);
void cuda_mix(launch_context *c, const attention *a, const segment *s, const float *x, size_t i0, size_t n, rows out);

#endif
