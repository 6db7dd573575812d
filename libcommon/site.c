#include "site.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "memory.h"
#include "model.h"
#include "progress.h"

enum owner { OWNER_EMBED, OWNER_LAYER_RUN, OWNER_UNEMBED };
static const char *const programs[] = { "embed", "layer-run", "unembed" };

/* A row's dimensions, by the letters of model.h; L is the sample's length, K the experts a token, I the MLP's width. */
static const struct {
	const char *name;
	enum owner owner;
	const char *shape;
} sites[SITE_COUNT] = {
	[SITE_EMBED] = { "embed", OWNER_EMBED, "H" },
	[SITE_RESID_PRE] = { "resid_pre", OWNER_LAYER_RUN, "H" },
	[SITE_ATTN_NORM] = { "attn_norm", OWNER_LAYER_RUN, "H" },
	[SITE_Q] = { "q", OWNER_LAYER_RUN, "AD" },
	[SITE_K] = { "k", OWNER_LAYER_RUN, "GD" },
	[SITE_V] = { "v", OWNER_LAYER_RUN, "GD" },
	[SITE_Q_ROT] = { "q_rot", OWNER_LAYER_RUN, "AD" },
	[SITE_K_ROT] = { "k_rot", OWNER_LAYER_RUN, "GD" },
	[SITE_ATTN_SCORES] = { "attn_scores", OWNER_LAYER_RUN, "AL" },
	[SITE_ATTN_PROBS] = { "attn_probs", OWNER_LAYER_RUN, "AL" },
	[SITE_ATTN_CTX] = { "attn_ctx", OWNER_LAYER_RUN, "AD" },
	[SITE_ATTN_PROJ] = { "attn_proj", OWNER_LAYER_RUN, "H" },
	[SITE_ATTN_OUT] = { "attn_out", OWNER_LAYER_RUN, "H" },
	[SITE_RESID_MID] = { "resid_mid", OWNER_LAYER_RUN, "H" },
	[SITE_MLP_NORM] = { "mlp_norm", OWNER_LAYER_RUN, "H" },
	[SITE_MLP_GATE] = { "mlp_gate", OWNER_LAYER_RUN, "I" },
	[SITE_MLP_UP] = { "mlp_up", OWNER_LAYER_RUN, "I" },
	[SITE_MLP_ACT] = { "mlp_act", OWNER_LAYER_RUN, "I" },
	[SITE_ROUTER_LOGITS] = { "router_logits", OWNER_LAYER_RUN, "E" },
	[SITE_ROUTER_WEIGHTS] = { "router_weights", OWNER_LAYER_RUN, "K" },
	[SITE_EXPERT_IDX] = { "expert_idx", OWNER_LAYER_RUN, "K" },
	[SITE_EXPERT_OUT] = { "expert_out", OWNER_LAYER_RUN, "KH" },
	[SITE_MLP_OUT] = { "mlp_out", OWNER_LAYER_RUN, "H" },
	[SITE_RESID_POST] = { "resid_post", OWNER_LAYER_RUN, "H" },
	[SITE_FINAL_NORM] = { "final_norm", OWNER_UNEMBED, "H" },
	[SITE_LOGITS] = { "logits", OWNER_UNEMBED, "V" },
};

static const struct {
	const char *alias, *ours;
} aliases[] = {
#include "aliases.inc"
};

const char *site_name(enum site s)
{
	return s < SITE_COUNT ? sites[s].name : "none";
}

static bool same(const char *name, const char *text, size_t len)
{
	return strlen(name) == len && !memcmp(name, text, len);
}

static enum site find_ours(const char *name, size_t len)
{
	for (int s = 0; s < SITE_COUNT; s++)
		if (same(sites[s].name, name, len))
			return (enum site)s;
	return SITE_NONE;
}

bool site_by_length(enum site s)
{
	return strchr(sites[s].shape, 'L') != NULL;
}

enum site site_find(const char *name, size_t len)
{
	enum site s = find_ours(name, len);
	for (size_t i = 0; s == SITE_NONE && i < ARRAY_LEN(aliases); i++)
		if (same(aliases[i].alias, name, len))
			s = find_ours(aliases[i].ours, strlen(aliases[i].ours));
	return s;
}

const char *site_program(enum site s)
{
	return programs[sites[s].owner];
}

bool site_in_block(enum site s)
{
	return sites[s].owner == OWNER_LAYER_RUN;
}

