#include "option.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

struct common common = { .progress = "auto", .device = "auto" };

static const struct option common_rows[] = {
	{ OPTION_FLAG, 'q', NULL, &common.quiet, NULL, "say nothing but errors", HISTORY_NO, 0 },
	{ OPTION_FLAG, 'v', NULL, &common.verbose, NULL, "say more about what is done", HISTORY_NO, 0 },
	{ OPTION_STRING, 0, "progress", &common.progress, "HOW",
	  "auto (a line on a terminal), json or off", HISTORY_NO, 0 },
	{ OPTION_FLAG, 0, "help", &common.help, NULL, "print this help and exit", HISTORY_NO, 0 },
	{ OPTION_FLAG, 0, "version", &common.version, NULL, "print the version and exit", HISTORY_NO, 0 },
	OPTION_LAST
};

/* What was given for each row of the tool's table, for the history. */
struct given {
	const char **text;      /* "" for a flag */
	size_t n;
};
static const struct option *rows;
static struct given *given;

static void value_append(const char ***text, size_t *n, const char *value)
{
	*text = mem_resize(*text, *n + 1, sizeof **text);
	(*text)[(*n)++] = value;
}

static void remember(const struct option *o, const char *text)
{
	for (const struct option *row = rows; row->kind != OPTION_END; row++)
		if (row == o) {
			struct given *g = &given[row - rows];
			if (o->kind != OPTION_LIST)
				g->n = 0;
			value_append(&g->text, &g->n, text ? text : "");
		}
}

/* Of an earlier option_parse. */
static void forget(void)
{
	for (const struct option *row = rows; row && row->kind != OPTION_END; row++)
		free(given[row - rows].text);
	free(given);
	rows = NULL;
	given = NULL;
}

/* "--name" or "-x", as messages and the history spell the option. */
static void spell(char name[64], const struct option *o)
{
	if (o->name)
		snprintf(name, 64, "--%s", o->name);
	else
		snprintf(name, 64, "-%c", o->letter);
}

static int parse_whole(const char *text, const char **end, uint64_t *value)
{
	if (!isdigit((unsigned char)*text))
		return -1;
	char *after;
	errno = 0;
	*value = strtoull(text, &after, 10);
	*end = after;
	return errno ? -1 : 0;
}

int option_size(const char *text, uint64_t *bytes, struct error *e)
{
	static const char units[] = "KMGT";
	const char *end;
	uint64_t n;
	if (parse_whole(text, &end, &n) == 0) {
		const char *unit = *end ? strchr(units, *end) : NULL;
		int shift = unit ? 10 * (int)(unit - units + 1) : 0;
		end += unit != NULL;
		if (!*end && n <= UINT64_MAX >> shift) {
			*bytes = n << shift;
			return 0;
		}
	}
	return error_set(e, "'%s' is no size: a whole number of bytes, or with K, M, G or T, is needed", text);
}

static int parse_number(const char *text, double *value)
{
	/* strtod also takes white space, hexadecimal, inf and nan. */
	if (!*text || text[strspn(text, "+-.0123456789eE")])
		return -1;
	char *end;
	*value = strtod(text, &end);
	return *end || !isfinite(*value) ? -1 : 0;
}

/* "8", "8,pin" or "pin". */
static int parse_threads(const char *text, struct jobs *jobs)
{
	*jobs = (struct jobs){ .pinned = strcmp(text, "pin") == 0 };
	if (jobs->pinned)
		return 0;
	const char *end;
	if (parse_whole(text, &end, &jobs->n) < 0 || jobs->n == 0)
		return -1;
	jobs->pinned = strcmp(end, ",pin") == 0;
	return *end && !jobs->pinned ? -1 : 0;
}

