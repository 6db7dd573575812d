#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "meta_map.h"
#include "tms_meta.h"

static const char *const kind_names[] = { "tokens", "resid", "acts", "vectors", "state", "logits", NULL };
static const char *const order_names[] = { "layer", "any", NULL };

const char *tms_kind_name(enum tms_kind kind)
{
	return kind_names[kind];
}

enum { HEADER_TMS, HEADER_KIND, HEADER_MODEL, HEADER_VARIANTS, HEADER_HISTORY, HEADER_ORDER };
static const char *const header_keys[] = { "tms", "kind", "model", "variants", "history", "order", NULL };

enum { MODEL_NAME, MODEL_FINGERPRINT };
static const char *const model_keys[] = { "name", "fingerprint", NULL };

/* A string that becomes a C string. */
static int read_string(struct map *m, int key, char **to, struct error *e)
{
	struct wire_value v;
	if (map_bytes(m, key, WIRE_STR, &v, e) < 0)
		return -1;
	if (memchr(v.p, 0, v.len))
		return error_set(e, "'%s' of %s has a NUL in it", m->keys[key], m->what);
	*to = mem_slice(v.p, v.len);
	return 0;
}

static int read_choice(struct map *m, int key, const char *const *names, int *choice, struct error *e)
{
	struct wire_value v;
	if (map_bytes(m, key, WIRE_STR, &v, e) < 0)
		return -1;
	for (*choice = 0; names[*choice]; ++*choice) {
		if (strlen(names[*choice]) == v.len && memcmp(names[*choice], v.p, v.len) == 0)
			return 0;
	}
	return error_set(e, "unknown %s '%.*s', which this release can't read", m->keys[key],
	                 (int)(v.len < 64 ? v.len : 64), v.p);
}

static int read_model(struct wire_cursor *c, struct tms_header *h, struct error *e)
{
	struct map m;
	if (map_open(&m, c, "'model' of the header", model_keys, e) < 0)
		return -1;
	int key;
	while ((key = map_next(&m, e)) >= 0) {
		if (read_string(&m, key, key == MODEL_NAME ? &h->model : &h->fingerprint, e) < 0)
			return -1;
	}
	if (key != MAP_END)
		return -1;
	if (h->fingerprint && (strlen(h->fingerprint) != 16 || h->fingerprint[strspn(h->fingerprint, "0123456789abcdef")]))
		return error_set(e, "the model's fingerprint is not 16 hexadecimal digits");
	h->model_extra = mem_alloc(m.extra_len);
	h->model_extra_len = m.extra_len;
	h->n_model_extra = m.n_extra;
	map_extra(&m, h->model_extra);
	return 0;
}

static int read_variants(struct map *m, struct tms_header *h, struct error *e)
{
	uint64_t n;
	if (map_array(m, HEADER_VARIANTS, m->c->left, &n, e) < 0)
		return -1;
	h->variants = mem_zero(n, sizeof *h->variants);
	for (; h->n_variants < n; h->n_variants++) {
		if (read_string(m, HEADER_VARIANTS, &h->variants[h->n_variants], e) < 0)
			return -1;
	}
	return 0;
}

static int read_history(struct map *m, struct tms_header *h, struct error *e)
{
	uint64_t n;
	if (map_array(m, HEADER_HISTORY, m->c->left, &n, e) < 0)
		return -1;
	const uint8_t *start = m->c->p;
	for (; h->n_history < n; h->n_history++) {
		struct wire_cursor at = *m->c;
		struct wire_value v;
		const char *p;
		size_t len;
		if (wire_next(&at, &v) < 0 || v.type != WIRE_MAP || wire_skip(m->c, &p, &len) < 0)
			return error_set(e, "the header's history has an element that isn't a map");
	}
	h->history_len = (size_t)(m->c->p - start);
	h->history = mem_slice((const char *)start, h->history_len);
	return 0;
}

