#include "report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "tally_report.h"

enum table { TABLE_NONE, TABLE_ROWS, TABLE_NLL };

struct report {
	struct tally_report lines;
	const struct questions *questions;
	enum table table;       /* whose heading was printed last */
};

/* One row and what was found for it. */
struct row {
	const struct frame *frame;
	const struct sample *sample;
	uint32_t position;
	const struct token_value *top, *target, *diff;
	size_t n_top, n_target, n_diff;
};

struct answer *answers_new(size_t n, const struct questions *q)
{
	size_t n_values = q->top + q->target.n + 2;
	struct answer *a = mem_zero(n, sizeof *a + n_values * sizeof *a->values);
	struct token_value *values = (struct token_value *)(a + n);
	for (size_t i = 0; i < n; i++)
		a[i].values = values + i * n_values;
	return a;
}

struct report *report_open(const char *path, const struct questions *q, bool json, bool lens, const struct tms_header *h,
                           struct error *e)
{
	struct report *r = mem_zero(1, sizeof *r);
	r->questions = q;
	if (tally_report_open(&r->lines, path, json, lens, h, e) == 0)
		return r;
	free(r);
	return NULL;
}

/* -------- rows */

static void json_token(struct report *r, uint32_t id)
{
	size_t len;
	char *text = token_text_of(r->questions->names, id, &len);
	text_printf(&r->lines.out, "\"token\":%u", id);
	if (!text)
		return;
	text_string(&r->lines.out, ",\"text\":");
	text_json(&r->lines.out, text, len);
	free(text);
}

static void json_tokens(struct report *r, const char *name, const struct token_value *list, size_t n)
{
	text_printf(&r->lines.out, ",\"%s\":[", name);
	for (size_t i = 0; i < n; i++) {
		text_string(&r->lines.out, i ? ",{" : "{");
		json_token(r, list[i].id);
		tally_report_value(&r->lines, "logit", list[i].logit);
		tally_report_value(&r->lines, "logprob", list[i].logprob);
		text_printf(&r->lines.out, ",\"rank\":%zu}", list[i].rank);
	}
	text_char(&r->lines.out, ']');
}

static bool has_position(const struct row *row)
{
	return !row->frame->pool.p || row->sample->n == 1;
}

static void json_row(struct report *r, const struct row *row)
{
	const struct sample *s = row->sample;
	text_char(&r->lines.out, '{');
	tally_report_id(&r->lines, s);
	tally_report_place(&r->lines, row->frame->variant, row->frame->site.p, row->frame->layer);
	if (!has_position(row)) {
		text_string(&r->lines.out, ",\"pool\":");
		text_json(&r->lines.out, row->frame->pool.p, row->frame->pool.len);
	} else {
		text_printf(&r->lines.out, ",\"pos\":%u", row->position);
		if (s->tokens) {
			text_char(&r->lines.out, ',');
			json_token(r, s->tokens[row->position]);
		}
	}
	if (row->n_top)
		json_tokens(r, "top", row->top, row->n_top);
	if (row->n_target)
		json_tokens(r, "target", row->target, row->n_target);
	if (row->n_diff) {
		tally_report_value(&r->lines, "diff", row->diff[0].logit - row->diff[1].logit);
		json_tokens(r, "between", row->diff, 2);
	}
	text_string(&r->lines.out, "}\n");
}

static void table_token(struct report *r, uint32_t id)
{
	size_t len;
	char *text = token_text_of(r->questions->names, id, &len);
	if (text) {
		text_json(&r->lines.out, text, len);
		text_char(&r->lines.out, ' ');
	}
	text_printf(&r->lines.out, "#%u", id);
	free(text);
}

static void table_tokens(struct report *r, const struct token_value *list, size_t n, bool target)
{
	for (size_t i = 0; i < n; i++) {
		text_printf(&r->lines.out, "%8zu %9.5f %10.4f %10.4f  ", list[i].rank, exp(list[i].logprob), list[i].logprob, list[i].logit);
		table_token(r, list[i].id);
		text_string(&r->lines.out, target ? "  (target)\n" : "\n");
	}
}

