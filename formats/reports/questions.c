#include "questions.h"

#include <stdlib.h>

#include "memory.h"

int questions_open(struct questions *q, const char *dir, size_t vocab, const char *target, const char *diff, const char *pos,
                   struct error *e)
{
	q->names = token_text_open(dir, vocab);
	if (target && token_list_open(&q->target, q->names, target, false, e) < 0)
		return error_in(e, "--target");
	if (diff && token_list_open(&q->diff, q->names, diff, true, e) < 0)
		return error_in(e, "--diff");
	if (positions_parse(&q->row_at, pos ? pos : "last", e) < 0 || positions_parse(&q->nll_at, pos ? pos : "all", e) < 0)
		return error_in(e, "--pos");
	return 0;
}

void questions_close(struct questions *q)
{
	token_list_close(&q->target);
	token_list_close(&q->diff);
	token_text_close(q->names);
	q->names = NULL;
}

bool questions_row(const struct questions *q, const struct frame *f, const struct sample *s, uint32_t position)
{
	return q->rows && (f->pool.p || positions_have(&q->row_at, s, position));
}

bool questions_next(const struct questions *q, const struct sample *s, uint32_t position)
{
	return q->nll && position + 1 < s->len && positions_have(&q->nll_at, s, position + 1);
}

static int check_sample(const struct questions *q, const struct frame *f, const struct sample *s, uint32_t *ids,
                        struct error *e)
{
	if (q->rows && !f->pool.p && positions_check(&q->row_at, s, e) < 0)
		return -1;
	if (q->nll && positions_check(&q->nll_at, s, e) < 0)
		return -1;
	if (q->nll && s->len && !s->tokens)
		return error_set(e, "sample '%s' has no token ids, and --nll needs them", s->id.p ? s->id.p : "");
	return token_list_ids(&q->target, q->names, s, ids, e) < 0 || token_list_ids(&q->diff, q->names, s, ids, e) < 0 ? -1 : 0;
}

int questions_check(const struct questions *q, const struct frame *f, struct error *e)
{
	uint32_t *ids = mem_zero(q->target.n + 2, sizeof *ids);
	int status = 0;
	for (size_t i = 0; i < f->n_samples && status == 0; i++)
		status = check_sample(q, f, &f->samples[i], ids, e);
	free(ids);
	return status;
}

void questions_ids(const struct questions *q, const struct sample *s, uint32_t *ids, size_t *n_target, size_t *n_diff)
{
	struct error ignored;
	ptrdiff_t n = token_list_ids(&q->target, q->names, s, ids, &ignored);
	*n_target = n > 0 ? (size_t)n : 0;
	n = token_list_ids(&q->diff, q->names, s, ids + *n_target, &ignored);
	*n_diff = n == 2 ? 2 : 0;
}
