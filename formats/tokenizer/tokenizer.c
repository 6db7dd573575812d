#include "tokenizer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "added.h"
#include "bpe.h"
#include "decoder.h"
#include "memory.h"
#include "normalizer.h"
#include "pretokenizer.h"
#include "template.h"
#include "tokenizer_config.h"
#include "unicode.h"

struct tokenizer {
	struct normalizer *normalizer;
	struct pretokenizer *pretokenizer;
	struct bpe *model;
	struct added *added;
	struct decoder *decoder;
	struct template template;
};

struct tokenizer_scratch {
	struct normalizer_scratch *normalizer;
	struct pretokenizer_scratch *pretokenizer;
	struct bpe_scratch *model;
	struct bpe_tokens word; /* the tokens of one word */
};

static int put_template(struct tokenizer *t, const struct tokenizer_config *c, struct error *e)
{
	template_release(&t->template);
	const char *content[2] = { c->bos, c->eos };
	for (int i = 0; i < 2; i++) {
		if (content[i] == NULL)
			continue;
		uint32_t id = tokenizer_find(t, content[i], strlen(content[i]));
		if (id == TOKENIZER_NO_ID)
			return error_set(e, "tokenizer_config.json: '%.80s' is no token",
					 content[i]);
		if (i == 0)
			template_before(&t->template, id);
		else
			template_after(&t->template, id);
	}
	return 0;
}

static int read_parts(struct tokenizer *t, const struct json *root, const struct json *config,
		      const struct json *map, struct error *e)
{
	const struct json *list = NULL;
	struct tokenizer_config c;
	const char *type = json_text(json_member(json_member(root, "model"), "type"), NULL);
	if (json_kind(root) != JSON_KIND_OBJECT)
		return error_set(e, "%s where an object is due", json_kind_name(root));
	if (type != NULL && strcmp(type, "BPE") != 0)
		return error_set(e, "model.type is '%.80s'; only BPE is read", type);
	if (pretokenizer_open(json_member(root, "pre_tokenizer"), &t->pretokenizer, e) < 0 ||
	    normalizer_open(json_member(root, "normalizer"), &t->normalizer, e) < 0 ||
	    bpe_open(json_member(root, "model"), pretokenizer_bytes(t->pretokenizer), &t->model,
		     e) < 0 ||
	    json_get(root, "added_tokens", JSON_KIND_ARRAY, &list, e) < 0 ||
	    added_open(list, bpe_vocab(t->model), t->normalizer, &t->added, e) < 0 ||
	    template_open(json_member(root, "post_processor"), &t->template, e) < 0 ||
	    decoder_open(json_member(root, "decoder"), &t->decoder, e) < 0 ||
	    tokenizer_config_read(config, map, &c, e) < 0)
		return -1;
	return c.decides ? put_template(t, &c, e) : 0;
}

static int open_parts(const struct json *root, const struct json *config, const struct json *map,
		      struct tokenizer **out, struct error *e)
{
	struct tokenizer *t = mem_zero(1, sizeof *t);
	if (read_parts(t, root, config, map, e) < 0) {
		tokenizer_close(t);
		return -1;
	}
	*out = t;
	return 0;
}

/* A file that need not be there: NULL and 0 where it is not. */
static int read_beside(const char *path, const char *name, struct json **out, struct error *e)
{
	const char *slash = strrchr(path, '/');
	char *other = mem_format("%.*s%s", slash == NULL ? 0 : (int)(slash + 1 - path), path, name);
	*out = NULL;
	int rc = 0;
	if (access(other, F_OK) == 0) {
		*out = json_read(other, 0, e);
		rc = *out == NULL ? -1 : 0;
	}
	free(other);
	return rc;
}

static int open_file(const char *path, struct tokenizer **out, struct error *e)
{
	struct json *root = json_read(path, 0, e), *config = NULL, *map = NULL;
	int rc = root == NULL ? -1 : 0;
	if (rc == 0)
		rc = read_beside(path, "tokenizer_config.json", &config, e);
	if (rc == 0)
		rc = read_beside(path, "special_tokens_map.json", &map, e);
	if (rc == 0) {
		rc = open_parts(root, config, map, out, e);
		if (rc < 0)
			error_in(e, "%s", path);
	}
	json_free(root);
	json_free(config);
	json_free(map);
	return rc;
}

int tokenizer_open(const char *path, struct tokenizer **out, struct error *e)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return error_errno(e, "%s", path);
	if (!S_ISDIR(st.st_mode))
		return open_file(path, out, e);
	char *inside = mem_format("%s/tokenizer.json", path);
	int rc = open_file(inside, out, e);
	free(inside);
	return rc;
}

