#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arrays.h"
#include "memory.h"
#include "sink.h"
#include "text_out.h"

struct safetensors_sink {
	struct sink sink;
	struct arrays arrays;
	const struct tms_header *header;
	char *path;
	struct text_out out;
};

static const char *const dtype_names[DTYPE_COUNT] = {
	[DTYPE_F32] = "F32", [DTYPE_F64] = "F64", [DTYPE_BF16] = "BF16", [DTYPE_F16] = "F16", [DTYPE_F8E4M3] = "F8_E4M3",
	[DTYPE_I32] = "I32", [DTYPE_U32] = "U32", [DTYPE_U8] = "U8",
};

/*
 * TransformerLens's names of the places that are the same numbers there.  Its norms' hooks stand before the weight, so
 * ours have no counterpart.
 */
static const struct {
	const char *site, *hook;
} hooks[] = {
	{ "embed", "hook_embed" }, { "resid_pre", "hook_resid_pre" }, { "q", "attn.hook_q" }, { "k", "attn.hook_k" },
	{ "v", "attn.hook_v" }, { "q_rot", "attn.hook_rot_q" }, { "k_rot", "attn.hook_rot_k" },
	{ "attn_scores", "attn.hook_attn_scores" }, { "attn_probs", "attn.hook_pattern" },
	{ "attn_ctx", "attn.hook_z" }, { "attn_out", "hook_attn_out" }, { "resid_mid", "hook_resid_mid" },
	{ "mlp_gate", "mlp.hook_pre" }, { "mlp_up", "mlp.hook_pre_linear" }, { "mlp_act", "mlp.hook_post" },
	{ "mlp_out", "hook_mlp_out" }, { "resid_post", "hook_resid_post" },
};

/* "blocks.3.hook_resid_post", or SITE.LAYER.NAME where there is no such name.  Caller frees. */
static char *key_of(const struct array *a)
{
	for (size_t i = 0; i < ARRAY_LEN(hooks) && a->site.p && !a->name.p; i++) {
		if (strcmp(hooks[i].site, a->site.p) != 0)
			continue;
		return a->layer < 0 ? mem_string(hooks[i].hook) : mem_format("blocks.%d.%s", a->layer, hooks[i].hook);
	}
	return array_name(a);
}

static int st_open(void *context, struct array *a, struct error *e)
{
	(void)context;
	struct scratch *file = mem_zero(1, sizeof *file);
	if (scratch_open(file, NULL, e) < 0) {
		free(file);
		return -1;
	}
	a->file = file;
	return 0;
}

static int st_put(void *context, struct array *a, const void *rows, size_t len, struct error *e)
{
	(void)context;
	return scratch_append(a->file, rows, len, e);
}

static int st_frame(struct sink *sink, const struct frame *f, struct error *e)
{
	return arrays_add(&((struct safetensors_sink *)sink)->arrays, f, e);
}

/* The JSON in front of the data. */
struct header {
	char *p;
	size_t len, capacity;
	uint64_t at;            /* where the next tensor's data begin */
	bool any;
};

static void put_text(struct header *h, const char *text)
{
	size_t n = strlen(text);
	mem_grow((void **)&h->p, &h->capacity, h->len + n + 1, 1);
	memcpy(h->p + h->len, text, n + 1);
	h->len += n;
}

static void put_quoted(struct header *h, const char *text)
{
	put_text(h, "\"");
	for (; *text; text++) {
		char code[8];
		unsigned char c = (unsigned char)*text;
		snprintf(code, sizeof code, c < ' ' || c == 127 ? "\\u%04x" : c == '"' || c == '\\' ? "\\%c" : "%c", c);
		put_text(h, code);
	}
	put_text(h, "\"");
}

