#include "regex_parse.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "unicode.h"

#define DEEPEST 64
#define MOST_REPEATS 10000

struct parser {
	const char *p, *end;
	struct regex_parsed *out;
	bool fold;         /* inside (?i) */
	int depth;
	uint32_t previous; /* the literal before this one under (?i), else 0 */
	struct error *e;
};

static int parse_alternatives(struct parser *a);
static int parse_class(struct parser *a, struct charset *set);

static void emit(struct parser *a, const char *syntax)
{
	struct regex_parsed *o = a->out;
	size_t n = strlen(syntax);
	mem_grow((void **)&o->op, &o->capacity, o->n_ops + n, sizeof *o->op);
	for (size_t i = 0; i < n; i++)
		o->op[o->n_ops++] = (unsigned char)syntax[i];
}

/* Takes the set over. */
static int emit_set(struct parser *a, struct charset *set)
{
	struct regex_parsed *o = a->out;
	charset_tidy(set);
	size_t i = 0;
	while (i < o->n_sets && !charset_equal(&o->set[i], set))
		i++;
	if (i < o->n_sets) {
		charset_release(set);
	} else {
		if (i == REGEX_MOST_SETS) {
			charset_release(set);
			return error_set(a->e, "more than %d different classes", REGEX_MOST_SETS);
		}
		o->set[o->n_sets++] = *set;
	}
	mem_grow((void **)&o->op, &o->capacity, o->n_ops + 1, sizeof *o->op);
	o->op[o->n_ops++] = (uint16_t)(256 + i);
	return 0;
}

static bool at(const struct parser *a, char c)
{
	return a->p < a->end && *a->p == c;
}

static bool accept(struct parser *a, const char *s)
{
	size_t n = strlen(s);
	if ((size_t)(a->end - a->p) < n || memcmp(a->p, s, n) != 0)
		return false;
	a->p += n;
	return true;
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if ((c | 32) >= 'a' && (c | 32) <= 'f')
		return (c | 32) - 'a' + 10;
	return 16;
}

/* Up to `most` digits; with braces exactly what is between them. */
static int parse_hex(struct parser *a, int least, int most, uint32_t *c)
{
	bool braces = accept(a, "{");
	int n = 0;
	for (*c = 0; a->p < a->end && n < (braces ? 8 : most) && digit_value(*a->p) < 16; n++)
		*c = *c << 4 | (uint32_t)digit_value(*a->p++);
	if (n < least || (braces && !accept(a, "}")) || *c >= UNICODE_N)
		return error_set(a->e, "a code point that cannot be read");
	return 0;
}

static int parse_property(struct parser *a, bool negate, struct charset *set)
{
	if (a->fold)
		return error_set(a->e, "\\p under (?i) is not read");
	if (!accept(a, "{"))
		return error_set(a->e, "\\p without braces");
	if (accept(a, "^"))
		negate = !negate;
	const char *name = a->p;
	while (a->p < a->end && *a->p != '}')
		a->p++;
	size_t len = (size_t)(a->p - name);
	if (!accept(a, "}"))
		return error_set(a->e, "\\p{ without its end");
	struct charset found = { 0 };
	if (!charset_add_property(&found, name, len))
		return error_set(a->e, "the property '%.*s' is not known", (int)len, name);
	charset_tidy(&found);
	if (negate)
		charset_negate(&found);
	charset_add_set(set, &found);
	charset_release(&found);
	return 0;
}

static void add_short(struct charset *set, char kind)
{
	struct charset found = { 0 };
	switch (kind | 32) {
	case 'd':
		charset_add_categories(&found, 1u << UC_ND);
		break;
	case 's':
		charset_add_space(&found);
		break;
	case 'w':
		charset_add_word(&found);
		break;
	default:
		charset_add(&found, '0', '9');
		charset_add(&found, 'A', 'F');
		charset_add(&found, 'a', 'f');
	}
	charset_tidy(&found);
	if (kind < 'a')
		charset_negate(&found);
	charset_add_set(set, &found);
	charset_release(&found);
}

/*
 * What follows a backslash: *c, where it is one character (1), or a class added to `set` (0).
 */
