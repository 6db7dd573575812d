/*
 * What Split and Replace look for: {"String": ...} or {"Regex": ...}; and the kinds of single
 * characters that other pre-tokenizers look for.
 */
#ifndef PATTERN_H
#define PATTERN_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"
#include "json.h"
#include "regex.h"
#include "slice.h"

enum pattern_kind { PATTERN_STRING, PATTERN_REGEX, PATTERN_NUMBER, PATTERN_PUNCTUATION,
	PATTERN_SPACE };

struct pattern {
	enum pattern_kind kind;
	char *string; /* PATTERN_STRING: not empty */
	size_t len;
	struct regex *regex;
};

struct pattern_scratch {
	uint8_t *symbol;
	size_t capacity;
	struct regex_scratch *regex;
};

/* One search through one text. */
struct pattern_walk {
	const struct pattern *pattern;
	struct pattern_scratch *scratch;
	const struct slice *text;
	size_t byte, character;  /* where the walk is; the two are one place */
	size_t n_characters, last_end;
	bool matched;            /* last_end is the end of a match */
};

/* Reads a pattern object (or a bare string).  Returns 0, or -1 with the reason. */
int pattern_open(const struct json *j, struct pattern *out, struct error *e) MUST_CHECK;
int pattern_open_regex(const char *text, struct pattern *out, struct error *e) MUST_CHECK;
void pattern_close(struct pattern *p);

void pattern_scratch_release(struct pattern_scratch *s);

void pattern_start(struct pattern_walk *w, const struct pattern *p, struct pattern_scratch *s,
		   const struct slice *text);

/* The next match: 1 with its bytes [*start, *end), 0 after the last, -1 (regex gave up). */
int pattern_next(struct pattern_walk *w, size_t *start, size_t *end, struct error *e) MUST_CHECK;

#endif
