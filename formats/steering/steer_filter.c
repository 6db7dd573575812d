#include "steer_filter.h"

#include <stdlib.h>

#include "memory.h"
#include "steerer.h"

/* A filter has no name for what it is given. */
static const char stream[] = "the stream";

static int open_words(char **words, size_t n, const struct tms_header *header, void **state, struct error *e)
{
	struct steer_options o = { 0 };
	const struct option table[] = { OPTION_STEER(o), OPTION_LAST };
	if (!option_words(table, words, n))
		return 0;
	struct steerer *s = steerer_open(&o, true, e);
	if (!s)
		return -1;
	struct tms_header h;
	tms_header_copy(&h, header);
	int status = steerer_begin(s, &h, stream, e);
	tms_header_release(&h);
	if (status == 0 && steerer_fan_out(s) > 1)
		status = error_set(e, "--alpha %s: a filter answers each frame by one, and %zu strengths need a stream of as many variants;"
		                   " embed --variants makes them", o.alpha, steerer_fan_out(s));
	if (status < 0) {
		steerer_close(s);
		return -1;
	}
	*state = s;
	return 1;
}

static char *told(const void *state)
{
	struct steer_options o = *steerer_told(state);
	const struct option table[] = { OPTION_STEER(o), OPTION_LAST };
	char *text = mem_string("steer");
	for (const struct option *row = table; row->kind != OPTION_END; row++) {
		const char *value = row->kind == OPTION_STRING ? *(const char **)row->value : NULL;
		char *more = NULL;
		if (value)
			more = mem_format("%s --%s=%s", text, row->name, value);
		else if (row->kind == OPTION_FLAG && *(bool *)row->value)
			more = mem_format("%s --%s", text, row->name);
		if (!more)
			continue;
		free(text);
		text = more;
	}
	return text;
}

static int expect(void *state, const struct frame *f, struct error *e)
{
	return steerer_expect(state, f, e);
}

static int change(void *state, struct frame *f, struct error *e)
{
	return steerer_change(state, f, e);
}

static int finish(void *state, struct error *e)
{
	return steerer_check(state, stream, e);
}

static void close_steerer(void *state)
{
	steerer_close(state);
}

const struct filter_builtin steer_filter = { "steer", open_words, told, expect, change, finish, close_steerer };