/* Why the model has no such site in that layer; NULL where it has. */
static const char *missing(enum site s, const struct model *m, size_t layer)
{
	switch (s) {
	case SITE_RESID_MID:
		return m->parallel ? "attention and MLP read the stream side by side" : NULL;
	case SITE_ATTN_NORM:
	case SITE_MLP_NORM:
		return m->norm == NORM_NONE || !m->pre_norms ? "nothing is normed there" : NULL;
	case SITE_MLP_GATE:
	case SITE_MLP_UP:
	case SITE_MLP_ACT:
		if (m->layer[layer].experts)
			return "it has experts instead of one MLP";
		return s == SITE_MLP_GATE && !m->gated ? "its MLP has no gate, mlp_up is what the activation reads" : NULL;
	case SITE_ROUTER_LOGITS:
	case SITE_ROUTER_WEIGHTS:
	case SITE_EXPERT_IDX:
	case SITE_EXPERT_OUT:
		return m->layer[layer].experts ? NULL : "it has no experts";
	default:
		return NULL;
	}
}

bool site_exists(enum site s, const struct model *m, size_t layer)
{
	return !missing(s, m, layer);
}

int site_shape(enum site s, const struct model *m, size_t dim[])
{
	int n = 0;
	for (const char *p = sites[s].shape; *p; p++)
		dim[n++] = *p == 'H' ? m->width
		         : *p == 'A' ? m->n_heads
		         : *p == 'G' ? m->n_kv_heads
		         : *p == 'D' ? m->head_width
		         : *p == 'I' ? m->inner
		         : *p == 'E' ? m->n_experts
		         : *p == 'K' ? m->experts_per_token
		         : *p == 'V' ? m->vocab
		                     : 0;
	return n;
}

size_t site_width(enum site s, const struct model *m)
{
	size_t dim[FRAME_DIMS], width = 1;
	int n = site_shape(s, m, dim);
	for (int i = 0; i < n; i++)
		width *= dim[i];
	return width;
}

/* -------- LAYERS */

struct cursor {
	const char *p, *end;
};

static bool take(struct cursor *c, char wanted)
{
	bool there = c->p < c->end && *c->p == wanted;
	c->p += there;
	return there;
}

/* A layer, counted from the end if negative: -1 is n_layers - 1.  -1 where the spelling is none. */
static int take_layer(struct cursor *c, int64_t n_layers, int64_t *layer)
{
	bool negative = take(c, '-');
	const char *start = c->p;
	int64_t n = 0;
	while (c->p < c->end && *c->p >= '0' && *c->p <= '9' && n < 1000000)
		n = n * 10 + (*c->p++ - '0');
	if (c->p == start || (negative && n == 0))
		return -1;
	*layer = negative ? n_layers - n : n;
	return 0;
}

/* One item: N, N-N or N-N:STEP.  n_layers 0: the spelling alone. */
static int parse_layer_item(const char *text, size_t len, size_t n_layers, bool *set, struct error *e)
{
	struct cursor c = { text, text + len };
	int64_t n = (int64_t)n_layers, from, to, step = 1;
	bool range = false;
	int r = take_layer(&c, n, &from);
	to = from;
	if (r == 0 && take(&c, '-')) {
		range = true;
		r = take_layer(&c, n, &to);
	}
	if (r == 0 && range && take(&c, ':'))
		r = c.p < c.end && *c.p == '-' ? -1 : take_layer(&c, n, &step);
	if (r < 0 || c.p < c.end || step == 0)
		return error_set(e, "'%.*s' names no layers; 3, 0-5, 0-30:5, 3,7,-1 and all do", (int)len, text);
	if (n_layers == 0)
		return 0;
	if (from < 0 || from >= n || to < 0 || to >= n)
		return error_set(e, "layer %.*s isn't there; the model's layers are 0 to %jd", (int)len, text,
		                 (intmax_t)(n - 1));
	if (from > to)
		return error_set(e, "layers %.*s: the first comes after the last", (int)len, text);
	for (int64_t i = from; i <= to; i += step)
		set[i] = true;
	return 0;
}

static int parse_layers(const char *text, size_t len, size_t n_layers, bool *set, struct error *e)
{
	if (same("all", text, len)) {
		for (size_t i = 0; i < n_layers; i++)
			set[i] = true;
		return 0;
	}
	for (const char *p = text, *end = text + len;; p++) {
		const char *comma = memchr(p, ',', (size_t)(end - p));
		size_t item = (size_t)((comma ? comma : end) - p);
		if (parse_layer_item(p, item, n_layers, set, e) < 0)
			return -1;
		p += item;
		if (p == end)
			return 0;
	}
}