int tokenizer_open_text(const char *json, size_t len, const char *config, size_t config_len,
			struct tokenizer **out, struct error *e)
{
	struct json *root = json_parse(json, len, 0, "tokenizer.json", e), *beside = NULL;
	if (root == NULL)
		return -1;
	int rc = 0;
	if (config != NULL) {
		beside = json_parse(config, config_len, 0, "tokenizer_config.json", e);
		rc = beside == NULL ? -1 : 0;
	}
	if (rc == 0) {
		rc = open_parts(root, beside, NULL, out, e);
		if (rc < 0)
			error_in(e, "tokenizer.json");
	}
	json_free(root);
	json_free(beside);
	return rc;
}

void tokenizer_close(struct tokenizer *t)
{
	if (t == NULL)
		return;
	normalizer_close(t->normalizer);
	pretokenizer_close(t->pretokenizer);
	bpe_close(t->model);
	added_close(t->added);
	decoder_close(t->decoder);
	template_release(&t->template);
	free(t);
}

size_t tokenizer_n_ids(const struct tokenizer *t)
{
	size_t model = bpe_vocab(t->model)->n_ids, added = added_n_ids(t->added);
	return model > added ? model : added;
}

uint32_t tokenizer_find(const struct tokenizer *t, const char *content, size_t len)
{
	uint32_t id = added_find(t->added, content, len);
	return id != VOCAB_NONE ? id : vocab_find(bpe_vocab(t->model), content, len);
}

const char *tokenizer_content(const struct tokenizer *t, uint32_t id, size_t *len)
{
	bool special;
	const char *text = added_text(t->added, id, len, &special);
	return text != NULL ? text : vocab_text(bpe_vocab(t->model), id, len);
}

struct tokenizer_scratch *tokenizer_scratch_open(const struct tokenizer *t)
{
	struct tokenizer_scratch *s = mem_zero(1, sizeof *s);
	s->normalizer = normalizer_scratch_open(t->normalizer);
	s->pretokenizer = pretokenizer_scratch_open();
	s->model = bpe_scratch_open();
	return s;
}

void tokenizer_scratch_close(struct tokenizer_scratch *s)
{
	if (s == NULL)
		return;
	normalizer_scratch_close(s->normalizer);
	pretokenizer_scratch_close(s->pretokenizer);
	bpe_scratch_close(s->model);
	free(s->word.token);
	free(s);
}

void tokenizer_ids_release(struct tokenizer_ids *ids)
{
	free(ids->id);
	free(ids->span);
	*ids = (struct tokenizer_ids){ 0 };
}

/* One text on its way; spans hold bytes until the end. */
struct encoding {
	const struct tokenizer *t;
	struct tokenizer_scratch *s;
	struct tokenizer_ids *out;
	bool spans;
	struct pretokenizer_sink sink;
};

static void put_id(struct encoding *c, uint32_t id, struct origin from)
{
	struct tokenizer_ids *out = c->out;
	mem_grow((void **)&out->id, &out->id_capacity, out->n + 1, sizeof *out->id);
	out->id[out->n] = id;
	if (c->spans) {
		mem_grow((void **)&out->span, &out->span_capacity, out->n + 1, sizeof *out->span);
		out->span[out->n] = (struct tokenizer_span){ from.from, from.to };
	}
	out->n++;
}

static int put_word(void *closure, const struct slice *word, struct error *e)
{
	(void)e;
	struct encoding *c = closure;
	struct bpe_tokens *w = &c->s->word;
	struct tokenizer_ids *out = c->out;
	w->n = 0;
	bpe_encode(c->t->model, c->s->model, word->text, word->len, w);
	if (c->spans) {
		for (size_t i = 0; i < w->n; i++)
			put_id(c, w->token[i].id,
			       slice_origin(word, w->token[i].start, w->token[i].end));
		return 0;
	}
	mem_grow((void **)&out->id, &out->id_capacity, out->n + w->n, sizeof *out->id);
	for (size_t i = 0; i < w->n; i++)
		out->id[out->n++] = w->token[i].id;
	return 0;
}

/* Text between the tokens of the first pass. */
static int encode_piece(struct encoding *c, const struct slice *raw, struct error *e)
{
	struct slice text;
	if (raw->len == 0)
		return 0;
	if (normalizer_run(c->t->normalizer, c->s->normalizer, raw, c->spans, &text, e) < 0)
		return -1;
	struct added_walk w;
	added_start(&w, c->t->added, ADDED_NORMALIZED, &text);
	for (;;) {
		uint32_t id;
		size_t done = w.done, start, end;
		bool more = added_next(&w, &id, &start, &end);
		if (!more)
			start = text.len;
		if (done < start) {
			struct slice part = slice_part(&text, done, start);
			if (pretokenizer_run(c->t->pretokenizer, c->s->pretokenizer, &part,
					     c->spans, &c->sink, e) < 0)
				return -1;
		}
		if (!more)
			return 0;
		put_id(c, id, slice_origin(&text, start, end));
	}
}