static int parse_escape(struct parser *a, struct charset *set, uint32_t *c)
{
	static const char plain[] = "t\tn\nr\rf\fv\va\ae\033";
	if (a->p == a->end)
		return error_set(a->e, "ends in a backslash");
	char k = *a->p;
	if ((unsigned char)k >= 0x80) {
		*c = utf8_next(&a->p);
		return 1;
	}
	a->p++;
	if (strchr("dDsSwWhH", k) != NULL && k != '\0') {
		add_short(set, k);
		return 0;
	}
	if (k == 'p' || k == 'P')
		return parse_property(a, k == 'P', set) < 0 ? -1 : 0;
	if (k == 'x')
		return parse_hex(a, 1, 2, c) < 0 ? -1 : 1;
	if (k == 'u')
		return parse_hex(a, 4, 4, c) < 0 ? -1 : 1;
	for (size_t i = 0; plain[i] != '\0'; i += 2)
		if (plain[i] == k) {
			*c = (unsigned char)plain[i + 1];
			return 1;
		}
	if ((k >= '0' && k <= '9') || ((k | 32) >= 'a' && (k | 32) <= 'z'))
		return error_set(a->e, "\\%c is not read", k);
	*c = (unsigned char)k;
	return 1;
}

/* One member of a class: *c for a character (1), or added to `set` (0). */
static int parse_member(struct parser *a, struct charset *set, uint32_t *c)
{
	if (accept(a, "\\"))
		return parse_escape(a, set, c);
	if (at(a, '[')) {
		a->p++;
		if (at(a, ':'))
			return error_set(a->e, "[[:name:]] is not read");
		struct charset inner = { 0 };
		if (parse_class(a, &inner) < 0) {
			charset_release(&inner);
			return -1;
		}
		charset_add_set(set, &inner);
		charset_release(&inner);
		return 0;
	}
	*c = utf8_next(&a->p);
	return 1;
}

static int parse_range(struct parser *a, struct charset *set)
{
	uint32_t first, last;
	int one = parse_member(a, set, &first);
	if (one <= 0)
		return one;
	last = first;
	if (a->end - a->p >= 2 && a->p[0] == '-' && a->p[1] != ']') {
		a->p++;
		one = parse_member(a, set, &last);
		if (one < 0)
			return -1;
		if (one == 0) { /* [a-\d] is a, a dash and the digits */
			charset_add(set, '-', '-');
			last = first;
		}
	}
	if (last < first)
		return error_set(a->e, "a range that runs backwards");
	struct charset part = { 0 };
	charset_add(&part, first, last);
	if (a->fold && last - first > 4096) {
		charset_release(&part);
		return error_set(a->e, "a range of %u characters under (?i) is not read",
				 last - first + 1);
	}
	if (a->fold)
		charset_fold(&part);
	charset_add_set(set, &part);
	charset_release(&part);
	return 0;
}

/* After "[": reads to the matching "]" and leaves `set` tidy. */
static int parse_class(struct parser *a, struct charset *set)
{
	if (++a->depth > DEEPEST)
		return error_set(a->e, "nested too deeply");
	bool negate = accept(a, "^");
	if (at(a, ']'))
		return error_set(a->e, "an empty class");
	struct charset left = { 0 };
	bool both = false;
	while (a->p < a->end && *a->p != ']') {
		if (accept(a, "&&")) {
			charset_tidy(set);
			if (both)
				charset_intersect(set, &left);
			charset_release(&left);
			left = *set;
			*set = (struct charset){ 0 };
			both = true;
		} else if (parse_range(a, set) < 0) {
			charset_release(&left);
			return -1;
		}
	}
	charset_tidy(set);
	if (both)
		charset_intersect(set, &left);
	charset_release(&left);
	if (!accept(a, "]"))
		return error_set(a->e, "a class without its end");
	if (negate)
		charset_negate(set);
	a->depth--;
	return 0;
}

static int emit_word_edge(struct parser *a, bool edge)
{
	static const char *const parts[2][5] = {
		{ "(?:(?<=", ")(?=", ")|(?<!", ")(?!", "))" },
		{ "(?:(?<=", ")(?!", ")|(?<!", ")(?=", "))" },
	};
	for (int i = 0; i < 5; i++) {
		emit(a, parts[edge][i]);
		struct charset word = { 0 };
		charset_add_word(&word);
		if (i == 4)
			charset_release(&word);
		else if (emit_set(a, &word) < 0)
			return -1;
	}
	return 0;
}

static int emit_newline(struct parser *a, const char *before, const char *after)
{
	struct charset newline = { 0 };
	charset_add(&newline, '\n', '\n');
	emit(a, before);
	if (emit_set(a, &newline) < 0)
		return -1;
	emit(a, after);
	return 0;
}

