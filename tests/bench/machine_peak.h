/* What a machine can do at most: multiply-adds in registers, and bytes from memory, on all workers. */
#ifndef MACHINE_PEAK_H
#define MACHINE_PEAK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clock.h"
#include "workers.h"

enum { FMA_CHAINS = 12 };

#if defined __x86_64__
#define FMA_ALL(r, x, y) \
	"vfmadd231ps " x "," y "," r "0\nvfmadd231ps " x "," y "," r "1\nvfmadd231ps " x "," y "," r "2\n" \
	"vfmadd231ps " x "," y "," r "3\nvfmadd231ps " x "," y "," r "4\nvfmadd231ps " x "," y "," r "5\n" \
	"vfmadd231ps " x "," y "," r "6\nvfmadd231ps " x "," y "," r "7\nvfmadd231ps " x "," y "," r "8\n" \
	"vfmadd231ps " x "," y "," r "9\nvfmadd231ps " x "," y "," r "10\nvfmadd231ps " x "," y "," r "11\n"
#define FMA_CHANGES \
	"xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11"

/* 12 chains each; enough for a latency of 4 and two a cycle. */
__attribute__((target("avx2,fma"))) static void fma_256(size_t n)
{
	for (size_t i = 0; i < n; i++)
		__asm__ volatile(FMA_ALL("%%ymm", "%%ymm12", "%%ymm13")::: FMA_CHANGES);
}

__attribute__((target("avx512f"))) static void fma_512(size_t n)
{
	for (size_t i = 0; i < n; i++)
		__asm__ volatile(FMA_ALL("%%zmm", "%%zmm12", "%%zmm13")::: FMA_CHANGES);
}
#endif

enum { FMA_TURNS = 10 << 20 };

static void peak_task(void *argument, size_t i, size_t slot)
{
	(void)i;
	(void)slot;
#if defined __x86_64__
	if (*(const bool *)argument)
		fma_512(FMA_TURNS);
	else
		fma_256(FMA_TURNS);
#else
	(void)argument;
#endif
}

/* GF/s of the vector unit on all workers; 0 where this does not know how to ask. */
static double machine_flops(struct workers *w)
{
#if defined __x86_64__
	bool wide = __builtin_cpu_supports("avx512f");
	if (!wide && !(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")))
		return 0;
	const double start = clock_seconds();
	workers_run(w, workers_count(w), peak_task, &wide);
	return 2e-9 * FMA_TURNS * FMA_CHAINS * (wide ? 16 : 8) * (double)workers_count(w) / (clock_seconds() - start);
#else
	(void)w;
	return 0;
#endif
}

typedef uint64_t wide __attribute__((vector_size(16)));

struct reading {
	const wide *p;
	size_t n; /* of a worker */
	uint64_t *sums;
};

/* Four streams: memory gives more to them than to one. */
static void read_task(void *argument, size_t i, size_t slot)
{
	const struct reading *r = argument;
	const size_t part = r->n / 4;
	const wide *p = r->p + i * r->n;
	wide sum[4] = { 0 };
	(void)slot;
	for (size_t j = 0; j < part; j += 4)
		for (size_t k = 0; k < 4; k++) {
			const wide *q = p + k * part + j;
			sum[k] += q[0] + q[1] + q[2] + q[3];
		}
	r->sums[i] = (sum[0] + sum[1] + sum[2] + sum[3])[0];
}

/* GB/s that all workers read from len bytes, more than the caches hold. */
static double machine_bytes(struct workers *w, const void *p, size_t len, uint64_t *sums)
{
	struct reading r = { p, len / sizeof(wide) / workers_count(w) / 16 * 16, sums };
	const double start = clock_seconds();
	workers_run(w, workers_count(w), read_task, &r);
	return 1e-9 * sizeof(wide) * (double)(r.n * workers_count(w)) / (clock_seconds() - start);
}

#endif