static int encode_text(struct encoding *c, const struct slice *text, struct error *e)
{
	struct added_walk w;
	added_start(&w, c->t->added, ADDED_RAW, text);
	for (;;) {
		uint32_t id;
		size_t done = w.done, start, end;
		bool more = added_next(&w, &id, &start, &end);
		if (!more)
			start = text->len;
		if (done < start) {
			struct slice part = slice_part(text, done, start);
			if (encode_piece(c, &part, e) < 0)
				return -1;
		}
		if (!more)
			return 0;
		put_id(c, id, slice_origin(text, start, end));
	}
}

/* Spans of bytes become spans of characters; a part of a character counts as the whole. */
static void count_characters(struct tokenizer_ids *ids, size_t from, size_t to, const char *text,
			     size_t len)
{
	size_t byte = 0, character = 0;
	for (size_t i = from; i < to; i++) {
		size_t place[2] = { ids->span[i].start, ids->span[i].end };
		bool none = place[0] >= place[1];
		for (int k = 0; k < 2; k++) {
			size_t want = place[k];
			while (want > 0 && want < len && !utf8_is_lead(text[want]))
				want += k == 0 ? (size_t)-1 : 1;
			/* Tokens mostly follow each other, so the walk is short either way. */
			for (; byte < want; byte++)
				character += utf8_is_lead(text[byte]);
			for (; byte > want; byte--)
				character -= utf8_is_lead(text[byte - 1]);
			place[k] = character;
		}
		ids->span[i] = (struct tokenizer_span){ (uint32_t)place[0],
							(uint32_t)(none ? place[0] : place[1]) };
	}
}

int tokenizer_encode(const struct tokenizer *t, struct tokenizer_scratch *s, const char *text,
		     size_t len, unsigned flags, struct tokenizer_ids *out, struct error *e)
{
	out->n = 0;
	if (len > TOKENIZER_MOST_BYTES)
		return error_set(e, "a text of %zu bytes, at most %zu are read; cut it", len,
				 TOKENIZER_MOST_BYTES);
	size_t good = utf8_check(text, len);
	if (good != len)
		return error_set(e, "not valid UTF-8 at byte %zu of the text", good);
	struct encoding c = { .t = t, .s = s, .out = out, .spans = flags & TOKENIZER_SPANS };
	c.sink = (struct pretokenizer_sink){ put_word, &c };
	bool template = !(flags & TOKENIZER_NO_SPECIAL);
	for (size_t i = 0; template && i < t->template.n_before; i++)
		put_id(&c, t->template.before[i], (struct origin){ 0, 0 });
	size_t first = out->n;
	struct slice whole = { text, len, NULL, 0, true };
	if (encode_text(&c, &whole, e) < 0)
		return -1;
	if (c.spans)
		count_characters(out, first, out->n, text, len);
	for (size_t i = 0; template && i < t->template.n_after; i++)
		put_id(&c, t->template.after[i], (struct origin){ 0, 0 });
	return 0;
}

int tokenizer_positions(const struct tokenizer_ids *ids, size_t start, size_t end, size_t *first,
			size_t *last)
{
	int found = 0;
	for (size_t i = 0; i < ids->n; i++) {
		const struct tokenizer_span *s = &ids->span[i];
		if (s->start == s->end || s->start >= end || s->end <= start)
			continue;
		if (!found)
			*first = i;
		*last = i + 1;
		found = 1;
	}
	return found;
}

int tokenizer_decode(const struct tokenizer *t, const uint32_t *id, size_t n, unsigned flags,
		     char **text, size_t *len, struct error *e)
{
	struct decoder_texts texts = { 0 };
	for (size_t i = 0; i < n; i++) {
		size_t n_bytes;
		bool special = false;
		const char *token = added_text(t->added, id[i], &n_bytes, &special);
		if (token == NULL)
			token = vocab_text(bpe_vocab(t->model), id[i], &n_bytes);
		if (token == NULL) {
			decoder_texts_release(&texts);
			return error_set(e, "the tokenizer has no token with the id %u", id[i]);
		}
		if (!special || !(flags & TOKENIZER_NO_SPECIAL))
			decoder_put(&texts, token, n_bytes);
	}
	if (decoder_run(t->decoder, &texts, e) < 0) {
		decoder_texts_release(&texts);
		return -1;
	}
	*len = texts.len;
	*text = mem_slice(texts.text == NULL ? "" : texts.text, texts.len);
	decoder_texts_release(&texts);
	return 0;
}
