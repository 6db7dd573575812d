/* unembed: the final norm and the output head; what the model says at each position. */
#include <stdlib.h>
#include <string.h>

#include "checkpoint.h"
#include "head.h"
#include "lens.h"
#include "logits.h"
#include "memory.h"
#include "option.h"
#include "outer.h"
#include "positions.h"
#include "progress.h"
#include "report.h"
#include "resid.h"
#include "select.h"
#include "tally.h"
#include "tap.h"
#include "token_text.h"

static struct {
	uint64_t top;
	const char *target, *diff, *pos, *tap_dtype;
	struct option_list taps;
	bool nll, logits, lens, json, no_output;
} arg;

static const struct option options[] = {
	OPTION_MODEL,
	OPTION_OUTPUT,
	{ OPTION_FLAG, 'n', NULL, &arg.no_output, NULL, "no report, only taps", HISTORY_NO, 0 },
	OPTION_JOBS,
	OPTION_DEVICE,
	{ OPTION_COUNT, 0, "top", &arg.top, "K", "the K most likely next tokens (default, if nothing is asked for: 5)", HISTORY_NO, 1 },
	{ OPTION_FLAG, 0, "nll", &arg.nll, NULL, "negative log-likelihood and perplexity of each sample and of all", HISTORY_NO, 0 },
	{ OPTION_STRING, 0, "target", &arg.target, "TOKENS", "these tokens: text or #ID, between commas; @ is each sample's own target", HISTORY_NO, 0 },
	{ OPTION_STRING, 0, "diff", &arg.diff, "A,B", "the logit of token A less that of B; @ is each sample's own target and foil", HISTORY_NO, 0 },
	{ OPTION_FLAG, 0, "logits", &arg.logits, NULL, "write the logits, as a tensor stream", HISTORY_NO, 0 },
	{ OPTION_FLAG, 0, "lens", &arg.lens, NULL, "read any layer's stream as if the model ended there", HISTORY_NO, 0 },
	{ OPTION_STRING, 0, "pos", &arg.pos, "POOL|all", "which positions (default last; all for --nll)", HISTORY_YES, 0 },
	{ OPTION_FLAG, 0, "json", &arg.json, NULL, "JSON lines", HISTORY_NO, 0 },
	{ OPTION_LIST, 0, "tap", &arg.taps, "SITE[,SITE][/POOL]=FILE", "write final_norm or logits to FILE; it may be - or '|command'", HISTORY_NO, 0 },
	{ OPTION_STRING, 0, "tap-dtype", &arg.tap_dtype, "T", "type of taps' rows and of --logits (default f32; f64 on ref)", HISTORY_YES, 0 },
	OPTION_LAST
};

struct result {                 /* of one row of a tile */
	double next;            /* log-probability of the token that follows */
	struct token_value *top, *target, diff[2]; /* (arg.top), (n_target) */
	size_t n_target;
	bool has_diff;
};

struct run {
	struct checkpoint *checkpoint;
	const struct model *m;
	const struct ops *ops;
	struct workers *workers;
	struct device *device;
	struct layer after;
	void *arena;
	struct tms_reader *in;
	struct frame *first;            /* read ahead, so that no weights are read for a stream that is refused */
	struct taps *taps[2];           /* --tap, --logits; NULL: none */
	struct report *report;          /* NULL: none */
	bool rows, reads_logits;        /* a report of rows is asked for; anything reads logits */
	struct positions row_at, nll_at, *tap_at;
	size_t n_tap_at;
	struct token_text *names;
	struct token_list target, diff;
	struct head *head;
	struct result *result;          /* (expert_tile) */
	struct tallies tallies;
	char *tapped_site;              /* taps keep no layer, so all frames must be of one */
	int tapped_layer;
	uint64_t done;
};

/* -------- which rows */

static bool row_reported(const struct run *r, const struct head_row *row)
{
	return r->rows && (row->frame->pool.p || positions_have(&r->row_at, row->sample, row->position));
}

/* The positions of --nll are those of the tokens that are predicted. */
static bool next_reported(const struct run *r, const struct head_row *row)
{
	return arg.nll && row->position + 1 < row->sample->len && positions_have(&r->nll_at, row->sample, row->position + 1);
}

