/* embed: tokens in, the residual stream that enters layer 0 out. */
#include <stdlib.h>
#include <string.h>

#include "checkpoint.h"
#include "embed.h"
#include "hooks.h"
#include "memory.h"
#include "option.h"
#include "progress.h"
#include "resid.h"
#include "steer_filter.h"
#include "tms.h"

enum { VARIANTS_LIMIT = 65536 };

static struct {
	uint64_t variants;
	const char *resid;
	struct hook_options hooks;
	bool no_output;
} arg = { .hooks = HOOK_OPTIONS(&steer_filter) };

static const struct option options[] = {
	OPTION_MODEL,
	OPTION_OUTPUT,
	{ OPTION_FLAG, 'n', NULL, &arg.no_output, NULL, "no residual stream, only taps", HISTORY_NO, 0 },
	{ OPTION_COUNT, 0, "variants", &arg.variants, "K", "K variants of every sample, for steer to tell apart", HISTORY_YES, 1 },
	{ OPTION_STRING, 0, "resid-dtype", &arg.resid, "T", "type of the stream: f32, bf16, f16 or f64 (default: the table's, or f32 where rows are computed)", HISTORY_YES, 0 },
	OPTION_HOOKS(arg.hooks),
	OPTION_LAST
};

struct run {
	struct checkpoint *checkpoint;
	const struct model *m;
	struct embed embed;
	enum dtype dtype;
	struct tms_reader *in;
	struct tms_writer *out;
	struct hooks hooks;
	bool patched[SITE_COUNT], filtered[SITE_COUNT];
	uint64_t tokens;
};

static int find_tables(struct run *r, struct error *e)
{
	const struct part *table = checkpoint_part(r->checkpoint, ROLE_EMBED, false);
	const struct part *positions = checkpoint_part(r->checkpoint, ROLE_POSITION, false);
	r->embed = (struct embed){ .m = r->m };
	r->embed.row = mem_zero(2 * r->m->width, sizeof *r->embed.row);
	r->embed.table = checkpoint_map(r->checkpoint, table, e);
	r->embed.table_dtype = table->view.dtype;
	if (!r->embed.table)
		return -1;
	if (positions) {
		r->embed.positions = checkpoint_map(r->checkpoint, positions, e);
		r->embed.positions_dtype = positions->view.dtype;
		if (!r->embed.positions)
			return -1;
	}
	return resid_dtype("--resid-dtype", arg.resid, embed_dtype(&r->embed), &r->dtype, e);
}

static char **variant_names(uint64_t n)
{
	char **names = mem_zero(n, sizeof *names);
	for (uint64_t i = 0; i < n; i++)
		names[i] = mem_format("%llu", (unsigned long long)i);
	return names;
}

static int open_streams(struct run *r, const char *path, struct error *e)
{
	r->in = tms_open(path, e);
	if (!r->in)
		return -1;
	if (tms_header(r->in)->kind != TMS_TOKENS)
		return error_set(e, "%s: is a stream of %s, and tokens are due; make them with tok", tms_name(r->in),
		                 tms_kind_name(tms_header(r->in)->kind));
	struct tms_header h;
	tms_header_copy(&h, tms_header(r->in));
	h.kind = TMS_RESID;
	h.order = TMS_ORDER_LAYER;
	free(h.model);
	free(h.fingerprint);
	h.model = mem_string(r->m->name);
	h.fingerprint = mem_string(r->m->fingerprint);
	if (arg.variants) {
		h.variants = variant_names(arg.variants);
		h.n_variants = arg.variants;
	}
	const struct tms_step step = { .from = -1 };
	int status = hooks_open(&r->hooks, &arg.hooks, "embed", r->m, &h, tms_name(r->in), e);
	if (status == 0)
		status = hooks_start(&r->hooks, &h, &step, DTYPE_F32, e);
	if (status == 0) {
		patches_wanted(r->hooks.patches, -1, r->patched);
		filters_wanted(r->hooks.filters, -1, r->filtered);
	}
	if (status == 0 && !arg.no_output && (common.output || !hooks_take_stdout(&arg.hooks))) {
		r->out = tms_create(common.output, &h, &step, NULL, e);
		status = r->out ? 0 : -1;
	}
	tms_header_release(&h);
	return status;
}

static int check_sample(const struct run *r, const struct sample *s, struct error *e)
{
	if (s->len && !s->tokens)
		return tms_error(r->in, e, "sample %s has no token ids", s->id.p);
	if (r->m->context && s->len > r->m->context)
		return tms_error(r->in, e, "sample %s has %u tokens, and the model has positions for %zu; cut it with tok --max-tokens",
		                 s->id.p, s->len, r->m->context);
	for (uint32_t i = 0; i < s->len; i++)
		if (s->tokens[i] >= r->m->vocab)
			return tms_error(r->in, e, "sample %s has token %u, and the model's vocabulary is %zu; was it tokenized for another model?",
			                 s->id.p, s->tokens[i], r->m->vocab);
	return 0;
}

static int change(struct run *r, const struct frame *piece, enum dtype work, char *rows, struct error *e)
{
	size_t width = r->m->width;
	char *at = rows;
	for (size_t i = 0; i < piece->n_samples && r->patched[SITE_EMBED]; i++) {
		const struct sample *s = &piece->samples[i];
		patches_apply(r->hooks.patches, SITE_EMBED, -1, s, piece->variant, s->first, s->n, at, width, width, work);
		at += s->n * width * dtype_size(work);
	}
	return r->filtered[SITE_EMBED] ? filters_run(r->hooks.filters, SITE_EMBED, -1, piece, work, rows, e) : 0;
}

