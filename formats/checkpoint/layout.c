#include "layout.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

enum { NAME_LEN = 256 };

struct found {
	struct part part;
	const struct tensor *tensor;
};

struct builder {
	const struct config *config;
	const struct model *model;
	const struct tensors *tensors;
	const char *prefix;
	size_t prefix_len;
	struct {
		size_t n, k;
	} shape[ROLE_COUNT];            /* role_shape's */
	struct found *found;
	size_t n, capacity;
};

/* Columns of a role that one tensor has: the role's columns column..column+n-1 are its rows
 * first.., in runs of `group` rows every `group_rows`. */
struct slice {
	size_t column, n, first, group, group_rows;
};

/* At most three. */
static size_t share_slices(const struct model *m, enum share share, size_t n, struct slice slice[3])
{
	size_t d = m->head_width, q = m->n_heads * d, kv = m->n_kv_heads * d;
	switch (share) {
	case SHARE_Q:
		slice[0] = (struct slice){ 0, q, 0, q, q };
		return 1;
	case SHARE_K:
		slice[0] = (struct slice){ q, kv, 0, kv, kv };
		return 1;
	case SHARE_V:
		slice[0] = (struct slice){ q + kv, kv, 0, kv, kv };
		return 1;
	case SHARE_HEADS:
		for (size_t i = 0; i < 3; i++)
			slice[i] = (struct slice){ i * q, q, i * d, d, 3 * d };
		return 3;
	case SHARE_GATE:
		slice[0] = (struct slice){ 0, n / 2, 0, n / 2, n / 2 };
		return 1;
	case SHARE_UP:
		slice[0] = (struct slice){ n / 2, n / 2, 0, n / 2, n / 2 };
		return 1;
	case SHARE_HEAD:
		slice[0] = (struct slice){ 0, d, 0, d, d };
		return 1;
	default:
		slice[0] = (struct slice){ 0, n, 0, n, n };
		return 1;
	}
}

static bool role_has_bias(const struct builder *b, enum role role)
{
	switch (role) {
	case ROLE_QKV:
		return b->config->qkv_bias;
	case ROLE_ATTN_PROJ:
		return b->config->proj_bias;
	case ROLE_GATE_UP:
	case ROLE_DOWN:
		return b->config->mlp_bias;
	case ROLE_HEAD:
		return b->config->head_bias;
	case ROLE_Q_NORM:
	case ROLE_K_NORM:
		return b->config->qk_norm_bias;
	default:
		return role >= ROLE_PRODUCTS && role < ROLE_NORMS_END && b->config->norm_bias;
	}
}

static void make_name(char name[NAME_LEN], const struct builder *b, const struct family_tensor *row,
                      size_t layer, size_t expert, bool bias)
{
	size_t used = (size_t)snprintf(name, NAME_LEN, "%.*s", row->role == ROLE_HEAD ? 0 : (int)b->prefix_len, b->prefix);
	for (const char *p = row->name; *p && used < NAME_LEN - 1;) {
		if (*p == '%') {
			used += (size_t)snprintf(name + used, NAME_LEN - used, "%zu",
			                         p[1] == 'd' ? layer : expert);
			p += 2;
		} else {
			name[used++] = *p++;
			name[used] = 0;
		}
	}
	if (!row->stacked && used < NAME_LEN)
		snprintf(name + used, NAME_LEN - used, "%s", bias ? ".bias" : ".weight");
}

static int check_tensor(const struct tensor *t, const uint64_t *dim, int n_dims, struct error *e)
{
	const struct safetensor *x = t->is;
	if (x->n_dims != n_dims || memcmp(x->dim, dim, (size_t)n_dims * sizeof *dim)) {
		char is[128], due[128];
		safetensors_shape(is, sizeof is, x->dim, x->n_dims);
		safetensors_shape(due, sizeof due, dim, n_dims);
		return error_set(e, "%s: tensor '%s' is %s where config.json asks for %s",
		                 t->file->path, x->name, is, due);
	}
	if (!dtype_is_float(x->dtype))
		return error_set(e,
		                 "%s: tensor '%s' is %s; weights have to be F32, F64, BF16, F16 or "
		                 "F8_E4M3",
		                 t->file->path, x->name, x->type);
	return 0;
}

static void add_part(struct builder *b, const struct tensor *t, const struct part *part)
{
	void *p = b->found;
	mem_grow(&p, &b->capacity, b->n + 1, sizeof *b->found);
	b->found = p;
	b->found[b->n] = (struct found){ *part, t };
	b->found[b->n].part.name = t->is->name;
	b->found[b->n++].part.view.dtype = t->is->dtype;
}

