#include "experts.h"

#include <stdlib.h>
#include <string.h>

#include "block_memory.h"
#include "memory.h"

/* Tasks a thread in one wave, each a chunk of one expert's rows. */
enum { WAVE = 2 };

struct chunk {                  /* entries first..first+n-1 of the list, all of one expert */
	size_t expert, first, n;
};

struct scratch {                /* of a slot */
	void *gathered, *gate_up, *act;
};

struct experts {
	const struct ops *ops;
	struct device *device;
	const struct model *m;
	struct workers *workers;
	size_t max_rows, n_rows, n_slots;
	void *memory;                   /* of the device: all that follows up to the host's */
	struct scratch *scratch;
	void *sum;                      /* (T, H) */
	void *wave;                     /* (WAVE chunk slots, H): what the experts of one wave gave */
	int32_t *ids;                   /* (T, k) */
	void *weights;                  /* (T, k) */
	/* (T k) entries sorted by expert, then row */
	uint32_t *device_list;
	void *device_factor;
	/* the host's */
	int32_t *chosen;                /* (T, k) ids */
	void *chosen_weights;           /* (T, k) */
	uint32_t *list, *slot;          /* (T k) as sorted */
	void *factor;
	size_t *begin;                  /* (E + 1): an expert's first entry */
	struct chunk *chunks;
	size_t chunk_capacity;
	/* this run */
	const struct layer *layer;
	const struct operand *a;
	void *keep;
	size_t wave_first, wave_end;    /* entries */
};

static size_t aligned(size_t n)
{
	return (n + 255) / 256 * 256;
}

static size_t gate_up_width(const struct model *m)
{
	return m->gated ? 2 * m->expert_inner : m->expert_inner;
}

static size_t chunk_operand(const struct ops *ops, struct device *d, size_t k)
{
	return aligned(operand_most(ops, d, ops->expert_chunk, k));
}

/* Bytes of a chunk's gate and up, for back ends that finish them in a second pass. */
static size_t gate_up_len(const struct ops *ops, const struct device *d, const struct model *m)
{
	return ops_finish(ops, d) ? 0 : aligned(ops->expert_chunk * gate_up_width(m) * dtype_size(ops->work));
}

static size_t scratch_len(const struct ops *ops, struct device *d, const struct model *m)
{
	return chunk_operand(ops, d, m->width) + chunk_operand(ops, d, m->expert_inner) +
	       gate_up_len(ops, d, m);
}

static size_t wave_rows(const struct ops *ops, size_t n_slots)
{
	return WAVE * ops->expert_chunk * n_slots;
}

size_t experts_len(const struct ops *ops, struct device *d, const struct model *m, size_t n_slots, size_t max_rows)
{
	size_t element = dtype_size(ops->work), chosen = max_rows * m->experts_per_token;
	if (!m->n_experts)
		return 0;
	return n_slots * scratch_len(ops, d, m) + aligned(wave_rows(ops, n_slots) * m->width * element) +
	       aligned(max_rows * m->width * element) + 2 * aligned(chosen * element) + 2 * aligned(chosen * 4);
}

static void *take(char **at, size_t len)
{
	void *p = *at;
	*at += aligned(len);
	return p;
}

struct experts *experts_open(const struct ops *ops, struct device *d, const struct model *m, struct workers *w,
                             size_t max_rows, struct error *e)
{
	struct experts *x = mem_zero(1, sizeof *x);
	size_t element = dtype_size(ops->work), chosen = max_rows * m->experts_per_token;
	*x = (struct experts){ .ops = ops, .device = d, .m = m, .workers = w, .max_rows = max_rows,
	                       .n_slots = workers_count(w) };
	x->memory = ops->take(d, experts_len(ops, d, m, x->n_slots, max_rows), "a batch's experts", e);
	x->chosen = x->memory ? mem_try(2 * chosen * (element + 4) + chosen * 4, "a batch's experts", e) : NULL;
	if (!x->chosen) {
		ops->give(d, x->memory);
		free(x);
		return NULL;
	}
	x->scratch = mem_zero(x->n_slots, sizeof *x->scratch);
	x->begin = mem_zero(m->n_experts + 1, sizeof *x->begin);
	char *at = x->memory;
	for (size_t i = 0; i < x->n_slots; i++) {
		x->scratch[i].gathered = take(&at, chunk_operand(ops, d, m->width));
		x->scratch[i].act = take(&at, chunk_operand(ops, d, m->expert_inner));
		x->scratch[i].gate_up = take(&at, gate_up_len(ops, d, m));
	}
	x->wave = take(&at, wave_rows(ops, x->n_slots) * m->width * element);
	x->sum = take(&at, max_rows * m->width * element);
	x->weights = take(&at, chosen * element);
	x->device_factor = take(&at, chosen * element);
	x->ids = take(&at, chosen * 4);
	x->device_list = take(&at, chosen * 4);
	/* Doubles first in the host's, for their alignment. */
	x->chosen_weights = x->chosen;
	x->factor = (char *)x->chosen_weights + chosen * element;
	x->chosen = (int32_t *)(void *)((char *)x->factor + chosen * element);
	x->list = (uint32_t *)x->chosen + chosen;
	x->slot = x->list + chosen;
	return x;
}

