/*
 * What a report of unembed is asked to say: of which positions, about which tokens.
 */
#ifndef QUESTIONS_H
#define QUESTIONS_H

#include <stdbool.h>

#include "positions.h"
#include "token_text.h"

struct questions {
	bool rows, nll;         /* of rows: top, target, diff; of samples: the likelihood of their tokens */
	size_t top;             /* the k largest */
	struct token_list target, diff;
	struct positions row_at, nll_at; /* nll_at: of the tokens that are predicted, each from the row before it */
	struct token_text *names;
};

/* target, diff, pos: as typed, or NULL.  `dir` has the tokenizer, `vocab` tokens.  0 or -1; closed in either case. */
int questions_open(struct questions *q, const char *dir, size_t vocab, const char *target, const char *diff, const char *pos,
                   struct error *e) MUST_CHECK;
void questions_close(struct questions *q);

/* Whether something is asked of the row at that position, and of the token after it. */
bool questions_row(const struct questions *q, const struct frame *f, const struct sample *s, uint32_t position);
bool questions_next(const struct questions *q, const struct sample *s, uint32_t position);

/* Whether every sample of the frame can answer. */
int questions_check(const struct questions *q, const struct frame *f, struct error *e) MUST_CHECK;

/* The tokens that are asked about in a sample that questions_check has seen: ids (target.n + 2) receives n_target of them and
 * then, if *n_diff is 2, A and B. */
void questions_ids(const struct questions *q, const struct sample *s, uint32_t *ids, size_t *n_target, size_t *n_diff);

#endif
