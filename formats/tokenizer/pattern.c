#include "pattern.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "unicode.h"

static int open_string(const char *s, size_t len, struct pattern *out, struct error *e)
{
	if (len == 0)
		return error_set(e, "an empty pattern is not read");
	out->kind = PATTERN_STRING;
	out->string = mem_slice(s, len);
	out->len = len;
	return 0;
}

int pattern_open(const struct json *j, struct pattern *out, struct error *e)
{
	*out = (struct pattern){ 0 };
	size_t len;
	const char *s = json_text(json_member(j, "String"), &len);
	if (s == NULL)
		s = json_text(j, &len);
	if (s != NULL)
		return open_string(s, len, out, e);
	s = json_text(json_member(j, "Regex"), &len);
	if (s == NULL)
		return error_set(e, "'pattern' is neither {\"String\": ...} nor {\"Regex\": ...}");
	out->kind = PATTERN_REGEX;
	return regex_open(s, len, &out->regex, e);
}

int pattern_open_regex(const char *text, struct pattern *out, struct error *e)
{
	*out = (struct pattern){ .kind = PATTERN_REGEX };
	return regex_open(text, strlen(text), &out->regex, e);
}

void pattern_close(struct pattern *p)
{
	free(p->string);
	regex_close(p->regex);
	*p = (struct pattern){ 0 };
}

void pattern_scratch_release(struct pattern_scratch *s)
{
	free(s->symbol);
	regex_scratch_close(s->regex);
	*s = (struct pattern_scratch){ 0 };
}

void pattern_start(struct pattern_walk *w, const struct pattern *p, struct pattern_scratch *s,
		   const struct slice *text)
{
	*w = (struct pattern_walk){ .pattern = p, .scratch = s, .text = text };
	if (p->kind != PATTERN_REGEX)
		return;
	if (s->regex == NULL)
		s->regex = regex_scratch_open();
	mem_grow((void **)&s->symbol, &s->capacity, text->len + 1, 1);
	w->n_characters = regex_symbols(p->regex, text->text, text->len, s->symbol);
}

/* The byte where the character number `to` begins; the walk moves there. */
static size_t walk_to(struct pattern_walk *w, size_t to)
{
	if (w->n_characters == w->text->len)
		return w->character = w->byte = to;
	for (; w->character < to; w->character++)
		w->byte += utf8_size(w->text->text[w->byte]);
	return w->byte;
}

/* An empty match right after a match does not count. */
static int next_regex(struct pattern_walk *w, size_t *start, size_t *end, struct error *e)
{
	size_t from = w->last_end, first, last;
	for (;;) {
		if (from > w->n_characters)
			return 0;
		int rc = regex_find(w->pattern->regex, w->scratch->regex, w->scratch->symbol,
				    w->n_characters, from, &first, &last, e);
		if (rc <= 0)
			return rc;
		if (first != last || !w->matched || last != w->last_end)
			break;
		from++;
	}
	w->matched = true;
	w->last_end = last;
	*start = walk_to(w, first);
	*end = walk_to(w, last);
	return 1;
}

static bool is_kind(enum pattern_kind kind, uint32_t c)
{
	if (kind == PATTERN_SPACE)
		return unicode_space(c);
	unsigned bit = kind == PATTERN_NUMBER ? UNICODE_NUMBER : UNICODE_PUNCTUATION;
	return unicode_properties(c) & bit;
}

int pattern_next(struct pattern_walk *w, size_t *start, size_t *end, struct error *e)
{
	const struct slice *t = w->text;
	if (w->pattern->kind == PATTERN_REGEX)
		return next_regex(w, start, end, e);
	if (w->byte >= t->len)
		return 0;
	if (w->pattern->kind == PATTERN_STRING) {
		const char *found = memmem(t->text + w->byte, t->len - w->byte, w->pattern->string,
					   w->pattern->len);
		if (found == NULL)
			return 0;
		*start = (size_t)(found - t->text);
		w->byte = *end = *start + w->pattern->len;
		return 1;
	}
	while (w->byte < t->len) {
		const char *p = t->text + w->byte;
		uint32_t c = utf8_next(&p);
		*start = w->byte;
		w->byte = *end = (size_t)(p - t->text);
		if (is_kind(w->pattern->kind, c))
			return 1;
	}
	return 0;
}
