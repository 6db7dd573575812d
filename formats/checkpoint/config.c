#include "config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_key.h"
#include "memory.h"
#include "rotary_config.h"

/* Far above any model; products of a few of them stay within 64 bits. */
enum {
	LAYERS_MAX = 1 << 16,
	WIDTH_MAX = 1 << 22,
	HEADS_MAX = 1 << 14,
	HEAD_WIDTH_MAX = 1 << 16,
	VOCAB_MAX = 1 << 28,
	EXPERTS_MAX = 1 << 16,
};

static const struct {
	const char *name;
	enum activation activation;
} activations[] = {
	{ "silu", ACT_SILU }, { "swish", ACT_SILU },
	{ "gelu", ACT_GELU }, { "gelu_python", ACT_GELU },
	{ "gelu_pytorch_tanh", ACT_GELU_TANH }, { "gelu_new", ACT_GELU_TANH },
	{ "gelu_fast", ACT_GELU_TANH }, { "gelu_python_tanh", ACT_GELU_TANH },
	{ "gelu_accurate", ACT_GELU_TANH },
	{ "quick_gelu", ACT_GELU_QUICK },
	{ "relu", ACT_RELU },
};

/* What other programs do with such a checkpoint before its weights mean anything. */
static const char *const refused_keys[] = { "quantization_config", "compression_config" };

static int find_family(const struct json *json, const struct family **f, struct error *e)
{
	const char *type;
	int found = json_get_text(json, "model_type", &type, NULL, e);
	if (found <= 0)
		return found < 0 ? -1 : error_set(e, "'model_type' is missing");
	*f = family_find(type);
	if (*f)
		return 0;
	char known[800] = "";
	for (f = &(const struct family *){ families }; (*f)->name; ++*f)
		snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s",
		         *known ? ", " : "", (*f)->name);
	return error_set(e, "'model_type' is '%.60s', supported are %s", type, known);
}

static int refuse(const struct json *json, struct error *e)
{
	for (size_t i = 0; i < ARRAY_LEN(refused_keys); i++) {
		const struct json *v = json_member(json, refused_keys[i]);
		if (json_kind(v) == JSON_KIND_NULL)
			continue;
		const char *method = json_text(json_member(v, "quant_method"), NULL);
		return error_set(e, "'%s'%s%.60s%s: compressed weights are not supported, use a "
		                 "checkpoint in bf16, f16 or f32", refused_keys[i],
		                 method ? " with quant_method '" : "", method ? method : "",
		                 method ? "'" : " is set");
	}
	return 0;
}

static int read_heads(const struct json *json, const struct family *f, struct model *m,
                      struct error *e)
{
	const struct family_keys *k = f->keys;
	char key[CONFIG_KEY_LEN];
	if (config_size(json, k->heads, true, 1, HEADS_MAX, &m->n_heads, e) < 0)
		return -1;
	m->n_kv_heads = m->n_heads;
	if (k->kv_heads) {
		/* A null is a head for each query head, a missing key what the family says. */
		if (f->kv_heads && !config_find(json, k->kv_heads, key))
			m->n_kv_heads = f->kv_heads;
		if (config_size(json, k->kv_heads, false, 1, HEADS_MAX, &m->n_kv_heads, e) < 0)
			return -1;
		if (m->n_heads % m->n_kv_heads)
			return error_set(e, "'%s' is %zu, which does not divide %zu heads",
			                 k->kv_heads, m->n_kv_heads, m->n_heads);
	}
	m->head_width = 0;
	if (k->head_width) {
		if (!config_find(json, k->head_width, key))
			m->head_width = f->head_width;
		if (config_size(json, k->head_width, false, 1, HEAD_WIDTH_MAX, &m->head_width,
		                e) < 0)
			return -1;
	}
	if (m->head_width)
		return 0;
	/* The library rounds down where nothing else depends on it. */
	if (m->width % m->n_heads && !k->head_width)
		return error_set(e, "%zu heads do not divide a width of %zu", m->n_heads, m->width);
	m->head_width = m->width / m->n_heads;
	if (!m->head_width)
		return error_set(e, "%zu heads are more than a width of %zu", m->n_heads, m->width);
	return 0;
}

