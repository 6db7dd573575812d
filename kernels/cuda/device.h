/*
 * The back end's own: what cuda.cc opens, and its entries of the table that fill files of their own.
 */
#ifndef DEVICE_H
#define DEVICE_H

#include <vector>

#include "arena.h"
#include "laps.h"
#include "launches.h"
#include "product.h"
#include "staging.h"
#include "window.h"

extern "C" {
#include "cuda_module.h"
}

/* The host's memory that weights are read into, or lie in. */
struct host_memory {
	char *p;
	size_t len;
	bool pinned;            /* else the host has none of that left, and copies from it are slower */
	uint64_t puts;          /* of weights into it */
};

struct launch_tables {
	inlet *in;
	void *device;           /* LAUNCH_TABLE bytes */
};

struct device {
	gpu *g;
	void *base;
	arena *memory;
	gpu_stream *compute, *in, *out, *weights;
	gpu_event *came;        /* rows, on `in` */
	gpu_event *freed;       /* on `compute`: what it has still to do with memory that was given back */
	gpu_event *put;         /* what was copied straight from the caller's memory, on `weights` */
	inlet rows_in, weights_in;
	outlet rows_out;
	launch_tables tables;
	launch_context launch;
	void *workspace;
	products *product;
	std::vector<host_memory> staging;
	struct window window;
	struct laps laps;
	char name[512];
};

/* The memory of `staging` that p lies in; NULL: none. */
static inline host_memory *host_memory_of(device *d, const void *p)
{
	for (host_memory &s : d->staging)
		if (p >= s.p && p < s.p + s.len)
			return &s;
	return nullptr;
}

/* Types that kernels read and write; others cross as f32 and are converted by the host. */
static inline enum dtype crossing(enum dtype dtype)
{
	return dtype == DTYPE_BF16 || dtype == DTYPE_F16 ? dtype : DTYPE_F32;
}

/* -------- put.cc: weights, by the loading thread, on a stream of its own */

void cuda_weight_put(device *d, weight *w, size_t column, const tensor_view *view);
void cuda_vector_put(device *d, void *to, const tensor_view *view);
void cuda_zero_put(device *d, void *to, size_t len);
void cuda_put_wait(device *d);

/* -------- multiply.cc */

void cuda_product(device *d, const operand *a, const weight *w, rows out, size_t tile);
void cuda_product_add(device *d, const operand *a, const weight *w, rows scratch, rows into, size_t tile);
void cuda_product_act(device *d, const operand *a, const weight *w, const gate *gate, operand packed, size_t tile);

#endif
