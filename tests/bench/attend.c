/*
 * Attention of the cpu back end beside its products in one run.  attend [-j THREADS] [-r REPEATS]
 * [NAME...]: median GF/s of interleaved repeats (5), visible pairs of a query and a key counted.
 *
 *   product    2048 rows, bf16 weights (2048, 2048), a worker a tile of 512 rows
 *   attention  as long-64 and the like below
 */
#include "ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "memory.h"

enum { TILE = 512, ROWS = 2048, WIDTH = 2048, REPEATS = 5, REPEATS_MOST = 99 };

static const struct shape {
	const char *name;
	size_t n, len; /* samples of n tokens; 0: of natural lengths, n in all */
	struct attention a;
} shapes[] = {
	{ "long-64", 1, 8192, { 32, 8, 64, 0, 0.125, 0 } },
	{ "long-128", 1, 8192, { 32, 8, 128, 0, 0.088, 0 } },
	{ "long-mha-64", 1, 8192, { 16, 16, 64, 0, 0.125, 0 } },
	{ "long-mha-128", 1, 8192, { 16, 16, 128, 0, 0.088, 0 } },
	{ "window-1024", 1, 8192, { 32, 8, 64, 1024, 0.125, 0 } },
	{ "softcap-128", 1, 2048, { 16, 8, 128, 0, 0.088, 50 } },
	{ "512-64", 16, 512, { 32, 8, 64, 0, 0.125, 0 } },
	{ "128-64", 96, 128, { 32, 8, 64, 0, 0.125, 0 } },
	{ "128-128", 96, 128, { 32, 8, 128, 0, 0.088, 0 } },
	{ "natural-64", 12288, 0, { 32, 8, 64, 0, 0.125, 0 } },
	{ "natural-mha-64", 12288, 0, { 32, 32, 64, 0, 0.125, 0 } },
	{ "natural-128", 12288, 0, { 32, 8, 128, 0, 0.088, 0 } },
};

struct bench {
	struct workers *workers;
	struct device *d;
	struct weight w;
	struct operand x;
	float *y; /* (ROWS, WIDTH) */
};

struct work {
	const struct shape *shape;
	struct segment *segments;
	size_t n_segments, n; /* n: rows */
	float *q, *k, *v, *y;
	double pairs;
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
		fprintf(stderr, "attend: %s\n", e.text);
		exit(2);
	}
	return p;
}

static float *numbers(size_t n)
{
	float *x = memory(n * sizeof *x);

	for (size_t i = 0; i < n; i++)
		x[i] = (float)(i * 2654435761u >> 8 & 0xffff) / 16384 - 2;
	return x;
}

static void product_tile(void *argument, size_t i, size_t slot)
{
	const struct bench *b = argument;
	const struct operand a = {
		(char *)b->x.p + ops_cpu.operand_len(b->d, i * TILE, WIDTH, b->w.dtype), TILE, WIDTH, b->w.dtype
	};

	(void)slot;
	ops_cpu.product(b->d, &a, &b->w, (struct rows){ b->y + i * TILE * WIDTH, TILE, WIDTH, WIDTH }, TILE);
}

static double product_rate(struct bench *b)
{
	const double start = now();

	workers_run(b->workers, ROWS / TILE, product_tile, b);
	return 2e-9 * ROWS * WIDTH * WIDTH / (now() - start);
}

static void product_begin(struct bench *b)
{
	float *x = numbers((size_t)ROWS * WIDTH);
	uint16_t *stored = memory((size_t)WIDTH * WIDTH * sizeof *stored);
	const struct tensor_view view = { stored, DTYPE_BF16, WIDTH, WIDTH, 0, WIDTH, 0, WIDTH, 1 };

	dtype_convert(stored, DTYPE_BF16, x, DTYPE_F32, (size_t)WIDTH * WIDTH);
	b->w = (struct weight){ WIDTH, WIDTH, ops_cpu.operand_type(b->d, DTYPE_BF16), NULL, NULL };
	b->w.data = memory(ops_cpu.weight_len(b->d, WIDTH, WIDTH, b->w.dtype));
	ops_cpu.weight_put(b->d, &b->w, 0, &view);
	b->x = (struct operand){ memory(ops_cpu.operand_len(b->d, ROWS, WIDTH, b->w.dtype)), ROWS, WIDTH,
		                 b->w.dtype };
	ops_cpu.pack(b->d, b->x, (struct rows){ x, ROWS, WIDTH, WIDTH });
	b->y = numbers((size_t)ROWS * WIDTH);
	free(x);
	free(stored);
}