static int store(const struct option *o, const char *text, struct error *e)
{
	char name[64];
	spell(name, o);
	const char *end;
	uint64_t whole;
	switch (o->kind) {
	case OPTION_FLAG:
		*(bool *)o->value = true;
		break;
	case OPTION_LIST: {
		struct option_list *list = o->value;
		value_append(&list->item, &list->n, text);
		break;
	}
	case OPTION_COUNT:
		if (parse_whole(text, &end, &whole) < 0 || *end || whole < o->min)
			return error_set(e, "option %s: '%s' is no whole number of at least %ju", name, text,
			                 (uintmax_t)o->min);
		*(uint64_t *)o->value = whole;
		break;
	case OPTION_SIZE:
		if (option_size(text, o->value, e) < 0)
			return error_in(e, "option %s", name);
		break;
	case OPTION_THREADS:
		if (parse_threads(text, o->value) < 0)
			return error_set(e, "option %s: '%s' is no number of threads: N or N,pin, N at least 1, or pin is due", name, text);
		break;
	case OPTION_NUMBER:
		if (parse_number(text, o->value) < 0)
			return error_set(e, "option %s: '%s' is no number", name, text);
		break;
	default:
		*(const char **)o->value = text ? text : "";
	}
	remember(o, text);
	return 0;
}

static const struct option *find_in(const struct option *table, char letter, const char *name, size_t len)
{
	for (const struct option *o = table; o->kind != OPTION_END; o++)
		if (name ? o->name && strlen(o->name) == len && !memcmp(o->name, name, len) : o->letter == letter)
			return o;
	return NULL;
}

static const struct option *find(const struct option *table, char letter, const char *name, size_t len)
{
	const struct option *o = find_in(table, letter, name, len);
	return o ? o : find_in(common_rows, letter, name, len);
}

static bool takes_text(const struct option *o)
{
	return o->kind != OPTION_FLAG && o->kind != OPTION_OPTIONAL;
}

static int unknown(const struct tool *t, const char *dashes, const char *name, int len, struct error *e)
{
	return error_set(e, "unknown option %s%.*s; '%s --help' lists those there are", dashes, len, name, t->name);
}

/* "--name", "--name=text" or "--name text"; *at is the argument's index, moved on when the next one is taken. */
static int parse_long(const struct tool *t, int argc, char **argv, int *at, struct error *e)
{
	const char *name = argv[*at] + 2;
	size_t len = strcspn(name, "=");
	const char *text = name[len] ? name + len + 1 : NULL;
	const struct option *o = find(t->options, 0, name, len);
	if (!o)
		return unknown(t, "--", name, (int)len, e);
	if (text && o->kind == OPTION_FLAG)
		return error_set(e, "option --%s takes no argument", o->name);
	if (!text && takes_text(o)) {
		if (*at + 1 >= argc)
			return error_set(e, "option --%s needs an argument: %s", o->name, o->argument);
		text = argv[++*at];
	}
	return store(o, text, e);
}

/* "-abc", "-o FILE" or "-oFILE". */
static int parse_letters(const struct tool *t, int argc, char **argv, int *at, struct error *e)
{
	for (const char *p = argv[*at] + 1; *p; p++) {
		const struct option *o = find(t->options, *p, NULL, 0);
		if (!o)
			return unknown(t, "-", p, 1, e);
		if (!takes_text(o)) {
			if (store(o, NULL, e) < 0)
				return -1;
			continue;
		}
		if (p[1])
			return store(o, p + 1, e);
		if (*at + 1 >= argc)
			return error_set(e, "option -%c needs an argument: %s", o->letter, o->argument);
		return store(o, argv[++*at], e);
	}
	return 0;
}

int option_parse(const struct tool *t, int argc, char **argv, struct error *e)
{
	forget();
	size_t n_rows = 0;
	while (t->options[n_rows].kind != OPTION_END)
		n_rows++;
	rows = t->options;
	given = mem_zero(n_rows + 1, sizeof *given);
	int n = 0;
	bool ended = false;
	for (int i = 1; i < argc; i++) {
		char *a = argv[i];
		if (ended || a[0] != '-' || !a[1])
			argv[++n] = a;
		else if (!strcmp(a, "--"))
			ended = true;
		else if ((a[1] == '-' ? parse_long : parse_letters)(t, argc, argv, &i, e) < 0)
			return -1;
		if (common.help || common.version)
			break;
	}
	if (strcmp(common.progress, "auto") && strcmp(common.progress, "json") && strcmp(common.progress, "off"))
		return error_set(e, "option --progress: '%s' is none of auto, json, off", common.progress);
	return n;
}

