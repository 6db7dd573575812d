#include "config_diff.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "memory.h"

static char *facts_of(const char *dir)
{
	struct config c = { 0 };
	struct model m = { 0 };
	struct error ignored;
	char *path = mem_format("%s/config.json", dir);
	char *facts = config_read(path, &c, &m, &ignored) == 0 ? config_facts(&c, &m) : NULL;
	model_release(&m);
	free(path);
	return facts;
}

/* The next word at *p, up to `end`; its length, 0 after the last. */
static size_t word(const char **p, const char *end)
{
	while (*p < end && **p == ' ')
		++*p;
	const char *space = memchr(*p, ' ', (size_t)(end - *p));
	return (size_t)((space ? space : end) - *p);
}

static bool same(const char *a, size_t n, const char *b, size_t m)
{
	return n == m && memcmp(a, b, n) == 0;
}

/* Lines are words: "key value", "rotary kind default theta 10000", "layer 3 window 0". */
static void diff_line(FILE *out, const char *a, const char *a_end, const char *b, const char *b_end)
{
	const char *subject = a, *key = a;
	size_t subject_len = word(&subject, a_end), key_len = 0, n, m;
	bool numbered = same(subject, subject_len, "layer", 5);
	while ((n = word(&a, a_end)) | (m = word(&b, b_end))) {
		if (same(a, n, b, m)) {
			key = a;
			key_len = n;
		} else if (key != subject && key_len) {
			fprintf(out, "  %.*s%s %.*s: %.*s in A, %.*s in B\n", (int)subject_len, subject, numbered ? "s'" : "",
			        (int)key_len, key, (int)n, a, (int)m, b);
			/* Every layer says the same: one is enough. */
			if (numbered)
				return;
		} else {
			fprintf(out, "  %.*s: %.*s in A, %.*s in B\n", (int)subject_len, subject, (int)n, n ? a : "none", (int)m, m ? b : "none");
		}
		a += n;
		b += m;
	}
}

static void diff_facts(FILE *out, const char *a, const char *b)
{
	bool layers = false;
	while (*a && *b) {
		const char *a_end = strchr(a, '\n'), *b_end = strchr(b, '\n');
		if (!a_end || !b_end)
			return;
		bool is_layer = !strncmp(a, "layer ", 6);
		if (!same(a, (size_t)(a_end - a), b, (size_t)(b_end - b)) && !(layers && is_layer)) {
			diff_line(out, a, a_end, b, b_end);
			layers |= is_layer;
		}
		/* With another number of layers or rotaries the lines behind are others: what went before has said so. */
		if (word(&a, a_end) != word(&b, b_end) || memcmp(a, b, word(&a, a_end)) != 0)
			return;
		a = a_end + 1;
		b = b_end + 1;
	}
}

char *config_diff(const char *dir_a, const char *dir_b)
{
	char *a = facts_of(dir_a), *b = facts_of(dir_b), *text = NULL;
	size_t len = 0;
	if (a && b && strcmp(a, b) != 0) {
		FILE *out = open_memstream(&text, &len);
		if (out) {
			diff_facts(out, a, b);
			fclose(out);
		}
		if (!text || !*text) {
			free(text);
			text = mem_string("  in facts that can't be told one by one\n");
		}
	}
	free(a);
	free(b);
	return text;
}
