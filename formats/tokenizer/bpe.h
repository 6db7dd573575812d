/*
 * Byte pair encoding as tokenizer.json describes it ("model"), over the bytes of a word (ByteLevel)
 * or over its characters (SentencePiece, with byte fallback).
 */
#ifndef BPE_H
#define BPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "json.h"
#include "vocab.h"

/* A token of a word: its id and the bytes of the word that it stands for. */
struct bpe_token {
	uint32_t id, start, end;
};

struct bpe_tokens {
	struct bpe_token *token;
	size_t n, capacity;
};

struct bpe;         /* shared by threads */
struct bpe_scratch; /* of one thread: a cache of words and room to merge in */

/*
 * Reads the object "model" of a tokenizer.json.  With `bytes`, words are bytes and the vocabulary
 * spells them in ByteLevel's printable characters.  Returns 0, or -1 with the reason.
 */
int bpe_open(const struct json *model, bool bytes, struct bpe **out, struct error *e) MUST_CHECK;
void bpe_close(struct bpe *b);

/* The vocabulary as the file spells it. */
const struct vocab *bpe_vocab(const struct bpe *b);

struct bpe_scratch *bpe_scratch_open(void); /* never NULL */
void bpe_scratch_close(struct bpe_scratch *s);

/* Appends the tokens of one word.  O(n log n) in its length. */
void bpe_encode(const struct bpe *b, struct bpe_scratch *s, const char *word, size_t len,
		struct bpe_tokens *out);

/* ByteLevel's printable character of a byte, and back (-1: not one of the 256). */
uint32_t bpe_byte_char(unsigned char byte);
int bpe_char_byte(uint32_t c);

#endif