static int read_sizes(const struct json *json, const struct family *f, struct model *m,
                      struct error *e)
{
	const struct family_keys *k = f->keys;
	if (config_size(json, k->width, true, 1, WIDTH_MAX, &m->width, e) < 0 ||
	    config_size(json, k->layers, true, 1, LAYERS_MAX, &m->n_layers, e) < 0 ||
	    config_size(json, k->vocab, true, 1, VOCAB_MAX, &m->vocab, e) < 0 ||
	    read_heads(json, f, m, e) < 0)
		return -1;
	m->inner = 4 * m->width;
	if (config_size(json, k->inner, !f->inner_optional, 1, 8 * (size_t)WIDTH_MAX, &m->inner,
	                e) < 0)
		return -1;
	if (f->positions) {
		m->context = f->context;
		if (config_size(json, k->context, false, 1, VOCAB_MAX, &m->context, e) < 0)
			return -1;
	}
	return 0;
}

static int read_activation(const struct json *json, const struct family *f, struct model *m,
                           struct error *e)
{
	const char *name = f->activation;
	if (json_get_text(json, f->keys->activation, &name, NULL, e) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(activations); i++)
		if (!strcmp(activations[i].name, name)) {
			m->activation = activations[i].activation;
			return 0;
		}
	char known[200] = "";
	for (size_t i = 0; i < ARRAY_LEN(activations); i++)
		snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "",
		         activations[i].name);
	return error_set(e, "'%s' is '%.60s', supported are %s", f->keys->activation, name, known);
}

static int read_attention(const struct json *json, const struct family *f, struct model *m,
                          struct error *e)
{
	bool scaled, by_layer;
	double width, scale;
	if (config_flag(json, &f->scaled, &scaled, e) < 0 ||
	    config_flag(json, &f->scaled_by_layer, &by_layer, e) < 0 ||
	    config_number(json, &f->scale_width, (double)m->head_width, &width, e) < 0 ||
	    config_number(json, &f->scale, 1 / sqrt(width), &scale, e) < 0 ||
	    config_number(json, &f->attention_softcap, 0, &m->attention_softcap, e) < 0 ||
	    config_number(json, &f->logits_softcap, 0, &m->logits_softcap, e) < 0)
		return -1;
	m->attention_scale = scaled ? scale : 1;
	m->layer = mem_zero(m->n_layers, sizeof *m->layer);
	for (size_t i = 0; i < m->n_layers; i++) {
		m->layer[i].scale_divisor = by_layer ? (double)(i + 1) : 1;
		m->layer[i].rotary = f->theta > 0 ? 0 : -1;
	}
	return f->theta > 0 ? rotary_config_read(json, f, m, e) : 0;
}

static int read_layer_types(const struct json *list, size_t window, struct model *m,
                            struct error *e)
{
	if (json_count(list) != m->n_layers)
		return error_set(e, "'layer_types' has %zu entries for %zu layers",
		                 json_count(list), m->n_layers);
	for (size_t i = 0; i < m->n_layers; i++) {
		const char *type = json_text(json_at(list, i), NULL);
		if (type && !strcmp(type, "sliding_attention") && window)
			m->layer[i].window = window;
		else if (!type || strcmp(type, "full_attention"))
			return error_set(e, "'layer_types' has '%.60s' for layer %zu, %s",
			                 type ? type : "something else", i, window ?
			                 "supported are full_attention and sliding_attention" :
			                 "but no window is set");
	}
	return 0;
}

