/* unembed: the final norm and the output head; what the model says at each position. */
#include <stdlib.h>
#include <string.h>

#include "against.h"
#include "against_report.h"
#include "checkpoint.h"
#include "head.h"
#include "head_hooks.h"
#include "lens.h"
#include "logits.h"
#include "memory.h"
#include "option.h"
#include "outer.h"
#include "positions.h"
#include "progress.h"
#include "questions.h"
#include "report.h"
#include "resid.h"
#include "select.h"
#include "steer_filter.h"

static struct {
	uint64_t top;
	const char *target, *diff, *against, *pos;
	struct hook_options hooks;
	bool nll, logits, lens, json, no_output;
} arg = { .hooks = HOOK_OPTIONS(&steer_filter) };

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
	{ OPTION_STRING, 0, "against", &arg.against, "FILE", "how far this run is from FILE, another run's stream or logits", HISTORY_NO, 0 },
	{ OPTION_STRING, 0, "pos", &arg.pos, "POOL|all", "which positions (default last; all for --nll and --against)", HISTORY_YES, 0 },
	{ OPTION_FLAG, 0, "json", &arg.json, NULL, "JSON lines", HISTORY_NO, 0 },
	OPTION_HOOKS(arg.hooks),
	OPTION_LAST
};

struct run {
	struct checkpoint *checkpoint;
	const struct model *m;
	struct backend backend;
	struct lens in;
	struct frame *first;            /* read ahead, so that no weights are read for a stream that is refused */
	struct head_weights weights;
	struct head *head;
	struct head_reader reader;
	bool logits;                    /* are computed */
	struct questions questions;
	struct answer *answer;          /* (rows of a tile) */
	struct report *report;          /* NULL: none */
	struct reference *reference;    /* --against; NULL: none */
	struct against_reader against_reader; /* its context: the report */
	struct against *against;
	struct head_hooks hooks;
	uint64_t done;
};

/* -------- what the head asks and gives */

static bool wants(void *context, const struct frame *f, const struct sample *s, uint32_t position)
{
	const struct run *r = context;
	return head_hooks_want(&r->hooks, s, position) || questions_row(&r->questions, f, s, position) || questions_next(&r->questions, s, position);
}

static void reduce(void *context, size_t i, const struct head_row *row, const void *logits)
{
	struct run *r = context;
	const struct questions *q = &r->questions;
	struct answer *to = &r->answer[i];
	const struct logits l = { logits, r->m->vocab, r->backend.ops->work };
	const bool asked = questions_row(q, row->frame, row->sample, row->position);
	const bool next = questions_next(q, row->sample, row->position);
	double sum = asked || next ? logits_sum(&l) : 0;
	if (next)
		to->next = logits_at(&l, row->sample->tokens[row->position + 1]) - sum;
	if (!asked)
		return;
	uint32_t *ids = mem_zero(q->target.n + 2, sizeof *ids);
	questions_ids(q, row->sample, ids, &to->n_target, &to->n_diff);
	logits_top(&l, sum, q->top, to->values);
	for (size_t k = 0; k < to->n_target + to->n_diff; k++)
		logits_token(&l, sum, ids[k], &to->values[q->top + k]);
	free(ids);
}

static int take(void *context, size_t i, const struct head_row *row, struct error *e)
{
	struct run *r = context;
	return r->report ? report_row(r->report, row->frame, row->sample, row->position, &r->answer[i], e) : 0;
}

static int pass(void *context, const struct frame *f, size_t first, size_t n, const void *normed, const void *logits,
                struct error *e)
{
	struct run *r = context;
	return head_hooks_pass(&r->hooks, f, first, n, normed, logits, e);
}

static int change(void *context, enum site site, const struct frame *f, size_t first, size_t n, void *rows, size_t width,
                  struct error *e)
{
	struct run *r = context;
	return head_hooks_change(&r->hooks, site, f, first, n, rows, width, e);
}

static int sample_end(void *context, const struct frame *f, const struct sample *s, struct error *e)
{
	struct run *r = context;
	return r->report && report_sample(r->report, f, s, e) < 0 ? error_in(e, "%s", tms_name(r->in.in)) : 0;
}

/* -------- the stream */

