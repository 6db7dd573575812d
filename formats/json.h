/*
 * JSON documents: config.json, tokenizer.json, the headers of safetensors files.  Values are
 * borrowed from their root and live until json_free(root).  Numbers are held as doubles, so
 * integers are exact up to 2^53 and larger ones (a model_max_length of 1e30) are no error.
 * Nesting stops at 2,048 levels.  JSON lines are read by input.c, which keeps spellings.
 */
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

struct json; /* one value of any kind */

enum json_kind { JSON_KIND_NULL, JSON_KIND_BOOL, JSON_KIND_NUMBER, JSON_KIND_STRING,
	JSON_KIND_ARRAY, JSON_KIND_OBJECT };

enum json_flags {
	JSON_UNIQUE_KEYS = 1, /* a key that an object holds twice is an error; else the last wins */
};

#define JSON_MAX_BYTES ((size_t)1 << 29) /* a longer document is refused */

/*
 * Parses `len` bytes that hold one JSON value and nothing after it but white space.  `name` stands
 * before the message.  The text must be valid UTF-8; \u0000 is allowed in strings, not in keys.
 * Returns the root, to be freed by json_free(), or NULL with "name: line L column C: ...".
 */
struct json *json_parse(const char *text, size_t len, unsigned flags, const char *name,
			struct error *e) MUST_CHECK;

/* The same for a whole file. */
struct json *json_read(const char *path, unsigned flags, struct error *e) MUST_CHECK;

/* Frees a root and every value borrowed from it.  NULL is fine. */
void json_free(struct json *root);

/* The kind of a value; NULL counts as JSON_KIND_NULL. */
enum json_kind json_kind(const struct json *v);

/* "null", "true or false", "a number", "a string", "an array", "an object": for messages. */
const char *json_kind_name(const struct json *v);

/* The member of an object; NULL where it is absent or o is no object.  A null is a value. */
const struct json *json_member(const struct json *o, const char *key);

/* Members of an object, elements of an array; 0 for any other kind and for NULL. */
size_t json_count(const struct json *v);

/* The element of an array; NULL where there is none or v is no array. */
const struct json *json_at(const struct json *v, size_t i);

/*
 * Walks an object in the order of the file.  Start with *at = NULL; returns the member's value and
 * its key (closed with a NUL, borrowed), or NULL after the last.
 */
const struct json *json_each(const struct json *o, void **at, const char **key);

/* The bytes of a string, closed with a NUL that *len (if not NULL) does not count.  NULL if v is
 * no string. */
const char *json_text(const struct json *v, size_t *len);

/* The value if it is of that kind, else `otherwise`. */
bool json_bool(const struct json *v, bool otherwise);
double json_double(const struct json *v, double otherwise);

/* Stores an integer.  Returns 0, or -1 where v is no whole number in lo..hi (no message). */
int json_int(const struct json *v, int64_t lo, int64_t hi, int64_t *out) MUST_CHECK;

/*
 * Typed members with a default: store the value and return 1; return 0 and leave *out alone where
 * the member is absent or null; return -1 with "'key' is a string where a whole number is due"
 * (the caller puts the file's name before it with error_in).  json_get_text borrows the string.
 */
int json_get_int(const struct json *o, const char *key, int64_t lo, int64_t hi, int64_t *out,
		 struct error *e) MUST_CHECK;
int json_get_double(const struct json *o, const char *key, double *out, struct error *e) MUST_CHECK;
int json_get_bool(const struct json *o, const char *key, bool *out, struct error *e) MUST_CHECK;
int json_get_text(const struct json *o, const char *key, const char **out, size_t *len,
		  struct error *e) MUST_CHECK;
/* The same for an array or object, as `kind` says. */
int json_get(const struct json *o, const char *key, enum json_kind kind, const struct json **out,
	     struct error *e) MUST_CHECK;

#endif