static int read_windows(const struct json *json, const struct family *f, struct model *m,
                        struct error *e)
{
	const struct family_window *w = &f->window;
	if (!w->width.key)
		return 0;
	bool enabled;
	double width, first = w->first.otherwise;
	if (config_flag(json, &w->enabled, &enabled, e) < 0 ||
	    config_number(json, &w->width, 0, &width, e) < 0)
		return -1;
	if (width > 0x1p40 || width != floor(width))
		return error_set(e, "'%s' is %g where a whole number is due", w->width.key, width);
	if (w->first.key && json_get_double(json, w->first.key, &first, e) < 0)
		return -1;
	size_t window = enabled ? (size_t)width : 0;
	const struct json *list = NULL;
	if (w->listed && json_get(json, "layer_types", JSON_KIND_ARRAY, &list, e) < 0)
		return -1;
	if (list)
		return read_layer_types(list, window, m, e);
	size_t period = (size_t)w->period.otherwise;
	if (config_size(json, w->period.key, false, 1, LAYERS_MAX, &period, e) < 0)
		return -1;
	for (size_t i = 0; i < m->n_layers; i++)
		if ((double)i >= first && (!period || (i + 1) % period))
			m->layer[i].window = window;
	return 0;
}

/* Layers with a window turn by the second rotation, where there is one. */
static void choose_rotaries(struct model *m)
{
	for (size_t i = 0; i < m->n_layers && m->n_rotaries > 1; i++)
		m->layer[i].rotary = m->layer[i].window ? 1 : 0;
}

static int mark_dense(const struct json *json, const char *key, struct model *m, struct error *e)
{
	const struct json *list = NULL;
	if (key && json_get(json, key, JSON_KIND_ARRAY, &list, e) < 0)
		return -1;
	for (size_t i = 0; i < json_count(list); i++) {
		int64_t layer;
		if (json_int(json_at(list, i), 0, INT64_MAX, &layer) < 0)
			return error_set(e, "'%s' has something else than layer numbers", key);
		if ((uint64_t)layer < m->n_layers)
			m->layer[layer].experts = false;
	}
	return 0;
}

static int read_experts(const struct json *json, const struct family *f, struct model *m,
                        struct error *e)
{
	const struct family_experts *x = &f->experts;
	if (!x->count.key)
		return 0;
	size_t n = (size_t)x->count.otherwise, step = (size_t)x->step.otherwise;
	if (config_size(json, x->count.key, false, 0, EXPERTS_MAX, &n, e) < 0)
		return -1;
	if (!n)
		return 0;
	m->n_experts = n;
	m->experts_per_token = (size_t)x->per_token.otherwise;
	m->expert_inner = (size_t)x->inner.otherwise;
	m->shared_inner = (size_t)x->shared.otherwise;
	if (config_size(json, x->per_token.key, false, 1, n, &m->experts_per_token, e) < 0 ||
	    config_size(json, x->inner.key, false, 1, WIDTH_MAX, &m->expert_inner, e) < 0 ||
	    config_size(json, x->shared.key, false, 1, WIDTH_MAX, &m->shared_inner, e) < 0 ||
	    config_size(json, x->step.key, false, 1, LAYERS_MAX, &step, e) < 0 ||
	    config_flag(json, &x->renormalize, &m->expert_renormalize, e) < 0)
		return -1;
	if (m->experts_per_token > n)
		return error_set(e, "'%s' is missing, and %zu experts are fewer than the usual %zu",
		                 x->per_token.key, n, m->experts_per_token);
	for (size_t i = 0; i < m->n_layers; i++)
		m->layer[i].experts = (i + 1) % step == 0;
	return mark_dense(json, x->dense_layers, m, e);
}

static int refuse_asked(const struct json *json, const struct family *f, struct error *e)
{
	for (size_t i = 0; i < FAMILY_REFUSALS && f->refused[i].key; i++) {
		const struct json *v = json_member(json, f->refused[i].key);
		if (json_kind(v) != JSON_KIND_NULL && json_bool(v, true))
			return error_set(e, "'%s' is set: %s", f->refused[i].key, f->refused[i].why);
	}
	return 0;
}

