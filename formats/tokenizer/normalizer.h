/*
 * The "normalizer" of a tokenizer.json: what happens to a text before it is cut into words.
 */
#ifndef NORMALIZER_H
#define NORMALIZER_H

#include "error.h"
#include "json.h"
#include "slice.h"

struct normalizer;         /* shared by threads */
struct normalizer_scratch; /* of one thread */

/*
 * Reads NFC NFD NFKC NFKD Lowercase Strip Prepend Replace Sequence and null.  Returns 0, or -1 with
 * "normalizer ... is not read".
 */
int normalizer_open(const struct json *j, struct normalizer **out, struct error *e) MUST_CHECK;
void normalizer_close(struct normalizer *n);

struct normalizer_scratch *normalizer_scratch_open(const struct normalizer *n); /* never NULL */
void normalizer_scratch_close(struct normalizer_scratch *s);

/*
 * The normal form of `in`, which lives until the next call with this scratch; `in` itself where
 * nothing changes.  Origins are kept where `mapped` is set.  Returns 0, or -1 (regex gave up).
 */
int normalizer_run(const struct normalizer *n, struct normalizer_scratch *s,
		   const struct slice *in, bool mapped, struct slice *out,
		   struct error *e) MUST_CHECK;

#endif