void experts_close(struct experts *x)
{
	if (!x)
		return;
	x->ops->give(x->device, x->memory);
	free(x->chosen_weights);
	free(x->scratch);
	free(x->begin);
	free(x->chunks);
	free(x);
}

void experts_begin(struct experts *x, size_t n_rows)
{
	x->n_rows = n_rows;
	x->ops->clear(x->device, x->sum, n_rows * x->m->width * dtype_size(x->ops->work));
}

void experts_route(struct experts *x, struct rows logits, size_t first)
{
	size_t k = x->m->experts_per_token;
	struct routing to = { x->ids + first * k, (char *)x->weights + first * k * dtype_size(x->ops->work), k };
	x->ops->route(x->device, logits, x->m->expert_renormalize, to);
}

struct rows experts_out(const struct experts *x, size_t first, size_t n)
{
	size_t width = x->m->width;
	return (struct rows){ (char *)x->sum + first * width * dtype_size(x->ops->work), n, width, width };
}

/* A counting sort keeps rows ascending within an expert. */
int experts_sort(struct experts *x, struct error *e)
{
	size_t k = x->m->experts_per_token, n = x->n_rows * k, element = dtype_size(x->ops->work);
	size_t n_experts = x->m->n_experts;
	x->ops->download(x->device, x->chosen, x->ids, n * sizeof *x->chosen);
	x->ops->download(x->device, x->chosen_weights, x->weights, n * element);
	if (x->ops->failed(x->device, e))
		return -1; /* and the ids are none */
	memset(x->begin, 0, (n_experts + 1) * sizeof *x->begin);
	for (size_t i = 0; i < n; i++)
		x->begin[x->chosen[i] + 1]++;
	for (size_t i = 0; i < n_experts; i++)
		x->begin[i + 1] += x->begin[i];
	for (size_t i = 0; i < n; i++) {
		size_t at = x->begin[x->chosen[i]]++;
		x->list[at] = (uint32_t)(i / k);
		x->slot[at] = (uint32_t)(i % k);
		memcpy((char *)x->factor + at * element, (char *)x->chosen_weights + i * element, element);
	}
	memmove(x->begin + 1, x->begin, n_experts * sizeof *x->begin);
	x->begin[0] = 0;
	x->ops->upload(x->device, x->device_list, x->list, n * sizeof *x->list);
	x->ops->upload(x->device, x->device_factor, x->factor, n * element);
	return 0;
}

/* Splits the entries into chunks; the number of chunks. */
static size_t split(struct experts *x)
{
	size_t n = 0, most = x->ops->expert_chunk;
	for (size_t expert = 0; expert < x->m->n_experts; expert++) {
		for (size_t at = x->begin[expert]; at < x->begin[expert + 1]; at += most) {
			size_t left = x->begin[expert + 1] - at;
			mem_grow((void **)&x->chunks, &x->chunk_capacity, n + 1, sizeof *x->chunks);
			x->chunks[n++] = (struct chunk){ expert, at, left < most ? left : most };
		}
	}
	return n;
}

static struct rows wave_rows_at(const struct experts *x, size_t entry, size_t n)
{
	size_t width = x->m->width;
	char *p = (char *)x->wave + (entry - x->wave_first) * width * dtype_size(x->ops->work);
	return (struct rows){ p, n, width, width };
}

static void keep_expert_out(struct experts *x, const struct chunk *c, struct rows out)
{
	size_t row_len = out.width * dtype_size(x->ops->work), k = x->m->experts_per_token;
	for (size_t i = 0; i < c->n; i++) {
		size_t place = x->list[c->first + i] * k + x->slot[c->first + i];
		struct rows row = { (char *)out.p + i * row_len, 1, out.width, out.stride };
		x->ops->store(x->device, (char *)x->keep + place * row_len, x->ops->work, row);
	}
}

struct wave {
	struct experts *x;
	const struct chunk *chunks;
};

