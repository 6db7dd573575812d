#include "charset.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "unicode.h"

#define BIT(c) (1u << (c))
#define LETTERS (BIT(UC_LU) | BIT(UC_LL) | BIT(UC_LT) | BIT(UC_LM) | BIT(UC_LO))
#define MARKS (BIT(UC_MN) | BIT(UC_MC) | BIT(UC_ME))
#define NUMBERS (BIT(UC_ND) | BIT(UC_NL) | BIT(UC_NO))

void charset_add(struct charset *s, uint32_t first, uint32_t last)
{
	mem_grow((void **)&s->range, &s->capacity, s->n + 1, sizeof *s->range);
	s->range[s->n++] = (struct range){ first, last };
}

void charset_add_set(struct charset *s, const struct charset *other)
{
	for (size_t i = 0; i < other->n; i++)
		charset_add(s, other->range[i].first, other->range[i].last);
}

static int by_first(const void *a, const void *b)
{
	uint32_t x = ((const struct range *)a)->first, y = ((const struct range *)b)->first;
	return (x > y) - (x < y);
}

void charset_tidy(struct charset *s)
{
	if (s->n == 0)
		return;
	qsort(s->range, s->n, sizeof *s->range, by_first);
	size_t k = 0;
	for (size_t i = 1; i < s->n; i++) {
		if (s->range[i].first > s->range[k].last + 1)
			s->range[++k] = s->range[i];
		else if (s->range[i].last > s->range[k].last)
			s->range[k].last = s->range[i].last;
	}
	s->n = k + 1;
}

void charset_negate(struct charset *s)
{
	struct charset out = { 0 };
	uint32_t next = 0;
	for (size_t i = 0; i < s->n; i++) {
		if (s->range[i].first > next)
			charset_add(&out, next, s->range[i].first - 1);
		next = s->range[i].last + 1;
	}
	if (next < UNICODE_N)
		charset_add(&out, next, UNICODE_N - 1);
	charset_release(s);
	*s = out;
}

void charset_intersect(struct charset *s, const struct charset *other)
{
	struct charset out = { 0 };
	for (size_t i = 0, k = 0; i < s->n && k < other->n;) {
		const struct range *a = &s->range[i], *b = &other->range[k];
		uint32_t first = a->first > b->first ? a->first : b->first;
		uint32_t last = a->last < b->last ? a->last : b->last;
		if (first <= last)
			charset_add(&out, first, last);
		if (a->last < b->last)
			i++;
		else
			k++;
	}
	charset_release(s);
	*s = out;
}

bool charset_equal(const struct charset *a, const struct charset *b)
{
	return a->n == b->n &&
	       (a->n == 0 || memcmp(a->range, b->range, a->n * sizeof *a->range) == 0);
}

/* Joins runs as it goes: neighbours differ in more than the properties asked for. */
static void add_run(struct charset *s, uint32_t start, uint32_t end)
{
	if (s->n > 0 && s->range[s->n - 1].last + 1 == start)
		s->range[s->n - 1].last = end - 1;
	else
		charset_add(s, start, end - 1);
}

void charset_add_categories(struct charset *s, uint32_t mask)
{
	uint32_t start, end;
	unsigned p;
	for (size_t i = 0; unicode_run(i, &start, &end, &p); i++)
		if (mask & BIT(UNICODE_CATEGORY(p)))
			add_run(s, start, end);
}

static void add_script(struct charset *s, unsigned script)
{
	uint32_t start, end;
	unsigned p;
	for (size_t i = 0; unicode_run(i, &start, &end, &p); i++)
		if (UNICODE_SCRIPT(p) == script)
			add_run(s, start, end);
}