/* A norm by heads, each by its own weights, as one tensor (A, D). */
static bool is_by_heads(const struct builder *b, const struct family_tensor *row)
{
	return (row->role == ROLE_Q_NORM || row->role == ROLE_K_NORM) && b->model->qk_norm == QK_NORM_HEADS &&
	       row->share == SHARE_ALL;
}

/* Adds what one tensor holds of a role, for one expert (or head); n_stacked: of how many it is. */
static int add_tensor(struct builder *b, const struct family_tensor *row, const struct tensor *t,
                      bool bias, size_t expert, size_t n_stacked, struct error *e)
{
	size_t n = b->shape[row->role].n, k = b->shape[row->role].k;
	struct slice slice[3];
	size_t n_slices = share_slices(b->model, row->share, n, slice), rows = 0;
	for (size_t i = 0; i < n_slices; i++)
		rows += slice[i].n;
	if (row->share == SHARE_HEAD) {
		slice[0].column = expert * slice[0].n;
		expert = 0;
	}
	bool vector = bias || (row->role >= ROLE_PRODUCTS && row->role < ROLE_NORMS_END);
	uint64_t dim[3] = { n_stacked, row->transposed ? k : rows, row->transposed ? rows : k };
	if (vector)
		dim[1] = rows;
	int n_dims = (n_stacked ? 1 : 0) + (vector ? 1 : 2);
	if (is_by_heads(b, row)) {
		dim[1] = rows / b->model->head_width;
		dim[2] = b->model->head_width;
		n_dims = 2;
	}
	if (check_tensor(t, n_stacked ? dim : dim + 1, n_dims, e) < 0)
		return -1;
	if (vector)
		k = 1;
	bool transposed = row->transposed && !vector;
	size_t across = transposed ? 1 : k, down = transposed ? rows : 1;
	for (size_t i = 0; i < n_slices; i++) {
		struct slice *s = &slice[i];
		size_t first = (n_stacked ? expert * rows * k : 0) + s->first * across;
		add_part(b, t,
		         &(struct part){
				 .role = row->role,
				 .bias = bias,
				 .expert = expert,
				 .column = s->column,
				 .view = { .n = s->n,
		                           .k = k,
		                           .first = first,
		                           .group = s->group,
		                           .group_stride = s->group_rows * across,
		                           .n_stride = across,
		                           .k_stride = down },
			 });
	}
	return 0;
}

/* Adds one row's weight and bias. */
static int add_row(struct builder *b, const struct family_tensor *row, size_t layer, size_t expert,
                   struct error *e)
{
	for (int bias = 0; bias <= role_has_bias(b, row->role); bias++) {
		char name[NAME_LEN];
		make_name(name, b, row, layer, expert, bias);
		const struct tensor *t = tensors_find(b->tensors, name);
		if (!t)
			return error_set(e, "%s: tensor '%s' is missing, config.json asks for it",
			                 b->tensors->dir, name);
		if (add_tensor(b, row, t, bias, expert, 0, e) < 0)
			return -1;
	}
	return 0;
}

/* 1: added, for all experts; 0: there is no such tensor; -1. */
static int add_stacked(struct builder *b, const struct family_tensor *row, size_t layer,
                       struct error *e)
{
	char name[NAME_LEN];
	make_name(name, b, row, layer, 0, false);
	const struct tensor *t = tensors_find(b->tensors, name);
	if (!t)
		return 0;
	for (size_t i = 0; i < b->model->n_experts; i++)
		if (add_tensor(b, row, t, false, i, b->model->n_experts, e) < 0)
			return -1;
	return 1;
}

static bool layer_has(const struct builder *b, size_t layer, enum role role)
{
	size_t n = b->shape[role].n;
	bool experts = b->model->layer[layer].experts;
	if (role == ROLE_GATE_UP || role == ROLE_DOWN)
		return n && !experts;
	if (role >= ROLE_ROUTER && role <= ROLE_SHARED_GATE)
		return n && experts;
	return n > 0;
}

static int add_layer(struct builder *b, size_t layer, struct error *e)
{
	bool stacked[ROLE_COUNT] = { false };
	for (const struct family_tensor *row = b->config->family->tensors; row->name; row++) {
		if (!strstr(row->name, "%d") || !layer_has(b, layer, row->role) ||
		    stacked[row->role])
			continue;
		if (row->stacked) {
			int r = add_stacked(b, row, layer, e);
			if (r < 0)
				return -1;
			stacked[row->role] = r > 0;
			continue;
		}
		size_t heads = b->shape[row->role].n / b->model->head_width;
		size_t n = strstr(row->name, "%e") ? b->model->n_experts : strstr(row->name, "%h") ? heads : 1;
		for (size_t i = 0; i < n; i++)
			if (add_row(b, row, layer, i, e) < 0)
				return -1;
	}
	return 0;
}

