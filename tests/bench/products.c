/*
 * The rate of the cpu back end's products beside oneDNN's own, for the shapes of a 1 B parameter
 * model's layer, and of its attention.  products [-j THREADS] [ROWS]: GF/s, tab separated.
 *
 *   ours     ops_cpu.product on bf16 weights, a worker a tile of 512 rows
 *   tiles    oneDNN, f32 and bf16, a worker a tile of 512 rows
 *   call     oneDNN, f32 and bf16, all rows in one call on all threads
 */
#include "ops.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "memory.h"
#include "onednn.h"

enum { TILE = 512, REPEATS = 3 };

static const struct {
	size_t n, k;
} shapes[] = { { 3072, 2048 }, { 2048, 2048 }, { 16384, 2048 }, { 2048, 8192 } };

struct bench {
	struct workers *workers;
	struct device *d;
	struct matmuls *matmuls;
	size_t rows, n, k;
	enum dtype dtype;
	char *a, *b; /* (rows, k), (n, k) of dtype */
	float *c;    /* (rows, n) */
	struct weight w;
	struct operand operand;
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *memory(size_t len)
{
	struct error e;
	void *p = mem_try(len, "the benchmark", &e);

	if (!p) {
		fprintf(stderr, "products: %s\n", e.text);
		exit(2);
	}
	return p;
}

static void fill(void *to, enum dtype dtype, size_t n)
{
	float part[1024];

	for (size_t i = 0; i < n; i += ARRAY_LEN(part)) {
		const size_t m = n - i < ARRAY_LEN(part) ? n - i : ARRAY_LEN(part);

		for (size_t j = 0; j < m; j++)
			part[j] = (float)((i + j) * 2654435761u >> 8 & 0xffff) / 65536 - 0.5f;
		dtype_convert((char *)to + i * dtype_size(dtype), dtype, part, DTYPE_F32, m);
	}
}

static void our_tile(void *argument, size_t i, size_t slot)
{
	const struct bench *b = argument;
	const size_t first = i * TILE, rows = b->rows - first < TILE ? b->rows - first : TILE;
	const struct operand a = { (char *)b->operand.p +
		                           ops_cpu.operand_len(b->d, first, b->k, b->w.dtype),
		                   rows, b->k, b->w.dtype };

	(void)slot;
	ops_cpu.product(b->d, &a, &b->w, (struct rows){ b->c + first * b->n, rows, b->n, b->n },
	                TILE);
}

static void ours(struct bench *b)
{
	workers_run(b->workers, (b->rows + TILE - 1) / TILE, our_tile, b);
}

static void one_matmul(const struct bench *b, size_t first, size_t rows)
{
	const struct matmul_shape shape = { rows, b->n, b->k, b->dtype };
	void *scratch = memory(matmul_scratch_len(b->matmuls, &shape) + 64);

	matmul_run(b->matmuls, &shape, b->a + first * b->k * dtype_size(b->dtype), b->b,
	           b->c + first * b->n, scratch);
	free(scratch);
}

static void bare_tile(void *argument, size_t i, size_t slot)
{
	(void)slot;
	one_matmul(argument, i * TILE, TILE);
}

static void tiles(struct bench *b)
{
	workers_run(b->workers, b->rows / TILE, bare_tile, b);
}

/* The calling thread is oneDNN's again for this. */
static void call(struct bench *b)
{
	void (*set)(int);
	void *symbol = dlsym(RTLD_DEFAULT, "omp_set_num_threads");

	memcpy(&set, &symbol, sizeof set);
	if (set)
		set((int)workers_count(b->workers));
	one_matmul(b, 0, b->rows);
	if (set)
		set(1);
}

static double rate(struct bench *b, void (*run)(struct bench *))
{
	double best = 1e9;

	run(b);
	for (int i = 0; i < REPEATS; i++) {
		const double start = now();

		run(b);
		best = now() - start < best ? now() - start : best;
	}
	return 2e-9 * (double)b->rows * (double)b->n * (double)b->k / best;
}

static void bare(struct bench *b, enum dtype dtype, double *tiled, double *called)
{
	b->dtype = dtype;
	b->a = memory(b->rows * b->k * dtype_size(dtype));
	b->b = memory(b->n * b->k * dtype_size(dtype));
	fill(b->a, dtype, b->rows * b->k);
	fill(b->b, dtype, b->n * b->k);
	*tiled = rate(b, tiles);
	*called = rate(b, call);
	free(b->a);
	free(b->b);
}

static double our_rate(struct bench *b)
{
	uint16_t *stored = memory(b->n * b->k * sizeof *stored);
	float *x = memory(b->rows * b->k * sizeof *x);
	const struct tensor_view view = { stored, DTYPE_BF16, b->n, b->k, 0, b->n, 0, b->k, 1 };

	fill(stored, DTYPE_BF16, b->n * b->k);
	fill(x, DTYPE_F32, b->rows * b->k);
	b->w = (struct weight){ b->n, b->k, ops_cpu.operand_type(b->d, DTYPE_BF16), NULL, NULL };
	b->w.data = memory(ops_cpu.weight_len(b->d, b->n, b->k, b->w.dtype));

	const double start = now();

	ops_cpu.weight_put(b->d, &b->w, 0, &view);
	fprintf(stderr, "packing: %.2f G elements/s\n",
	        1e-9 * (double)(b->n * b->k) / (now() - start));
	b->operand = (struct operand){ memory(ops_cpu.operand_len(b->d, b->rows, b->k, b->w.dtype)),
		                       b->rows, b->k, b->w.dtype };
	ops_cpu.pack(b->d, b->operand, (struct rows){ x, b->rows, b->k, b->k });

	const double r = rate(b, ours);

	free(stored);
	free(x);
	free(b->w.data);
	free(b->operand.p);
	return r;
}

static void attention_rate(const struct bench *b, size_t n, size_t heads, size_t groups,
                           size_t width)
{
	const struct attention a = { heads, groups, width, 0, 0.1, 0 };
	float *q = memory(n * heads * width * sizeof *q),
	      *k = memory(n * groups * width * sizeof *k);
	float *v = memory(n * groups * width * sizeof *v),
	      *y = memory(n * heads * width * sizeof *y);
	const struct segment s = { .n = n, .len = (uint32_t)n, .k = k, .v = v };
	const struct rows rows = { q, n, heads * width, heads * width },
			  out = { y, n, heads * width, heads * width };
	double best = 1e9;

	fill(q, DTYPE_F32, n * heads * width);
	fill(k, DTYPE_F32, n * groups * width);
	fill(v, DTYPE_F32, n * groups * width);
	for (int i = 0; i < REPEATS; i++) {
		const double start = now();

		ops_cpu.attend(b->d, &a, &s, 1, rows, out, (struct operand){ 0 });
		best = now() - start < best ? now() - start : best;
	}
	printf("attention\t%zu tokens\t%zu/%zu heads of %zu\t%.0f\n", n, heads, groups, width,
	       2e-9 * (double)heads * (double)width * (double)n * (double)(n + 1) / best);
	free(q);
	free(k);
	free(v);
	free(y);
}

int main(int argc, char **argv)
{
	struct bench b = { .rows = 2048 };
	struct error e;
	size_t threads = 0;

	for (int c; (c = getopt(argc, argv, "j:")) != -1;)
		if (c == 'j')
			threads = strtoul(optarg, NULL, 10);
	if (optind < argc)
		b.rows = strtoul(argv[optind], NULL, 10) / TILE * TILE;
	b.workers = workers_open(threads, &e);
	b.d = b.workers ? ops_cpu.open(b.workers, &(struct device_choice){ .index = -1 }, &e) : NULL;
	b.matmuls = b.d ? matmuls_open(&e) : NULL;
	if (!b.matmuls) {
		fprintf(stderr, "products: %s\n", e.text);
		return 2;
	}
	printf("unit %s, %zu threads, %zu rows; GF/s\n", ops_cpu.unit(b.d),
	       workers_count(b.workers), b.rows);
	printf("n\tk\tours\tf32 tiles\tf32 call\tbf16 tiles\tbf16 call\n");
	for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
		double tiled[2], called[2];

		b.n = shapes[i].n;
		b.k = shapes[i].k;
		b.c = memory(b.rows * b.n * sizeof *b.c);
		memset(b.c, 0, b.rows * b.n * sizeof *b.c);

		const double r = our_rate(&b);

		bare(&b, DTYPE_F32, &tiled[0], &called[0]);
		bare(&b, DTYPE_BF16, &tiled[1], &called[1]);
		printf("%zu\t%zu\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\n", b.n, b.k, r, tiled[0], called[0],
		       tiled[1], called[1]);
		fflush(stdout);
		free(b.c);
	}
	attention_rate(&b, 512, 32, 8, 64);
	attention_rate(&b, 4096, 32, 8, 64);
	attention_rate(&b, 4096, 16, 16, 128);
	matmuls_close(b.matmuls);
	ops_cpu.close(b.d);
	workers_close(b.workers);
	return 0;
}