static const struct {
	const char *name;
	uint32_t mask;
	unsigned script;
} properties[] = {
	{ "L", LETTERS, 0 }, { "Letter", LETTERS, 0 },
	{ "Lu", BIT(UC_LU), 0 }, { "Ll", BIT(UC_LL), 0 }, { "Lt", BIT(UC_LT), 0 },
	{ "Lm", BIT(UC_LM), 0 }, { "Lo", BIT(UC_LO), 0 },
	{ "M", MARKS, 0 }, { "Mark", MARKS, 0 },
	{ "Mn", BIT(UC_MN), 0 }, { "Mc", BIT(UC_MC), 0 }, { "Me", BIT(UC_ME), 0 },
	{ "N", NUMBERS, 0 }, { "Number", NUMBERS, 0 },
	{ "Nd", BIT(UC_ND), 0 }, { "Nl", BIT(UC_NL), 0 }, { "No", BIT(UC_NO), 0 },
	{ "P", 127u << UC_PC, 0 }, { "Punctuation", 127u << UC_PC, 0 },
	{ "Pc", BIT(UC_PC), 0 }, { "Pd", BIT(UC_PD), 0 }, { "Ps", BIT(UC_PS), 0 },
	{ "Pe", BIT(UC_PE), 0 }, { "Pi", BIT(UC_PI), 0 }, { "Pf", BIT(UC_PF), 0 },
	{ "Po", BIT(UC_PO), 0 },
	{ "S", 15u << UC_SM, 0 }, { "Symbol", 15u << UC_SM, 0 },
	{ "Sm", BIT(UC_SM), 0 }, { "Sc", BIT(UC_SC), 0 }, { "Sk", BIT(UC_SK), 0 },
	{ "So", BIT(UC_SO), 0 },
	{ "Z", 7u << UC_ZS, 0 }, { "Separator", 7u << UC_ZS, 0 },
	{ "Zs", BIT(UC_ZS), 0 }, { "Zl", BIT(UC_ZL), 0 }, { "Zp", BIT(UC_ZP), 0 },
	{ "C", BIT(UC_CN) | 15u << UC_CC, 0 }, { "Other", BIT(UC_CN) | 15u << UC_CC, 0 },
	{ "Cc", BIT(UC_CC), 0 }, { "Cf", BIT(UC_CF), 0 }, { "Co", BIT(UC_CO), 0 },
	{ "Cn", BIT(UC_CN), 0 }, { "Cs", BIT(UC_CS), 0 },
	{ "Han", 0, 1 }, { "Hiragana", 0, 2 }, { "Katakana", 0, 3 }, { "Hangul", 0, 4 },
	{ "Thai", 0, 5 }, { "Latin", 0, 6 }, { "Cyrillic", 0, 7 },
};

bool charset_add_property(struct charset *s, const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_LEN(properties); i++) {
		if (strlen(properties[i].name) != len || memcmp(properties[i].name, name, len) != 0)
			continue;
		if (properties[i].script != 0)
			add_script(s, properties[i].script);
		else
			charset_add_categories(s, properties[i].mask);
		return true;
	}
	return false;
}

void charset_add_space(struct charset *s)
{
	for (uint32_t c = 0; c <= 0x3000; c++)
		if (unicode_space(c))
			charset_add(s, c, c);
}

void charset_add_word(struct charset *s)
{
	uint32_t start, end;
	unsigned p;
	for (size_t i = 0; unicode_run(i, &start, &end, &p); i++)
		if (p & UNICODE_WORD && start != 0x200c && start != 0x200d)
			add_run(s, start, end);
	/* Oniguruma counts the superscripts and fractions of Latin-1, and only those. */
	static const struct range latin[] = { { 0xb2, 0xb3 }, { 0xb9, 0xb9 }, { 0xbc, 0xbe } };
	for (size_t i = 0; i < ARRAY_LEN(latin); i++)
		charset_add(s, latin[i].first, latin[i].last);
}

void charset_fold(struct charset *s)
{
	size_t n = s->n;
	for (size_t i = 0; i < n; i++) {
		struct range r = s->range[i];
		for (uint32_t c = r.first; c <= r.last; c++) {
			uint32_t lower = unicode_lower(c), upper = unicode_upper(c);
			charset_add(s, lower, lower);
			charset_add(s, upper, upper);
			if (lower == 's')
				charset_add(s, 0x17f, 0x17f);
			if (lower == 'k')
				charset_add(s, 0x212a, 0x212a);
		}
	}
	charset_tidy(s);
}

void charset_release(struct charset *s)
{
	free(s->range);
	*s = (struct charset){ 0 };
}
