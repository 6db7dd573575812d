/*
 * tokenizer [-nsd] [-t N] MODEL < LINES: a line of ids for each line, which is a text as a JSON string.
 * -n: no special tokens; -s: id:start:end; -d: the lines are ids, JSON strings come out;
 * -t N: the lines are plain text; encodes them all N times and prints how fast.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "json.h"
#include "tokenizer.h"

struct run {
	struct tokenizer *t;
	struct tokenizer_scratch *s;
	struct tokenizer_ids ids;
	unsigned flags;
};

static int fail(const struct error *e)
{
	fprintf(stderr, "tokenizer: %s\n", e->text);
	return 2;
}

/* As Python's json spells it. */
static void put_json(const char *s, size_t len)
{
	static const char short_forms[] = "\"\"\\\\\bb\ff\nn\rr\tt";
	putchar('"');
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];
		size_t k = 0;
		while (short_forms[k] != '\0' && (unsigned char)short_forms[k] != c)
			k += 2;
		if (c != 0 && short_forms[k] != '\0')
			printf("\\%c", short_forms[k + 1]);
		else if (c < 0x20)
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	puts("\"");
}

static int encode(struct run *r, const char *text, size_t len, struct error *e)
{
	if (tokenizer_encode(r->t, r->s, text, len, r->flags, &r->ids, e) < 0)
		return -1;
	for (size_t i = 0; i < r->ids.n; i++) {
		printf("%s%u", i > 0 ? " " : "", r->ids.id[i]);
		if (r->flags & TOKENIZER_SPANS)
			printf(":%u:%u", r->ids.span[i].start, r->ids.span[i].end);
	}
	putchar('\n');
	return 0;
}

static int decode(struct run *r, char *line, struct error *e)
{
	size_t n = 0, len;
	uint32_t *id = malloc(sizeof *id * (strlen(line) + 1));
	for (char *end; *line != '\0' && *line != '\n'; line = end + (*end == ' '))
		id[n++] = (uint32_t)strtoul(line, &end, 10);
	char *text;
	int rc = tokenizer_decode(r->t, id, n, r->flags, &text, &len, e);
	free(id);
	if (rc < 0)
		return -1;
	put_json(text, len);
	free(text);
	return 0;
}

static int time_encoding(struct run *r, int times, struct error *e)
{
	char **line = NULL;
	size_t *len = NULL, n = 0, size = 0, bytes = 0, tokens = 0;
	char *next = NULL;
	for (ssize_t got; (got = getline(&next, &size, stdin)) > 0;) {
		line = realloc(line, (n + 1) * sizeof *line);
		len = realloc(len, (n + 1) * sizeof *len);
		line[n] = strdup(next);
		len[n] = (size_t)got - (next[got - 1] == '\n');
		bytes += len[n++];
	}
	struct timespec a, b;
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (int k = 0; k < times; k++)
		for (size_t i = 0; i < n; i++) {
			if (tokenizer_encode(r->t, r->s, line[i], len[i], r->flags, &r->ids, e) < 0)
				return -1;
			tokens += r->ids.n;
		}
	clock_gettime(CLOCK_MONOTONIC, &b);
	double s = (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
	printf("%zu bytes %zu tokens %.4f s %.2f MB/s\n", bytes * (size_t)times, tokens, s,
	       1e-6 * (double)bytes * times / s);
	for (size_t i = 0; i < n; i++)
		free(line[i]);
	free(line);
	free(len);
	free(next);
	return 0;
}

static int each_line(struct run *r, bool decoding, struct error *e)
{
	char *line = NULL;
	size_t size = 0;
	int rc = 0;
	for (ssize_t got; rc == 0 && (got = getline(&line, &size, stdin)) > 0;) {
		if (decoding) {
			rc = decode(r, line, e);
			continue;
		}
		struct json *j = json_parse(line, (size_t)got, 0, "line", e);
		size_t len = 0;
		const char *text = json_text(j, &len);
		rc = text == NULL ? -1 : encode(r, text, len, e);
		json_free(j);
	}
	free(line);
	return rc;
}

int main(int argc, char **argv)
{
	struct run r = { 0 };
	struct error e = { "" };
	bool decoding = false;
	int times = 0;
	for (int c; (c = getopt(argc, argv, "nsdt:")) != -1;) {
		if (c == 'n')
			r.flags |= TOKENIZER_NO_SPECIAL;
		else if (c == 's')
			r.flags |= TOKENIZER_SPANS;
		else if (c == 'd')
			decoding = true;
		else if (c == 't')
			times = atoi(optarg);
		else
			return 2;
	}
	if (optind >= argc || tokenizer_open(argv[optind], &r.t, &e) < 0)
		return fail(&e);
	r.s = tokenizer_scratch_open(r.t);
	int rc = times > 0 ? time_encoding(&r, times, &e) : each_line(&r, decoding, &e);
	tokenizer_scratch_close(r.s);
	tokenizer_ids_release(&r.ids);
	tokenizer_close(r.t);
	return rc < 0 ? fail(&e) : 0;
}
