#include "plan_probe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "block_memory.h"
#include "clock.h"
#include "memory.h"

enum {
	/* Columns are taken in such groups, and rows for a first look. */
	UNIT = 64,
	WEIGHTS_MOST = 64 << 20,
	/* Longer samples' attention goes at the same rate. */
	LONGEST = 2048
};

/* Seconds that one measurement is made for. */
#define A_WHILE 0.05

/* One product: (n_tasks, rows) rows of zeros by n columns of zeros. */
struct try {
	const struct sweep *s;
	enum dtype stored;
	size_t n_tasks, rows, tile;
	struct weight w;
	void *operand, *out;
	size_t operand_len;     /* of a task */
	double put;             /* seconds to put all columns */
};

static void try_close(struct try *t)
{
	const struct ops *ops = t->s->ops;
	ops->give(t->s->device, t->w.data);
	ops->give(t->s->device, t->operand);
	ops->give(t->s->device, t->out);
}

static bool put_columns(struct try *t)
{
	const struct ops *ops = t->s->ops;
	struct error e;
	size_t len = t->w.n * t->w.k * dtype_size(t->stored);
	void *bytes = ops->take_staging(t->s->device, len, &e);
	if (!bytes)
		return false;
	memset(bytes, 0, len);
	const struct tensor_view view = { bytes, t->stored, t->w.n, t->w.k, 0, t->w.n, 0, t->w.k, 1 };
	double start = clock_seconds();
	ops->weight_put(t->s->device, &t->w, 0, &view);
	ops->put_wait(t->s->device);
	t->put = clock_seconds() - start;
	ops->free_staging(t->s->device, bytes);
	return true;
}

static void *take_zeros(const struct sweep *s, size_t len)
{
	struct error e;
	void *p = s->ops->take(s->device, len, "a plan's probe", &e);
	if (p)
		s->ops->clear(s->device, p, len);
	return p;
}

static bool try_open(struct try *t, size_t n, size_t rows)
{
	const struct ops *ops = t->s->ops;
	t->w.n = n;
	t->rows = rows;
	t->operand_len = (ops->operand_len(t->s->device, rows, t->w.k, t->w.dtype) + 255) / 256 * 256;
	t->w.data = take_zeros(t->s, ops->weight_len(t->s->device, n, t->w.k, t->w.dtype));
	t->operand = take_zeros(t->s, t->n_tasks * t->operand_len);
	t->out = take_zeros(t->s, t->n_tasks * rows * n * dtype_size(ops->work));
	if (t->w.data && t->operand && t->out && put_columns(t))
		return true;
	try_close(t);
	return false;
}

static void multiply(void *argument, size_t i, size_t slot)
{
	const struct try *t = argument;
	const struct ops *ops = t->s->ops;
	struct operand a = { (char *)t->operand + i * t->operand_len, t->rows, t->w.k, t->w.dtype };
	struct rows out = { (char *)t->out + i * t->rows * t->w.n * dtype_size(ops->work), t->rows, t->w.n, t->w.n };
	(void)slot;
	ops->product(t->s->device, &a, &t->w, out, t->tile);
}

/* Operations a second: once to warm up, and again until it can be told. */
static double try_rate(struct try *t, double least)
{
	double flops = 2.0 * (double)(t->n_tasks * t->rows) * (double)t->w.n * (double)t->w.k, seconds = 0;
	size_t count = 0;
	workers_run(t->s->workers, t->n_tasks, multiply, t);
	t->s->ops->wait(t->s->device);
	for (double start = clock_seconds(); count == 0 || seconds < least; seconds = clock_seconds() - start, count++) {
		workers_run(t->s->workers, t->n_tasks, multiply, t);
		t->s->ops->wait(t->s->device);
	}
	return (double)count * flops / seconds;
}

/* The rate of products by a weight (n, k) and of putting it.  false: there is no memory. */
static bool try_product(const struct sweep *s, const struct part *part, size_t n, size_t k, bool expert, uint64_t tokens,
                        double *rate, double *put_rate)
{
	const struct ops *ops = s->ops;
	struct try t = { .s = s, .stored = part->view.dtype, .n_tasks = workers_count(s->workers),
	                 .tile = expert ? ops->expert_tile : ops->row_tile };
	size_t rows = expert ? ops->expert_chunk : ops->row_tile, share = tokens / t.n_tasks + 1;
	rows = share < rows ? share : rows;
	t.w = (struct weight){ .k = k, .dtype = ops->operand_type(s->device, part->view.dtype) };
	if (!try_open(&t, n < UNIT ? n : UNIT, rows < UNIT ? rows : UNIT))
		return false;
	*rate = try_rate(&t, A_WHILE / 16);
	try_close(&t);
	/* As many columns as go in a while, at least a group; what is slow stays with few rows. */
	double columns = *rate * A_WHILE / (2.0 * (double)(t.n_tasks * rows) * (double)k);
	size_t most = WEIGHTS_MOST / (k * dtype_size(t.stored)) / UNIT * UNIT;
	size_t some = columns > (double)most ? most : (size_t)columns / UNIT * UNIT;
	some = some < UNIT ? UNIT : some;
	rows = columns < UNIT / 8 && rows > UNIT ? UNIT : rows;
	if (!try_open(&t, n < some ? n : some, rows))
		return false;
	*rate = try_rate(&t, A_WHILE);
	*put_rate = (double)(t.w.n * k * dtype_size(t.stored)) / t.put;
	try_close(&t);
	return true;
}

