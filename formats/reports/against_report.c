#include "against_report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "memory.h"
#include "tally_report.h"

/* Sums over rows, and over tokens: a of the reference, d = b - a, and their products. */
enum { KL, REVERSE, SHARED, CHANGE, A, D, AA, AD, DD, SUMS };

struct sums {
	uint64_t rows, top1, tokens;
	struct tally_sum of[SUMS];
};

struct pair {
	struct sums sample, total;
};

struct against_report {
	struct tally_report lines;
	bool heading;
	size_t k;
	struct pair *pairs;     /* (lines.tallies.n) */
	size_t capacity, n;
};

/* What is told. */
struct figures {
	double kl, reverse, top1, topk;
	double target_rms, ppl, ppl_reference, change, change_se, log_change, log_change_se;
};

struct against_report *against_report_open(const char *path, size_t k, bool json, bool lens, const struct tms_header *h,
                                           struct error *e)
{
	struct against_report *r = mem_zero(1, sizeof *r);
	r->k = k;
	if (tally_report_open(&r->lines, path, json, lens, h, e) == 0)
		return r;
	free(r);
	return NULL;
}

static struct pair *pair_of(struct against_report *r, const struct tally *t)
{
	size_t i = 0;
	while (r->lines.tallies.at[i] != t)
		i++;
	mem_grow((void **)&r->pairs, &r->capacity, r->lines.tallies.n, sizeof *r->pairs);
	for (; r->n < r->lines.tallies.n; r->n++)
		r->pairs[r->n] = (struct pair){ 0 };
	return &r->pairs[i];
}

/* -------- sums */

static void add_row(struct sums *s, const struct divergence *d, size_t k)
{
	s->rows++;
	s->top1 += d->top1;
	tally_add(&s->of[KL], d->kl, 1);
	tally_add(&s->of[REVERSE], d->reverse, 1);
	tally_add(&s->of[SHARED], (double)d->common / (double)k, 1);
}

static void add_token(struct sums *s, const struct divergence *found)
{
	double a = -found->target_reference, d = found->target_reference - found->target;
	double change = exp(found->target) - exp(found->target_reference);
	s->tokens++;
	tally_add(&s->of[CHANGE], change * change, 1);
	tally_add(&s->of[A], a, 1);
	tally_add(&s->of[D], d, 1);
	tally_add(&s->of[AA], a * a, 1);
	tally_add(&s->of[AD], a * d, 1);
	tally_add(&s->of[DD], d * d, 1);
}

/* sum (x - mean x)(y - mean y) / (n - 1) / n: of the means' error. */
static double covariance(const struct sums *s, int xy, int x, int y)
{
	double n = (double)s->tokens;
	double sum = tally_value(&s->of[xy]) - tally_value(&s->of[x]) * tally_value(&s->of[y]) / n;
	return s->tokens > 1 ? sum / (n - 1) / n : NAN;
}

static double root(double v)
{
	return v < 0 ? 0 : sqrt(v);
}

static double mean(const struct sums *s, int of, uint64_t n)
{
	return n ? tally_value(&s->of[of]) / (double)n : NAN;
}

static struct figures figure(const struct sums *s)
{
	struct figures f = { .kl = mean(s, KL, s->rows), .reverse = mean(s, REVERSE, s->rows),
	                     .topk = mean(s, SHARED, s->rows), .top1 = s->rows ? (double)s->top1 / (double)s->rows : NAN,
	                     .target_rms = root(mean(s, CHANGE, s->tokens)), .log_change = mean(s, D, s->tokens) };
	f.ppl_reference = exp(mean(s, A, s->tokens));
	f.ppl = exp(mean(s, A, s->tokens) + f.log_change);
	f.change = f.ppl_reference * expm1(f.log_change);
	/* Q b - P a = Q d + (Q - P) a, where two runs that are nearly one cancel nothing. */
	double dd = covariance(s, DD, D, D);
	f.log_change_se = root(dd);
	f.change_se = root(f.ppl * f.ppl * dd + 2 * f.ppl * f.change * covariance(s, AD, A, D) +
	                   f.change * f.change * covariance(s, AA, A, A));
	return f;
}

/* -------- lines */

