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
	const struct sink out = out_at(job->d, job->out, &job->packed, s->row + q0);
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
		.scale = (float)a->scale,
		.softcap = (float)a->softcap,
		.out = { out.f ? out.f + head * width : NULL, out.h ? out.h + head * width : NULL },
		.out_stride = job->out.p ? job->out.stride
		                         : operand_stride(job->d, job->packed.k, job->packed.dtype),
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

struct scores_job {
	struct device *d;
	const struct attention *a;
	const struct segment *s;
	struct rows q;
	size_t i0, n;
	bool probs;
	float *to;
};

/* One query's scores, of all heads. */
static void scores_task(void *argument, size_t i, size_t slot)
{
	const struct scores_job *job = argument;
	const struct attention *a = job->a;
	const size_t width = a->head_width, stride = a->n_kv_heads * width,
		     rep = a->n_heads / a->n_kv_heads;
	const size_t len = job->s->first + job->i0 + job->n, position = job->s->first + job->i0 + i;
	const size_t begin = a->window && position >= a->window ? position - a->window + 1 : 0;
	const struct attend_block block = { .kv_stride = stride,
		                            .width = width,
		                            .scale = (float)a->scale,
		                            .softcap = (float)a->softcap };

	(void)slot;
	for (size_t head = 0; head < a->n_heads; head++) {
		float *s = job->to + (i * a->n_heads + head) * len;
		const float *k = (const float *)job->s->k + begin * stride + head / rep * width;

		for (size_t j = 0; j < len; j++)
			s[j] = job->probs ? 0 : -__builtin_inff();
		job->d->unit->scores(&block,
		                     rows_at(job->q, job->s->row + job->i0 + i) + head * width, k,
		                     position + 1 - begin, s + begin);
		if (job->probs)
			job->d->unit->softmax(s + begin, position + 1 - begin);
	}
}

void cpu_scores(struct device *d, const struct attention *a, const struct segment *s, struct rows q,
                size_t i0, size_t n, bool probs, void *to)
{
	struct scores_job job = { d, a, s, q, i0, n, probs, to };

	workers_run(d->workers, n, scores_task, &job);
}
