/*
 * The rate of the cpu back end's products beside the machine's limits and oneDNN, on all threads; tab separated, and
 * lines with # tell the limits.
 *
 *	products [-l] [-s ROWS,N,K] [-j THREADS]	-l: the layer alone, -s: one product alone
 *
 *   rows n k       the shape, or `layer`: the products of one block of a 1 B parameter model, ours with their epilogues
 *                  (the add into the stream, activation times up as an operand), oneDNN's without
 *   f32 bf16       GF/s of ours, with f32 weights and with bf16 weights, which are widened where no unit multiplies them
 *   onednn ...     GF/s of oneDNN with f32 and with bf16 matrices (0: not on this processor), weights packed as it likes
 *   of_peak ...    shares of the vector unit's peak in the same rounds, and of oneDNN: the faster of its two for bf16
 *   f32_bytes ...  GB/s: weights, operand and results once each
 *   per_byte ...   floating-point operations a byte, for the roofline (roofline.gp)
 *   of_read ...    the time of reading the weights, by all threads and for nothing, over ours: the limit of few rows
 *   f32_ms ...     time of ours
 *
 * Medians of five, interleaved.  A line with # says how a layer's time is shared out among its operations.
 */
#include "ops.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "clock.h"
#include "machine_peak.h"
#include "memory.h"
#include "onednn_packed.h"

enum { TILE = 512, ROUNDS = 5 };

/* What is timed, for f32 and for bf16 weights each: ours, oneDNN, and reading the weights. */
enum { OURS, ONEDNN = 2, READING = 4, SIDES = 6 };

/* A layer's products, each with what follows it. */
enum operation { QKV, PROJ, GATE_UP, DOWN, OPERATIONS };
static const char *const operation_names[] = { "qkv", "proj and add", "gate, up and activation", "down and add" };

enum { THREADS_MOST = 4096 };

struct bench {
	struct workers *workers;
	struct device *d;
	double (*spent)[2][OPERATIONS]; /* (threads, 2, OPERATIONS): seconds in a layer's products, f32 and bf16 */
};

/* One product, with f32 and with bf16 weights each: ours, and oneDNN's. */
struct product {
	size_t rows, n, k;
	float *a, *b, *c; /* (rows, k), (n, k), (rows, n) */
	struct weight w[2];
	struct operand x[2];
	void *half;       /* a as bf16 */
	struct peer peer[2];
};

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

static void fill(float *to, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] = (float)(i * 2654435761u >> 8 & 0xffff) / 65536 - 0.5f;
}

/* -------- a product and its sides */

static const enum dtype types[] = { DTYPE_F32, DTYPE_BF16 };

static void open_side(const struct bench *b, struct product *p, int side)
{
	const enum dtype dtype = types[side];
	void *stored = memory(p->n * p->k * dtype_size(dtype));
	const struct tensor_view view = { stored, dtype, p->n, p->k, 0, p->n, 0, p->k, 1 };
	struct weight *w = &p->w[side];

	dtype_convert(stored, dtype, p->b, DTYPE_F32, p->n * p->k);
	*w = (struct weight){ p->n, p->k, ops_cpu.operand_type(b->d, dtype), NULL, NULL };
	w->data = memory(ops_cpu.weight_len(b->d, p->n, p->k, w->dtype));
	ops_cpu.weight_put(b->d, w, 0, &view);
	p->peer[side] = peer_open(workers_count(b->workers), side ? dnnl_bf16 : dnnl_f32, p->rows, p->n, p->k,
	                          side ? p->half : p->a, stored, p->c);
	free(stored);
	p->x[side] = (struct operand){ memory(ops_cpu.operand_len(b->d, p->rows, p->k, w->dtype)), p->rows, p->k, w->dtype };
	ops_cpu.pack(b->d, p->x[side], (struct rows){ p->a, p->rows, p->k, p->k });
}

static struct product product_open(const struct bench *b, size_t rows, size_t n, size_t k)
{
	struct product p = { .rows = rows, .n = n, .k = k };

	p.a = memory(rows * k * sizeof *p.a);
	p.b = memory(n * k * sizeof *p.b);
	p.c = memory(rows * n * sizeof *p.c);
	fill(p.a, rows * k);
	fill(p.b, n * k);
	memset(p.c, 0, rows * n * sizeof *p.c);
	p.half = memory(rows * k * sizeof(uint16_t));
	dtype_convert(p.half, DTYPE_BF16, p.a, DTYPE_F32, rows * k);
	for (int side = 0; side < 2; side++)
		open_side(b, &p, side);
	free(p.b);
	return p;
}

