/*
 * What a function that launches kernels is given, and the layout of what they work on.
 *
 * Rows are f32; where they begin, and the distance between them, is a multiple of 4 bytes and no more.  An operand is rows of
 * operand_stride(k) elements of its type, 32-byte aligned; whoever writes a row of it writes zeros behind its k elements.
 */
#ifndef CONTEXT_H
#define CONTEXT_H

#include <stdint.h>

#include "gpu.h"

struct launch_tables;   /* tables on their way to the device (launch_table) */

/* Scratch: what attention converts at a time, keys and values of a good thousand tiles (attend.h). */
enum : size_t { LAUNCH_SCRATCH = 64 << 20, LAUNCH_TABLE = 1 << 20 };

struct launch_context {
	gpu_stream *stream;
	unsigned multiprocessors;
	void *scratch;                  /* LAUNCH_SCRATCH bytes of the device's; a launching function's from its start to its last kernel */
	launch_tables *tables;
};

/*
 * Copies a table of at most LAUNCH_TABLE bytes, a multiple of 4, to the device, in the order of the stream; `from` may be used again when it
 * returns.  What it gives is read by kernels launched before the next call.
 */
const void *launch_table(launch_context *c, const void *from, size_t len);

static inline bool aligned(const void *p, size_t to)
{
	return reinterpret_cast<uintptr_t>(p) % to == 0;
}

/* Elements between an operand's rows, and between a weight's columns: rows of 32 bytes or more, as tensor units like them. */
static inline size_t operand_stride(size_t k)
{
	return (k + 15) / 16 * 16;
}

static inline void *operand_row(const operand *o, size_t r)
{
	return static_cast<char *>(o->p) + r * operand_stride(o->k) * (o->dtype == DTYPE_F32 ? 4 : 2);
}

#endif
