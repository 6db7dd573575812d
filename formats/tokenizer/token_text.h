/*
 * Tokens as people write and read them: texts of ids, and the TOKENS of an option: a comma list of texts that are one token
 * each, of #ID numbers, and of @, which stands for the token that each sample brings along itself.
 */
#ifndef TOKEN_TEXT_H
#define TOKEN_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame.h"
#include "error.h"

#define TOKEN_OWN UINT32_MAX    /* @ in a list */

struct token_text;              /* shared by threads */

/* The tokens of the model in `dir`.  Never NULL: without a tokenizer that can be read, ids have no texts. */
struct token_text *token_text_open(const char *dir, size_t vocab);
void token_text_close(struct token_text *t);

/* Why there are no texts, or NULL: the file is read, or there is none. */
const char *token_text_trouble(const struct token_text *t);

/* The text that an id adds to a text before it, valid UTF-8, freed by the caller; NULL without one. */
char *token_text_of(const struct token_text *t, uint32_t id, size_t *len);

/* The one token that a text is.  Else, by its spelling in tokenizer.json.  0 or -1. */
int token_text_find(struct token_text *t, const char *text, size_t len, uint32_t *id, struct error *e) MUST_CHECK;

struct token_list {
	uint32_t *ids;          /* (n) ids or TOKEN_OWN */
	size_t n;
	const char *const *keys; /* (n) what a sample's own token is called at each place */
};

/*
 * Reads a list as above.  pair: two tokens, of which a sample brings along its `target` and its `foil` ("@" is short for
 * "@,@"); else any number, and every @ is its `target`.  0 or -1.
 */
int token_list_open(struct token_list *l, struct token_text *t, const char *text, bool pair, struct error *e) MUST_CHECK;
void token_list_close(struct token_list *l);

/*
 * The list's ids for a sample: ids (l->n) receives them, without those that the sample doesn't bring along; its own
 * are written like those of a list, or are numbers.  Their number, or -1 and e when one of them isn't one token.
 */
ptrdiff_t token_list_ids(const struct token_list *l, struct token_text *t, const struct sample *s, uint32_t *ids,
                         struct error *e) MUST_CHECK;

#endif