static void product_close(struct product *p)
{
	for (int side = 0; side < 2; side++) {
		free(p->w[side].data);
		free(p->x[side].p);
		peer_close(&p->peer[side]);
	}
	free(p->half);
	free(p->a);
	free(p->c);
}

/* Rows first.. of an operand. */
static struct operand operand_rows(const struct bench *b, const struct operand *x, size_t first, size_t rows)
{
	return (struct operand){ (char *)x->p + ops_cpu.operand_len(b->d, first, x->k, x->dtype), rows, x->k, x->dtype };
}

struct tiles {
	const struct bench *b;
	struct product *p; /* one, or the four of a layer */
	int side;
	size_t rows;
};

static void product_tile(void *argument, size_t i, size_t slot)
{
	const struct tiles *t = argument;
	const struct product *p = t->p;
	const size_t first = i * TILE, rows = p->rows - first < TILE ? p->rows - first : TILE;
	const struct operand a = operand_rows(t->b, &p->x[t->side], first, rows);

	(void)slot;
	ops_cpu.product(t->b->d, &a, &p->w[t->side], (struct rows){ p->c + first * p->n, rows, p->n, p->n }, TILE);
}

static void spend(const struct tiles *t, enum operation what, size_t slot, double *since)
{
	const double now = clock_seconds();

	t->b->spent[slot][t->side][what] += now - *since;
	*since = now;
}

/* Each from its own operand, the last from what the third gives. */
static void layer_tile(void *argument, size_t i, size_t slot)
{
	const struct tiles *t = argument;
	struct device *d = t->b->d;
	const size_t first = i * TILE, rows = t->rows - first < TILE ? t->rows - first : TILE;
	struct product *qkv = t->p + QKV, *proj = t->p + PROJ, *up = t->p + GATE_UP, *down = t->p + DOWN;
	const int s = t->side;
	const struct operand a = operand_rows(t->b, &qkv->x[s], first, rows), b = operand_rows(t->b, &proj->x[s], first, rows),
			     c = operand_rows(t->b, &up->x[s], first, rows), act = operand_rows(t->b, &down->x[s], first, rows);
	const struct gate gate = { ACT_SILU, true, { up->c + first * up->n, rows, up->n, up->n } };
	const struct rows x = { proj->c + first * proj->n, rows, proj->n, proj->n };
	const struct rows scratch = { down->c + first * down->n, rows, down->n, down->n };
	double since = clock_seconds();

	ops_cpu.product(d, &a, &qkv->w[s], (struct rows){ qkv->c + first * qkv->n, rows, qkv->n, qkv->n }, TILE);
	spend(t, QKV, slot, &since);
	ops_cpu.product_add(d, &b, &proj->w[s], scratch, x, TILE);
	spend(t, PROJ, slot, &since);
	ops_cpu.product_act(d, &c, &up->w[s], &gate, act, TILE);
	spend(t, GATE_UP, slot, &since);
	ops_cpu.product_add(d, &act, &down->w[s], scratch, x, TILE);
	spend(t, DOWN, slot, &since);
}

static void read_weight(const struct bench *b, const struct weight *w)
{
	static uint64_t sums[THREADS_MOST];

	machine_bytes(b->workers, w->data, ops_cpu.weight_len(b->d, w->n, w->k, w->dtype), sums);
}

/* Once. */
static void run(const struct bench *b, struct product *p, size_t n, int side)
{
	struct tiles t = { b, p, side, p->rows };

	if (side < ONEDNN) {
		workers_run(b->workers, (p->rows + TILE - 1) / TILE, n > 1 ? layer_tile : product_tile, &t);
		return;
	}
	for (size_t i = 0; i < n; i++)
		if (side < READING)
			peer_run(&p[i].peer[side - ONEDNN]);
		else
			read_weight(b, &p[i].w[side - READING]);
}

/* Seconds of one run; repeated until it can be measured. */
static double seconds(const struct bench *b, struct product *p, size_t n, int side)
{
	double start, time;
	size_t count = 0;

	const bool library = side >= ONEDNN && side < READING;

	if (library && !p->peer[side - ONEDNN].primitive)
		return INFINITY;
	peer_threads(workers_count(b->workers));
	run(b, p, n, side);
	start = clock_seconds();
	do {
		run(b, p, n, side);
		count++;
		time = clock_seconds() - start;
	} while (time < 0.01);
	/* OpenMP's threads spin for a while before they sleep. */
	if (library)
		usleep(20000);
	return time / (double)count;
}

