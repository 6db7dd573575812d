/*
 * A model's tokenizer, as its tokenizer.json describes it: text to token ids and back, with the ids
 * of the `tokenizers` library.
 *
 * Read are byte pair encodings (byte-level or SentencePiece-like); see normalizer.h,
 * pretokenizer.h, template.h and decoder.h for the parts.  Whatever is not read is an error that
 * names it when the tokenizer is opened.  "truncation" and "padding" of the file are not applied.
 */
#ifndef TOKENIZER_H
#define TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

#define TOKENIZER_MOST_BYTES ((size_t)1 << 30) /* a longer text is refused */
#define TOKENIZER_NO_ID UINT32_MAX

struct tokenizer;         /* read-only once open: shared by threads */
struct tokenizer_scratch; /* of one thread: buffers and a cache of words (14 MB) */

enum tokenizer_flags {
	TOKENIZER_NO_SPECIAL = 1, /* encode: no template; decode: drop special tokens */
	TOKENIZER_SPANS = 2,      /* encode: fill `span` too (slower) */
};

/*
 * The characters [start, end) of the text that a token stands for: all of a character that it has
 * only some bytes of, all of a letter and its marks where a normal form changed them, the first
 * character for a space that was put before it.  Equal for the template's tokens, which have none.
 */
struct tokenizer_span {
	uint32_t start, end;
};

/* Zero it before the first use; the arrays are kept from text to text. */
struct tokenizer_ids {
	uint32_t *id;
	size_t n, id_capacity;
	struct tokenizer_span *span; /* n of them with TOKENIZER_SPANS, else NULL or stale */
	size_t span_capacity;
};

/*
 * Opens DIR/tokenizer.json or a file of that form.  Beside it, tokenizer_config.json (and, for the
 * names of tokens, special_tokens_map.json) is read where it is there: if it has add_bos_token or
 * add_eos_token, the file's template is replaced by [bos] text [eos]; the one that is missing is
 * off, but add_bos_token is on for Llama, Gemma and Cohere tokenizer classes.
 * Returns 0 and *out (to be closed), or -1 with a sentence that begins with the file's name.
 */
int tokenizer_open(const char *path, struct tokenizer **out, struct error *e) MUST_CHECK;

/* The same from memory; `config` is the text of a tokenizer_config.json or NULL. */
int tokenizer_open_text(const char *json, size_t len, const char *config, size_t config_len,
			struct tokenizer **out, struct error *e) MUST_CHECK;

void tokenizer_close(struct tokenizer *t); /* NULL is fine */

/* One above the largest id. */
size_t tokenizer_n_ids(const struct tokenizer *t);

/* The id of a token by its content (as tokenizer.json spells it), or TOKENIZER_NO_ID. */
uint32_t tokenizer_find(const struct tokenizer *t, const char *content, size_t len);

/* The content of an id (len bytes, not closed with a NUL; borrowed), or NULL. */
const char *tokenizer_content(const struct tokenizer *t, uint32_t id, size_t *len);

struct tokenizer_scratch *tokenizer_scratch_open(const struct tokenizer *t); /* never NULL */
void tokenizer_scratch_close(struct tokenizer_scratch *s);

/*
 * Replaces what `out` holds by the tokens of `len` bytes of text; an empty text gives the
 * template's tokens alone, or none.  Added tokens in the text become their ids.  Linear in len but
 * for one word without a boundary, which takes O(n log n) time and about 60 bytes a character.
 * Returns 0, or -1: not valid UTF-8, too long, or a regular expression gave up.
 */
int tokenizer_encode(const struct tokenizer *t, struct tokenizer_scratch *s, const char *text,
		     size_t len, unsigned flags, struct tokenizer_ids *out,
		     struct error *e) MUST_CHECK;

/*
 * The positions [*first, *last) of the tokens that stand for some character in [start, end) of the
 * text; ids->span must be filled.  Returns 1, or 0 where there is none.
 */
int tokenizer_positions(const struct tokenizer_ids *ids, size_t start, size_t end, size_t *first,
			size_t *last);

/*
 * The text of n ids: *text (freed by the caller, closed with a NUL that *len does not count),
 * valid UTF-8, U+FFFD for bytes that form no character.  Returns 0, or -1 where an id is unknown.
 */
int tokenizer_decode(const struct tokenizer *t, const uint32_t *id, size_t n, unsigned flags,
		     char **text, size_t *len, struct error *e) MUST_CHECK;

void tokenizer_ids_release(struct tokenizer_ids *ids);

#endif