static void put_tensor(struct header *h, const char *key, const char *dtype, uint64_t rows, const size_t *dim, int n_dims,
                       uint64_t len)
{
	char text[96];
	put_text(h, h->any ? "," : "");
	h->any = true;
	put_quoted(h, key);
	put_text(h, ":{\"dtype\":\"");
	put_text(h, dtype);
	put_text(h, "\",\"shape\":[");
	const char *comma = "";
	if (rows != UINT64_MAX) {
		snprintf(text, sizeof text, "%" PRIu64, rows);
		put_text(h, text);
		comma = ",";
	}
	for (int i = 0; i < n_dims; i++, comma = ",") {
		snprintf(text, sizeof text, "%s%zu", comma, dim[i]);
		put_text(h, text);
	}
	snprintf(text, sizeof text, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", h->at, h->at + len);
	put_text(h, text);
	h->at += len;
}

static size_t cell_len(const struct texts *t)
{
	return t->longest_len ? t->longest_len : 1;
}

static void put_texts(struct header *h, const char *key, const struct texts *t)
{
	size_t width = cell_len(t);
	put_tensor(h, key, "U8", t->n, &width, 1, t->n * width);
}

static void put_metadata(struct header *h, const struct tms_header *from)
{
	put_text(h, "{\"__metadata__\":{\"format\":\"pt\",\"kind\":");
	put_quoted(h, tms_kind_name(from->kind));
	if (from->model) {
		put_text(h, ",\"model\":");
		put_quoted(h, from->model);
	}
	if (from->fingerprint) {
		put_text(h, ",\"fingerprint\":");
		put_quoted(h, from->fingerprint);
	}
	put_text(h, "}");
	h->any = true;
}

static bool sampled(const struct safetensors_sink *s)
{
	for (size_t i = 0; i < s->arrays.n; i++)
		if (!s->arrays.array[i]->unsampled)
			return true;
	return s->arrays.n == 0;
}

static void put_header(struct safetensors_sink *s, struct header *h)
{
	put_metadata(h, s->header);
	for (size_t i = 0; i < s->arrays.n; i++) {
		struct array *a = s->arrays.array[i];
		char *key = key_of(a);
		bool alone = a->unsampled && a->n_rows == 1;
		put_tensor(h, key, dtype_names[a->dtype], alone ? UINT64_MAX : a->n_rows, a->dim, a->n_dims,
		           scratch_len(a->file));
		free(key);
	}
	if (sampled(s)) {
		uint64_t len = scratch_len(&s->arrays.offsets);
		put_tensor(h, "offsets", "I64", len / 8, NULL, 0, len);
		put_texts(h, "ids", &s->arrays.ids);
		if (s->arrays.labels.any)
			put_texts(h, "labels", &s->arrays.labels);
		if (s->arrays.variants.any)
			put_texts(h, "variants", &s->arrays.variants);
	}
	put_text(h, "}");
	/* The data begin at a multiple of 64, so that they can be mapped. */
	while ((8 + h->len) % 64)
		put_text(h, " ");
}

static int copy_scratch(struct safetensors_sink *s, struct scratch *from, struct error *e)
{
	enum { BLOCK = 1 << 18 };
	char *block = mem_alloc(BLOCK);
	uint64_t len = scratch_len(from);
	int rc = 0;
	for (uint64_t at = 0; at < len && rc == 0;) {
		size_t n = len - at < BLOCK ? (size_t)(len - at) : BLOCK;
		rc = scratch_read(from, block, n, at, e);
		if (rc == 0)
			text_put(&s->out, block, n);
		at += n;
	}
	free(block);
	return rc;
}

struct column {
	struct text_out *out;
	size_t width;
};

static int put_cell(void *context, const char *text, size_t len, struct error *e)
{
	(void)e;
	struct column *c = context;
	text_put(c->out, text, len);
	for (size_t i = len; i < c->width; i++)
		text_char(c->out, 0);
	return 0;
}

static int copy_texts(struct safetensors_sink *s, struct texts *t, struct error *e)
{
	struct column c = { &s->out, cell_len(t) };
	return texts_each(t, put_cell, &c, e);
}

static int copy_samples(struct safetensors_sink *s, struct error *e)
{
	if (copy_scratch(s, &s->arrays.offsets, e) < 0 || copy_texts(s, &s->arrays.ids, e) < 0)
		return -1;
	if (s->arrays.labels.any && copy_texts(s, &s->arrays.labels, e) < 0)
		return -1;
	return s->arrays.variants.any ? copy_texts(s, &s->arrays.variants, e) : 0;
}

static int write_all(struct safetensors_sink *s, struct error *e)
{
	struct header h = { 0 };
	put_header(s, &h);
	uint64_t len = h.len;
	text_put(&s->out, (const char *)&len, sizeof len);
	text_put(&s->out, h.p, h.len);
	free(h.p);
	for (size_t i = 0; i < s->arrays.n; i++)
		if (copy_scratch(s, s->arrays.array[i]->file, e) < 0)
			return -1;
	return sampled(s) ? copy_samples(s, e) : 0;
}

static void st_abort(struct sink *sink)
{
	struct safetensors_sink *s = (struct safetensors_sink *)sink;
	for (size_t i = 0; i < s->arrays.n; i++) {
		scratch_close(s->arrays.array[i]->file);
		free(s->arrays.array[i]->file);
	}
	arrays_release(&s->arrays);
	free(s->path);
	free(s);
}

static int st_finish(struct sink *sink, struct error *e)
{
	struct safetensors_sink *s = (struct safetensors_sink *)sink;
	int rc = arrays_end(&s->arrays, e);
	if (rc == 0)
		rc = text_out_open(&s->out, s->path, e);
	if (rc == 0) {
		rc = write_all(s, e);
		if (rc == 0)
			rc = text_out_finish(&s->out, e);
		else
			text_out_abort(&s->out);
	}
	st_abort(sink);
	return rc;
}

struct sink *safetensors_sink(const char *path, const struct tms_header *h, struct error *e)
{
	(void)e;
	struct safetensors_sink *s = mem_zero(1, sizeof *s);
	s->sink = (struct sink){ st_frame, st_finish, st_abort };
	s->header = s->arrays.header = h;
	s->arrays.open = st_open;
	s->arrays.put = st_put;
	s->arrays.context = s;
	s->path = mem_string(path);
	return &s->sink;
}
