/*
 * The row operations of the cpu back end beside a plain copy.  rows [-j THREADS]; tab separated:
 *
 *   operation   on a tile of 512 rows a thread, width 2048 (8192 for activations), as a block has them between products
 *   GB/s        of the bytes that it must read and write at least, on all threads
 *   of_copy     its share of what memcpy moves of a tile of the same width
 *   us_row      microseconds of one thread for a row
 *
 * Medians of five, interleaved with the copy.
 */
#include "ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "memory.h"

enum { TILE = 512, WIDTH = 2048, INNER = 8192, HEAD = 64, CHOSEN = 8, EXPERTS = 128, ROUNDS = 5, TURNS = 8 };

/* A thread's own, of INNER columns at most. */
struct tile {
	float *a, *b;           /* (TILE, INNER) */
	void *packed;           /* an operand of (TILE, INNER) */
	uint16_t *half;         /* (TILE, INNER) */
	uint32_t list[TILE];
	float factor[TILE];
	int32_t ids[TILE * CHOSEN];
	float chosen[TILE * CHOSEN];
};

struct bench {
	struct workers *workers;
	struct device *d;
	struct tile *tiles;
	float *vector, *cos, *sin;      /* (INNER), (TILE, HEAD / 2) */
	enum dtype operand;
};

typedef void operation(const struct bench *b, struct tile *t);

static struct rows rows(float *p, size_t width)
{
	return (struct rows){ p, TILE, width, width };
}

static struct operand operand(const struct bench *b, const struct tile *t, size_t k)
{
	return (struct operand){ t->packed, TILE, k, b->operand };
}

static void copy_wide(const struct bench *b, struct tile *t)
{
	(void)b;
	memcpy(t->b, t->a, sizeof *t->a * TILE * INNER);
}

static void copy_tile(const struct bench *b, struct tile *t)
{
	(void)b;
	memcpy(t->b, t->a, sizeof *t->a * TILE * WIDTH);
}

static void load_bf16(const struct bench *b, struct tile *t)
{
	ops_cpu.load(b->d, rows(t->b, WIDTH), t->half, DTYPE_BF16);
}

static void load_f16(const struct bench *b, struct tile *t)
{
	ops_cpu.load(b->d, rows(t->b, WIDTH), t->half, DTYPE_F16);
}

static void store_bf16(const struct bench *b, struct tile *t)
{
	ops_cpu.store(b->d, t->half, DTYPE_BF16, rows(t->a, WIDTH));
}

static void store_f16(const struct bench *b, struct tile *t)
{
	ops_cpu.store(b->d, t->half, DTYPE_F16, rows(t->a, WIDTH));
}

static void load_f32(const struct bench *b, struct tile *t)
{
	ops_cpu.load(b->d, rows(t->b, WIDTH), t->a, DTYPE_F32);
}

static void round_bf16(const struct bench *b, struct tile *t)
{
	ops_cpu.round(b->d, rows(t->a, WIDTH), DTYPE_BF16);
}

static void round_f16(const struct bench *b, struct tile *t)
{
	ops_cpu.round(b->d, rows(t->a, WIDTH), DTYPE_F16);
}

static void copy_rows(const struct bench *b, struct tile *t)
{
	ops_cpu.copy(b->d, rows(t->b, WIDTH), rows(t->a, WIDTH));
}

static void pack(const struct bench *b, struct tile *t)
{
	ops_cpu.pack(b->d, operand(b, t, WIDTH), rows(t->a, WIDTH));
}

static void add(const struct bench *b, struct tile *t)
{
	ops_cpu.add(b->d, rows(t->b, WIDTH), rows(t->a, WIDTH));
}

static void norm_as(const struct bench *b, struct tile *t, enum norm_kind kind, size_t group, bool in_place)
{
	const struct model m = { .norm = kind, .norm_eps = 1e-5 };
	const struct norm norm = { b->vector, kind == NORM_LAYER ? b->vector : NULL, group };

	ops_cpu.norm(b->d, &m, &norm, group, rows(t->a, WIDTH), in_place ? rows(t->a, WIDTH) : (struct rows){ 0 },
	             operand(b, t, WIDTH));
}

static void norm_rms(const struct bench *b, struct tile *t)
{
	norm_as(b, t, NORM_RMS, WIDTH, false);
}

