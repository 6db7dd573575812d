#include "decoder.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "bpe.h"
#include "memory.h"
#include "pattern.h"
#include "unicode.h"

#define MOST_STEPS 32
#define DEEPEST 16
#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

enum kind { BYTE_LEVEL, BYTE_FALLBACK, FUSE, META, REPLACE, STRIP };

struct step {
	enum kind kind;
	struct pattern pattern; /* REPLACE */
	char *text;             /* REPLACE: put in; STRIP, META: one character */
	size_t len;
	int64_t start, stop;    /* STRIP: how many at either end */
	bool drop_first;        /* META: the first token's stand for nothing */
};

struct decoder {
	struct step step[MOST_STEPS];
	size_t n;
	bool spaced; /* no decoder: tokens are joined by spaces */
};

void decoder_put(struct decoder_texts *t, const char *text, size_t len)
{
	mem_grow((void **)&t->text, &t->capacity, t->len + len + 1, 1);
	if (len > 0)
		memcpy(t->text + t->len, text, len);
	t->len += len;
	mem_grow((void **)&t->end, &t->end_capacity, t->n + 1, sizeof *t->end);
	t->end[t->n++] = t->len;
}

/* Lets the last text grow. */
static void extend(struct decoder_texts *t, const char *text, size_t len)
{
	decoder_put(t, text, len);
	t->n--;
	t->end[t->n - 1] = t->len;
}

void decoder_texts_release(struct decoder_texts *t)
{
	free(t->text);
	free(t->end);
	*t = (struct decoder_texts){ 0 };
}

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

static int read_character(const struct json *j, const char *key, struct step *s, struct error *e)
{
	if (read_text(j, key, s, e) < 0)
		return -1;
	if (s->len == 0 || s->len != utf8_size(s->text[0]))
		return error_set(e, "'%s' is not one character", key);
	return 0;
}

static int read_replace(const struct json *j, struct step *s, struct error *e)
{
	if (read_text(j, "content", s, e) < 0)
		return -1;
	return pattern_open(json_member(j, "pattern"), &s->pattern, e);
}

static int read_strip(const struct json *j, struct step *s, struct error *e)
{
	if (read_character(j, "content", s, e) < 0 ||
	    json_get_int(j, "start", 0, INT32_MAX, &s->start, e) < 0)
		return -1;
	return json_get_int(j, "stop", 0, INT32_MAX, &s->stop, e) < 0 ? -1 : 0;
}

static int read_meta(const struct json *j, struct step *s, struct error *e)
{
	const char *scheme = NULL;
	bool add = true;
	if (read_character(j, "replacement", s, e) < 0 ||
	    json_get_text(j, "prepend_scheme", &scheme, NULL, e) < 0 ||
	    json_get_bool(j, "add_prefix_space", &add, e) < 0)
		return -1;
	s->drop_first = scheme != NULL ? strcmp(scheme, "never") != 0 : add;
	return 0;
}

static int read_nothing(const struct json *j, struct step *s, struct error *e)
{
	(void)j;
	(void)s;
	(void)e;
	return 0;
}

static const struct {
	const char *type;
	enum kind kind;
	int (*read)(const struct json *j, struct step *s, struct error *e);
} types[] = {
	{ "ByteLevel", BYTE_LEVEL, read_nothing }, { "ByteFallback", BYTE_FALLBACK, read_nothing },
	{ "Fuse", FUSE, read_nothing },            { "Metaspace", META, read_meta },
	{ "Replace", REPLACE, read_replace },      { "Strip", STRIP, read_strip },
};

