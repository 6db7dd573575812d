#include "jsonl.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "unicode.h"

#define DEEPEST 256

enum member { ID, LABEL, TARGET, FOIL, TEXT, N_STRINGS, SPAN = N_STRINGS, INPUT_IDS, N_MEMBERS };

static const char *const names[N_MEMBERS] = {
	[ID] = "id", [LABEL] = "label", [TARGET] = "target", [FOIL] = "foil", [SPAN] = "span",
	[INPUT_IDS] = "input_ids",
};

/* Strings of a line stand end to end in one arena, which moves while it grows. */
struct jsonl {
	char *arena;
	size_t arena_len, arena_capacity;
	struct {
		bool there;
		size_t at, len;
	} string[N_STRINGS];
	uint32_t *ids;
	size_t n_ids, id_capacity;
	struct jsonl_span *span;
	size_t n_spans, span_capacity;
	bool seen[N_MEMBERS], has_ids;
	const char *field;
};

struct cursor {
	const char *start, *p, *end;
	struct error *e;
};

struct jsonl *jsonl_open(void)
{
	struct jsonl *j = mem_zero(1, sizeof *j);
	mem_grow((void **)&j->arena, &j->arena_capacity, 1, 1);
	return j;
}

void jsonl_close(struct jsonl *j)
{
	if (j == NULL)
		return;
	free(j->arena);
	free(j->ids);
	free(j->span);
	free(j);
}

static int wrong(const struct cursor *c, const char *what)
{
	return error_set(c->e, "column %zu: %s", (size_t)(c->p - c->start) + 1, what);
}

static void skip_space(struct cursor *c)
{
	while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' || *c->p == '\r' || *c->p == '\n'))
		c->p++;
}

/* The next byte that is no space, or 0 at the end. */
static char peek(struct cursor *c)
{
	skip_space(c);
	return c->p < c->end ? *c->p : '\0';
}

static int expect(struct cursor *c, char what)
{
	if (peek(c) != what)
		return error_set(c->e, "column %zu: '%c' is due", (size_t)(c->p - c->start) + 1,
				 what);
	c->p++;
	return 0;
}

static void keep(struct jsonl *j, const char *bytes, size_t n)
{
	if (j == NULL)
		return;
	mem_grow((void **)&j->arena, &j->arena_capacity, j->arena_len + n, 1);
	memcpy(j->arena + j->arena_len, bytes, n);
	j->arena_len += n;
}

static int read_hex(struct cursor *c, uint32_t *v)
{
	*v = 0;
	for (int i = 0; i < 4; i++, c->p++) {
		char d = c->p < c->end ? *c->p : '\0';
		if (d >= '0' && d <= '9')
			*v = *v << 4 | (uint32_t)(d - '0');
		else if ((d | 32) >= 'a' && (d | 32) <= 'f')
			*v = *v << 4 | (uint32_t)((d | 32) - 'a' + 10);
		else
			return wrong(c, "\\u without four hexadecimal digits");
	}
	return 0;
}

/* After "\u". */
static int read_code_point(struct cursor *c, struct jsonl *j)
{
	uint32_t v, low;
	if (read_hex(c, &v) < 0)
		return -1;
	if (v >= 0xd800 && v <= 0xdfff) {
		if (v >= 0xdc00 || c->end - c->p < 6 || c->p[0] != '\\' || c->p[1] != 'u')
			return wrong(c, "a lone surrogate, which is no text");
		c->p += 2;
		if (read_hex(c, &low) < 0)
			return -1;
		if (low < 0xdc00 || low > 0xdfff)
			return wrong(c, "a lone surrogate, which is no text");
		v = 0x10000 + ((v & 0x3ff) << 10 | (low & 0x3ff));
	}
	char bytes[4] = { 0 };
	size_t n = utf8_put(bytes, v);
	keep(j, bytes, n);
	return 0;
}

