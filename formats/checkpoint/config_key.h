/*
 * Typed values of config.json by spellings ("n_embd|hidden_size").  A key may be missing, or null,
 * or there: each caller says what the first two mean.  Errors name the key; the caller adds the
 * file.
 */
#ifndef CONFIG_KEY_H
#define CONFIG_KEY_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"
#include "family.h"
#include "json.h"

/* The first spelling that is there, and its name in `key`; else NULL and the first spelling. */
enum { CONFIG_KEY_LEN = 64 };
const struct json *config_find(const struct json *o, const char *keys, char key[CONFIG_KEY_LEN]);

/* A whole number in lo..hi; keys NULL: none is missing.  required: an error where it is missing or null; else *out stays as it
 * was.  1: read, 0: missing or null, -1. */
int config_size(const struct json *o, const char *keys, bool required, size_t lo, size_t hi,
                size_t *out, struct error *e) MUST_CHECK;

/* A finite number > 0.  Missing or null: *out stays as it was. */
int config_positive(const struct json *o, const char *keys, double *out,
                    struct error *e) MUST_CHECK;

/* By the family's row: `otherwise` where it is missing, `null` where it is null or the row has
 * none. */
int config_number(const struct json *o, const struct family_number *n, double null, double *out,
                  struct error *e) MUST_CHECK;
int config_flag(const struct json *o, const struct family_flag *f, bool *out,
                struct error *e) MUST_CHECK;

#endif