static int read_steps(const struct json *j, struct decoder *d, int depth, struct error *e)
{
	const char *type = json_text(json_member(j, "type"), NULL);
	if (type == NULL)
		return error_set(e, "an entry without a type");
	if (strcmp(type, "Sequence") == 0) {
		const struct json *list = json_member(j, "decoders");
		if (json_kind(list) != JSON_KIND_ARRAY || depth == DEEPEST)
			return error_set(e, "a Sequence that cannot be read");
		for (size_t i = 0; i < json_count(list); i++)
			if (read_steps(json_at(list, i), d, depth + 1, e) < 0)
				return -1;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		if (strcmp(type, types[i].type) != 0)
			continue;
		if (d->n == MOST_STEPS)
			return error_set(e, "more than %d steps", MOST_STEPS);
		struct step *s = &d->step[d->n++];
		s->kind = types[i].kind;
		return types[i].read(j, s, e);
	}
	return error_set(e, "the type '%.80s' is not read", type);
}

int decoder_open(const struct json *j, struct decoder **out, struct error *e)
{
	struct decoder *d = mem_zero(1, sizeof *d);
	d->spaced = json_kind(j) == JSON_KIND_NULL;
	if (!d->spaced && read_steps(j, d, 0, e) < 0) {
		decoder_close(d);
		return error_in(e, "decoder");
	}
	*out = d;
	return 0;
}

void decoder_close(struct decoder *d)
{
	if (d == NULL)
		return;
	for (size_t i = 0; i < d->n; i++) {
		pattern_close(&d->step[i].pattern);
		free(d->step[i].text);
	}
	free(d);
}

/* U+FFFD for each longest beginning of a character that does not become one. */
static void put_lossy(struct decoder_texts *to, const char *s, size_t len)
{
	decoder_put(to, "", 0);
	while (len > 0) {
		size_t good = utf8_check(s, len);
		extend(to, s, good);
		s += good;
		len -= good;
		if (len == 0)
			break;
		size_t bad = 1;
		unsigned char u[4] = { 0 };
		memcpy(u, s, len < 4 ? len : 4);
		bool second = (u[0] >= 0xe0 && u[0] <= 0xf4 && u[1] >= 0x80 && u[1] <= 0xbf) &&
			      !(u[0] == 0xe0 && u[1] < 0xa0) && !(u[0] == 0xed && u[1] > 0x9f) &&
			      !(u[0] == 0xf0 && u[1] < 0x90) && !(u[0] == 0xf4 && u[1] > 0x8f);
		if (second && len >= 2)
			bad = u[0] >= 0xf0 && len >= 3 && (u[2] & 0xc0) == 0x80 ? 3 : 2;
		extend(to, REPLACEMENT, 3);
		s += bad;
		len -= bad;
	}
}

static void byte_level(const struct decoder_texts *in, struct decoder_texts *out)
{
	struct decoder_texts bytes = { 0 };
	decoder_put(&bytes, "", 0);
	for (size_t i = 0, start = 0; i < in->n; start = in->end[i++]) {
		const char *p = in->text + start, *end = in->text + in->end[i];
		size_t before = bytes.len;
		while (p < end) {
			int byte = bpe_char_byte(utf8_next(&p));
			if (byte < 0)
				break;
			extend(&bytes, &(char){ (char)byte }, 1);
		}
		if (p < end || (bytes.len == before && in->end[i] > start)) {
			bytes.len = before;
			extend(&bytes, in->text + start, in->end[i] - start);
		}
	}
	put_lossy(out, bytes.text, bytes.len);
	decoder_texts_release(&bytes);
}