/* Visible pairs of a query and a key. */
static double pairs(size_t n, size_t window)
{
	double sum = 0;

	for (size_t i = 1; i <= n; i++)
		sum += (double)(window && i > window ? window : i);
	return sum;
}

/* A length of up to 512 tokens, few of them long; mean about 75. */
static size_t natural(size_t i)
{
	const double u = (double)(i * 2654435761u >> 8 & 0xffff) / 65536;

	return 8 + (size_t)(504 * u * u * u * u * u * u * u);
}

static struct work work_of(const struct shape *shape)
{
	const size_t total = shape->len ? shape->n * shape->len : shape->n;
	const size_t kv = shape->a.n_kv_heads * shape->a.head_width,
		     width = shape->a.n_heads * shape->a.head_width;
	struct work w = { .shape = shape,
		          .segments = memory(total * sizeof *w.segments),
		          .q = numbers(total * width),
		          .k = numbers(total * kv),
		          .v = numbers(total * kv),
		          .y = numbers(total * width) };

	for (; w.n < total; w.n_segments++) {
		const size_t left = total - w.n, len = shape->len ? shape->len : natural(w.n_segments),
			     n = len < left ? len : left;

		w.segments[w.n_segments] = (struct segment){
			.row = w.n, .n = n, .len = (uint32_t)n, .k = w.k + w.n * kv, .v = w.v + w.n * kv
		};
		w.pairs += pairs(n, shape->a.window);
		w.n += n;
	}
	return w;
}

static double attention_rate(const struct bench *b, const struct work *w)
{
	const struct attention *a = &w->shape->a;
	const size_t width = a->n_heads * a->head_width;
	const double start = now();

	ops_cpu.attend(b->d, a, w->segments, w->n_segments, (struct rows){ w->q, w->n, width, width },
	               (struct rows){ w->y, w->n, width, width }, (struct operand){ 0 });
	return 4e-9 * (double)width * w->pairs / (now() - start);
}

static int ascending(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *x, size_t n)
{
	qsort(x, n, sizeof *x, ascending);
	return x[n / 2];
}

static void compare(struct bench *b, const struct shape *shape, size_t repeats)
{
	struct work w = work_of(shape);
	double product[REPEATS_MOST], attention[REPEATS_MOST];

	attention_rate(b, &w);
	for (size_t i = 0; i < repeats; i++) {
		product[i] = product_rate(b);
		attention[i] = attention_rate(b, &w);
	}

	const double p = median(product, repeats), a = median(attention, repeats);

	printf("%s\t%zu/%zu heads of %zu\t%.0f\t%.0f\t%.2f\n", shape->name, shape->a.n_heads,
	       shape->a.n_kv_heads, shape->a.head_width, p, a, a / p);
	fflush(stdout);
	free(w.segments);
	free(w.q);
	free(w.k);
	free(w.v);
	free(w.y);
}

static bool asked(char **names, const char *name)
{
	if (!*names)
		return true;
	for (; *names; names++)
		if (strcmp(*names, name) == 0)
			return true;
	return false;
}

int main(int argc, char **argv)
{
	struct bench b = { 0 };
	struct error e;
	size_t threads = 0, repeats = REPEATS;

	for (int c; (c = getopt(argc, argv, "j:r:")) != -1;)
		if (c == 'j')
			threads = strtoul(optarg, NULL, 10);
		else if (c == 'r')
			repeats = strtoul(optarg, NULL, 10);
	repeats = repeats < 1 ? 1 : repeats > REPEATS_MOST ? REPEATS_MOST : repeats;
	b.workers = workers_open(threads, &e);
	b.d = b.workers ? ops_cpu.open(b.workers, &(struct device_choice){ .index = -1 }, &e) : NULL;
	if (!b.d) {
		fprintf(stderr, "attend: %s\n", e.text);
		return 2;
	}
	product_begin(&b);
	printf("unit %s, %zu threads; GF/s\nsamples\tshape\tproduct\tattention\tratio\n", ops_cpu.unit(b.d),
	       workers_count(b.workers));
	for (size_t i = 0; i < ARRAY_LEN(shapes); i++)
		if (asked(argv + optind, shapes[i].name))
			compare(&b, &shapes[i], repeats);
	free(b.w.data);
	free(b.x.p);
	free(b.y);
	ops_cpu.close(b.d);
	workers_close(b.workers);
	return 0;
}
