/*
 * "added_tokens" of a tokenizer.json: tokens that are cut out of a text before the model sees it.
 */
#ifndef ADDED_H
#define ADDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "json.h"
#include "normalizer.h"
#include "slice.h"
#include "vocab.h"

struct added; /* shared by threads */

/* One of two searches: tokens with "normalized": false in the text as it is, the others in the
 * normal form of what lies between them. */
enum added_pass { ADDED_RAW, ADDED_NORMALIZED, ADDED_N_PASSES };

/*
 * Reads the array (NULL: none).  A token has the id that the model's vocabulary gives it, else the
 * next free one above; the file's own ids are not used.  Returns 0, or -1 with the reason.
 */
int added_open(const struct json *list, const struct vocab *model, const struct normalizer *n,
	       struct added **out, struct error *e) MUST_CHECK;
void added_close(struct added *a);

/* The id of an added token's content, or VOCAB_NONE. */
uint32_t added_find(const struct added *a, const char *content, size_t len);

/* The content of an added token, or NULL; *special says whether decoding may skip it. */
const char *added_text(const struct added *a, uint32_t id, size_t *len, bool *special);

/* The largest id + 1, or 0. */
size_t added_n_ids(const struct added *a);

struct added_walk {
	const struct added *added;
	enum added_pass pass;
	const struct slice *text;
	size_t at;   /* the search goes on here */
	size_t done; /* bytes given out */
};

void added_start(struct added_walk *w, const struct added *a, enum added_pass pass,
		 const struct slice *text);

/*
 * The next token: true with its id and the bytes that it takes, false after the last.  Bytes from
 * w->done (before the call) to *start are text between tokens; *end can be before the end of an
 * earlier token, whose white space a token may stand in.
 */
bool added_next(struct added_walk *w, uint32_t *id, size_t *start, size_t *end);

#endif