/* The byte of "<0xHH>", or -1. */
static int token_byte(const char *s, size_t len)
{
	if (len != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>')
		return -1;
	int value = 0;
	for (int i = 3; i < 5; i++) {
		if (!isxdigit((unsigned char)s[i]))
			return -1;
		value = value * 16 + (s[i] <= '9' ? s[i] - '0' : (s[i] | 32) - 'a' + 10);
	}
	return value;
}

static void put_bytes(struct decoder_texts *out, struct decoder_texts *bytes)
{
	if (bytes->len > 0 && utf8_check(bytes->text, bytes->len) == bytes->len)
		decoder_put(out, bytes->text, bytes->len);
	else
		for (size_t i = 0; i < bytes->len; i++)
			decoder_put(out, REPLACEMENT, 3);
	bytes->len = bytes->n = 0;
}

static void byte_fallback(const struct decoder_texts *in, struct decoder_texts *out)
{
	struct decoder_texts bytes = { 0 };
	for (size_t i = 0, start = 0; i < in->n; start = in->end[i++]) {
		int byte = token_byte(in->text + start, in->end[i] - start);
		if (byte >= 0) {
			decoder_put(&bytes, &(char){ (char)byte }, 1);
			continue;
		}
		put_bytes(out, &bytes);
		decoder_put(out, in->text + start, in->end[i] - start);
	}
	put_bytes(out, &bytes);
	decoder_texts_release(&bytes);
}

static void meta(const struct step *s, const char *text, size_t len, bool first,
		 struct decoder_texts *out)
{
	decoder_put(out, "", 0);
	for (size_t i = 0; i < len;) {
		size_t n = utf8_size(text[i]);
		if (n != s->len || memcmp(text + i, s->text, n) != 0)
			extend(out, text + i, n);
		else if (!first || !s->drop_first)
			extend(out, " ", 1);
		i += n;
	}
}

static void strip(const struct step *s, const char *text, size_t len, struct decoder_texts *out)
{
	size_t start = 0, end = len;
	for (int64_t i = 0; i < s->start && end - start >= s->len &&
			    memcmp(text + start, s->text, s->len) == 0; i++)
		start += s->len;
	for (int64_t i = 0; i < s->stop && end - start >= s->len &&
			    memcmp(text + end - s->len, s->text, s->len) == 0; i++)
		end -= s->len;
	decoder_put(out, text + start, end - start);
}

static int replace(const struct step *s, const char *text, size_t len,
		   struct pattern_scratch *scratch, struct decoder_texts *out, struct error *e)
{
	struct slice in = { text, len, NULL, 0, true };
	struct pattern_walk w;
	size_t start, end, done = 0;
	int rc;
	decoder_put(out, "", 0);
	pattern_start(&w, &s->pattern, scratch, &in);
	while ((rc = pattern_next(&w, &start, &end, e)) > 0) {
		extend(out, text + done, start - done);
		extend(out, s->text, s->len);
		done = end;
	}
	extend(out, text + done, len - done);
	return rc;
}

static int run_step(const struct step *s, const struct decoder_texts *in,
		    struct decoder_texts *out, struct error *e)
{
	struct pattern_scratch scratch = { 0 };
	int rc = 0;
	if (s->kind == BYTE_LEVEL)
		byte_level(in, out);
	else if (s->kind == BYTE_FALLBACK)
		byte_fallback(in, out);
	else if (s->kind == FUSE)
		decoder_put(out, in->text, in->len);
	else
		for (size_t i = 0, start = 0; rc == 0 && i < in->n; start = in->end[i++]) {
			const char *text = in->text + start;
			size_t len = in->end[i] - start;
			if (s->kind == META)
				meta(s, text, len, i == 0, out);
			else if (s->kind == STRIP)
				strip(s, text, len, out);
			else
				rc = replace(s, text, len, &scratch, out, e);
		}
	pattern_scratch_release(&scratch);
	return rc;
}

int decoder_run(const struct decoder *d, struct decoder_texts *t, struct error *e)
{
	struct decoder_texts next = { 0 };
	if (t->n == 0)
		decoder_put(t, "", 0);
	if (d->spaced) {
		for (size_t i = 0, start = 0; i < t->n; start = t->end[i++]) {
			if (i > 0)
				decoder_put(&next, " ", 1);
			decoder_put(&next, t->text + start, t->end[i] - start);
		}
		decoder_texts_release(t);
		*t = next;
		return 0;
	}
	for (size_t i = 0; i < d->n; i++) {
		int rc = run_step(&d->step[i], t, &next, e);
		struct decoder_texts was = *t;
		*t = next;
		next = was;
		next.len = next.n = 0;
		if (rc < 0) {
			decoder_texts_release(&next);
			return -1;
		}
	}
	decoder_texts_release(&next);
	return 0;
}