static void table_row(struct report *r, const struct row *row)
{
	const struct sample *s = row->sample;
	if (r->table != TABLE_ROWS)
		text_printf(&r->lines.out, "%8s %9s %10s %10s  %s\n", "rank", "prob", "log prob", "logit", "token");
	r->table = TABLE_ROWS;
	text_field(&r->lines.out, s->id.p ? s->id.p : "", s->id.len);
	tally_report_place(&r->lines, row->frame->variant, row->frame->site.p, row->frame->layer);
	if (!has_position(row)) {
		text_printf(&r->lines.out, "  %s", row->frame->pool.p);
	} else {
		text_printf(&r->lines.out, "  at %u  ", row->position);
		if (s->tokens)
			table_token(r, s->tokens[row->position]);
	}
	text_char(&r->lines.out, '\n');
	table_tokens(r, row->top, row->n_top, false);
	table_tokens(r, row->target, row->n_target, true);
	if (row->n_diff) {
		text_printf(&r->lines.out, "%8s %20s %10.4f  ", "diff", "", row->diff[0].logit - row->diff[1].logit);
		table_token(r, row->diff[0].id);
		text_string(&r->lines.out, " - ");
		table_token(r, row->diff[1].id);
		text_char(&r->lines.out, '\n');
	}
}

int report_row(struct report *r, const struct frame *f, const struct sample *s, uint32_t position, const struct answer *a,
               struct error *e)
{
	const struct questions *q = r->questions;
	if (questions_next(q, s, position))
		tally_add(&tally_find(&r->lines.tallies, f)->sample, -a->next, 1);
	if (!questions_row(q, f, s, position))
		return 0;
	const struct token_value *target = a->values + q->top;
	const struct row row = { f, s, position, a->values, target, target + a->n_target, q->top, a->n_target, a->n_diff };
	if (r->lines.json)
		json_row(r, &row);
	else
		table_row(r, &row);
	return tally_report_status(&r->lines, e);
}

/* -------- sums */

static void json_nll(struct report *r, const struct tally *t, const struct sample *s, uint64_t n, double nll)
{
	text_char(&r->lines.out, '{');
	tally_report_whose(&r->lines, t, s);
	tally_report_count(&r->lines, "tokens", n);
	tally_report_value(&r->lines, "nll", nll);
	tally_report_value(&r->lines, "ppl", n ? exp(nll / (double)n) : NAN);
	text_string(&r->lines.out, "}\n");
}

static void table_nll(struct report *r, const struct tally *t, const struct sample *s, uint64_t n, double nll)
{
	if (r->table != TABLE_NLL)
		text_printf(&r->lines.out, "%10s %16s %16s  %s\n", "tokens", "nll", "ppl", "sample");
	r->table = TABLE_NLL;
	text_printf(&r->lines.out, "%10llu %16.6f ", (unsigned long long)n, nll);
	if (n)
		text_printf(&r->lines.out, "%16.6f  ", exp(nll / (double)n));
	else
		text_printf(&r->lines.out, "%16s  ", "-");
	tally_report_whose(&r->lines, t, s);
	text_char(&r->lines.out, '\n');
}

/* Of a sample of the sequence t; s NULL: of the whole sequence; t NULL: of no sequence at all. */
static void put_nll(struct report *r, const struct tally *t, const struct sample *s)
{
	static const struct tally_sum none;
	const struct tally_sum *sum = !t ? &none : s ? &t->sample : &t->total;
	if (r->lines.json)
		json_nll(r, t, s, sum->n, tally_value(sum));
	else
		table_nll(r, t, s, sum->n, tally_value(sum));
}

int report_sample(struct report *r, const struct frame *f, const struct sample *s, struct error *e)
{
	if (f->pool.p)
		return 0;
	struct tally *t = tally_find(&r->lines.tallies, f);
	int whole = tally_rows(t, s, e);
	if (whole <= 0)
		return whole;
	if (r->questions->nll)
		put_nll(r, t, s);
	tally_next(t);
	return tally_report_status(&r->lines, e);
}

/* -------- the end */

static void put_total(void *report, const struct tally *t)
{
	put_nll(report, t, NULL);
}

int report_finish(struct report *r, struct error *e)
{
	int status = tally_report_finish(&r->lines, r->questions->nll ? put_total : NULL, r, e);
	free(r);
	return status;
}

void report_abort(struct report *r)
{
	if (!r)
		return;
	tally_report_abort(&r->lines);
	free(r);
}
