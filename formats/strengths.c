#include "strengths.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checksum.h"
#include "io.h"
#include "memory.h"
#include "option.h"

#define FILE_LIMIT ((size_t)1 << 30)

int strength_parse(const char *text, double *alpha)
{
	/* strtod also takes white space, hexadecimal, inf and nan. */
	if (!*text || text[strspn(text, "+-.0123456789eE")])
		return -1;
	char *end;
	*alpha = strtod(text, &end);
	return *end || !isfinite(*alpha) ? -1 : 0;
}

static struct text unescape(const char *from)
{
	char *to = mem_string(from);
	size_t n = 0;
	for (; *from; from++) {
		static const char letters[] = "tnr\\", meant[] = "\t\n\r\\";
		const char *at = *from == '\\' && from[1] ? strchr(letters, from[1]) : NULL;
		to[n++] = at ? meant[at - letters] : *from;
		from += at != NULL;
	}
	to[n] = 0;
	return (struct text){ to, n };
}

static int parse_fields(struct strength *s, char **field, size_t n, struct error *e)
{
	if (n < 2 || n > 3 || !*field[0])
		return error_set(e, "isn't an id, a tab and a strength, or these, a tab and positions");
	if (strength_parse(field[1], &s->alpha) < 0)
		return error_set(e, "'%s' is no number", field[1]);
	if (ranges_parse(&s->positions, n == 3 && *field[2] ? field[2] : "all", e) < 0)
		return -1;
	s->id = unescape(field[0]);
	return 0;
}

/* One line, without its end. */
static int parse_line(struct strengths *s, size_t *capacity, const char *text, size_t line, struct error *e)
{
	size_t n;
	char **field = option_split(text, '\t', &n);
	int status = 0;
	if (*text && !(line == 1 && n > 1 && strcmp(field[1], "alpha") == 0)) {
		struct strength one = { .line = line };
		status = parse_fields(&one, field, n, e);
		if (status == 0) {
			mem_grow((void **)&s->strength, capacity, s->n + 1, sizeof *s->strength);
			s->strength[s->n++] = one;
		}
	}
	free(field);
	return status < 0 ? error_in(e, "%s: line %zu", s->name, line) : 0;
}

static int compare_ids(struct text a, struct text b)
{
	int order = memcmp(a.p, b.p, a.len < b.len ? a.len : b.len);
	return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare(const void *a, const void *b)
{
	const struct strength *x = a, *y = b;
	int order = compare_ids(x->id, y->id);
	return order ? order : (x->line > y->line) - (x->line < y->line);
}

static int parse_file(struct strengths *s, char *text, size_t len, struct error *e)
{
	if (strlen(text) != len)
		return error_set(e, "%s: has a NUL, so it is no table", s->name);
	size_t capacity = 0, line = 0;
	for (char *next = text; next && *next;) {
		char *at = next;
		next = strchr(at, '\n');
		if (next)
			*next++ = 0;
		if (parse_line(s, &capacity, at, ++line, e) < 0)
			return -1;
	}
	if (!s->n)
		return error_set(e, "%s: names no sample", s->name);
	qsort(s->strength, s->n, sizeof *s->strength, compare);
	return 0;
}

struct strengths *strengths_open(const char *path, struct error *e)
{
	size_t len;
	char *text = io_slurp(path, FILE_LIMIT, &len, e);
	if (!text)
		return NULL;
	struct strengths *s = mem_zero(1, sizeof *s);
	s->name = mem_string(path);
	snprintf(s->identity, sizeof s->identity, "%016llx", (unsigned long long)checksum(text, len));
	int status = parse_file(s, text, len, e);
	free(text);
	if (status == 0)
		return s;
	strengths_close(s);
	return NULL;
}

void strengths_close(struct strengths *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n; i++) {
		free((char *)s->strength[i].id.p);
		ranges_release(&s->strength[i].positions);
	}
	free(s->strength);
	free(s->name);
	free(s);
}

struct strength *strengths_of(const struct strengths *s, struct text id, size_t *n)
{
	size_t low = 0, high = s->n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (compare_ids(s->strength[middle].id, id) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*n = 0;
	while (low + *n < s->n && text_equal(s->strength[low + *n].id, id))
		(*n)++;
	return s->strength + low;
}