static int read_multipliers(const struct json *json, const struct family *f, struct model *m,
                            struct error *e)
{
	double divisor, embed = f->embed_sqrt_width ? sqrt((double)m->width) : 1;
	if (config_number(json, &f->embed_multiplier, embed, &m->embed_multiplier, e) < 0 ||
	    config_number(json, &f->residual_multiplier, 1, &m->residual_multiplier, e) < 0 ||
	    config_number(json, &f->logits_multiplier, 1, &m->logits_multiplier, e) < 0 ||
	    config_number(json, &f->logits_divisor, 1, &divisor, e) < 0)
		return -1;
	m->logits_multiplier /= divisor;
	return 0;
}

static int read_norms(const struct json *json, struct config *c, struct model *m, struct error *e)
{
	const struct family *f = c->family;
	const struct family_flag normed = { f->qk_norm_key, !f->qk_norm_key };
	bool qk_norm;
	m->norm = f->norm;
	m->norm_plus_one = f->norm_plus_one;
	m->norm_eps = f->norm_eps;
	m->pre_norms = !f->no_pre_norms;
	m->post_norms = f->post_norms;
	c->norm_bias = f->norm_bias;
	c->qk_norm_bias = f->qk_norm_bias;
	if (config_flag(json, &normed, &qk_norm, e) < 0 || config_flag(json, &f->parallel, &m->parallel, e) < 0 ||
	    config_positive(json, f->keys->norm_eps, &m->norm_eps, e) < 0)
		return -1;
	m->qk_norm = qk_norm ? f->qk_norm : QK_NORM_NONE;
	m->shared_norm = f->shared_norm && m->parallel;
	return 0;
}

static int read_facts(const struct json *json, struct config *c, struct model *m, struct error *e)
{
	if (json_kind(json) != JSON_KIND_OBJECT)
		return error_set(e, "it is %s where an object is due", json_kind_name(json));
	if (find_family(json, &c->family, e) < 0 || refuse(json, e) < 0)
		return -1;
	const struct family *f = c->family;
	if (f->nested && json_get(json, f->nested, JSON_KIND_OBJECT, &json, e) <= 0)
		return json_kind(json_member(json, f->nested)) == JSON_KIND_NULL ?
		       error_set(e, "'%s' is missing", f->nested) : -1;
	m->family = f->name;
	m->gated = f->gated;
	c->head_bias = f->head_bias;
	if (refuse_asked(json, f, e) < 0 || read_norms(json, c, m, e) < 0 ||
	    read_sizes(json, f, m, e) < 0 || read_activation(json, f, m, e) < 0 ||
	    read_attention(json, f, m, e) < 0 || read_windows(json, f, m, e) < 0 ||
	    read_experts(json, f, m, e) < 0)
		return -1;
	choose_rotaries(m);
	if (read_multipliers(json, f, m, e) < 0 || config_flag(json, &f->qkv_bias, &c->qkv_bias, e) < 0 ||
	    config_flag(json, &f->proj_bias, &c->proj_bias, e) < 0 ||
	    config_flag(json, &f->mlp_bias, &c->mlp_bias, e) < 0 ||
	    config_flag(json, &f->tied, &c->tied, e) < 0)
		return -1;
	return 0;
}

int config_parse(const struct json *json, const char *path, struct config *c, struct model *m,
                 struct error *e)
{
	*c = (struct config){ 0 };
	*m = (struct model){ 0 };
	return read_facts(json, c, m, e) < 0 ? error_in(e, "%s", path) : 0;
}

int config_read(const char *path, struct config *c, struct model *m, struct error *e)
{
	*m = (struct model){ 0 };
	struct json *json = json_read(path, 0, e);
	if (!json)
		return -1;
	int r = config_parse(json, path, c, m, e);
	json_free(json);
	return r;
}
