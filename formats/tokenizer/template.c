#include "template.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "vocab.h"

#define DEEPEST 16
#define MOST_IDS 1024

void template_before(struct template *t, uint32_t id)
{
	t->before = mem_resize(t->before, t->n_before + 1, sizeof *t->before);
	memmove(t->before + 1, t->before, t->n_before * sizeof *t->before);
	t->before[0] = id;
	t->n_before++;
}

void template_after(struct template *t, uint32_t id)
{
	t->after = mem_resize(t->after, t->n_after + 1, sizeof *t->after);
	t->after[t->n_after++] = id;
}

void template_release(struct template *t)
{
	free(t->before);
	free(t->after);
	*t = (struct template){ 0 };
}

static int read_id(const struct json *v, uint32_t *id, struct error *e)
{
	int64_t n;
	if (json_int(v, 0, (int64_t)VOCAB_MOST_IDS - 1, &n) < 0)
		return error_set(e, "a token id that cannot be read");
	*id = (uint32_t)n;
	return 0;
}

/* Ids of one special token, in order. */
static int special_ids(const struct json *processor, const struct json *part, uint32_t **ids,
		       size_t *n, struct error *e)
{
	const char *name = json_text(json_member(part, "id"), NULL);
	const struct json *tokens = json_member(processor, "special_tokens");
	const struct json *list =
		name == NULL ? NULL : json_member(json_member(tokens, name), "ids");
	if (json_kind(list) != JSON_KIND_ARRAY || *n + json_count(list) > MOST_IDS)
		return error_set(e, "the special token '%.80s' has no ids",
				 name == NULL ? "?" : name);
	for (size_t i = 0; i < json_count(list); i++) {
		*ids = mem_resize(*ids, *n + 1, sizeof **ids);
		if (read_id(json_at(list, i), &(*ids)[(*n)++], e) < 0)
			return -1;
	}
	return 0;
}

static int read_single(const struct json *j, struct template *t, struct error *e)
{
	const struct json *single = json_member(j, "single");
	if (json_kind(single) != JSON_KIND_ARRAY)
		return error_set(e, "TemplateProcessing: 'single' is %s where an array is due",
				 json_kind_name(single));
	uint32_t *ids = NULL;
	size_t n = 0, n_before = 0;
	int n_texts = 0, rc = 0;
	for (size_t i = 0; rc == 0 && i < json_count(single); i++) {
		const struct json *part = json_at(single, i);
		const struct json *special = json_member(part, "SpecialToken");
		if (special != NULL) {
			rc = special_ids(j, special, &ids, &n, e);
			continue;
		}
		const char *which = json_text(json_member(json_member(part, "Sequence"), "id"),
					      NULL);
		if (which == NULL || strcmp(which, "A") != 0)
			rc = error_set(e, "TemplateProcessing: a part of 'single' is neither a "
					  "SpecialToken nor the Sequence A");
		n_texts++;
		n_before = n;
	}
	if (rc == 0 && n_texts != 1)
		rc = error_set(e, "TemplateProcessing: 'single' has the text %d times", n_texts);
	for (size_t i = n_before; rc == 0 && i > 0; i--)
		template_before(t, ids[i - 1]);
	for (size_t i = n_before; rc == 0 && i < n; i++)
		template_after(t, ids[i]);
	free(ids);
	return rc;
}

static int read_pair(const struct json *j, struct template *t, struct error *e)
{
	uint32_t first = 0, last = 0;
	if (read_id(json_at(json_member(j, "cls"), 1), &first, e) < 0 ||
	    read_id(json_at(json_member(j, "sep"), 1), &last, e) < 0)
		return -1;
	template_before(t, first);
	template_after(t, last);
	return 0;
}

static int read_processor(const struct json *j, struct template *t, int depth, struct error *e)
{
	if (json_kind(j) == JSON_KIND_NULL)
		return 0;
	const char *type = json_text(json_member(j, "type"), NULL);
	if (type == NULL)
		return error_set(e, "an entry without a type");
	if (strcmp(type, "ByteLevel") == 0)
		return 0;
	if (strcmp(type, "TemplateProcessing") == 0)
		return read_single(j, t, e);
	if (strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0)
		return read_pair(j, t, e);
	if (strcmp(type, "Sequence") != 0)
		return error_set(e, "the type '%.80s' is not read", type);
	const struct json *list = json_member(j, "processors");
	if (json_kind(list) != JSON_KIND_ARRAY || depth == DEEPEST)
		return error_set(e, "a Sequence that cannot be read");
	for (size_t i = 0; i < json_count(list); i++)
		if (read_processor(json_at(list, i), t, depth + 1, e) < 0)
			return -1;
	return 0;
}

int template_open(const struct json *post_processor, struct template *t, struct error *e)
{
	*t = (struct template){ 0 };
	if (read_processor(post_processor, t, 0, e) < 0)
		return error_in(e, "post_processor");
	return 0;
}