static void norm_layer(const struct bench *b, struct tile *t)
{
	norm_as(b, t, NORM_LAYER, WIDTH, false);
}

static void norm_heads(const struct bench *b, struct tile *t)
{
	norm_as(b, t, NORM_RMS, HEAD, true);
}

static void rotate_as(const struct bench *b, struct tile *t, enum rotary_pairing pairing)
{
	const struct rotary r = { .pairing = pairing, .dims = HEAD };

	ops_cpu.rotate(b->d, &r, b->cos, b->sin, HEAD, 0, rows(t->a, WIDTH), rows(t->b, WIDTH));
}

static void rotate_halves(const struct bench *b, struct tile *t)
{
	rotate_as(b, t, ROTARY_HALF);
}

static void rotate_pairs(const struct bench *b, struct tile *t)
{
	rotate_as(b, t, ROTARY_PAIRS);
}

static void softcap(const struct bench *b, struct tile *t)
{
	ops_cpu.softcap(b->d, rows(t->a, WIDTH), 30);
}

static void activate(const struct bench *b, struct tile *t, enum activation act)
{
	ops_cpu.activate(b->d, act, rows(t->a, INNER), rows(t->b, INNER), (struct rows){ 0 }, operand(b, t, INNER));
}

static void silu(const struct bench *b, struct tile *t)
{
	activate(b, t, ACT_SILU);
}

static void gelu(const struct bench *b, struct tile *t)
{
	activate(b, t, ACT_GELU);
}

static void gelu_tanh(const struct bench *b, struct tile *t)
{
	activate(b, t, ACT_GELU_TANH);
}

static void gather(const struct bench *b, struct tile *t)
{
	const struct operand from = operand(b, t, WIDTH), to = { t->b, TILE, WIDTH, b->operand };

	ops_cpu.gather(b->d, to, &from, t->list, TILE);
}

static void scatter(const struct bench *b, struct tile *t)
{
	ops_cpu.scatter(b->d, rows(t->b, WIDTH), rows(t->a, WIDTH), t->list, t->factor, TILE);
}

static void route(const struct bench *b, struct tile *t)
{
	ops_cpu.route(b->d, rows(t->a, EXPERTS), true, (struct routing){ t->ids, t->chosen, CHOSEN });
}

/* Bytes a column, operands apart (column_bytes). */
static const struct row {
	const char *name;
	operation *run;
	size_t width, bytes, operands;
} table[] = {
	{ "load bf16", load_bf16, WIDTH, 6, 0 },
	{ "load f16", load_f16, WIDTH, 6, 0 },
	{ "load f32", load_f32, WIDTH, 8, 0 },
	{ "store bf16", store_bf16, WIDTH, 6, 0 },
	{ "store f16", store_f16, WIDTH, 6, 0 },
	{ "round bf16", round_bf16, WIDTH, 8, 0 },
	{ "round f16", round_f16, WIDTH, 8, 0 },
	{ "copy", copy_rows, WIDTH, 8, 0 },
	{ "pack", pack, WIDTH, 4, 1 },
	{ "add", add, WIDTH, 12, 0 },
	{ "norm rms", norm_rms, WIDTH, 4, 1 },
	{ "norm layer", norm_layer, WIDTH, 4, 1 },
	{ "norm by head", norm_heads, WIDTH, 8, 0 },
	{ "rotate halves", rotate_halves, WIDTH, 8, 0 },
	{ "rotate pairs", rotate_pairs, WIDTH, 8, 0 },
	{ "softcap", softcap, WIDTH, 8, 0 },
	{ "silu up", silu, INNER, 8, 1 },
	{ "gelu up", gelu, INNER, 8, 1 },
	{ "gelu_tanh up", gelu_tanh, INNER, 8, 1 },
	{ "gather", gather, WIDTH, 0, 2 },
	{ "scatter", scatter, WIDTH, 12, 0 },
	{ "route 8 of 128", route, EXPERTS, 4, 0 },
};

struct call {
	const struct bench *b;
	operation *run;
};

static void task(void *argument, size_t i, size_t slot)
{
	const struct call *c = argument;

	(void)slot;
	for (int turn = 0; turn < TURNS; turn++)
		c->run(c->b, &c->b->tiles[i]);
}