static void json_line(struct against_report *r, const struct tally *t, const struct sample *s, const struct sums *sums)
{
	const struct figures f = figure(sums);
	struct tally_report *o = &r->lines;
	text_char(&o->out, '{');
	tally_report_whose(o, t, s);
	tally_report_count(o, "rows", sums->rows);
	tally_report_value(o, "kl", f.kl);
	tally_report_value(o, "reverse_kl", f.reverse);
	tally_report_value(o, "top1", f.top1);
	tally_report_count(o, "k", r->k);
	tally_report_value(o, "topk", f.topk);
	tally_report_count(o, "tokens", sums->tokens);
	tally_report_value(o, "target_rms", f.target_rms);
	tally_report_value(o, "ppl", f.ppl);
	tally_report_value(o, "ppl_reference", f.ppl_reference);
	tally_report_value(o, "ppl_change", f.change);
	tally_report_value(o, "ppl_change_se", f.change_se);
	tally_report_value(o, "log_ppl_change", f.log_change);
	tally_report_value(o, "log_ppl_change_se", f.log_change_se);
	text_string(&o->out, "}\n");
}

static void table_number(struct against_report *r, int width, int digits, double v)
{
	char text[64];
	int n = isnan(v) ? snprintf(text, sizeof text, "%*s", width, "-") : snprintf(text, sizeof text, "%*.*g", width, digits, v);
	text_put(&r->lines.out, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

static void table_line(struct against_report *r, const struct tally *t, const struct sample *s, const struct sums *sums)
{
	const struct figures f = figure(sums);
	char text[192];
	if (!r->heading) {
		int n = snprintf(text, sizeof text, "%8s%12s%12s%8s  top%-6zu%12s%12s%12s%12s  %s\n", "rows", "kl", "reverse", "top1",
		                 r->k, "target rms", "ppl", "ppl change", "+-", "sample");
		text_put(&r->lines.out, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
		r->heading = true;
	}
	table_number(r, 8, 8, (double)sums->rows);
	table_number(r, 12, 4, f.kl);
	table_number(r, 12, 4, f.reverse);
	table_number(r, 8, 4, f.top1);
	table_number(r, 11, 4, f.topk);
	table_number(r, 12, 4, f.target_rms);
	table_number(r, 12, 6, f.ppl);
	table_number(r, 12, 4, f.change);
	table_number(r, 12, 2, f.change_se);
	text_string(&r->lines.out, "  ");
	tally_report_whose(&r->lines, t, s);
	text_char(&r->lines.out, '\n');
}

static void line(struct against_report *r, const struct tally *t, const struct sample *s, const struct sums *sums)
{
	if (r->lines.json)
		json_line(r, t, s, sums);
	else
		table_line(r, t, s, sums);
}

/* -------- rows and samples */

int against_report_row(void *report, const struct frame *f, const struct sample *s, const struct divergence *d, struct error *e)
{
	struct against_report *r = report;
	struct pair *p = pair_of(r, tally_find(&r->lines.tallies, f));
	(void)s;
	(void)e;
	if (d->row) {
		add_row(&p->sample, d, r->k);
		add_row(&p->total, d, r->k);
	}
	if (d->next) {
		add_token(&p->sample, d);
		add_token(&p->total, d);
	}
	return 0;
}

int against_report_sample(void *report, const struct frame *f, const struct sample *s, struct error *e)
{
	struct against_report *r = report;
	struct tally *t = tally_find(&r->lines.tallies, f);
	int whole = f->pool.p ? 1 : tally_rows(t, s, e);
	if (whole <= 0)
		return whole;
	struct pair *p = pair_of(r, t);
	line(r, t, s, &p->sample);
	p->sample = (struct sums){ 0 };
	if (!f->pool.p)
		tally_next(t);
	return tally_report_status(&r->lines, e);
}

/* -------- the end */

static void put_total(void *report, const struct tally *t)
{
	static const struct sums none;
	line(report, t, NULL, t ? &pair_of(report, t)->total : &none);
}

static void release(struct against_report *r)
{
	free(r->pairs);
	free(r);
}

int against_report_finish(struct against_report *r, struct error *e)
{
	int status = tally_report_finish(&r->lines, put_total, r, e);
	release(r);
	return status;
}

void against_report_abort(struct against_report *r)
{
	if (!r)
		return;
	tally_report_abort(&r->lines);
	release(r);
}