static int read_header_value(struct map *m, int key, struct tms_header *h, struct error *e)
{
	uint64_t version;
	int choice;
	switch (key) {
	case HEADER_TMS:
		if (map_uint(m, key, UINT64_MAX, &version, e) < 0)
			return -1;
		if (version != 1)
			return error_set(e, "a tensor stream of version %llu; this release reads version 1",
			                 (unsigned long long)version);
		return 0;
	case HEADER_KIND:
		if (read_choice(m, key, kind_names, &choice, e) < 0)
			return -1;
		h->kind = (enum tms_kind)choice;
		return 0;
	case HEADER_ORDER:
		if (read_choice(m, key, order_names, &choice, e) < 0)
			return -1;
		h->order = choice ? TMS_ORDER_ANY : TMS_ORDER_LAYER;
		return 0;
	case HEADER_MODEL:
		return read_model(m->c, h, e);
	case HEADER_VARIANTS:
		return read_variants(m, h, e);
	default:
		return read_history(m, h, e);
	}
}

static int read_header(const uint8_t *p, size_t len, struct tms_header *h, size_t *at, struct error *e)
{
	struct wire_cursor c = { p, len };
	struct map m;
	*at = 0;
	if (map_open(&m, &c, "the header", header_keys, e) < 0)
		return -1;
	h->order = TMS_ORDER_ANY;
	for (;;) {
		*at = len - c.left;
		int key = map_next(&m, e);
		if (key == MAP_END)
			break;
		if (key < 0 || read_header_value(&m, key, h, e) < 0)
			return -1;
	}
	*at = len;
	if (!(m.seen >> HEADER_KIND & 1))
		return error_set(e, "the header has no 'kind'");
	h->extra = mem_alloc(m.extra_len);
	h->extra_len = m.extra_len;
	h->n_extra = m.n_extra;
	map_extra(&m, h->extra);
	return 0;
}

int meta_read_header(const uint8_t *p, size_t len, struct tms_header *h, size_t *at, struct error *e)
{
	*h = (struct tms_header){ 0 };
	if (read_header(p, len, h, at, e) < 0) {
		tms_header_release(h);
		return -1;
	}
	return 0;
}

static size_t model_pairs(const struct tms_header *h)
{
	return (h->model != NULL) + (h->fingerprint != NULL) + h->n_model_extra;
}

void meta_write_header(struct wire_buffer *b, const struct tms_header *h)
{
	wire_map(b, 3 + (model_pairs(h) > 0) + (h->n_variants > 0) + (h->n_history > 0) + h->n_extra);
	wire_string(b, "tms");
	wire_uint(b, 1);
	wire_string(b, "kind");
	wire_string(b, kind_names[h->kind]);
	if (model_pairs(h)) {
		wire_string(b, "model");
		wire_map(b, model_pairs(h));
		if (h->model) {
			wire_string(b, "name");
			wire_string(b, h->model);
		}
		if (h->fingerprint) {
			wire_string(b, "fingerprint");
			wire_string(b, h->fingerprint);
		}
		wire_raw(b, h->model_extra, h->model_extra_len);
	}
	if (h->n_variants) {
		wire_string(b, "variants");
		wire_array(b, h->n_variants);
		for (size_t i = 0; i < h->n_variants; i++)
			wire_string(b, h->variants[i]);
	}
	if (h->n_history) {
		wire_string(b, "history");
		wire_array(b, h->n_history);
		wire_raw(b, h->history, h->history_len);
	}
	wire_string(b, "order");
	wire_string(b, order_names[h->order == TMS_ORDER_ANY]);
	wire_raw(b, h->extra, h->extra_len);
}

void tms_header_copy(struct tms_header *to, const struct tms_header *from)
{
	*to = *from;
	to->model = mem_string(from->model);
	to->fingerprint = mem_string(from->fingerprint);
	to->model_extra = mem_slice(from->model_extra, from->model_extra_len);
	to->variants = mem_zero(from->n_variants, sizeof *to->variants);
	for (size_t i = 0; i < from->n_variants; i++)
		to->variants[i] = mem_string(from->variants[i]);
	to->history = mem_slice(from->history, from->history_len);
	to->extra = mem_slice(from->extra, from->extra_len);
}

void tms_header_release(struct tms_header *h)
{
	free(h->model);
	free(h->fingerprint);
	free(h->model_extra);
	for (size_t i = 0; i < h->n_variants; i++)
		free(h->variants[i]);
	free(h->variants);
	free(h->history);
	free(h->extra);
	*h = (struct tms_header){ 0 };
}