/* A string; its value goes to the arena of j (NULL: nowhere). */
static int read_string(struct cursor *c, struct jsonl *j)
{
	static const char escapes[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
	if (expect(c, '"') < 0)
		return -1;
	for (;;) {
		const char *from = c->p;
		while (c->p < c->end && *c->p != '"' && *c->p != '\\' &&
		       (unsigned char)*c->p >= 0x20)
			c->p++;
		keep(j, from, (size_t)(c->p - from));
		if (c->p == c->end)
			return wrong(c, "a string without its end");
		if (*c->p == '"') {
			c->p++;
			return 0;
		}
		if (*c->p != '\\')
			return wrong(c, "a control character in a string");
		char k = ++c->p < c->end ? *c->p : '\0';
		if (k == 'u') {
			c->p++;
			if (read_code_point(c, j) < 0)
				return -1;
			continue;
		}
		size_t i = 0;
		while (escapes[i] != '\0' && escapes[i] != k)
			i += 2;
		if (k == '\0' || escapes[i] == '\0')
			return wrong(c, "an unknown escape");
		keep(j, escapes + i + 1, 1);
		c->p++;
	}
}

static size_t digits(struct cursor *c)
{
	const char *from = c->p;
	while (c->p < c->end && *c->p >= '0' && *c->p <= '9')
		c->p++;
	return (size_t)(c->p - from);
}

static int read_number(struct cursor *c)
{
	if (c->p < c->end && *c->p == '-')
		c->p++;
	bool zero = c->p < c->end && *c->p == '0';
	size_t n = digits(c);
	if (n == 0 || (zero && n > 1))
		return wrong(c, "not a JSON value");
	if (c->p < c->end && *c->p == '.') {
		c->p++;
		if (digits(c) == 0)
			return wrong(c, "a number without digits after its point");
	}
	if (c->p < c->end && (*c->p | 32) == 'e') {
		c->p++;
		if (c->p < c->end && (*c->p == '+' || *c->p == '-'))
			c->p++;
		if (digits(c) == 0)
			return wrong(c, "a number without its exponent");
	}
	return 0;
}

static bool accept_word(struct cursor *c, const char *word)
{
	size_t n = strlen(word);
	skip_space(c);
	if ((size_t)(c->end - c->p) < n || memcmp(c->p, word, n) != 0)
		return false;
	c->p += n;
	return true;
}

static int skip_value(struct cursor *c, int depth)
{
	char open = peek(c), close = open == '{' ? '}' : ']';
	if (open == '"')
		return read_string(c, NULL);
	if (open != '{' && open != '[') {
		if (accept_word(c, "true") || accept_word(c, "false") || accept_word(c, "null"))
			return 0;
		return read_number(c);
	}
	if (depth == DEEPEST)
		return wrong(c, "nested too deeply");
	c->p++;
	if (peek(c) == close) {
		c->p++;
		return 0;
	}
	for (;;) {
		if (open == '{' && (read_string(c, NULL) < 0 || expect(c, ':') < 0))
			return -1;
		if (skip_value(c, depth + 1) < 0)
			return -1;
		if (peek(c) != ',')
			return expect(c, close);
		c->p++;
	}
}

static int read_scalar(struct cursor *c, struct jsonl *j, enum member m)
{
	const char *name = m == TEXT ? j->field : names[m];
	size_t at = j->arena_len;
	char first = peek(c);
	if (accept_word(c, "null"))
		return 0;
	const char *from = c->p;
	if (first == '"') {
		if (read_string(c, j) < 0)
			return -1;
	} else if (m != TEXT && (first == '-' || (first >= '0' && first <= '9'))) {
		if (read_number(c) < 0)
			return -1;
		keep(j, from, (size_t)(c->p - from));
	} else {
		return error_set(c->e, "column %zu: '%.80s' is not a string%s",
				 (size_t)(c->p - c->start) + 1, name,
				 m == TEXT ? "" : " or a number");
	}
	j->string[m].there = true;
	j->string[m].at = at;
	j->string[m].len = j->arena_len - at;
	keep(j, "", 1);
	return 0;
}

static int read_count(struct cursor *c, uint64_t most, uint64_t *v)
{
	skip_space(c);
	const char *from = c->p;
	size_t n = digits(c);
	*v = 0;
	for (const char *p = from; p < c->p && *v <= most; p++)
		*v = *v * 10 + (uint64_t)(*p - '0');
	if (n == 0 || (n > 1 && *from == '0') || *v > most) {
		c->p = from;
		return wrong(c, "a number that is not in range");
	}
	return 0;
}

/* Calls one() for each element of an array. */
static int read_array(struct cursor *c, struct jsonl *j,
		      int (*one)(struct cursor *c, struct jsonl *j))
{
	if (expect(c, '[') < 0)
		return -1;
	if (peek(c) == ']') {
		c->p++;
		return 0;
	}
	for (;;) {
		if (one(c, j) < 0)
			return -1;
		if (peek(c) != ',')
			return expect(c, ']');
		c->p++;
	}
}

static int read_id(struct cursor *c, struct jsonl *j)
{
	uint64_t v;
	if (read_count(c, UINT32_MAX - 1, &v) < 0)
		return -1;
	mem_grow((void **)&j->ids, &j->id_capacity, j->n_ids + 1, sizeof *j->ids);
	j->ids[j->n_ids++] = (uint32_t)v;
	return 0;
}

static int read_span(struct cursor *c, struct jsonl *j)
{
	struct jsonl_span s;
	if (expect(c, '[') < 0 || read_count(c, UINT32_MAX, &s.start) < 0 || expect(c, ',') < 0 ||
	    read_count(c, UINT32_MAX, &s.end) < 0)
		return -1;
	if (s.end < s.start)
		return wrong(c, "a span that ends before it starts");
	mem_grow((void **)&j->span, &j->span_capacity, j->n_spans + 1, sizeof *j->span);
	j->span[j->n_spans++] = s;
	return expect(c, ']');
}

static int read_member(struct cursor *c, struct jsonl *j)
{
	size_t at = j->arena_len;
	if (read_string(c, j) < 0)
		return -1;
	const char *key = j->arena + at;
	size_t len = j->arena_len - at;
	j->arena_len = at;
	int m = 0;
	for (; m < N_MEMBERS; m++) {
		const char *name = m == TEXT ? j->field : names[m];
		if (len > 0 && strlen(name) == len && memcmp(key, name, len) == 0)
			break;
	}
	if (m < N_MEMBERS && j->seen[m])
		return error_set(c->e, "column %zu: a second '%s'", (size_t)(c->p - c->start) + 1,
				 m == TEXT ? j->field : names[m]);
	if (expect(c, ':') < 0)
		return -1;
	if (m == N_MEMBERS)
		return skip_value(c, 0);
	j->seen[m] = true;
	if (m < N_STRINGS)
		return read_scalar(c, j, (enum member)m);
	if (accept_word(c, "null"))
		return 0;
	j->has_ids |= m == INPUT_IDS;
	return read_array(c, j, m == SPAN ? read_span : read_id);
}

static int read_object(struct cursor *c, struct jsonl *j)
{
	if (peek(c) != '{')
		return wrong(c, "not a JSON object");
	c->p++;
	if (peek(c) == '}') {
		c->p++;
	} else {
		do {
			if (read_member(c, j) < 0)
				return -1;
		} while (peek(c) == ',' && c->p++ < c->end);
		if (expect(c, '}') < 0)
			return -1;
	}
	skip_space(c);
	return c->p == c->end ? 0 : wrong(c, "something after the object");
}

static struct jsonl_string string_of(const struct jsonl *j, enum member m)
{
	if (!j->string[m].there)
		return (struct jsonl_string){ NULL, 0 };
	return (struct jsonl_string){ j->arena + j->string[m].at, j->string[m].len };
}

int jsonl_read(struct jsonl *j, const char *line, size_t len, const char *field,
	       struct jsonl_line *out, struct error *e)
{
	struct cursor c = { line, line, line + len, e };
	j->arena_len = j->n_ids = j->n_spans = 0;
	j->has_ids = false;
	j->field = field;
	memset(j->seen, 0, sizeof j->seen);
	memset(j->string, 0, sizeof j->string);
	if (read_object(&c, j) < 0)
		return -1;
	*out = (struct jsonl_line){
		.id = string_of(j, ID), .label = string_of(j, LABEL),
		.target = string_of(j, TARGET), .foil = string_of(j, FOIL),
		.text = string_of(j, TEXT), .has_ids = j->has_ids, .ids = j->ids,
		.n_ids = j->n_ids, .span = j->span, .n_spans = j->n_spans,
	};
	return 0;
}
