#include "labels.h"

#include <stdlib.h>
#include <string.h>

#include "io.h"
#include "memory.h"

#define LIMIT ((size_t)1 << 30)

struct line {
	struct text id, label;
	size_t number;
};

struct labels {
	char *text;
	struct line *line;      /* (n) by id */
	size_t n, capacity;
};

static int compare_texts(struct text a, struct text b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int c = n ? memcmp(a.p, b.p, n) : 0;
	return c ? c : (a.len > b.len) - (a.len < b.len);
}

static int by_id(const void *a, const void *b)
{
	const struct line *x = a, *y = b;
	int c = compare_texts(x->id, y->id);
	return c ? c : (x->number > y->number) - (x->number < y->number);
}

/* Takes the backslashes out, in place. */
static struct text field(char *p, size_t len)
{
	size_t n = 0;
	for (size_t i = 0; i < len; i++) {
		char c = p[i];
		if (c == '\\' && i + 1 < len && strchr("tnr\\", p[i + 1])) {
			c = p[++i];
			c = (char)(c == 't' ? '\t' : c == 'n' ? '\n' : c == 'r' ? '\r' : c);
		}
		p[n++] = c;
	}
	return (struct text){ p, n };
}

static int parse(struct labels *l, const char *path, size_t len, struct error *e)
{
	size_t number = 0;
	for (char *p = l->text, *end = p + len; p < end;) {
		char *stop = memchr(p, '\n', (size_t)(end - p));
		stop = stop ? stop : end;
		number++;
		char *tab = memchr(p, '\t', (size_t)(stop - p));
		if (!tab && p < stop)
			return error_set(e, "%s: line %zu has no tab; a line is an id, a tab and a label", path, number);
		if (tab) {
			char *after = memchr(tab + 1, '\t', (size_t)(stop - tab - 1));
			after = after ? after : stop;
			mem_grow((void **)&l->line, &l->capacity, l->n + 1, sizeof *l->line);
			l->line[l->n++] = (struct line){ field(p, (size_t)(tab - p)), field(tab + 1, (size_t)(after - tab - 1)), number };
		}
		p = stop + 1;
	}
	if (l->n)
		qsort(l->line, l->n, sizeof *l->line, by_id);
	for (size_t i = 1; i < l->n; i++) {
		const struct line *a = &l->line[i - 1], *b = &l->line[i];
		if (!compare_texts(a->id, b->id) && compare_texts(a->label, b->label))
			return error_set(e, "%s: lines %zu and %zu give sample '%.*s' different labels", path, a->number, b->number,
			                 (int)(a->id.len < 200 ? a->id.len : 200), a->id.p);
	}
	return 0;
}

struct labels *labels_read(const char *path, struct error *e)
{
	size_t len;
	char *text = io_slurp(path, LIMIT, &len, e);
	if (!text)
		return NULL;
	struct labels *l = mem_zero(1, sizeof *l);
	l->text = text;
	if (parse(l, path, len, e) == 0)
		return l;
	labels_free(l);
	return NULL;
}

struct text labels_find(const struct labels *l, struct text id)
{
	size_t low = 0, high = l->n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int c = compare_texts(l->line[middle].id, id);
		if (!c)
			return l->line[middle].label;
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return (struct text){ NULL, 0 };
}

void labels_free(struct labels *l)
{
	if (!l)
		return;
	free(l->text);
	free(l->line);
	free(l);
}
