/*
 * The "decoder" of a tokenizer.json: tokens back into text.
 */
#ifndef DECODER_H
#define DECODER_H

#include <stddef.h>

#include "error.h"
#include "json.h"

struct decoder;

/* Texts end to end, and where each one ends. */
struct decoder_texts {
	char *text;
	size_t len, capacity;
	size_t *end;
	size_t n, end_capacity;
};

/*
 * Reads ByteLevel, ByteFallback, Fuse, Metaspace, Replace, Strip, Sequence and null.  Returns 0, or
 * -1 with the reason.
 */
int decoder_open(const struct json *j, struct decoder **out, struct error *e) MUST_CHECK;
void decoder_close(struct decoder *d);

/* Appends one text. */
void decoder_put(struct decoder_texts *t, const char *text, size_t len);

/*
 * Replaces the texts of all tokens of a sample by its text: t->text[0..t->len), always valid UTF-8
 * if the tokens were.  Returns 0, or -1 (regex gave up).
 */
int decoder_run(const struct decoder *d, struct decoder_texts *t, struct error *e) MUST_CHECK;

void decoder_texts_release(struct decoder_texts *t);

#endif