/* (?i) also matches one character for several (U+FB06 for "st"), which sets cannot say. */
static int check_pair(struct parser *a, uint32_t c)
{
	static const char pairs[][2] = { { 's', 's' }, { 's', 't' }, { 'f', 'f' }, { 'f', 'i' },
					 { 'f', 'l' } };
	uint32_t lower = unicode_lower(c);
	for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
		if (a->previous == (uint32_t)pairs[i][0] && lower == (uint32_t)pairs[i][1])
			return error_set(a->e, "'%c%c' under (?i) is not read", pairs[i][0],
					 pairs[i][1]);
	if (c >= 0x80)
		return error_set(a->e, "U+%04X under (?i) is not read", c);
	a->previous = lower;
	return 0;
}

static int emit_literal(struct parser *a, uint32_t c)
{
	if (a->fold && check_pair(a, c) < 0)
		return -1;
	struct charset set = { 0 };
	charset_add(&set, c, c);
	if (a->fold)
		charset_fold(&set);
	return emit_set(a, &set);
}

static int parse_flags(struct parser *a, bool *group)
{
	bool on = !accept(a, "-");
	*group = false;
	if (!accept(a, "i"))
		return error_set(a->e, "a group (?%c is not read", a->p < a->end ? *a->p : ' ');
	*group = accept(a, ":");
	if (!*group && !accept(a, ")"))
		return error_set(a->e, "flags other than (?i) are not read");
	a->fold = on;
	return 0;
}

/* After "(": *alone for a (?i) that governs the rest of the enclosing group. */
static int parse_group(struct parser *a, bool *alone)
{
	static const char *const kinds[] = { "?:", "?>", "?=", "?!", "?<=", "?<!" };
	bool fold = a->fold;
	*alone = false;
	size_t i = 0;
	while (i < ARRAY_LEN(kinds) && !accept(a, kinds[i]))
		i++;
	if (i == ARRAY_LEN(kinds) && accept(a, "?")) {
		bool group;
		if (parse_flags(a, &group) < 0)
			return -1;
		if (!group) {
			/* Oniguruma lets (?i) take the alternatives that follow into its group. */
			*alone = true;
			emit(a, "(?:");
			if (parse_alternatives(a) < 0)
				return -1;
			emit(a, ")");
			a->fold = fold;
			return 0;
		}
	}
	emit(a, "(");
	emit(a, i < ARRAY_LEN(kinds) ? kinds[i] : "?:");
	if (parse_alternatives(a) < 0)
		return -1;
	if (!accept(a, ")"))
		return error_set(a->e, "a group without its end");
	emit(a, ")");
	a->fold = fold;
	return 0;
}

/* One atom; *repeats is false where a quantifier may not follow. */
static int parse_atom(struct parser *a, bool *repeats)
{
	*repeats = true;
	uint32_t previous = a->previous;
	a->previous = 0;
	struct charset set = { 0 };
	if (accept(a, "(")) {
		bool alone;
		if (parse_group(a, &alone) < 0)
			return -1;
		*repeats = !alone;
		return 0;
	}
	if (accept(a, "[")) {
		if (at(a, ':'))
			return error_set(a->e, "[:name:] is not read");
		if (parse_class(a, &set) < 0) {
			charset_release(&set);
			return -1;
		}
		return emit_set(a, &set);
	}
	if (accept(a, ".")) {
		charset_add(&set, '\n', '\n');
		charset_negate(&set);
		return emit_set(a, &set);
	}
	*repeats = false;
	if (accept(a, "^"))
		return emit_newline(a, "(?:\\A|(?<=", ")(?!\\z))");
	if (accept(a, "$"))
		return emit_newline(a, "(?=", "|\\z)");
	if (accept(a, "\\Z"))
		return emit_newline(a, "(?=", "?\\z)");
	if (accept(a, "\\A") || accept(a, "\\z")) {
		emit(a, a->p[-1] == 'A' ? "\\A" : "\\z");
		return 0;
	}
	if (accept(a, "\\b"))
		return emit_word_edge(a, true);
	if (accept(a, "\\B"))
		return emit_word_edge(a, false);
	if (at(a, '*') || at(a, '+') || at(a, '?'))
		return error_set(a->e, "a '%c' with nothing to repeat", *a->p);
	*repeats = true;
	uint32_t c;
	if (accept(a, "\\")) {
		int one = parse_escape(a, &set, &c);
		if (one < 0) {
			charset_release(&set);
			return -1;
		}
		if (one == 0)
			return emit_set(a, &set);
	} else {
		c = utf8_next(&a->p);
	}
	a->previous = previous;
	return emit_literal(a, c);
}

