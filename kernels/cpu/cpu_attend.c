#include "cpu.h"

struct job {
	struct device *d;
	const struct attention *a;
	const struct segment *segments;
	size_t n_tasks;
	struct rows q, out;
	struct operand packed;
	size_t heads;   /* of a task, that share one key/value head */
	size_t chunks;  /* tasks that a group of heads is cut into */
	size_t queries; /* of a task */
};

static size_t tasks_of(const struct job *job, const struct segment *s)
{
	return (s->n + job->queries - 1) / job->queries * job->a->n_kv_heads * job->chunks;
}

static void attend_task(void *argument, size_t i, size_t slot)
{
	const struct job *job = argument;
	const struct attention *a = job->a;
	const struct segment *s = job->segments;
	const size_t rep = a->n_heads / a->n_kv_heads, width = a->head_width;

	/* From the back: a sample's last queries take longest. */
	for (i = job->n_tasks - 1 - i; i >= tasks_of(job, s); s++)
		i -= tasks_of(job, s);

	const size_t chunk = i % job->chunks, group = i / job->chunks % a->n_kv_heads;
	const size_t q0 = i / job->chunks / a->n_kv_heads * job->queries,
		     head = group * rep + chunk * job->heads;
	const struct attend_block block = {
		.q = rows_at(job->q, s->row + q0) + head * width,
		.q_stride = job->q.stride,
		.k = (const float *)s->k + group * width,
		.v = (const float *)s->v + group * width,
		.kv_stride = a->n_kv_heads * width,
		.heads = rep - chunk * job->heads < job->heads ? rep - chunk * job->heads
		                                               : job->heads,
		.width = width,
		.position = s->first + q0,
		.n = s->n - q0 < job->queries ? s->n - q0 : job->queries,
		.window = a->window,
		.scale = a->scale,
		.softcap = (float)a->softcap,
		.out = out_sinks(job->d, job->out, &job->packed),
		.out_row = s->row + q0,
		.out_first = head * width,
		.scratch = job->d->slots[slot].scratch,
	};

	job->d->unit->attend(&block);
}

void cpu_attend(struct device *d, const struct attention *a, const struct segment *segments,
                size_t n_segments, struct rows q, struct rows out, struct operand packed)
{
	const size_t rep = a->n_heads / a->n_kv_heads, rows = attend_rows(a->head_width);
	struct job job = { d, a, segments, 0, q, out, packed, rep < rows ? rep : rows, 0, 0 };

	job.chunks = (rep + job.heads - 1) / job.heads;
	job.queries = rows / job.heads;
	for (size_t i = 0; i < n_segments; i++)
		job.n_tasks += tasks_of(&job, &segments[i]);
	workers_run(d->workers, job.n_tasks, attend_task, &job);
}

/* Rows of attention that are not fused: one query is a task. */
struct plain {
	struct device *d;
	const struct attention *a;
	const struct segment *s;
	struct rows q, out;
	size_t i0;
	bool probs;
	float *x; /* (n, A, len) */
};

/* The keys that a task's query sees: begin..end-1. */
static size_t visible(const struct plain *p, size_t i, size_t *end)
{
	const size_t position = p->s->first + p->i0 + i, window = p->a->window;

	*end = position + 1;
	return window && position >= window ? position - window + 1 : 0;
}

static float *head_row(const struct plain *p, size_t i, size_t head)
{
	return p->x + (i * p->a->n_heads + head) * p->s->len;
}

static void hide(float *x, size_t len, size_t begin, size_t end, float value)
{
	for (size_t j = 0; j < begin; j++)
		x[j] = value;
	for (size_t j = end; j < len; j++)
		x[j] = value;
}

static void scores_task(void *argument, size_t i, size_t slot)
{
	const struct plain *p = argument;
	const struct attention *a = p->a;
	const size_t width = a->head_width, stride = a->n_kv_heads * width,
		     rep = a->n_heads / a->n_kv_heads;
	const struct attend_block block = { .kv_stride = stride,
		                            .width = width,
		                            .scale = a->scale,
		                            .softcap = (float)a->softcap };
	size_t end, begin = visible(p, i, &end);

	(void)slot;
	for (size_t head = 0; head < a->n_heads; head++) {
		float *s = head_row(p, i, head);
		const float *k = (const float *)p->s->k + begin * stride + head / rep * width;

		hide(s, p->s->len, begin, end, p->probs ? 0 : -__builtin_inff());
		p->d->unit->scores(&block, rows_at(p->q, p->s->row + p->i0 + i) + head * width, k,
		                   end - begin, s + begin);
		if (p->probs)
			p->d->unit->softmax(s + begin, end - begin);
	}
}

void cpu_scores(struct device *d, const struct attention *a, const struct segment *s, struct rows q,
                size_t i0, size_t n, bool probs, void *x)
{
	struct plain p = { .d = d, .a = a, .s = s, .q = q, .i0 = i0, .probs = probs, .x = x };

	workers_run(d->workers, n, scores_task, &p);
}

static void softmax_task(void *argument, size_t i, size_t slot)
{
	const struct plain *p = argument;
	size_t end, begin = visible(p, i, &end);

	(void)slot;
	for (size_t head = 0; head < p->a->n_heads; head++) {
		float *s = head_row(p, i, head);

		hide(s, p->s->len, begin, end, 0);
		p->d->unit->softmax(s + begin, end - begin);
	}
}

void cpu_softmax(struct device *d, const struct attention *a, const struct segment *s, size_t i0,
                 size_t n, void *x)
{
	struct plain p = { .d = d, .a = a, .s = s, .i0 = i0, .x = x };

	workers_run(d->workers, n, softmax_task, &p);
}

static void mix_task(void *argument, size_t i, size_t slot)
{
	const struct plain *p = argument;
	const struct attention *a = p->a;
	const size_t width = a->head_width, rep = a->n_heads / a->n_kv_heads;
	size_t end, begin = visible(p, i, &end);

	(void)slot;
	for (size_t head = 0; head < a->n_heads; head++) {
		const float *s = head_row(p, i, head);
		float *y = rows_at(p->out, p->s->row + p->i0 + i) + head * width;

		for (size_t c = 0; c < width; c++)
			y[c] = 0;
		for (size_t j = begin; j < end; j++)
			p->d->unit->add_scaled(y, (const float *)p->s->v + (j * a->n_kv_heads + head / rep) * width,
			                       s[j], width);
	}
}

void cpu_mix(struct device *d, const struct attention *a, const struct segment *s, const void *x,
             size_t i0, size_t n, struct rows out)
{
	struct plain p = { .d = d, .a = a, .s = s, .out = out, .i0 = i0, .x = (float *)x };

	workers_run(d->workers, n, mix_task, &p);
}
