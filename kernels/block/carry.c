#include "carry.h"

#include <stdlib.h>

#include "memory.h"

struct carry_sample {
	uint64_t sample;
	void *k, *v;            /* (len, G D) */
	uint32_t have, len;     /* positions filled, of */
};

static void drop(struct carry *c, size_t i)
{
	c->ops->give(c->device, c->samples[i].k);
	c->ops->give(c->device, c->samples[i].v);
	c->samples[i] = c->samples[--c->n];
}

static int add(struct carry *c, const struct segment *s, size_t row_len, struct error *e)
{
	struct carry_sample new = { .sample = s->sample, .len = s->len };
	new.k = c->ops->take(c->device, s->len * row_len, "keys of a long sample", e);
	new.v = new.k ? c->ops->take(c->device, s->len * row_len, "values of a long sample", e) : NULL;
	if (!new.v) {
		c->ops->give(c->device, new.k);
		return -1;
	}
	mem_grow((void **)&c->samples, &c->capacity, c->n + 1, sizeof *c->samples);
	c->samples[c->n++] = new;
	return 0;
}

int carry_find(struct carry *c, struct segment *s, size_t row_len, struct error *e)
{
	size_t i = 0;
	/* One that has all its rows is another sample of the same number: a data set may be there twice. */
	while (i < c->n && (c->samples[i].sample != s->sample || c->samples[i].have == c->samples[i].len))
		i++;
	if (s->first != (i < c->n ? c->samples[i].have : 0))
		return error_set(e, "rows of a sample begin at position %u, and those before it end at %u", s->first,
		                 i < c->n ? c->samples[i].have : 0);
	if (i == c->n && add(c, s, row_len, e) < 0)
		return -1;
	c->samples[i].have += (uint32_t)s->n;
	s->k = c->samples[i].k;
	s->v = c->samples[i].v;
	return 0;
}

void carry_forget_finished(struct carry *c)
{
	for (size_t i = c->n; i-- > 0;)
		if (c->samples[i].have == c->samples[i].len)
			drop(c, i);
}

bool carry_unfinished(const struct carry *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->samples[i].have < c->samples[i].len)
			return true;
	return false;
}

void carry_release(struct carry *c)
{
	while (c->n)
		drop(c, c->n - 1);
	free(c->samples);
	*c = (struct carry){ c->ops, c->device, NULL, 0, 0 };
}
