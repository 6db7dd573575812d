#include "tally.h"

#include <math.h>
#include <stdlib.h>

#include "memory.h"

void tally_add(struct tally_sum *s, double value, uint64_t n)
{
	double sum = s->sum + value;
	s->n += n;
	/* An infinite or NaN sum has lost nothing that could be told. */
	if (isfinite(sum))
		s->lost += fabs(s->sum) >= fabs(value) ? (s->sum - sum) + value : (value - sum) + s->sum;
	s->sum = sum;
}

struct tally *tally_find(struct tallies *t, const struct frame *f)
{
	for (size_t i = 0; i < t->n; i++) {
		struct tally *one = t->at[i];
		if (one->layer == f->layer && one->variant == f->variant && text_equal(text_of(one->site), f->site))
			return one;
	}
	mem_grow((void **)&t->at, &t->capacity, t->n + 1, sizeof *t->at);
	struct tally *new = t->at[t->n++] = mem_zero(1, sizeof *new);
	new->site = f->site.p ? mem_slice(f->site.p, f->site.len) : NULL;
	new->layer = f->layer;
	new->variant = f->variant;
	return new;
}

int tally_rows(struct tally *t, const struct sample *s, struct error *e)
{
	const char *id = s->id.p ? s->id.p : "";
	if (!t->busy) {
		free(t->id);
		t->id = mem_string(id);
		t->seq = s->seq;
		t->next = 0;
		t->busy = true;
	}
	if (t->seq != s->seq)
		return error_set(e, "sample '%s' begins before the last positions of sample '%s' have come", id, t->id);
	if (t->next != s->first)
		return error_set(e, "rows of sample '%s' begin at position %u where %u is due", id, s->first, t->next);
	t->next += s->n;
	return t->next >= s->len;
}

void tally_next(struct tally *t)
{
	if (t->sample.n)
		tally_add(&t->total, tally_value(&t->sample), t->sample.n);
	t->sample = (struct tally_sum){ 0 };
	t->busy = false;
}

int tallies_end(const struct tallies *t, struct error *e)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->at[i]->busy)
			return error_set(e, "sample '%s' ends after %u positions, the rest never came", t->at[i]->id,
			                 t->at[i]->next);
	return 0;
}

void tallies_release(struct tallies *t)
{
	for (size_t i = 0; i < t->n; i++) {
		free(t->at[i]->site);
		free(t->at[i]->id);
		free(t->at[i]);
	}
	free(t->at);
	*t = (struct tallies){ 0 };
}