static bool wants(void *context, const struct frame *f, const struct sample *s, uint32_t position)
{
	const struct run *r = context;
	const struct head_row row = { f, s, position };
	bool wanted = row_reported(r, &row) || next_reported(r, &row);
	for (size_t i = 0; i < r->n_tap_at && !wanted; i++)
		wanted = positions_have(&r->tap_at[i], s, position);
	return wanted;
}

/* -------- a row's logits into a result */

static void reduce_chosen(struct run *r, const struct sample *s, const struct logits *l, double sum, struct result *to)
{
	struct error ignored; /* check_frame has had it */
	uint32_t *ids = mem_zero(r->target.n + 2, sizeof *ids);
	ptrdiff_t n = token_list_ids(&r->target, r->names, s, ids, &ignored);
	for (to->n_target = 0; (ptrdiff_t)to->n_target < n; to->n_target++)
		logits_token(l, sum, ids[to->n_target], &to->target[to->n_target]);
	to->has_diff = token_list_ids(&r->diff, r->names, s, ids, &ignored) == 2;
	for (size_t i = 0; to->has_diff && i < 2; i++)
		logits_token(l, sum, ids[i], &to->diff[i]);
	free(ids);
}

static void reduce(void *context, size_t i, const struct head_row *row, const void *logits)
{
	struct run *r = context;
	struct result *to = &r->result[i];
	const struct logits l = { logits, r->after.head.n, r->ops->work };
	bool reported = row_reported(r, row), next = next_reported(r, row);
	if (!reported && !next)
		return;
	double sum = logits_sum(&l);
	if (next)
		to->next = logits_at(&l, row->sample->tokens[row->position + 1]) - sum;
	if (!reported)
		return;
	logits_top(&l, sum, arg.top, to->top);
	reduce_chosen(r, row->sample, &l, sum, to);
}

/* -------- in the order of the stream */

static int take(void *context, size_t i, const struct head_row *row, struct error *e)
{
	struct run *r = context;
	const struct result *from = &r->result[i];
	if (next_reported(r, row))
		tally_add(&tally_find(&r->tallies, row->frame)->sample, -from->next, 1);
	if (!row_reported(r, row))
		return 0;
	const struct report_row line = { row->frame, row->sample, row->position, from->top, from->target,
	                                 from->has_diff ? from->diff : NULL, arg.top, from->n_target };
	return report_row(r->report, &line, e);
}

static int pass(void *context, const struct frame *f, size_t first, size_t n, const void *normed, const void *logits,
                struct error *e)
{
	struct run *r = context;
	struct tap_rows rows = { .work = r->ops->work };
	rows.at[SITE_FINAL_NORM] = normed;
	rows.at[SITE_LOGITS] = logits;
	for (size_t i = 0; i < ARRAY_LEN(r->taps); i++)
		if (r->taps[i] && taps_put(r->taps[i], -1, f, first, n, &rows, e) < 0)
			return -1;
	return 0;
}

static int sample_end(void *context, const struct frame *f, const struct sample *s, struct error *e)
{
	struct run *r = context;
	if (f->pool.p)
		return 0;
	struct tally *t = tally_find(&r->tallies, f);
	int whole = tally_rows(t, s, e);
	if (whole <= 0)
		return whole < 0 ? error_in(e, "%s", tms_name(r->in)) : 0;
	int status = arg.nll && r->report ? report_nll(r->report, t, s, e) : 0;
	tally_next(t);
	return status;
}

/* -------- the stream */

static int check_sample(struct run *r, const struct frame *f, const struct sample *s, uint32_t *ids, struct error *e)
{
	const char *id = s->id.p ? s->id.p : "";
	if (!f->pool.p && (positions_check(&r->row_at, s, e) < 0 || positions_check(&r->nll_at, s, e) < 0))
		return -1;
	for (uint32_t i = 0; s->tokens && i < s->len; i++)
		if (s->tokens[i] >= r->m->vocab)
			return error_set(e, "sample '%s' has token %u, and the model's vocabulary is %zu", id, s->tokens[i], r->m->vocab);
	if (arg.nll && s->len && !s->tokens)
		return error_set(e, "sample '%s' has no token ids, and --nll needs them", id);
	return token_list_ids(&r->target, r->names, s, ids, e) < 0 || token_list_ids(&r->diff, r->names, s, ids, e) < 0 ? -1 : 0;
}