static int read_stream(struct run *r, struct error *e)
{
	int more = r->first ? 1 : 0, status = 0;
	struct frame *f = r->first;
	r->first = NULL;
	progress_open("tokens");
	while (more > 0 && status == 0) {
		r->done += frame_n_rows(f);
		if (questions_check(&r->questions, f, e) < 0)
			status = error_in(e, "%s", tms_name(r->in.in));
		else
			status = head_add(r->head, f, e);
		frame_free(f);
		progress_tell("unembed", 0, 0, r->done, 0);
		if (status == 0)
			more = lens_next(&r->in, &f, e);
	}
	progress_close();
	return status < 0 || more < 0 ? -1 : head_end(r->head, e);
}

/* -------- opening */

static int choose(struct questions *q, struct error *e)
{
	bool any = arg.top || arg.target || arg.diff || arg.nll;
	if (arg.against && (arg.target || arg.diff || arg.nll || arg.logits || arg.no_output || arg.hooks.taps.n || arg.hooks.filters.list.n || arg.hooks.patches.n))
		return error_set(e, "--against has a report of its own; of the other questions it takes --top K (how many likely tokens are compared), --pos and --lens");
	if (arg.logits && any)
		return error_set(e, "--logits writes a stream where the report would go; ask for one of them, or take the logits with --tap");
	if (arg.top == 0 && (arg.against || (!any && !arg.logits && !arg.hooks.taps.n && !arg.no_output)))
		arg.top = 5;
	if (arg.no_output && !arg.hooks.taps.n)
		return error_set(e, "-n writes no report, and there is no --tap: nothing would come out");
	arg.logits &= !arg.no_output;
	q->top = arg.top;
	q->rows = !arg.no_output && (arg.against || arg.top || arg.target || arg.diff);
	q->nll = !arg.no_output && arg.nll;
	return 0;
}

static int open_against(struct run *r, struct error *e)
{
	r->reference = reference_open(arg.against, r->m, &r->in, e);
	if (!r->reference)
		return -1;
	r->against_reader = (struct against_reader){ NULL, against_report_row, against_report_sample };
	r->against_reader.context = against_report_open(common.output, arg.top, arg.json, arg.lens, tms_header(r->in.in), e);
	return r->against_reader.context ? 0 : -1;
}

static int open_outputs(struct run *r, struct error *e)
{
	struct questions *q = &r->questions;
	const char *pool = !arg.pos ? "/last" : strcmp(arg.pos, "all") == 0 ? "" : arg.pos;
	char *logits = mem_format("logits%s%s=%s", pool == arg.pos ? "/" : "", pool, common.output ? common.output : "-");
	r->in.one_for = arg.logits ? "--logits" : arg.hooks.taps.n ? "--tap" : NULL;
	r->in.positions_for = r->in.one_for ? r->in.one_for : arg.nll ? "--nll" : arg.hooks.filters.list.n ? "--filter" : arg.hooks.patches.n ? "--patch" : NULL;
	int status = head_hooks_open(&r->hooks, &arg.hooks, arg.logits ? logits : NULL, r->m, tms_header(r->in.in), tms_name(r->in.in), r->backend.name, r->backend.ops->work, e);
	free(logits);
	r->logits = r->hooks.reads[SITE_LOGITS] || q->rows || q->nll;
	if (status < 0 || !(q->rows || q->nll))
		return status;
	if (arg.against)
		return open_against(r, e);
	r->report = report_open(common.output, q, arg.json, arg.lens, tms_header(r->in.in), e);
	return r->report ? 0 : -1;
}

static int load_weights(struct run *r, struct error *e)
{
	const bool wanted[ROLE_COUNT] = { [ROLE_FINAL_NORM] = true, [ROLE_HEAD] = r->logits };
	struct part *parts;
	if (r->logits && !checkpoint_part(r->checkpoint, ROLE_HEAD, false))
		return error_set(e, "%s: has no output head, so there are no logits; final_norm can be read with --tap", r->m->name);
	size_t n = outer_parts(r->checkpoint, wanted, &parts);
	int status = head_weights_open(&r->weights, r->backend.ops, r->backend.device, r->m, parts, n, r->logits, arg.against ? 2 : 1, e);
	free(parts);
	if (status < 0 || outer_read(r->checkpoint, r->backend.workers, wanted, layer_put, &r->weights.after, e) < 0)
		return -1;
	r->backend.ops->put_wait(r->backend.device);
	return 0;
}