bool option_words(const struct option *table, char **words, size_t n)
{
	const struct tool t = { .options = table };
	struct error ignored;
	for (int i = 0; i < (int)n; i++) {
		const char *name = words[i] + 2;
		if (strncmp(words[i], "--", 2) != 0 || !find_in(table, 0, name, strcspn(name, "=")) ||
		    parse_long(&t, (int)n, words, &i, &ignored) < 0)
			return false;
	}
	return true;
}

enum { HELP_COLUMN = 26, HELP_WIDTH = 80 };

/* Words of `text` from column `at` on; further lines are indented to `indent`. */
static void print_wrapped(const char *text, int at, int indent)
{
	bool fresh = true;
	while (*text) {
		int len = (int)strcspn(text, " ");
		if (!fresh && at + 1 + len > HELP_WIDTH) {
			printf("\n%*s", indent, "");
			at = indent;
			fresh = true;
		}
		at += printf("%s%.*s", fresh ? "" : " ", len, text);
		fresh = false;
		text += len;
		text += strspn(text, " ");
	}
	putchar('\n');
}

static void print_rows(const struct option *table)
{
	for (const struct option *o = table; o->kind != OPTION_END; o++) {
		char left[128], letter[4] = "";
		if (o->letter)
			snprintf(letter, sizeof letter, "-%c", o->letter);
		int n = snprintf(left, sizeof left, "  %s%s", letter, o->letter && o->name ? ", " : "");
		if (o->name)
			n += snprintf(left + n, sizeof left - (size_t)n, "--%s", o->name);
		if (o->argument)
			n += snprintf(left + n, sizeof left - (size_t)n, "%s%s%s",
			              o->kind == OPTION_OPTIONAL ? "[=" : o->name ? "=" : " ", o->argument,
			              o->kind == OPTION_OPTIONAL ? "]" : "");
		if (n + 2 > HELP_COLUMN)
			printf("%s\n%*s", left, HELP_COLUMN, "");
		else
			printf("%-*s", HELP_COLUMN, left);
		print_wrapped(o->help, HELP_COLUMN, HELP_COLUMN);
	}
}

void option_help(const struct tool *t)
{
	int indent = (int)strlen(t->name) + 8;
	printf("usage: %s ", t->name);
	print_wrapped(t->synopsis, indent, indent);
	putchar('\n');
	print_wrapped(t->summary, 0, 0);
	printf("\nOptions:\n");
	print_rows(t->options);
	printf("\nIn every program:\n");
	print_rows(common_rows);
	printf("\nExit status: 0 success, 1 a negative answer, 2 trouble.\n");
}

const char *const *option_history(size_t *n)
{
	static const char **list;
	for (size_t i = 0; list && list[i]; i++)
		free((char *)list[i]);
	free(list);
	list = NULL;
	*n = 0;
	for (const struct option *o = rows; o && o->kind != OPTION_END; o++) {
		char name[64];
		spell(name, o);
		const struct given *g = &given[o - rows];
		for (size_t i = 0; o->history == HISTORY_YES && i < g->n; i++) {
			bool bare = o->kind == OPTION_FLAG || (o->kind == OPTION_OPTIONAL && !*g->text[i]);
			value_append(&list, n, bare ? mem_string(name)
			                            : mem_format("%s%s%s", name, o->name ? "=" : " ", g->text[i]));
		}
	}
	size_t end = *n;
	value_append(&list, &end, NULL);
	return list;
}

void option_history_set(const void *value, const char *text)
{
	for (const struct option *o = rows; o && o->kind != OPTION_END; o++) {
		struct given *g = &given[o - rows];
		const struct option_list *list = o->kind == OPTION_LIST ? o->value : NULL;
		for (size_t i = 0; i < g->n; i++)
			if (list ? value == &list->item[i] : value == o->value)
				g->text[i] = mem_string(text);
	}
}

char **option_split(const char *text, char at, size_t *n)
{
	size_t len = strlen(text);
	*n = 1;
	for (size_t i = 0; i < len; i++)
		*n += text[i] == at;
	char **item = mem_alloc(*n * sizeof *item + len + 1);
	char *copy = memcpy((char *)(item + *n), text, len + 1);
	for (size_t i = 0; i < *n; i++) {
		item[i] = copy;
		copy = strchrnul(copy, at);
		*copy++ = 0;
	}
	return item;
}