static const struct family_tensor *row_of(const struct family *f, enum role role)
{
	const struct family_tensor *row = f->tensors;
	while (row->role != role)
		row++;
	return row;
}

static int add_outer(struct builder *b, struct error *e)
{
	const struct family *f = b->config->family;
	for (const struct family_tensor *row = f->tensors; row->name; row++) {
		if (strstr(row->name, "%d") || !b->shape[row->role].n)
			continue;
		bool head = row->role == ROLE_HEAD;
		char name[NAME_LEN];
		bool tied = head && b->config->tied;
		make_name(name, b, tied ? row_of(f, ROLE_EMBED) : row, 0, 0, false);
		const struct tensor *t = tensors_find(b->tensors, name);
		if (!head && add_row(b, row, 0, 0, e) < 0)
			return -1;
		if (head && t && tied && add_tensor(b, row, t, false, 0, 0, e) < 0)
			return -1;
		if (head && t && !tied && add_row(b, row, 0, 0, e) < 0)
			return -1;
	}
	return 0;
}

static int by_place(const void *a, const void *b)
{
	const struct found *x = a, *y = b;
	if (x->tensor->file_number != y->tensor->file_number)
		return x->tensor->file_number < y->tensor->file_number ? -1 : 1;
	if (x->tensor->is->offset != y->tensor->is->offset)
		return x->tensor->is->offset < y->tensor->is->offset ? -1 : 1;
	if (x->part.role != y->part.role)
		return x->part.role < y->part.role ? -1 : 1;
	return x->part.view.first < y->part.view.first ? -1
	                                               : x->part.view.first > y->part.view.first;
}

/* Moves what was found into *to, and empties the builder. */
static void take_parts(struct builder *b, struct layout_parts *to)
{
	if (b->n)
		qsort(b->found, b->n, sizeof *b->found, by_place);
	to->n = b->n;
	to->part = mem_zero(b->n, sizeof *to->part);
	to->tensor = mem_zero(b->n, sizeof *to->tensor);
	for (size_t i = 0; i < b->n; i++) {
		to->part[i] = b->found[i].part;
		to->tensor[i] = b->found[i].tensor;
	}
	b->n = 0;
}

static bool has_embedding(const struct builder *b)
{
	char name[NAME_LEN];
	make_name(name, b, row_of(b->config->family, ROLE_EMBED), 0, 0, false);
	return tensors_find(b->tensors, name);
}

/* The first of the family's prefixes that the embedding has; or none, where the files leave it out; or the first. */
static void find_prefix(struct builder *b)
{
	const char *first = b->config->family->prefix;
	for (b->prefix = first; *b->prefix; b->prefix += b->prefix_len + (b->prefix[b->prefix_len] == '|')) {
		b->prefix_len = strcspn(b->prefix, "|");
		if (has_embedding(b))
			return;
	}
	b->prefix_len = 0;
	if (has_embedding(b))
		return;
	b->prefix = first;
	b->prefix_len = strcspn(first, "|");
}

int layout_init(struct layout *l, const struct config *c, const struct model *m,
                const struct tensors *t, struct error *e)
{
	struct builder b = { .config = c, .model = m, .tensors = t };
	find_prefix(&b);
	for (int role = 0; role < ROLE_COUNT; role++)
		role_shape(m, (enum role)role, &b.shape[role].n, &b.shape[role].k);
	*l = (struct layout){ .n_layers = m->n_layers };
	l->layer = mem_zero(m->n_layers, sizeof *l->layer);
	int r = add_outer(&b, e);
	if (r == 0)
		take_parts(&b, &l->outer);
	for (size_t i = 0; i < m->n_layers && r == 0; i++) {
		r = add_layer(&b, i, e);
		if (r == 0)
			take_parts(&b, &l->layer[i]);
	}
	free(b.found);
	if (r < 0)
		layout_release(l);
	return r;
}

static void release_parts(struct layout_parts *p)
{
	free(p->part);
	free(p->tensor);
}

void layout_release(struct layout *l)
{
	release_parts(&l->outer);
	for (size_t i = 0; i < l->n_layers; i++)
		release_parts(&l->layer[i]);
	free(l->layer);
	*l = (struct layout){ 0 };
}
