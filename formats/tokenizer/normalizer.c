#include "normalizer.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "pattern.h"
#include "unicode.h"

#define MOST_STEPS 32
#define DEEPEST 16

enum kind { FORM, LOWERCASE, STRIP, PREPEND, REPLACE };

struct step {
	enum kind kind;
	struct unicode_normal *form;
	struct pattern pattern;
	char *text; /* PREPEND, REPLACE: what is put in */
	size_t len;
	bool left, right; /* STRIP */
};

struct normalizer {
	struct step step[MOST_STEPS];
	size_t n;
};

/* Two buffers take turns; every step has its own pattern's scratch. */
struct normalizer_scratch {
	struct buffer buffer[2];
	struct pattern_scratch pattern[MOST_STEPS];
};

static int read_text(const struct json *j, const char *key, struct step *s, struct error *e)
{
	const char *text = NULL;
	int rc = json_get_text(j, key, &text, &s->len, e);
	if (rc < 0)
		return -1;
	if (rc == 0)
		return error_set(e, "'%s' is missing", key);
	s->text = mem_slice(text, s->len);
	return 0;
}

static int read_strip(const struct json *j, struct step *s, struct error *e)
{
	s->left = s->right = true;
	if (json_get_bool(j, "strip_left", &s->left, e) < 0)
		return -1;
	return json_get_bool(j, "strip_right", &s->right, e) < 0 ? -1 : 0;
}

static int read_step(const struct json *j, const char *type, struct step *s, struct error *e)
{
	static const char *const forms[] = { [UNICODE_NFC] = "NFC", [UNICODE_NFD] = "NFD",
					     [UNICODE_NFKC] = "NFKC", [UNICODE_NFKD] = "NFKD" };
	for (size_t i = 0; i < ARRAY_LEN(forms); i++)
		if (strcmp(type, forms[i]) == 0) {
			s->kind = FORM;
			s->form = unicode_normal_open((enum unicode_form)i);
			return 0;
		}
	if (strcmp(type, "Lowercase") == 0) {
		s->kind = LOWERCASE;
		return 0;
	}
	if (strcmp(type, "Strip") == 0) {
		s->kind = STRIP;
		return read_strip(j, s, e);
	}
	if (strcmp(type, "Prepend") == 0) {
		s->kind = PREPEND;
		return read_text(j, "prepend", s, e);
	}
	if (strcmp(type, "Replace") == 0) {
		s->kind = REPLACE;
		if (read_text(j, "content", s, e) < 0)
			return -1;
		return pattern_open(json_member(j, "pattern"), &s->pattern, e);
	}
	return error_set(e, "the type '%.80s' is not read", type);
}

static int read_normalizer(const struct json *j, struct normalizer *n, int depth, struct error *e)
{
	if (json_kind(j) == JSON_KIND_NULL)
		return 0;
	const char *type = json_text(json_member(j, "type"), NULL);
	if (type == NULL)
		return error_set(e, "an entry without a type");
	if (strcmp(type, "Sequence") == 0) {
		const struct json *list = json_member(j, "normalizers");
		if (json_kind(list) != JSON_KIND_ARRAY || depth == DEEPEST)
			return error_set(e, "a Sequence that cannot be read");
		for (size_t i = 0; i < json_count(list); i++)
			if (read_normalizer(json_at(list, i), n, depth + 1, e) < 0)
				return -1;
		return 0;
	}
	if (n->n == MOST_STEPS)
		return error_set(e, "more than %d steps", MOST_STEPS);
	return read_step(j, type, &n->step[n->n++], e);
}

int normalizer_open(const struct json *j, struct normalizer **out, struct error *e)
{
	struct normalizer *n = mem_zero(1, sizeof *n);
	if (read_normalizer(j, n, 0, e) < 0) {
		normalizer_close(n);
		return error_in(e, "normalizer");
	}
	*out = n;
	return 0;
}

void normalizer_close(struct normalizer *n)
{
	if (n == NULL)
		return;
	for (size_t i = 0; i < n->n; i++) {
		unicode_normal_close(n->step[i].form);
		pattern_close(&n->step[i].pattern);
		free(n->step[i].text);
	}
	free(n);
}

