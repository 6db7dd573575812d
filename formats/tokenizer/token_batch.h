/*
 * Samples on their way from a data set to a frame of tokens: collected, tokenized by all threads, framed.
 */
#ifndef TOKEN_BATCH_H
#define TOKEN_BATCH_H

#include <stdbool.h>

#include "frame.h"
#include "input.h"
#include "tokenizer.h"
#include "workers.h"

struct token_batch;

/* tokenizer: NULL where all samples are ids.  max_tokens: longer samples are cut (0: none).  flags: TOKENIZER_NO_SPECIAL or
 * 0.  Both pointers are borrowed. */
struct token_batch *token_batch_open(const struct tokenizer *tokenizer, struct workers *workers, uint64_t max_tokens,
                                     unsigned flags);
void token_batch_close(struct token_batch *b);

/* Copies a sample.  -1: it is a text and there is no tokenizer. */
int token_batch_add(struct token_batch *b, const struct input_sample *s, struct error *e) MUST_CHECK;

/* A frame's worth is there: 256 samples or 1 MiB of text or ids, whichever comes first. */
bool token_batch_full(const struct token_batch *b);

/* Tokenizes what was added and points `f` at it until the next call that adds; n_samples 0 when there is nothing.
 * The batch is empty afterwards.  0, or -1 with the sample's file and line. */
int token_batch_frame(struct token_batch *b, struct frame *f, struct error *e) MUST_CHECK;

#endif
