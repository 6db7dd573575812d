#include "comparison.h"

#include <math.h>
#include <stdlib.h>

double comparison_cosine(const struct comparison *c)
{
	double aa = tally_value(&c->aa), bb = tally_value(&c->bb);
	if (c->identical == c->n || (c->n_finite && aa == 0 && bb == 0))
		return 1;
	/* Two roots: the product of the sums may overflow. */
	double cosine = tally_value(&c->ab) / (sqrt(aa) * sqrt(bb));
	/* 0 / 0 has a sign, which says nothing. */
	return isnan(cosine) ? NAN : cosine > 1 ? 1 : cosine < -1 ? -1 : cosine;
}

static double root_of_mean(const struct tally_sum *s, uint64_t n)
{
	return n ? sqrt(tally_value(s) / (double)n) : 0;
}

double comparison_rms(const struct comparison *c)
{
	return root_of_mean(&c->aa, c->n_finite);
}

double comparison_rms_difference(const struct comparison *c)
{
	return root_of_mean(&c->dd, c->n_finite);
}

double comparison_relative(const struct comparison *c)
{
	double d = comparison_rms_difference(c);
	return d == 0 ? 0 : d / comparison_rms(c);
}

static bool before(const struct place *p, double difference, uint64_t index)
{
	return p->difference > difference || (p->difference == difference && p->index < index);
}

bool comparison_wants(const struct comparison *c, double difference, uint64_t index)
{
	return c->n_places < COMPARISON_PLACES || !before(&c->place[c->n_places - 1], difference, index);
}

void comparison_place(struct comparison *c, const struct place *p)
{
	if (c->n_places == COMPARISON_PLACES)
		free(c->place[--c->n_places].id);
	size_t i = c->n_places++;
	for (; i > 0 && !before(&c->place[i - 1], p->difference, p->index); i--)
		c->place[i] = c->place[i - 1];
	c->place[i] = *p;
}

static void add_sum(struct tally_sum *to, const struct tally_sum *from)
{
	tally_add(to, from->sum, from->n);
	tally_add(to, from->lost, 0);
}

void comparison_add(struct comparison *to, struct comparison *from)
{
	to->n += from->n;
	to->identical += from->identical;
	to->outside += from->outside;
	to->n_finite += from->n_finite;
	for (int side = 0; side < 2; side++) {
		to->nan[side] += from->nan[side];
		to->inf[side] += from->inf[side];
	}
	add_sum(&to->aa, &from->aa);
	add_sum(&to->bb, &from->bb);
	add_sum(&to->ab, &from->ab);
	add_sum(&to->dd, &from->dd);
	to->max = from->max > to->max ? from->max : to->max;
	for (int i = 0; i < COMPARISON_ULPS; i++)
		to->ulp[i] += from->ulp[i];
	to->n_rows += from->n_rows;
	to->argmax_same += from->argmax_same;
	for (size_t i = 0; i < from->n_places; i++) {
		const struct place *p = &from->place[i];
		if (comparison_wants(to, p->difference, p->index))
			comparison_place(to, p);
		else
			free(p->id);
	}
	from->n_places = 0;
}

void comparison_release(struct comparison *c)
{
	while (c->n_places)
		free(c->place[--c->n_places].id);
}
