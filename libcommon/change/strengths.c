#include "strengths.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checksum.h"
#include "io.h"
#include "memory.h"
#include "option.h"

#define TABLE_LIMIT ((size_t)1 << 30)

static int parse_number(const char *text, double *alpha)
{
	/* strtod also takes white space, hexadecimal, inf and nan; beyond f32 no row would be finite. */
	if (!*text || text[strspn(text, "+-.0123456789eE")])
		return -1;
	char *end;
	*alpha = strtod(text, &end);
	return *end || !(fabs(*alpha) <= FLT_MAX) ? -1 : 0;
}

int strengths_parse(struct strengths *s, const char *alpha, const char *positions, struct error *e)
{
	*s = (struct strengths){ .spelled = alpha, .n = 1 };
	s->text = option_split(alpha ? alpha : "1", ',', &s->n);
	s->alpha = mem_alloc(s->n * sizeof *s->alpha);
	for (size_t i = 0; i < s->n; i++)
		if (parse_number(s->text[i], &s->alpha[i]) < 0)
			return error_set(e, "--alpha %s: '%s' is no number of f32", alpha, s->text[i]);
	if (ranges_parse(&s->positions, positions ? positions : "all", e) < 0)
		return error_in(e, "--positions");
	return 0;
}

/* -------- the table */

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

static int parse_fields(struct strength *one, char **field, size_t n, struct error *e)
{
	if (n < 2 || n > 3 || !*field[0])
		return error_set(e, "isn't an id, a tab and a strength, or these, a tab and positions");
	if (parse_number(field[1], &one->alpha) < 0)
		return error_set(e, "'%s' is no number of f32", field[1]);
	if (ranges_parse(&one->positions, n == 3 && *field[2] ? field[2] : "all", e) < 0)
		return -1;
	one->id = unescape(field[0]);
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
			mem_grow((void **)&s->table, capacity, s->n_lines + 1, sizeof *s->table);
			s->table[s->n_lines++] = one;
		}
	}
	free(field);
	return status < 0 ? error_in(e, "%s: line %zu", s->table_name, line) : 0;
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

static int parse_table(struct strengths *s, char *text, size_t len, struct error *e)
{
	if (strlen(text) != len)
		return error_set(e, "%s: has a NUL, so it is no table", s->table_name);
	size_t capacity = 0, line = 0;
	for (char *next = text; next && *next;) {
		char *at = next;
		next = strchr(at, '\n');
		if (next)
			*next++ = 0;
		if (parse_line(s, &capacity, at, ++line, e) < 0)
			return -1;
	}
	if (!s->n_lines)
		return error_set(e, "%s: names no sample", s->table_name);
	qsort(s->table, s->n_lines, sizeof *s->table, compare);
	return 0;
}

int strengths_table(struct strengths *s, const char *path, struct error *e)
{
	size_t len;
	char *text = io_slurp(path, TABLE_LIMIT, &len, e);
	if (!text)
		return error_in(e, "--strengths");
	s->table_name = mem_string(io_input_name(path));
	snprintf(s->identity, sizeof s->identity, "%016llx", (unsigned long long)checksum(text, len));
	int status = parse_table(s, text, len, e);
	free(text);
	return status;
}

struct strength *strengths_of(const struct strengths *s, struct text id, size_t *n)
{
	*n = 0;
	if (!s->table)
		return NULL;
	size_t low = 0, high = s->n_lines;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (compare_ids(s->table[middle].id, id) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	while (low + *n < s->n_lines && text_equal(s->table[low + *n].id, id))
		(*n)++;
	return s->table + low;
}

/* -------- variants */

static char *variant_name(const struct strengths *s, const struct tms_header *h, size_t k)
{
	char *ordinal = mem_format("%zu", k);
	bool named = !s->fan_out && strcmp(h->variants[k], ordinal) != 0;
	free(ordinal);
	return mem_format("%s%salpha=%s", named ? h->variants[k] : "", named ? "+" : "", s->text[k]);
}

int strengths_variants(struct strengths *s, struct tms_header *h, const char *name, struct error *e)
{
	if (s->n == 1)
		return 0;
	s->fan_out = !h->n_variants;
	if (h->n_variants && h->n_variants != s->n)
		return error_set(e, "%s: has %zu variants and --alpha %zu strengths; as many, or one for all, are needed", name,
		                 h->n_variants, s->n);
	char **names = mem_zero(s->n, sizeof *names);
	int status = 0;
	for (size_t k = 0; k < s->n; k++) {
		names[k] = variant_name(s, h, k);
		for (size_t i = 0; i < k && status == 0; i++)
			if (strcmp(names[i], names[k]) == 0)
				status = error_set(e, "--alpha %s: '%s' is there twice, and a strength names one variant",
				                   s->spelled, s->text[k]);
	}
	for (size_t k = 0; k < h->n_variants; k++)
		free(h->variants[k]);
	free(h->variants);
	h->variants = names;
	h->n_variants = s->n;
	return status;
}

/* -------- rows */

bool strengths_name(struct strengths *s, struct strength *line, size_t n_lines, const struct sample *sample,
                    uint32_t position, double *factor)
{
	*factor = 1;
	s->n_rows++;
	if (!ranges_have(&s->positions, sample->len, position))
		return false;
	bool named = !s->table;
	for (size_t i = 0; i < n_lines; i++)
		if (ranges_have(&line[i].positions, sample->len, position)) {
			*factor = line[i].alpha;
			line[i].used = named = true;
		}
	s->n_named += named;
	return named;
}

bool strengths_choose(const struct strengths *s, const struct strength *line, size_t n_lines)
{
	bool all = ranges_all(&s->positions);
	for (size_t i = 0; i < n_lines; i++)
		all = all && ranges_all(&line[i].positions);
	return !all;
}

int strengths_check(const struct strengths *s, const char *name, struct error *e)
{
	for (size_t i = 0; i < s->n_lines; i++)
		if (!s->table[i].used)
			return error_set(e, "%s: line %zu: %s has no row of sample '%s' there", s->table_name, s->table[i].line,
			                 name, s->table[i].id.p);
	if (s->n_rows && !s->n_named)
		return error_set(e, "--positions: no sample of %s has a row there", name);
	return 0;
}

void strengths_release(struct strengths *s)
{
	for (size_t i = 0; i < s->n_lines; i++) {
		free((char *)s->table[i].id.p);
		ranges_release(&s->table[i].positions);
	}
	free(s->table);
	free(s->table_name);
	free(s->text);
	free(s->alpha);
	ranges_release(&s->positions);
	*s = (struct strengths){ 0 };
}
