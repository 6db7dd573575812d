/* tok: text in, tokens out; -d turns tokens back into text. */
#include <stdlib.h>
#include <string.h>

#include "checksum.h"
#include "hub.h"
#include "io.h"
#include "memory.h"
#include "option.h"
#include "progress.h"
#include "resid.h"
#include "text_out.h"
#include "tms.h"
#include "token_batch.h"

static struct {
	const char *format, *field;
	uint64_t max_tokens;
	bool no_special, decode;
} arg;

static const struct option options[] = {
	OPTION_MODEL,
	OPTION_OUTPUT,
	OPTION_JOBS,
	{ OPTION_STRING, 'f', NULL, &arg.format, "FORMAT", "auto, text, jsonl, ids or doc (default auto); with -d text, jsonl or ids", HISTORY_NO, 0 },
	{ OPTION_STRING, 0, "field", &arg.field, "NAME", "the member of a JSON line that is the text (default text)", HISTORY_NO, 0 },
	{ OPTION_COUNT, 0, "max-tokens", &arg.max_tokens, "N", "cut longer samples", HISTORY_YES, 1 },
	{ OPTION_FLAG, 0, "no-special", &arg.no_special, NULL, "add no special tokens; with -d, leave them out", HISTORY_YES, 0 },
	{ OPTION_FLAG, 'd', NULL, &arg.decode, NULL, "turn a stream of tokens back into text", HISTORY_NO, 0 },
	OPTION_LAST
};

struct run {
	char *directory;
	struct tokenizer *tokenizer;
	char *identity;         /* of tokenizer.json, for the history */
	struct workers *workers;
};

/* -------- text to tokens */

static int identify(struct run *r, struct error *e)
{
	size_t len;
	char *path = mem_format("%s/tokenizer.json", r->directory);
	char *text = io_slurp(path, (size_t)1 << 30, &len, e);
	free(path);
	if (!text)
		return error_in(e, "-m %s: its tokenizer is read from tokenizer.json", common.model);
	r->identity = mem_format("tokenizer %016llx", (unsigned long long)checksum(text, len));
	free(text);
	return 0;
}

static int open_model(struct run *r, struct error *e)
{
	if (!common.model)
		return 0;
	r->directory = hub_find(common.model, e);
	if (!r->directory || identify(r, e) < 0)
		return -1;
	return tokenizer_open(r->directory, &r->tokenizer, e);
}

static int encode(struct run *r, struct input *in, struct tms_writer *out, struct error *e)
{
	struct token_batch *batch = token_batch_open(r->tokenizer, r->workers, arg.max_tokens,
	                                             arg.no_special ? TOKENIZER_NO_SPECIAL : 0);
	struct input_sample s;
	struct frame f;
	uint64_t done = 0;
	int more = 1, status = 0;
	progress_open("samples");
	while (status == 0 && more > 0) {
		more = input_next(in, &s, e);
		if (more > 0)
			status = token_batch_add(batch, &s, e);
		if (more < 0 || status < 0 || (more > 0 && !token_batch_full(batch)))
			continue;
		status = token_batch_frame(batch, &f, e);
		if (status == 0 && f.n_samples)
			status = tms_write(out, &f, e);
		done += f.n_samples;
		progress_tell("tok", 0, 0, done, 0);
	}
	progress_close();
	token_batch_close(batch);
	return more < 0 ? -1 : status;
}

static int run_encode(struct run *r, char **files, int n_files, struct error *e)
{
	struct input_options o = { INPUT_AUTO, arg.field, (const char *const *)files, (size_t)n_files };
	const struct tms_header h = { .kind = TMS_TOKENS, .order = TMS_ORDER_LAYER };
	const struct tms_step step = { r->identity, -1, -1 };
	if (arg.format && input_format_of(arg.format, &o.format, e) < 0)
		return -1;
	struct tms_writer *out = tms_create(common.output, &h, &step, NULL, e);
	if (!out)
		return -1;
	struct input *in = input_open(&o);
	int status = encode(r, in, out, e);
	input_close(in);
	return tms_settle(out, status, e);
}

/* -------- tokens to text */

enum back { BACK_TEXT, BACK_JSONL, BACK_IDS };