/* Seconds of one turn on every thread's tile. */
static double seconds(const struct bench *b, operation *run)
{
	struct call c = { b, run };
	const double start = clock_seconds();

	workers_run(b->workers, workers_count(b->workers), task, &c);
	return (clock_seconds() - start) / TURNS;
}

static int ascending(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void fill(float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = (float)(i * 2654435761u >> 8 & 0xffff) / 16384 - 2;
}

static void measure(const struct bench *b, const struct row *row)
{
	double time[ROUNDS], copy[ROUNDS];
	const size_t operand_bytes = ops_cpu.operand_len(b->d, 1, 64, b->operand) / 64 > 3 ? 4 : 2;
	const double bytes = (double)TILE * (double)row->width * (double)(row->bytes + row->operands * operand_bytes);

	for (size_t i = 0; i < workers_count(b->workers); i++) {
		fill(b->tiles[i].a, (size_t)TILE * INNER);
		fill(b->tiles[i].b, (size_t)TILE * INNER);
	}
	seconds(b, row->run);
	for (int i = 0; i < ROUNDS; i++) {
		copy[i] = seconds(b, row->width == INNER ? copy_wide : copy_tile);
		time[i] = seconds(b, row->run);
	}
	qsort(time, ROUNDS, sizeof *time, ascending);
	qsort(copy, ROUNDS, sizeof *copy, ascending);

	const double threads = (double)workers_count(b->workers), rate = 1e-9 * threads * bytes / time[ROUNDS / 2];
	const double moved = 8.0 * TILE * (row->width == INNER ? INNER : WIDTH);

	printf("%s\t%.1f\t%.2f\t%.2f\n", row->name, rate, rate / (1e-9 * threads * moved / copy[ROUNDS / 2]),
	       1e6 * time[ROUNDS / 2] / TILE);
	fflush(stdout);
}

static void *memory(size_t len)
{
	struct error e;
	void *p = mem_try(len, "the benchmark", &e);

	if (!p) {
		fprintf(stderr, "rows: %s\n", e.text);
		exit(2);
	}
	return p;
}

static void take_tile(const struct bench *b, struct tile *t)
{
	t->a = memory(sizeof *t->a * TILE * INNER);
	t->b = memory(ops_cpu.operand_len(b->d, TILE, INNER, DTYPE_F32));
	t->packed = memory(ops_cpu.operand_len(b->d, TILE, INNER, DTYPE_F32));
	t->half = memory(sizeof *t->half * TILE * INNER);
	memset(t->packed, 0, ops_cpu.operand_len(b->d, TILE, INNER, DTYPE_F32));
	for (size_t i = 0; i < (size_t)TILE * INNER; i++)
		t->half[i] = (uint16_t)(0x3c00 + i % 512);
	for (uint32_t i = 0; i < TILE; i++) {
		t->list[i] = i * 7 % TILE;
		t->factor[i] = 0x1p-10f;
	}
}

int main(int argc, char **argv)
{
	struct bench b = { .vector = memory(sizeof(float) * INNER), .cos = memory(sizeof(float) * TILE * HEAD / 2),
		           .sin = memory(sizeof(float) * TILE * HEAD / 2) };
	struct error e;
	size_t threads = 0;

	for (int c; (c = getopt(argc, argv, "j:")) != -1;)
		if (c == 'j')
			threads = strtoul(optarg, NULL, 10);
	b.workers = workers_open(threads, &e);
	b.d = b.workers ? ops_cpu.open(b.workers, &(struct device_choice){ .index = -1 }, &e) : NULL;
	if (!b.d) {
		fprintf(stderr, "rows: %s\n", e.text);
		return 2;
	}
	b.operand = ops_cpu.operand_type(b.d, DTYPE_BF16);
	fill(b.vector, INNER);
	fill(b.cos, (size_t)TILE * HEAD / 2);
	fill(b.sin, (size_t)TILE * HEAD / 2);
	b.tiles = mem_zero(workers_count(b.workers), sizeof *b.tiles);
	for (size_t i = 0; i < workers_count(b.workers); i++)
		take_tile(&b, &b.tiles[i]);
	printf("# unit %s, %zu threads\noperation\tGB/s\tof_copy\tus_row\n", ops_cpu.unit(b.d), workers_count(b.workers));
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		measure(&b, &table[i]);
	ops_cpu.close(b.d);
	workers_close(b.workers);
	return 0;
}