int layers_parse(const char *text, size_t len, size_t n_layers, bool *set, struct error *e)
{
	if (n_layers == 0)
		return error_set(e, "layers %.*s: the model has none", (int)len, text);
	memset(set, 0, n_layers * sizeof *set);
	return parse_layers(text, len, n_layers, set, e);
}

/* -------- SITE[,SITE...][@LAYERS][/POOL][=TARGET] */

static int unknown_site(const char *name, size_t len, const char *program, struct error *e)
{
	char list[512];
	size_t n = 0;
	for (int s = 0; s < SITE_COUNT; s++)
		if (!program || !strcmp(site_program((enum site)s), program))
			n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", n ? ", " : "", sites[s].name);
	return error_set(e, "there is no site '%.*s'; %s%s %s", (int)len, name, program ? program : "the sites",
	                 program ? " has" : " are", list);
}

static int parse_sites(struct selection *s, const char *text, size_t len, const char *program, struct error *e)
{
	for (const char *p = text, *end = text + len;; p++) {
		const char *comma = memchr(p, ',', (size_t)(end - p));
		size_t item = (size_t)((comma ? comma : end) - p);
		enum site site = site_find(p, item);
		if (site == SITE_NONE)
			return unknown_site(p, item, program, e);
		if (program && strcmp(site_program(site), program))
			return error_set(e, "site %s belongs to the program %s", site_name(site), site_program(site));
		s->site[site] = true;
		p += item;
		if (p == end)
			return 0;
	}
}

static int parse_parts(struct selection *s, const char *text, const char *program, struct error *e)
{
	size_t head = strcspn(text, "="), name = strcspn(text, "@/=");
	const char *slash = memchr(text, '/', head), *end = slash ? slash : text + head;
	if (text[head])
		s->target = mem_string(text + head + 1);
	if (slash)
		s->pool = mem_slice(slash + 1, (size_t)(text + head - slash - 1));
	if (text[name] == '@')
		s->layers = mem_slice(text + name + 1, (size_t)(end - text) - name - 1);
	if (parse_sites(s, text, name, program, e) < 0)
		return -1;
	if (s->pool && !*s->pool)
		return error_set(e, "nothing follows the /");
	if (!s->layers)
		return 0;
	bool in_block = false;
	for (int i = 0; i < SITE_COUNT; i++)
		in_block |= s->site[i] && site_in_block((enum site)i);
	if (!in_block)
		return error_set(e, "%.*s stands outside the layers, so @%s has no meaning", (int)name, text, s->layers);
	return parse_layers(s->layers, strlen(s->layers), 0, NULL, e);
}

int selection_parse(struct selection *s, const char *text, const char *program, struct error *e)
{
	*s = (struct selection){ .text = text };
	if (parse_parts(s, text, program, e) == 0)
		return 0;
	selection_release(s);
	return error_in(e, "%s", text);
}

int selection_layers(const struct selection *s, const struct model *m, bool *set, struct error *e)
{
	const char *layers = s->layers ? s->layers : "all";
	if (layers_parse(layers, strlen(layers), m->n_layers, set, e) < 0)
		return error_in(e, "%s", s->text);
	bool all = !strcmp(layers, "all");
	for (int i = 0; i < SITE_COUNT; i++) {
		if (!s->site[i] || !site_in_block((enum site)i))
			continue;
		const char *reason = NULL;
		size_t at = 0, n = 0;
		for (size_t l = 0; l < m->n_layers; l++) {
			const char *why = set[l] ? missing((enum site)i, m, l) : NULL;
			n += set[l] && !why;
			if (why && !reason) {
				reason = why;
				at = l;
			}
		}
		if (reason && (n == 0 || !all))
			return error_set(e, "%s: %s has no %s in layer %zu: %s", s->text, m->name, sites[i].name, at, reason);
	}
	return 0;
}

void selection_warn_unreached(const struct selection *s, const char *option, const struct model *m, const bool *set, int from, int to)
{
	if (from < 0 || from >= to)
		return;
	for (int layer = from; layer < to; layer++)
		for (int i = 0; set[layer] && i < SITE_COUNT; i++)
			if (s->site[i] && site_exists((enum site)i, m, (size_t)layer))
				return;
	if (to - from == 1)
		progress_warn("%s %s: names nothing of layer %d, the only one that is run", option, s->text, from);
	else
		progress_warn("%s %s: names nothing of layers %d to %d, which are those that are run", option, s->text, from, to - 1);
}

void selection_release(struct selection *s)
{
	free((char *)s->layers);
	free(s->pool);
	free(s->target);
	*s = (struct selection){ 0 };
}
