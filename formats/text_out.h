/*
 * Text as it is written: buffered, JSON strings, and numbers in the fewest digits that read back as the same
 * number.  Errors are kept until text_out_finish, so that writing needs no check.
 */
#ifndef TEXT_OUT_H
#define TEXT_OUT_H

#include <stddef.h>
#include <stdint.h>

#include "dtype.h"
#include "error.h"
#include "frame.h"
#include "io.h"
#include "wire.h"

struct text_out {
	struct output output;
	char *p;
	size_t len;
	int failed;
	struct error error;     /* of the first write that failed */
};

/* path as output_open's.  0 or -1. */
int text_out_open(struct text_out *t, const char *path, struct error *e) MUST_CHECK;
/* Writes what is left and commits.  0, or -1 with the first error.  Frees. */
int text_out_finish(struct text_out *t, struct error *e) MUST_CHECK;
void text_out_abort(struct text_out *t);

void text_put(struct text_out *t, const char *p, size_t len);

/* At most 511 bytes of it. */
void text_printf(struct text_out *t, const char *format, ...) PRINTF_LIKE(2, 3);
void text_string(struct text_out *t, const char *s);
void text_char(struct text_out *t, char c);
void text_uint(struct text_out *t, uint64_t v);

/* The code point that begins at p, and its bytes in *n; U+FFFD for a byte that begins none. */
uint32_t text_character(const char *p, size_t left, size_t *n);

/* A JSON string with its quotes.  Bytes that are not UTF-8 become U+FFFD. */
void text_json(struct text_out *t, const char *p, size_t len);
/* A MessagePack value as JSON: a bin as an array of its bytes, an extension as null.  A map's key that is no string is
 * written as one. */
void text_wire(struct text_out *t, struct wire_cursor *c);
/* n_pairs pairs as JSON members, each after a comma. */
void text_wire_pairs(struct text_out *t, const char *p, size_t len, size_t n_pairs);
/* A field of a table: tab, line ends and backslash as \t \n \r \\. */
void text_field(struct text_out *t, const char *p, size_t len);

/*
 * The i-th element of values of a type.  json: NaN is null, infinities are 1e999 and -1e999 (a number that any
 * parser reads as infinite); else nan, inf, -inf.
 */
void text_value(struct text_out *t, const void *values, enum dtype type, size_t i, int json);

#endif
