/*
 * input [-f FORMAT] [-k FIELD] [FILE...]: each sample as a line of its parts, in JSON strings.
 */
#include <stdio.h>
#include <unistd.h>

#include "input.h"

static void put(const char *name, struct jsonl_string s)
{
	if (s.text == NULL)
		return;
	printf(" %s=\"", name);
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.text[i];
		if (c < 0x20 || c == '"' || c == '\\')
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

static void put_sample(const struct input_sample *s)
{
	printf("%llu", (unsigned long long)s->seq);
	put("id", s->id);
	put("label", s->label);
	put("target", s->target);
	put("foil", s->foil);
	put("text", s->text);
	if (s->text.text == NULL)
		printf(" ids=");
	for (size_t i = 0; i < s->n_ids; i++)
		printf("%s%u", i > 0 ? "," : "", s->ids[i]);
	for (size_t i = 0; i < s->n_spans; i++)
		printf(" span=%llu-%llu", (unsigned long long)s->span[i].start,
		       (unsigned long long)s->span[i].end);
	putchar('\n');
}

int main(int argc, char **argv)
{
	struct input_options o = { 0 };
	struct error e = { "" };
	for (int c; (c = getopt(argc, argv, "f:k:")) != -1;) {
		if (c == 'k') {
			o.field = optarg;
		} else if (c != 'f' || input_format_of(optarg, &o.format, &e) < 0) {
			fprintf(stderr, "input: %s\n", e.text);
			return 2;
		}
	}
	o.paths = (const char *const *)argv + optind;
	o.n_paths = (size_t)(argc - optind);
	struct input *in = input_open(&o);
	struct input_sample s;
	int rc;
	while ((rc = input_next(in, &s, &e)) > 0)
		put_sample(&s);
	input_close(in);
	if (rc < 0)
		fprintf(stderr, "input: %s\n", e.text);
	return rc < 0 ? 2 : 0;
}