/* "{2,3}" after its brace; false (and nothing read) where it is a literal brace. */
static bool parse_interval(struct parser *a, long *least, long *most)
{
	const char *p = a->p;
	long bound[2] = { -1, -1 };
	int which = 0;
	for (; p < a->end && *p != '}'; p++) {
		if (*p == ',' && which == 0) {
			which = 1;
		} else if (*p >= '0' && *p <= '9') {
			long have = bound[which] < 0 ? 0 : bound[which];
			bound[which] = have > MOST_REPEATS ? have : have * 10 + (*p - '0');
		} else {
			return false;
		}
	}
	if (p == a->end || (bound[0] < 0 && bound[1] < 0))
		return false;
	*least = bound[0] < 0 ? 0 : bound[0];
	*most = which == 0 ? bound[0] : bound[1];
	a->p = p + 1;
	return true;
}

static void enclose(struct parser *a, size_t start)
{
	emit(a, "(?:");
	struct regex_parsed *o = a->out;
	memmove(o->op + start + 3, o->op + start, (o->n_ops - 3 - start) * sizeof *o->op);
	const char *open = "(?:";
	for (size_t i = 0; i < 3; i++)
		o->op[start + i] = (unsigned char)open[i];
	emit(a, ")");
}

/*
 * Quantifiers after the atom that begins at op `start`.  A '+' after an interval repeats it, and so
 * does a '?' after {n}; only after ?, * and + does '+' mean possessive.
 */
static int parse_repeats(struct parser *a, size_t start, bool repeats)
{
	for (bool again = false;; again = true) {
		long least = 0, most = 0;
		bool interval = false;
		if (accept(a, "{")) {
			interval = parse_interval(a, &least, &most);
			if (!interval) {
				a->p--;
				return 0;
			}
		} else if (!at(a, '*') && !at(a, '+') && !at(a, '?')) {
			return 0;
		}
		if (!repeats)
			return error_set(a->e, "a repeated anchor is not read");
		if (again)
			enclose(a, start);
		a->previous = 0;
		if (!interval) {
			emit(a, (char[]){ *a->p++, '\0' });
			if (accept(a, "?"))
				emit(a, "?");
			else if (accept(a, "+"))
				emit(a, "+");
			continue;
		}
		if (least > MOST_REPEATS || most > MOST_REPEATS || (most >= 0 && most < least))
			return error_set(a->e, "an interval that cannot be read");
		char *text = most < 0 ? mem_format("{%ld,}", least)
				      : mem_format("{%ld,%ld}", least, most);
		emit(a, text);
		free(text);
		if (least != most && accept(a, "?"))
			emit(a, "?");
	}
}

static int parse_alternatives(struct parser *a)
{
	if (++a->depth > DEEPEST)
		return error_set(a->e, "nested too deeply");
	a->previous = 0;
	while (a->p < a->end && *a->p != ')') {
		if (accept(a, "|")) {
			emit(a, "|");
			a->previous = 0;
			continue;
		}
		size_t start = a->out->n_ops;
		bool repeats;
		if (parse_atom(a, &repeats) < 0 || parse_repeats(a, start, repeats) < 0)
			return -1;
	}
	a->previous = 0;
	a->depth--;
	return 0;
}

int regex_parse(const char *pattern, size_t len, struct regex_parsed *out, struct error *e)
{
	*out = (struct regex_parsed){ 0 };
	if (len > REGEX_MOST_BYTES)
		return error_set(e, "longer than %d bytes", REGEX_MOST_BYTES);
	if (utf8_check(pattern, len) != len)
		return error_set(e, "not valid UTF-8");
	struct parser a = { .p = pattern, .end = pattern + len, .out = out, .e = e };
	if (parse_alternatives(&a) < 0)
		return -1;
	if (a.p != a.end)
		return error_set(e, "a ')' without its group");
	return 0;
}

void regex_parsed_release(struct regex_parsed *p)
{
	for (size_t i = 0; i < p->n_sets; i++)
		charset_release(&p->set[i]);
	free(p->op);
	*p = (struct regex_parsed){ 0 };
}