static int open_head(struct run *r, struct error *e)
{
	r->reader = (struct head_reader){ .context = r, .wants = wants, .reduce = reduce, .take = take, .pass = r->hooks.n_at ? pass : NULL, .sample_end = sample_end, .change = head_hooks_change_any(&r->hooks) ? change : NULL };
	r->answer = answers_new(r->weights.tile, &r->questions);
	const struct backend *b = &r->backend;
	if (arg.against) {
		r->against = against_open(b->ops, b->device, r->m, b->workers, &r->weights, r->reference, &r->questions.row_at, &r->questions.nll_at, arg.top, &r->against_reader, e);
		if (!r->against)
			return -1;
		r->reader = *against_head(r->against);
	}
	struct workers *host = backend_host_workers(&r->backend, common.jobs, e);
	if (!host)
		return -1;
	r->head = head_open(b->ops, b->device, r->m, b->workers, host, &r->weights, r->logits, &r->reader, e);
	return r->head ? 0 : -1;
}

static int open_all(struct run *r, const char *path, struct error *e)
{
	if (choose(&r->questions, e) < 0)
		return -1;
	r->checkpoint = checkpoint_open(common.model, e);
	if (!r->checkpoint)
		return -1;
	r->m = checkpoint_model(r->checkpoint);
	if (arg.top > r->m->vocab)
		return error_set(e, "--top %llu: the model's vocabulary is %zu", (unsigned long long)arg.top, r->m->vocab);
	if (questions_open(&r->questions, checkpoint_path(r->checkpoint), r->m->vocab, arg.target, arg.diff, arg.pos ? arg.pos : arg.against ? "all" : NULL, e) < 0 ||
	    lens_open(&r->in, path, r->m, arg.lens, e) < 0 || backend_open(&r->backend, NULL, common.device, common.vram, common.jobs, e) < 0 || open_outputs(r, e) < 0)
		return -1;
	progress_note("%s", r->backend.told);
	if (r->report && token_text_trouble(r->questions.names))
		progress_warn("%s; tokens are told by their ids", token_text_trouble(r->questions.names));
	int more = lens_next(&r->in, &r->first, e);
	if (more <= 0)
		r->first = NULL;
	return more < 0 || load_weights(r, e) < 0 ? -1 : open_head(r, e);
}

/* -------- the end */

static int finish(struct run *r, int status, struct error *e)
{
	status = head_hooks_finish(&r->hooks, status, e);
	if (status == 0 && r->against)
		status = reference_end(r->reference, e);
	if (status == 0 && r->report)
		status = report_finish(r->report, e);
	else if (status == 0 && r->against)
		status = against_report_finish(r->against_reader.context, e);
	else {
		report_abort(r->report);
		against_report_abort(r->against_reader.context);
	}
	head_close(r->head);
	against_close(r->against);
	reference_close(r->reference);
	frame_free(r->first);
	head_weights_close(&r->weights);
	backend_close(&r->backend);
	lens_close(&r->in);
	questions_close(&r->questions);
	checkpoint_close(r->checkpoint);
	free(r->answer);
	return status;
}

static int run(char **files, int n_files, struct error *e)
{
	struct run r = { 0 };
	const char *path;
	if (one_input(files, n_files, &path, e) < 0)
		return -1;
	if (!common.model)
		return error_set(e, "-m MODEL is needed: whose output head?");
	return finish(&r, open_all(&r, path, e) < 0 ? -1 : read_stream(&r, e), e);
}

const struct tool tool = {
	"unembed", "-m MODEL [--top K] [--nll] [--target TOKENS] [--diff A,B] [--logits] [--lens] [--against FILE] [--pos POOL|all] [--json] [--tap SITE[,SITE][/POOL]=FILE] [--filter SITE=COMMAND] [--patch SITE[/pos:LIST]=FILE] [-n] [-o FILE] [FILE]",
	"Reads a residual stream, takes its rows through the final norm and the output head, and tells what the model says.", options, run
};
