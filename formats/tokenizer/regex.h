/*
 * The regular expressions of tokenizer files, with Oniguruma's meaning: Unicode 16 classes,
 * nested classes and &&, ^ and $ at every line.
 *
 * A pattern tells apart only a few kinds of characters.  It is rewritten over an alphabet of at
 * most 256 such kinds, one byte each, and matched by PCRE2 on bytes: a text is first turned
 * into its kinds ("symbols"), one byte a character.  So no property of a character depends on
 * PCRE2's Unicode version.  Only regex.c knows PCRE2.
 */
#ifndef REGEX_H
#define REGEX_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

struct regex;         /* a compiled pattern: shared by threads */
struct regex_scratch; /* what one thread needs to match */

/*
 * Compiles `len` bytes of valid UTF-8.  Back references, \R, \X, \G, named groups, (?m) and (?x)
 * are not read.  Returns 0, or -1 with the reason ("regular expression '...': ...").
 */
int regex_open(const char *pattern, size_t len, struct regex **out, struct error *e) MUST_CHECK;
void regex_close(struct regex *r);

struct regex_scratch *regex_scratch_open(void); /* never NULL */
void regex_scratch_close(struct regex_scratch *s);

/* Writes the symbol of each character of a valid text and returns the number of characters. */
size_t regex_symbols(const struct regex *r, const char *text, size_t len, uint8_t *symbols);

/*
 * Finds the next match in n symbols at or after `from`.  Returns 1 with *start and *end (in
 * characters), 0 where there is none, -1 when the matcher gave up (stack or match limit).
 */
int regex_find(const struct regex *r, struct regex_scratch *s, const uint8_t *symbols, size_t n,
	       size_t from, size_t *start, size_t *end, struct error *e) MUST_CHECK;

#endif
