/*
 * Oniguruma syntax read into PCRE2 syntax over sets of code points; the half of regex.c that knows
 * neither matching nor PCRE2.
 */
#ifndef REGEX_PARSE_H
#define REGEX_PARSE_H

#include <stddef.h>
#include <stdint.h>

#include "charset.h"
#include "error.h"

#define REGEX_MOST_SETS 255
#define REGEX_MOST_BYTES 65536

/* The rewritten pattern: an op below 256 is a byte of PCRE2 syntax, else set[op - 256]. */
struct regex_parsed {
	uint16_t *op;
	size_t n_ops, capacity;
	struct charset set[REGEX_MOST_SETS]; /* different from each other */
	size_t n_sets;
};

/* Returns 0, or -1 with the reason alone.  Release in both cases. */
int regex_parse(const char *pattern, size_t len, struct regex_parsed *out,
		struct error *e) MUST_CHECK;
void regex_parsed_release(struct regex_parsed *p);

#endif