static int back_of(enum back *back, struct error *e)
{
	static const char *const names[] = { "text", "jsonl", "ids" };
	*back = BACK_TEXT;
	for (size_t i = 0; arg.format && i < ARRAY_LEN(names); i++) {
		*back = (enum back)i;
		if (strcmp(arg.format, names[i]) == 0)
			return 0;
	}
	return arg.format ? error_set(e, "-f %s: with -d it is text, jsonl or ids", arg.format) : 0;
}

static void put_ids(struct text_out *out, const struct sample *s)
{
	for (uint32_t i = 0; i < s->len; i++) {
		if (i)
			text_char(out, ' ');
		text_uint(out, s->tokens[i]);
	}
}

static void put_json(struct text_out *out, const struct sample *s, const char *text, size_t len)
{
	text_string(out, "{\"id\":");
	text_json(out, s->id.p, s->id.len);
	if (s->label.p) {
		text_string(out, ",\"label\":");
		text_json(out, s->label.p, s->label.len);
	}
	text_string(out, ",\"text\":");
	text_json(out, text, len);
	text_char(out, '}');
}

static int decode_sample(struct run *r, const struct sample *s, enum back back, struct text_out *out, struct error *e)
{
	char *text = NULL;
	size_t len = 0;
	if (s->len && !s->tokens)
		return error_set(e, "sample %s has no token ids", s->id.p);
	if (back == BACK_IDS) {
		put_ids(out, s);
	} else {
		unsigned flags = arg.no_special ? TOKENIZER_NO_SPECIAL : 0;
		if (tokenizer_decode(r->tokenizer, s->tokens, s->len, flags, &text, &len, e) < 0)
			return error_in(e, "sample %s", s->id.p);
		if (back == BACK_TEXT)
			text_put(out, text, len);
		else
			put_json(out, s, text, len);
		free(text);
	}
	text_char(out, '\n');
	return 0;
}

static int decode(struct run *r, struct tms_reader *in, enum back back, struct error *e)
{
	struct text_out out;
	struct frame *f;
	int more = 1, status = text_out_open(&out, common.output, e);
	if (status < 0)
		return -1;
	while (status == 0 && (more = tms_next(in, &f, e)) > 0) {
		for (size_t i = 0; status == 0 && i < f->n_samples; i++)
			status = decode_sample(r, &f->samples[i], back, &out, e) < 0 ? tms_in_frame(in, e) : 0;
		frame_free(f);
	}
	if (status == 0 && more == 0)
		return text_out_finish(&out, e);
	text_out_abort(&out);
	return -1;
}

static int run_decode(struct run *r, char **files, int n_files, struct error *e)
{
	const char *path;
	enum back back;
	if (one_input(files, n_files, &path, e) < 0 || back_of(&back, e) < 0)
		return -1;
	if (back != BACK_IDS && !r->tokenizer)
		return error_set(e, "-d needs -m MODEL: whose tokens are these?");
	struct tms_reader *in = tms_open(path, e);
	if (!in)
		return -1;
	int status = tms_header(in)->kind == TMS_TOKENS
		? decode(r, in, back, e)
		: error_set(e, "%s: is a stream of %s, and -d reads tokens", tms_name(in), tms_kind_name(tms_header(in)->kind));
	tms_close(in);
	return status;
}

static int run(char **files, int n_files, struct error *e)
{
	struct run r = { 0 };
	int status = open_model(&r, e);
	if (status == 0) {
		r.workers = workers_open_jobs(common.jobs, e);
		status = r.workers ? 0 : -1;
	}
	if (status == 0)
		status = arg.decode ? run_decode(&r, files, n_files, e) : run_encode(&r, files, n_files, e);
	if (r.workers)
		workers_close(r.workers);
	tokenizer_close(r.tokenizer);
	free(r.identity);
	free(r.directory);
	return status;
}

const struct tool tool = {
	"tok", "[-m MODEL] [-f FORMAT] [--field NAME] [--max-tokens N] [--no-special] [-d] [-o FILE] [FILE...]",
	"Reads text, JSON lines or token ids and writes a stream of tokens, with the model's own tokenizer.", options, run
};
