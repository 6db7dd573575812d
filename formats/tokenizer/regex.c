#define PCRE2_CODE_UNIT_WIDTH 8

#include "regex.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pcre2.h>

#include "memory.h"
#include "regex_parse.h"
#include "unicode.h"

#define N_SYMBOLS 256
#define STACK_LEAST 32768
#define STACK_MOST ((size_t)64 << 20)

struct regex {
	pcre2_code *code;
	bool compiled; /* to machine code */
	uint8_t symbol[UNICODE_N];
};

struct regex_scratch {
	pcre2_match_data *data;
	pcre2_match_context *context;
	pcre2_jit_stack *stack;
};

/* Which sets a kind of character is in. */
struct kind {
	uint64_t in[(REGEX_MOST_SETS + 64) / 64];
};

struct alphabet {
	struct kind kind[N_SYMBOLS];
	size_t n;
};

static bool in_kind(const struct kind *k, size_t set)
{
	return k->in[set / 64] >> (set % 64) & 1;
}

struct edge {
	uint32_t at;
	uint16_t set;
};

static int by_place(const void *a, const void *b)
{
	uint32_t x = ((const struct edge *)a)->at, y = ((const struct edge *)b)->at;
	return (x > y) - (x < y);
}

/* Gives the code points [start, end) the symbol of their kind. */
static int name_kind(struct regex *r, struct alphabet *a, const struct kind *k, uint32_t start,
		     uint32_t end, struct error *e)
{
	size_t i = 0;
	while (i < a->n && memcmp(&a->kind[i], k, sizeof *k) != 0)
		i++;
	if (i == N_SYMBOLS)
		return error_set(e, "it tells apart more than %d kinds of characters", N_SYMBOLS);
	if (i == a->n)
		a->kind[a->n++] = *k;
	memset(r->symbol + start, (int)i, end - start);
	return 0;
}

/* Walks all places where some set begins or ends; between them nothing changes. */
static int find_kinds(struct regex *r, struct alphabet *a, const struct regex_parsed *p,
		      struct error *e)
{
	size_t n = 0, capacity = 0;
	struct edge *edge = NULL;
	for (size_t s = 0; s < p->n_sets; s++)
		for (size_t i = 0; i < p->set[s].n; i++) {
			mem_grow((void **)&edge, &capacity, n + 2, sizeof *edge);
			edge[n++] = (struct edge){ p->set[s].range[i].first, (uint16_t)s };
			edge[n++] = (struct edge){ p->set[s].range[i].last + 1, (uint16_t)s };
		}
	if (n > 0)
		qsort(edge, n, sizeof *edge, by_place);
	struct kind now = { 0 };
	uint32_t start = 0;
	int rc = 0;
	for (size_t i = 0; i < n && rc == 0; i++) {
		if (edge[i].at > start)
			rc = name_kind(r, a, &now, start, edge[i].at, e);
		start = edge[i].at;
		now.in[edge[i].set / 64] ^= (uint64_t)1 << (edge[i].set % 64);
	}
	if (rc == 0 && start < UNICODE_N)
		rc = name_kind(r, a, &now, start, UNICODE_N, e);
	free(edge);
	return rc;
}

struct rewritten {
	char *text;
	size_t len, capacity;
};

static void put(struct rewritten *w, const char *s)
{
	size_t n = strlen(s);
	mem_grow((void **)&w->text, &w->capacity, w->len + n + 1, 1);
	memcpy(w->text + w->len, s, n + 1);
	w->len += n;
}

static void put_set(struct rewritten *w, const struct alphabet *a, size_t set)
{
	char range[64];
	bool any = false;
	for (size_t i = 0; i < a->n; i++) {
		if (!in_kind(&a->kind[i], set))
			continue;
		size_t first = i;
		while (i + 1 < a->n && in_kind(&a->kind[i + 1], set))
			i++;
		snprintf(range, sizeof range, "%s\\x%02zx-\\x%02zx", any ? "" : "[", first, i);
		put(w, range);
		any = true;
	}
	put(w, any ? "]" : "(?!)");
}

