/*
 * The "pre_tokenizer" of a tokenizer.json: cuts a text into the words that the model encodes one
 * by one.
 */
#ifndef PRETOKENIZER_H
#define PRETOKENIZER_H

#include "error.h"
#include "json.h"
#include "slice.h"

struct pretokenizer;         /* shared by threads */
struct pretokenizer_scratch; /* of one thread */

/* Takes one word (never empty; raw bytes where pretokenizer_bytes() is true). */
struct pretokenizer_sink {
	int (*word)(void *closure, const struct slice *word, struct error *e);
	void *closure;
};

/*
 * Reads Split, ByteLevel, Digits, Punctuation, WhitespaceSplit, BertPreTokenizer,
 * Metaspace, Sequence and null; after a ByteLevel only Digits, Punctuation and Split.
 * Returns 0, or -1 with "pre_tokenizer ... is not read".
 */
int pretokenizer_open(const struct json *j, struct pretokenizer **out, struct error *e) MUST_CHECK;
void pretokenizer_close(struct pretokenizer *p);

/* True where a ByteLevel is in it: the model works on bytes. */
bool pretokenizer_bytes(const struct pretokenizer *p);

struct pretokenizer_scratch *pretokenizer_scratch_open(void); /* never NULL */
void pretokenizer_scratch_close(struct pretokenizer_scratch *s);

/* Gives the sink the words of `in` in order.  Returns 0, or -1 (the sink's, or a regex gave up). */
int pretokenizer_run(const struct pretokenizer *p, struct pretokenizer_scratch *s,
		     const struct slice *in, bool mapped, const struct pretokenizer_sink *sink,
		     struct error *e) MUST_CHECK;

#endif