static void run_chunk(void *argument, size_t i, size_t slot)
{
	struct wave *wave = argument;
	struct experts *x = wave->x;
	const struct chunk *c = &wave->chunks[i];
	const struct ops *ops = x->ops;
	const struct weight *up = &x->layer->expert_gate_up[c->expert], *down = &x->layer->expert_down[c->expert];
	struct scratch *s = &x->scratch[slot];
	struct operand gathered = { s->gathered, c->n, up->k, up->dtype };
	struct operand act = { s->act, c->n, down->k, down->dtype };
	size_t width = gate_up_width(x->m);
	struct gate gate = { x->m->activation, x->m->gated, { s->gate_up, c->n, width, width } };
	struct rows out = wave_rows_at(x, c->first, c->n);
	ops->gather(x->device, gathered, x->a, x->device_list + c->first, c->n);
	ops->product_act(x->device, &gathered, up, &gate, act, ops->expert_tile);
	ops->product(x->device, &act, down, out, ops->expert_tile);
	if (x->keep)
		keep_expert_out(x, c, out);
}

/* Task i adds what the wave's experts gave to its share of the batch's rows, expert by expert. */
static void add_rows(void *argument, size_t i, size_t slot)
{
	struct wave *wave = argument;
	struct experts *x = wave->x;
	size_t share = (x->n_rows + x->n_slots - 1) / x->n_slots, element = dtype_size(x->ops->work);
	uint32_t first = (uint32_t)(i * share), end = (uint32_t)(first + share);
	(void)slot;
	for (const struct chunk *c = wave->chunks; c->first < x->wave_end; c++) {
		size_t from = c->first, to = c->first + c->n;
		while (from < to && x->list[from] < first)
			from++;
		while (to > from && x->list[to - 1] >= end)
			to--;
		if (from < to)
			x->ops->scatter(x->device, experts_out(x, 0, x->n_rows), wave_rows_at(x, from, to - from),
			                x->device_list + from, (char *)x->device_factor + from * element, to - from);
	}
}

struct rows experts_weights(const struct experts *x, size_t first, size_t n)
{
	size_t k = x->m->experts_per_token;
	return (struct rows){ (char *)x->weights + first * k * dtype_size(x->ops->work), n, k, k };
}

void experts_read_ids(const struct experts *x, size_t first, size_t n, int32_t *all)
{
	size_t k = x->m->experts_per_token;
	x->ops->download(x->device, all + first * k, x->ids + first * k, n * k * sizeof *all);
}

double experts_run(struct experts *x, const struct layer *l, const struct operand *a, void *keep)
{
	x->layer = l;
	x->a = a;
	x->keep = keep;
	size_t n_chunks = split(x), entries = x->n_rows * x->m->experts_per_token;
	mem_grow((void **)&x->chunks, &x->chunk_capacity, n_chunks + 1, sizeof *x->chunks);
	x->chunks[n_chunks] = (struct chunk){ 0, entries, 0 };
	for (size_t at = 0, n; at < n_chunks; at += n) {
		size_t room = WAVE * x->n_slots;
		n = n_chunks - at < room ? n_chunks - at : room;
		x->wave_first = x->chunks[at].first;
		x->wave_end = x->chunks[at + n].first;
		struct wave wave = { x, &x->chunks[at] };
		workers_run(x->workers, n, run_chunk, &wave);
		workers_run(x->workers, x->n_slots, add_rows, &wave);
	}
	return 2.0 * (double)entries * (double)x->m->width * (double)(gate_up_width(x->m) + x->m->expert_inner);
}

/* Rows first.. of a share: a row's experts in ascending id, as add_rows has them. */
struct resum {
	struct experts *x;
	const void *given;
};

static void sum_rows(void *argument, size_t i, size_t slot)
{
	const struct resum *s = argument;
	struct experts *x = s->x;
	size_t share = (x->n_rows + x->n_slots - 1) / x->n_slots, element = dtype_size(x->ops->work);
	size_t end = (i + 1) * share < x->n_rows ? (i + 1) * share : x->n_rows, k = x->m->experts_per_token;
	size_t width = x->m->width;
	struct rows from = { (char *)x->wave + slot * width * element, 1, width, width };
	for (size_t at = 0; at < x->begin[x->m->n_experts]; at++) {
		size_t row = x->list[at];
		if (row < i * share || row >= end)
			continue;
		x->ops->load(x->device, from, (char *)s->given + (row * k + x->slot[at]) * width * element, x->ops->work);
		x->ops->scatter(x->device, experts_out(x, 0, x->n_rows), from, x->device_list + at,
		                (char *)x->device_factor + at * element, 1);
	}
}

void experts_sum(struct experts *x, const void *given)
{
	struct resum s = { x, given };
	x->ops->clear(x->device, x->sum, x->n_rows * x->m->width * dtype_size(x->ops->work));
	workers_run(x->workers, x->n_slots, sum_rows, &s);
}