struct normalizer_scratch *normalizer_scratch_open(const struct normalizer *n)
{
	(void)n;
	return mem_zero(1, sizeof(struct normalizer_scratch));
}

void normalizer_scratch_close(struct normalizer_scratch *s)
{
	if (s == NULL)
		return;
	for (size_t i = 0; i < ARRAY_LEN(s->buffer); i++)
		buffer_release(&s->buffer[i]);
	for (size_t i = 0; i < MOST_STEPS; i++)
		pattern_scratch_release(&s->pattern[i]);
	free(s);
}

static void lowercase(const struct slice *in, struct buffer *out)
{
	for (const char *p = in->text, *end = p + in->len; p < end;) {
		size_t start = (size_t)(p - in->text);
		uint32_t c = utf8_next(&p);
		struct origin from = slice_origin(in, start, (size_t)(p - in->text));
		char bytes[4];
		/* The one letter whose small form is two characters. */
		if (c == 0x130)
			buffer_put(out, "i\xcc\x87", 3, from);
		else
			buffer_put(out, bytes, utf8_put(bytes, unicode_lower(c)), from);
	}
}

static struct slice strip(const struct step *s, const struct slice *in)
{
	size_t start = 0, end = in->len;
	while (s->left && start < end) {
		const char *p = in->text + start;
		if (!unicode_space(utf8_next(&p)))
			break;
		start = (size_t)(p - in->text);
	}
	while (s->right && end > start) {
		size_t at = end - 1;
		while (at > start && !utf8_is_lead(in->text[at]))
			at--;
		const char *p = in->text + at;
		if (!unicode_space(utf8_next(&p)))
			break;
		end = at;
	}
	struct slice out = slice_part(in, start, end);
	out.first = in->first;
	return out;
}

static int replace(const struct step *s, struct pattern_scratch *scratch, const struct slice *in,
		   struct buffer *out, struct error *e)
{
	struct pattern_walk w;
	size_t start, end, done = 0;
	int rc;
	pattern_start(&w, &s->pattern, scratch, in);
	while ((rc = pattern_next(&w, &start, &end, e)) > 0) {
		buffer_copy(out, in, done, start);
		struct origin from = { 0, 0 };
		if (out->mapped && start < end)
			from = slice_origin(in, start, end);
		else if (out->mapped && in->len > 0)
			from = start < in->len ? slice_origin(in, start, start + 1)
					       : slice_origin(in, start - 1, start);
		buffer_put(out, s->text, s->len, from);
		done = end;
	}
	buffer_copy(out, in, done, in->len);
	return rc;
}

static void prepend(const struct step *s, const struct slice *in, struct buffer *out)
{
	if (in->len > 0)
		buffer_put(out, s->text, s->len, slice_origin(in, 0, 1));
	buffer_copy(out, in, 0, in->len);
}

int normalizer_run(const struct normalizer *n, struct normalizer_scratch *s,
		   const struct slice *in, bool mapped, struct slice *out, struct error *e)
{
	struct slice now = *in;
	size_t turn = 0;
	for (size_t i = 0; i < n->n; i++) {
		const struct step *step = &n->step[i];
		struct buffer *b = &s->buffer[turn];
		if (step->kind == STRIP) {
			now = strip(step, &now);
			continue;
		}
		if (step->kind == FORM && unicode_is_normal(step->form, &now))
			continue;
		buffer_reset(b, mapped);
		switch (step->kind) {
		case FORM:
			unicode_normalize(step->form, &now, b);
			break;
		case LOWERCASE:
			lowercase(&now, b);
			break;
		case REPLACE:
			if (replace(step, &s->pattern[i], &now, b, e) < 0)
				return -1;
			break;
		case PREPEND:
			prepend(step, &now, b);
			break;
		case STRIP:
			break;
		}
		now = buffer_slice(b, &now);
		turn = 1 - turn;
	}
	*out = now;
	return 0;
}