/* -------- attention */

struct attend_try {
	const struct sweep *s;
	struct attention a;
	size_t n, len;          /* samples, of so many tokens */
	void *q, *k, *v, *packed;
	struct segment *segments;
	enum dtype dtype;
};

static double attend_flops(const struct attend_try *t)
{
	double len = (double)t->len, window = t->a.window && t->a.window < t->len ? (double)t->a.window : len;
	double pairs = window * (window + 1) / 2 + (len - window) * window;
	return 4 * (double)(t->n * t->a.n_heads * t->a.head_width) * pairs;
}

static double attend_rate(const struct attend_try *t, double least)
{
	const struct ops *ops = t->s->ops;
	size_t rows = t->n * t->len, width = t->a.n_heads * t->a.head_width, count = 0;
	struct rows q = { t->q, rows, width, width };
	struct operand packed = { t->packed, rows, width, t->dtype };
	double seconds = 0;
	for (double start = clock_seconds(); count == 0 || seconds < least; seconds = clock_seconds() - start, count++) {
		ops->attend(t->s->device, &t->a, t->segments, t->n, q, (struct rows){ 0 }, packed);
		ops->wait(t->s->device);
	}
	return (double)count * attend_flops(t) / seconds;
}

/* 0: there is no memory. */
static double try_attend_at(struct attend_try *t, double least)
{
	const struct sweep *s = t->s;
	size_t element = dtype_size(s->ops->work), rows = t->n * t->len, kv = kv_width(s->m) * element;
	t->q = take_zeros(s, rows * q_width(s->m) * element);
	t->k = take_zeros(s, rows * kv);
	t->v = take_zeros(s, rows * kv);
	t->packed = take_zeros(s, s->ops->operand_len(s->device, rows, q_width(s->m), t->dtype));
	t->segments = mem_zero(t->n, sizeof *t->segments);
	for (size_t i = 0; i < t->n; i++) {
		size_t row = i * t->len;
		t->segments[i] = (struct segment){ i, row, t->len, 0, (uint32_t)t->len, (char *)t->k + row * kv, (char *)t->v + row * kv };
	}
	double rate = t->q && t->k && t->v && t->packed ? attend_rate(t, least) : 0;
	s->ops->give(s->device, t->q);
	s->ops->give(s->device, t->k);
	s->ops->give(s->device, t->v);
	s->ops->give(s->device, t->packed);
	free(t->segments);
	return rate;
}

static double try_attend(const struct sweep *s, const struct part *part, double typical)
{
	const struct model *m = s->m;
	struct attend_try t = { .s = s, .n = 1, .dtype = s->ops->operand_type(s->device, part->view.dtype) };
	size_t len = typical < 1 ? 1 : typical > LONGEST ? LONGEST : (size_t)typical;
	t.a = (struct attention){ m->n_heads, m->n_kv_heads, m->head_width, m->layer[s->from].window, m->attention_scale,
	                          m->attention_softcap };
	t.len = len < UNIT ? len : UNIT;
	double rate = try_attend_at(&t, A_WHILE / 16);
	/* As long as goes in a while, then as many. */
	double longest = sqrt(rate * A_WHILE / (2.0 * (double)q_width(m)));
	t.len = longest < UNIT ? t.len : longest < (double)len ? (size_t)longest : len;
	double many = rate * A_WHILE / attend_flops(&t);
	t.n = many * (double)t.len > LONGEST ? LONGEST / t.len : many < 1 ? 1 : (size_t)many;
	return rate > 0 ? try_attend_at(&t, A_WHILE) : 0;
}

/* -------- all */

static const struct part *part_of(const struct part *parts, size_t n, enum role role)
{
	for (size_t i = 0; i < n; i++)
		if (parts[i].role == role && !parts[i].bias)
			return &parts[i];
	return NULL;
}

void plan_probe(const struct sweep *s, const struct plan_stream *t, struct plan_work *w)
{
	static const enum role roles[] = { ROLE_QKV, ROLE_ATTN_PROJ, ROLE_GATE_UP, ROLE_DOWN, ROLE_EXPERT_GATE_UP, ROLE_EXPERT_DOWN };
	const struct part *parts;
	size_t n_parts = s->parts(s->context, s->from, &parts);
	double flops = 0, seconds = 0, bytes = 0, putting = 0;
	for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
		const struct part *part = part_of(parts, n_parts, roles[i]);
		bool expert = roles[i] == ROLE_EXPERT_GATE_UP || roles[i] == ROLE_EXPERT_DOWN;
		size_t n, k;
		double rate, put_rate;
		if (!part)
			continue;
		role_shape(s->m, roles[i], &n, &k);
		if (!try_product(s, part, n, k, expert, t->tokens, &rate, &put_rate))
			return;
		double times = expert ? (double)s->m->experts_per_token : 1, held = expert ? (double)s->m->n_experts : 1;
		flops += times * (double)n * (double)k;
		seconds += times * (double)n * (double)k / rate;
		bytes += held * (double)n * (double)k;
		putting += held * (double)n * (double)k / put_rate;
	}
	w->product_rate = seconds > 0 ? flops / seconds : 0;
	w->put_rate = putting > 0 ? bytes / putting : 0;
	const struct part *proj = part_of(parts, n_parts, ROLE_ATTN_PROJ);
	w->attend_rate = proj ? try_attend(s, proj, t->typical) : 0;
}
