/*
 * Tokens as people write and read them: texts of ids, and the TOKENS of an option: a comma list of texts that are one token
 * each, of #ID numbers, and of @, which stands for the token that each sample brings along itself.
 */
#ifndef TOKEN_TEXT_H
#define TOKEN_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "frame.h"
#include "error.h"

#define TOKEN_OWN UINT32_MAX    /* @ in a list */

struct token_text;              /* used by one thread */

/* The tokens of the model in `dir`.  Never NULL: without a tokenizer that can be read, ids have no texts. */
struct token_text *token_text_open(const char *dir, size_t vocab);
void token_text_close(struct token_text *t);

/* Why there are no texts, or NULL: the file is read, or there is none. */
const char *token_text_trouble(const struct token_text *t);

/* The text that an id adds to a text before it, valid UTF-8, freed by the caller; NULL without one. */
char *token_text_of(const struct token_text *t, uint32_t id, size_t *len);

/* The one token that a text is.  Else, by its spelling in tokenizer.json.  0 or -1. */
int token_text_find(struct token_text *t, const char *text, size_t len, uint32_t *id, struct error *e) MUST_CHECK;

/* A list as above: *ids (n), freed by the caller.  0 or -1. */
int token_text_list(struct token_text *t, const char *list, uint32_t **ids, size_t *n, struct error *e) MUST_CHECK;

/* The token that a sample brings along under `key`: its text, its id, or an array with the one id.  1; 0: it has none; or -1. */
int token_text_own(struct token_text *t, const struct sample *s, const char *key, uint32_t *id, struct error *e)
	MUST_CHECK;

#endif