static int by_size(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void print_line(const char *name, const double time[SIDES], double peak, double flops, const double bytes[2])
{
	double rate[SIDES];

	for (int side = 0; side < SIDES; side++)
		rate[side] = 1e-9 * flops / time[side];
	printf("%s\t%.1f\t%.1f\t%.1f\t%.1f\t%.2f\t%.2f\t%.2f\t%.2f\t%.1f\t%.1f\t%.2f\t%.2f\t%.2f\t%.2f\t%.3f\t%.3f\n", name,
	       rate[0], rate[1], rate[2], rate[3], rate[0] / peak, rate[1] / peak, rate[0] / rate[2],
	       rate[1] / fmax(rate[2], rate[3]), 1e-9 * bytes[0] / time[0], 1e-9 * bytes[1] / time[1], flops / bytes[0],
	       flops / bytes[1], time[READING] / time[0], time[READING + 1] / time[1], 1e3 * time[0], 1e3 * time[1]);
	fflush(stdout);
}

/* Of all rounds so far. */
static void print_operations(const struct bench *b, int side)
{
	double spent[OPERATIONS] = { 0 }, all = 0;

	for (size_t slot = 0; slot < workers_count(b->workers); slot++)
		for (int i = 0; i < OPERATIONS; i++)
			spent[i] += b->spent[slot][side][i];
	for (int i = 0; i < OPERATIONS; i++)
		all += spent[i];
	printf("# layer's time, %s:", side ? "bf16" : "f32");
	for (int i = 0; i < OPERATIONS; i++)
		printf("%s %s %.3f", i ? "," : "", operation_names[i], spent[i] / all);
	putchar('\n');
}

/* One product, or the n of a layer. */
static void measure(const struct bench *b, const char *name, struct product *p, size_t n)
{
	double times[SIDES][ROUNDS], median[SIDES], peak[ROUNDS], flops = 0, bytes[2] = { 0 };

	for (int i = 0; i < ROUNDS; i++) {
		peak[i] = machine_flops(b->workers);
		for (int side = 0; side < SIDES; side++)
			times[side][i] = seconds(b, p, n, side);
	}
	qsort(peak, ROUNDS, sizeof *peak, by_size);
	for (int side = 0; side < SIDES; side++) {
		qsort(times[side], ROUNDS, sizeof(double), by_size);
		median[side] = times[side][ROUNDS / 2];
	}
	for (size_t i = 0; i < n; i++) {
		const double rows = (double)p[i].rows, width = (double)p[i].n, k = (double)p[i].k;

		flops += 2 * rows * width * k;
		for (int side = 0; side < 2; side++)
			bytes[side] += width * k * (double)dtype_size(types[side]) + 4 * rows * (k + width);
	}
	print_line(name, median, peak[ROUNDS / 2], flops, bytes);
}

static void measure_product(const struct bench *b, size_t rows, size_t n, size_t k)
{
	struct product p = product_open(b, rows, n, k);
	char name[96];

	snprintf(name, sizeof name, "%zu\t%zu\t%zu", rows, n, k);
	measure(b, name, &p, 1);
	product_close(&p);
}

static void measure_layer(const struct bench *b, size_t rows)
{
	struct product p[] = { product_open(b, rows, 3072, 2048), product_open(b, rows, 2048, 2048),
		               product_open(b, rows, 16384, 2048), product_open(b, rows, 2048, 8192) };
	char name[96];

	snprintf(name, sizeof name, "%zu\tlayer\t2048", rows);
	measure(b, name, p, ARRAY_LEN(p));
	for (int side = 0; side < 2; side++)
		print_operations(b, side);
	for (size_t i = 0; i < ARRAY_LEN(p); i++)
		product_close(&p[i]);
}

static void measure_limits(const struct bench *b)
{
	const size_t len = 256 << 20;
	static uint64_t sums[THREADS_MOST];
	char *p = memory(len);
	double flops[ROUNDS], bytes[ROUNDS];

	memset(p, 1, len);
	for (int i = 0; i < ROUNDS; i++) {
		flops[i] = machine_flops(b->workers);
		bytes[i] = machine_bytes(b->workers, p, len, sums);
	}
	qsort(flops, ROUNDS, sizeof *flops, by_size);
	qsort(bytes, ROUNDS, sizeof *bytes, by_size);
	printf("# unit %s, %zu threads; vector peak %.1f GF/s (median %.1f), reads %.1f GB/s (median %.1f)\n", ops_cpu.unit(b->d),
	       workers_count(b->workers), flops[ROUNDS - 1], flops[ROUNDS / 2], bytes[ROUNDS - 1], bytes[ROUNDS / 2]);
	printf("# packing of %zu bytes of bf16: ", len / 4);
	free(p);
}

/* How fast weights are packed, beside copying them. */
static void measure_packing(const struct bench *b)
{
	const size_t n = 8192, k = 4096, len = n * k * 2;
	uint16_t *stored = memory(len);
	struct weight w = { n, k, ops_cpu.operand_type(b->d, DTYPE_BF16), NULL, NULL };
	const struct tensor_view view = { stored, DTYPE_BF16, n, k, 0, n, 0, k, 1 };
	double pack[ROUNDS], copy[ROUNDS];

	w.data = memory(ops_cpu.weight_len(b->d, n, k, w.dtype));
	memset(stored, 1, len);
	memset(w.data, 1, len);
	for (int i = 0; i < ROUNDS; i++) {
		double start = clock_seconds();

		ops_cpu.weight_put(b->d, &w, 0, &view);
		pack[i] = clock_seconds() - start;
		start = clock_seconds();
		memcpy(w.data, stored, len);
		copy[i] = clock_seconds() - start;
	}
	qsort(pack, ROUNDS, sizeof *pack, by_size);
	qsort(copy, ROUNDS, sizeof *copy, by_size);
	printf("%.1f GB/s, memcpy on one thread %.1f GB/s\n", 1e-9 * (double)len / pack[ROUNDS / 2],
	       1e-9 * (double)len / copy[ROUNDS / 2]);
	free(stored);
	free(w.data);
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

	fill(q, n * heads * width);
	fill(k, n * groups * width);
	fill(v, n * groups * width);
	for (int i = 0; i < ROUNDS; i++) {
		const double start = clock_seconds();

		ops_cpu.attend(b->d, &a, &s, 1, rows, out, (struct operand){ 0 });
		best = clock_seconds() - start < best ? clock_seconds() - start : best;
	}
	printf("# attention\t%zu tokens\t%zu/%zu heads of %zu\t%.0f\n", n, heads, groups, width,
	       2e-9 * (double)heads * (double)width * (double)n * (double)(n + 1) / best);
	free(q);
	free(k);
	free(v);
	free(y);
}

static void measure_shapes(const struct bench *b)
{
	static const size_t shapes[][2] = { { 8192, 2048 }, { 2048, 8192 }, { 2048, 2048 }, { 512, 2048 } };
	static const size_t few[] = { 1, 2, 3, 5, 8, 16, 17, 31, 100 }, others[][3] = { { 512, 8192, 4096 }, { 1023, 1111, 777 },
		                                                         { 13, 1031, 2051 }, { 1, 333, 1029 } };

	for (size_t i = 0; i < ARRAY_LEN(shapes); i++)
		measure_product(b, 1024, shapes[i][0], shapes[i][1]);
	for (size_t i = 0; i < ARRAY_LEN(shapes); i++)
		for (size_t j = 0; j < ARRAY_LEN(few); j++)
			measure_product(b, few[j], shapes[i][0], shapes[i][1]);
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		measure_product(b, others[i][0], others[i][1], others[i][2]);
	attention_rate(b, 512, 32, 8, 64);
	attention_rate(b, 4096, 32, 8, 64);
	attention_rate(b, 4096, 16, 16, 128);
}

int main(int argc, char **argv)
{
	struct bench b = { 0 };
	struct error e;
	size_t threads = 0, rows = 0, n = 0, k = 0;

	bool layer = false;

	for (int c; (c = getopt(argc, argv, "lj:s:")) != -1;)
		if (c == 'j')
			threads = strtoul(optarg, NULL, 10);
		else if (c == 'l')
			layer = true;
		else if (c != 's' || sscanf(optarg, "%zu,%zu,%zu", &rows, &n, &k) != 3 || !rows || !n || !k) {
			fprintf(stderr, "usage: products [-l] [-s ROWS,N,K] [-j THREADS]\n");
			return 2;
		}
	b.workers = workers_open(threads, &e);
	b.d = b.workers ? ops_cpu.open(b.workers, &(struct device_choice){ .index = -1 }, &e) : NULL;
	if (!b.d) {
		fprintf(stderr, "products: %s\n", e.text);
		return 2;
	}
	b.spent = mem_zero(workers_count(b.workers), sizeof *b.spent);
	measure_limits(&b);
	measure_packing(&b);
	printf("rows\tn\tk\tf32\tbf16\tonednn_f32\tonednn_bf16\tf32_of_peak\tbf16_of_peak\tf32_of_onednn\tbf16_of_onednn\t"
	       "f32_bytes\tbf16_bytes\tf32_per_byte\tbf16_per_byte\tf32_of_read\tbf16_of_read\tf32_ms\tbf16_ms\n");
	if (rows)
		measure_product(&b, rows, n, k);
	else
		measure_layer(&b, 1024);
	if (!rows && !layer)
		measure_shapes(&b);
	ops_cpu.close(b.d);
	workers_close(b.workers);
	free(b.spent);
	return 0;
}