static int check_frame(struct run *r, const struct frame *f, struct error *e)
{
	bool taps = r->taps[0] || r->taps[1];
	if (f->pool.p && (arg.nll || taps))
		return tms_error(r->in, e, "its rows are pooled (%s), and %s every position's", f->pool.p,
		                 arg.nll ? "--nll needs" : "taps and --logits need");
	if (taps && !r->tapped_site) {
		r->tapped_site = mem_slice(f->site.p, f->site.len);
		r->tapped_layer = f->layer;
	} else if (taps && (f->layer != r->tapped_layer || !text_equal(f->site, text_of(r->tapped_site)))) {
		return tms_error(r->in, e, "is of another layer than the frames before it, and taps and --logits keep none; choose one "
		                 "with tcat --select");
	}
	uint32_t *ids = mem_zero(r->target.n + 2, sizeof *ids);
	int status = 0;
	for (size_t i = 0; i < f->n_samples && status == 0; i++)
		if (check_sample(r, f, &f->samples[i], ids, e) < 0)
			status = error_in(e, "%s", tms_name(r->in));
	free(ids);
	return status;
}

/* Taps frame by the size of their rows; cut so from the start, no more than that waits in memory. */
static int add_frame(struct run *r, const struct frame *f, struct error *e)
{
	struct frame_cursor cursor = { 0 };
	struct frame piece;
	const char *rows = f->rows;
	size_t row_len = r->m->width * dtype_size(f->dtype), cut_len = row_len;
	int status = check_frame(r, f, e);
	if (r->taps[0] || r->taps[1])
		cut_len = r->m->vocab * dtype_size(r->ops->work);
	while (status == 0 && frame_cut(f, cut_len, &cursor, &piece)) {
		status = head_add(r->head, &piece, rows, e);
		rows += frame_n_rows(&piece) * row_len;
	}
	frame_cut_release(&cursor);
	r->done += frame_n_rows(f);
	progress_tell("unembed", 0, 0, r->done, 0);
	return status;
}

static int read_stream(struct run *r, struct error *e)
{
	int more = r->first ? 1 : 0, status = 0;
	struct frame *f = r->first;
	r->first = NULL;
	progress_open("tokens");
	while (more > 0 && status == 0) {
		status = add_frame(r, f, e);
		frame_free(f);
		if (status == 0)
			more = lens_next(r->in, r->m, arg.lens, &f, e);
	}
	progress_close();
	if (status < 0 || more < 0 || head_end(r->head, e) < 0)
		return -1;
	if (tallies_end(&r->tallies, e) < 0)
		return error_in(e, "%s", tms_name(r->in));
	if (!arg.nll || !r->report)
		return 0;
	for (size_t i = 0; i < r->tallies.n && status == 0; i++)
		status = report_nll(r->report, r->tallies.at[i], NULL, e);
	return r->tallies.n ? status : report_nll(r->report, NULL, NULL, e);
}

/* -------- opening */

static int load_weights(struct run *r, struct error *e)
{
	const struct part *all;
	size_t n_all = checkpoint_outer_parts(r->checkpoint, &all), n = 0;
	struct part *parts = mem_zero(n_all, sizeof *parts);
	for (size_t i = 0; i < n_all; i++)
		if (all[i].role == ROLE_FINAL_NORM || (all[i].role == ROLE_HEAD && r->reads_logits))
			parts[n++] = all[i];
	size_t len = layer_arena_len(r->ops, r->device, r->m, parts, n);
	r->arena = mem_try(len, "the output head", e);
	int status = r->arena ? layer_init(&r->after, r->ops, r->device, r->m, r->m->n_layers, parts, n, r->arena, len, e) : -1;
	if (status == 0)
		status = outer_read(r->checkpoint, r->workers, parts, n, layer_put, &r->after, e);
	free(parts);
	return status;
}

static int open_head(struct run *r, struct error *e)
{
	static struct head_reader reader;
	reader = (struct head_reader){ r, wants, reduce, take, pass, sample_end };
	if (load_weights(r, e) < 0)
		return -1;
	r->head = head_open(r->ops, r->device, r->m, r->workers, &r->after, r->reads_logits, &reader, e);
	r->result = mem_zero(r->ops->expert_tile, sizeof *r->result);
	for (size_t i = 0; i < r->ops->expert_tile; i++) {
		r->result[i].top = mem_zero(arg.top, sizeof *r->result->top);
		r->result[i].target = mem_zero(r->target.n, sizeof *r->result->target);
	}
	return r->head ? 0 : -1;
}
