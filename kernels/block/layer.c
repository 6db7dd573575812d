#include "layer.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

enum { ALIGNMENT = 256 };

static size_t aligned(size_t n)
{
	return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static struct norm *norm_of(struct layer *l, enum role role)
{
	switch (role) {
	case ROLE_ATTN_NORM: return &l->attn_norm;
	case ROLE_Q_NORM: return &l->q_norm;
	case ROLE_K_NORM: return &l->k_norm;
	case ROLE_ATTN_POST_NORM: return &l->attn_post_norm;
	case ROLE_MLP_NORM: return &l->mlp_norm;
	case ROLE_MLP_POST_NORM: return &l->mlp_post_norm;
	case ROLE_FINAL_NORM: return &l->final_norm;
	default: return NULL;
	}
}

static struct weight *weight_of(struct layer *l, enum role role, size_t expert)
{
	switch (role) {
	case ROLE_QKV: return &l->qkv;
	case ROLE_ATTN_PROJ: return &l->attn_proj;
	case ROLE_GATE_UP: return &l->gate_up;
	case ROLE_DOWN: return &l->down;
	case ROLE_ROUTER: return &l->router;
	case ROLE_EXPERT_GATE_UP: return &l->expert_gate_up[expert];
	case ROLE_EXPERT_DOWN: return &l->expert_down[expert];
	case ROLE_SHARED_GATE_UP: return &l->shared_gate_up;
	case ROLE_SHARED_DOWN: return &l->shared_down;
	case ROLE_SHARED_GATE: return &l->shared_gate;
	case ROLE_HEAD: return &l->head;
	default: return NULL;
	}
}

/* Parts of one weight that are stored in different types are multiplied in the type that holds them all. */
static enum dtype joined(enum dtype a, enum dtype b)
{
	return a == DTYPE_NONE || a == b ? b : DTYPE_F32;
}

/* First pass: shapes and operand types, so that weight_len can be asked. */
static void shape(struct layer *l, const struct model *m, const struct part *parts, size_t n_parts)
{
	for (size_t i = 0; i < n_parts; i++) {
		const struct part *p = &parts[i];
		struct norm *norm = norm_of(l, p->role);
		struct weight *w = norm ? NULL : weight_of(l, p->role, p->expert);
		size_t k;
		if (norm)
			role_shape(m, p->role, &norm->n, &k);
		if (!w || p->bias)
			continue;
		role_shape(m, p->role, &w->n, &w->k);
		w->dtype = joined(w->dtype, l->ops->operand_type(l->device, p->view.dtype));
	}
}

/* Second pass: places, and the bytes of all. */
static struct layer_len place(struct layer *l, const struct part *parts, size_t n_parts)
{
	struct layer_len at = { 0 };
	size_t work = dtype_size(l->ops->work);
	for (size_t i = 0; i < n_parts; i++) {
		const struct part *p = &parts[i];
		struct norm *norm = norm_of(l, p->role);
		struct weight *w = norm ? NULL : weight_of(l, p->role, p->expert);
		void **slot;
		size_t len, column = 0;
		if (norm) {
			slot = p->bias ? &norm->bias : &norm->weight;
			len = norm->n * work;
		} else if (w && p->bias) {
			slot = &w->bias;
			len = w->n * work;
		} else if (w) {
			slot = &w->data;
			len = l->ops->weight_len(l->device, w->n, w->k, w->dtype);
			column = l->ops->weight_len(l->device, 1, w->k, w->dtype);
		} else {
			continue;
		}
		if (*slot)
			continue;
		bool matrix = column > 0;
		*slot = matrix ? (char *)l->memory.weights + at.weights : (char *)l->memory.vectors + at.vectors;
		*(matrix ? &at.weights : &at.vectors) += aligned(len);
		at.column = column > at.column ? column : at.column;
	}
	return at;
}

static void open_lists(struct layer *l, const struct ops *ops, struct device *d, const struct model *m)
{
	memset(l, 0, sizeof *l);
	l->ops = ops;
	l->device = d;
	if (m->n_experts) {
		l->expert_gate_up = mem_zero(m->n_experts, sizeof *l->expert_gate_up);
		l->expert_down = mem_zero(m->n_experts, sizeof *l->expert_down);
	}
}

struct layer_len layer_len(const struct ops *ops, struct device *d, const struct model *m, const struct part *parts, size_t n_parts)
{
	struct layer l;
	open_lists(&l, ops, d, m);
	l.memory.vectors = l.memory.weights = (void *)(uintptr_t)ALIGNMENT; /* never touched: any place but NULL marks a slot as taken */
	shape(&l, m, parts, n_parts);
	struct layer_len len = place(&l, parts, n_parts);
	layer_release(&l);
	return len;
}

static size_t most(size_t a, size_t b)
{
	return a > b ? a : b;
}

struct layer_len layer_len_most(struct layer_len a, struct layer_len b)
{
	return (struct layer_len){ most(a.vectors, b.vectors), most(a.weights, b.weights), most(a.column, b.column) };
}

int layer_memory_take(struct layer_memory *to, const struct ops *ops, struct device *d, struct layer_len len, bool on_host,
                      const char *what, struct error *e)
{
	*to = (struct layer_memory){ .len = len, .on_host = on_host };
	to->vectors = ops->take(d, len.vectors + (on_host ? 0 : len.weights), what, e);
	if (to->vectors)
		to->weights = on_host ? ops->take_staging(d, len.weights, e) : (char *)to->vectors + len.vectors;
	if (to->weights)
		return 0;
	layer_memory_give(to, ops, d);
	return -1;
}

void layer_memory_give(struct layer_memory *x, const struct ops *ops, struct device *d)
{
	if (x->on_host && x->weights)
		ops->free_staging(d, x->weights);
	if (x->vectors)
		ops->give(d, x->vectors);
	*x = (struct layer_memory){ 0 };
}

int layer_init(struct layer *l, const struct ops *ops, struct device *d, const struct model *m, size_t index,
               const struct part *parts, size_t n_parts, const struct layer_memory *memory, struct error *e)
{
	struct layer_len need = layer_len(ops, d, m, parts, n_parts);
	if (need.vectors > memory->len.vectors || need.weights > memory->len.weights)
		return error_set(e, "layer %zu: needs %zu bytes, and its memory has %zu", index, need.vectors + need.weights,
		                 memory->len.vectors + memory->len.weights);
	open_lists(l, ops, d, m);
	l->index = index;
	l->memory = *memory;
	shape(l, m, parts, n_parts);
	place(l, parts, n_parts);
	/* A stacked bias that only some parts have (q, k, v with, another without) is zero for the others. */
	for (size_t i = 0; i < n_parts; i++) {
		struct weight *w = norm_of(l, parts[i].role) ? NULL : weight_of(l, parts[i].role, parts[i].expert);
		if (w && parts[i].bias)
			ops->zero_put(d, w->bias, w->n * dtype_size(ops->work));
	}
	return 0;
}

int layer_put(void *layer, const struct part *p, struct error *e)
{
	struct layer *l = layer;
	size_t work = dtype_size(l->ops->work);
	struct norm *norm = norm_of(l, p->role);
	if (norm) {
		if (p->column + p->view.n > norm->n)
			return error_set(e, "%s: has %zu values where %zu are due", p->name, p->view.n, norm->n);
		char *to = p->bias ? norm->bias : norm->weight;
		l->ops->vector_put(l->device, to + p->column * work, &p->view);
		return 0;
	}
	struct weight *w = weight_of(l, p->role, p->expert);
	if (!w || !w->data)
		return error_set(e, "%s: isn't a part of layer %zu", p->name, l->index);
	if (p->column + p->view.n > w->n || (!p->bias && p->view.k != w->k))
		return error_set(e, "%s: is (%zu, %zu) and doesn't fit (%zu, %zu)", p->name, p->view.n, p->view.k, w->n, w->k);
	if (p->bias)
		l->ops->vector_put(l->device, (char *)w->bias + p->column * work, &p->view);
	else
		l->ops->weight_put(l->device, w, p->column, &p->view);
	return 0;
}

void layer_release(struct layer *l)
{
	free(l->expert_gate_up);
	free(l->expert_down);
	l->expert_gate_up = l->expert_down = NULL;
}