static int compile(struct regex *r, const struct rewritten *w, struct error *e)
{
	int code;
	PCRE2_SIZE where;
	uint32_t how = PCRE2_NO_AUTO_CAPTURE | PCRE2_NEVER_UTF;
	r->code = pcre2_compile((PCRE2_SPTR)w->text, w->len, how, &code, &where, NULL);
	if (r->code == NULL) {
		PCRE2_UCHAR why[256] = "";
		pcre2_get_error_message(code, why, sizeof why);
		return error_set(e, "%s", (const char *)why);
	}
	/* Where there is no just-in-time compiler the interpreter gives the same matches. */
	r->compiled = pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE) == 0;
	return 0;
}

int regex_open(const char *pattern, size_t len, struct regex **out, struct error *e)
{
	struct regex_parsed *p = mem_alloc(sizeof *p);
	struct regex *r = mem_alloc(sizeof *r);
	struct alphabet *a = mem_zero(1, sizeof *a);
	struct rewritten w = { 0 };
	r->code = NULL;
	int rc = regex_parse(pattern, len, p, e);
	if (rc == 0)
		rc = find_kinds(r, a, p, e);
	put(&w, "");
	for (size_t i = 0; rc == 0 && i < p->n_ops; i++) {
		if (p->op[i] < 256)
			put(&w, (char[]){ (char)p->op[i], '\0' });
		else
			put_set(&w, a, p->op[i] - 256u);
	}
	if (rc == 0)
		rc = compile(r, &w, e);
	if (rc < 0)
		error_in(e, "regular expression '%.*s'", len < 300 ? (int)len : 300, pattern);
	free(w.text);
	free(a);
	regex_parsed_release(p);
	free(p);
	if (rc < 0) {
		regex_close(r);
		return -1;
	}
	*out = r;
	return 0;
}

void regex_close(struct regex *r)
{
	if (r == NULL)
		return;
	pcre2_code_free(r->code);
	free(r);
}

static void *need(void *p)
{
	return p != NULL ? p : mem_resize(NULL, SIZE_MAX / 2, 1);
}

struct regex_scratch *regex_scratch_open(void)
{
	struct regex_scratch *s = mem_alloc(sizeof *s);
	s->data = need(pcre2_match_data_create(1, NULL));
	s->context = need(pcre2_match_context_create(NULL));
	s->stack = pcre2_jit_stack_create(STACK_LEAST, STACK_MOST, NULL);
	pcre2_jit_stack_assign(s->context, NULL, s->stack);
	pcre2_set_match_limit(s->context, UINT32_MAX);
	return s;
}

void regex_scratch_close(struct regex_scratch *s)
{
	if (s == NULL)
		return;
	pcre2_match_data_free(s->data);
	pcre2_match_context_free(s->context);
	pcre2_jit_stack_free(s->stack);
	free(s);
}

size_t regex_symbols(const struct regex *r, const char *text, size_t len, uint8_t *symbols)
{
	const char *p = text, *end = text + len;
	uint8_t *to = symbols;
	while (p < end)
		*to++ = (unsigned char)*p < 0x80 ? r->symbol[(unsigned char)*p++]
						 : r->symbol[utf8_next(&p)];
	return (size_t)(to - symbols);
}

int regex_find(const struct regex *r, struct regex_scratch *s, const uint8_t *symbols, size_t n,
	       size_t from, size_t *start, size_t *end, struct error *e)
{
	int rc = r->compiled
			 ? pcre2_jit_match(r->code, symbols, n, from, 0, s->data, s->context)
			 : pcre2_match(r->code, symbols, n, from, 0, s->data, s->context);
	if (rc == PCRE2_ERROR_NOMATCH)
		return 0;
	if (rc < 0) {
		PCRE2_UCHAR why[256] = "";
		pcre2_get_error_message(rc, why, sizeof why);
		return error_set(e, "a regular expression gave up: %s", (const char *)why);
	}
	PCRE2_SIZE *at = pcre2_get_ovector_pointer(s->data);
	*start = at[0];
	*end = at[1];
	return 1;
}