/* What is changed of the rows is rounded to the stream's type; taps read them before that. */
static int hook_piece(struct run *r, struct frame *piece, struct error *e)
{
	size_t n = frame_n_rows(piece), len = n * r->m->width;
	enum dtype work = piece->dtype == DTYPE_F64 ? DTYPE_F64 : DTYPE_F32;
	bool changed = r->patched[SITE_EMBED] || r->filtered[SITE_EMBED];
	if (!changed && !taps_any(r->hooks.taps))
		return 0;
	void *rows = mem_try(len * dtype_size(work), "rows of the embedding", e);
	if (!rows)
		return -1;
	dtype_convert(rows, work, piece->rows, piece->dtype, len);
	struct tap_rows at = { .work = work };
	at.at[SITE_EMBED] = rows;
	int status = changed ? change(r, piece, work, rows, e) : 0;
	if (status == 0)
		status = taps_put(r->hooks.taps, -1, piece, 0, n, &at, e);
	if (status == 0 && changed)
		dtype_convert(piece->rows, piece->dtype, rows, work, len);
	free(rows);
	return status;
}

static void embed_piece(struct run *r, const struct frame *f)
{
	size_t row_len = r->m->width * dtype_size(r->dtype), at = 0;
	for (size_t i = 0; i < f->n_samples; i++) {
		const struct sample *s = &f->samples[i];
		embed_rows(&r->embed, s->tokens + s->first, s->first, s->n, (char *)f->rows + at * row_len, r->dtype);
		at += s->n;
	}
}

static int give_piece(struct run *r, const struct frame *piece, struct error *e)
{
	struct frame *f = frame_like(piece);
	f->site = text_of("resid_pre");
	f->layer = 0;
	f->dtype = r->dtype;
	f->n_dims = 1;
	f->dim[0] = r->m->width;
	int status = frame_take_rows(f, frame_n_rows(f) * r->m->width * dtype_size(r->dtype), e);
	if (status == 0)
		embed_piece(r, f);
	for (uint64_t k = 0; k < (arg.variants ? arg.variants : 1) && status == 0; k++) {
		if (arg.variants)
			f->variant = (int)k;
		if (k && (r->patched[SITE_EMBED] || r->filtered[SITE_EMBED]))
			embed_piece(r, f);
		status = hook_piece(r, f, e);
		if (status == 0 && r->out)
			status = tms_write(r->out, f, e);
	}
	r->tokens += frame_n_rows(f);
	frame_free(f);
	return status;
}

static int embed_frame(struct run *r, const struct frame *f, struct error *e)
{
	struct frame_cursor cursor = { 0 };
	struct frame piece;
	int status = 0;
	if (f->variant >= 0 && arg.variants)
		return tms_error(r->in, e, "has variants already, and --variants would make them again");
	for (size_t i = 0; i < f->n_samples; i++) {
		if (check_sample(r, &f->samples[i], e) < 0)
			return -1;
		/* Tokens have no rows of their own; from here on a sample's rows are its positions. */
		f->samples[i].first = 0;
		f->samples[i].n = f->samples[i].len;
	}
	while (status == 0 && frame_cut(f, r->m->width * dtype_size(r->dtype), &cursor, &piece)) {
		piece.variant = f->variant;
		status = give_piece(r, &piece, e);
	}
	frame_cut_release(&cursor);
	return status;
}

static int embed_all(struct run *r, struct error *e)
{
	struct frame *f;
	int more;
	progress_open("tokens");
	while ((more = tms_next(r->in, &f, e)) > 0) {
		int status = embed_frame(r, f, e);
		frame_free(f);
		if (status < 0)
			return -1;
		progress_tell("embed", 0, 0, r->tokens, 0);
	}
	progress_close();
	return more;
}

static int finish(struct run *r, int status, struct error *e)
{
	status = tms_settle(r->out, hooks_finish(&r->hooks, status, 0, 0, e), e);
	tms_close(r->in);
	checkpoint_close(r->checkpoint);
	free(r->embed.row);
	return status;
}

static int run(char **files, int n_files, struct error *e)
{
	struct run r = { 0 };
	const char *path;
	if (one_input(files, n_files, &path, e) < 0)
		return -1;
	if (!common.model)
		return error_set(e, "-m MODEL is needed: whose embedding?");
	if (arg.no_output && !arg.hooks.taps.n)
		return error_set(e, "-n writes no stream, and there is no --tap: nothing would come out");
	if (arg.variants > VARIANTS_LIMIT)
		return error_set(e, "--variants %ju: at most %d variants are made", (uintmax_t)arg.variants, VARIANTS_LIMIT);
	r.checkpoint = checkpoint_open(common.model, e);
	if (!r.checkpoint)
		return -1;
	r.m = checkpoint_model(r.checkpoint);
	int status = find_tables(&r, e);
	if (status == 0)
		status = open_streams(&r, path, e);
	if (status == 0)
		status = embed_all(&r, e);
	return finish(&r, status, e);
}

const struct tool tool = {
	"embed",
	"-m MODEL [-n] [--variants K] [--resid-dtype T] [--tap embed[/POOL]=FILE] [--filter embed=COMMAND] "
	"[--patch embed[/pos:LIST]=FILE] [-o FILE] [FILE]",
	"Reads tokens and writes the residual stream that enters layer 0: token and position embeddings.", options, run
};
