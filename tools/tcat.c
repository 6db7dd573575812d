/* tcat: joins, splits, selects and converts tensor streams. */
#include <stdlib.h>
#include <string.h>

#include "join.h"
#include "memory.h"
#include "option.h"
#include "pick.h"
#include "sink.h"
#include "tms.h"
#include "zstd_rows.h"

static struct {
	bool merge, json, tsv, summary;
	const char *npy, *safetensors, *gguf, *ids, *variants, *zstd;
	struct option_list select;
	uint64_t split;
} arg;

static const struct option options[] = {
	{ OPTION_FLAG, 0, "merge", &arg.merge, NULL, "bring the samples back into the data set's order", HISTORY_NO, 0 },
	{ OPTION_LIST, 0, "select", &arg.select, "SITE[,SITE...][@LAYERS]", "only these sites and layers", HISTORY_NO, 0 },
	{ OPTION_STRING, 0, "ids", &arg.ids, "LIST", "only the samples of these ids", HISTORY_NO, 0 },
	{ OPTION_STRING, 0, "variant", &arg.variants, "LIST", "only these variants, by name or number", HISTORY_NO, 0 },
	{ OPTION_FLAG, 0, "json", &arg.json, NULL, "write JSON lines", HISTORY_NO, 0 },
	{ OPTION_FLAG, 0, "tsv", &arg.tsv, NULL, "write a table, a row a line", HISTORY_NO, 0 },
	{ OPTION_FLAG, 0, "summary", &arg.summary, NULL, "write what the stream holds; with --json one object", HISTORY_NO, 0 },
	{ OPTION_STRING, 0, "npy", &arg.npy, "DIR", "write a folder of NumPy files", HISTORY_NO, 0 },
	{ OPTION_STRING, 0, "safetensors", &arg.safetensors, "FILE", "write a safetensors file", HISTORY_NO, 0 },
	{ OPTION_STRING, 0, "gguf", &arg.gguf, "FILE", "write directions as a GGUF control vector", HISTORY_NO, 0 },
	{ OPTION_COUNT, 0, "split", &arg.split, "N", "deal the samples out to N files; -o names them, as shard-%d.tms", HISTORY_NO, 1 },
	{ OPTION_OPTIONAL, 0, "zstd", &arg.zstd, "LEVEL", "compress rows, level 1 to 19 (default 3)", HISTORY_NO, 0 },
	OPTION_OUTPUT,
	OPTION_LAST
};

static int zstd_level(int *level, struct error *e)
{
	*level = arg.zstd ? ZSTD_ROWS_LEVEL : 0;
	if (!arg.zstd || !*arg.zstd)
		return 0;
	char *end;
	long n = strtol(arg.zstd, &end, 10);
	if (*end || n < 1 || n > 19)
		return error_set(e, "--zstd=%s: a level is a number from 1 to 19", arg.zstd);
	*level = (int)n;
	return 0;
}

static int check_options(struct error *e)
{
	int n = (arg.json && !arg.summary) + arg.tsv + arg.summary + !!arg.npy + !!arg.safetensors + !!arg.gguf +
	        !!arg.split;
	if (n > 1)
		return error_set(e, "--json, --tsv, --summary, --npy, --safetensors, --gguf and --split: give one of them");
	if ((arg.npy || arg.safetensors || arg.gguf) && common.output)
		return error_set(e, "-o %s: --npy, --safetensors and --gguf name their own output", common.output);
	if (arg.zstd && n && !arg.split)
		return error_set(e, "--zstd compresses the rows of streams; this output is none");
	if (arg.split && (!common.output || !strstr(common.output, "%d")))
		return error_set(e, "--split needs -o with %%d in it, as -o 'shard-%%d.tms'");
	return 0;
}

/* Calls each for every frame that is wanted.  0 or -1. */
static int for_frames(struct join *j, struct pick *p, int (*each)(void *context, struct frame *f, struct error *e),
                      void *context, struct error *e)
{
	struct frame *f;
	int rc;
	while ((rc = join_next(j, &f, e)) > 0) {
		rc = pick_frame(p, &f, e);
		if (rc == 0 && f)
			rc = each(context, f, e);
		frame_free(f);
		if (rc < 0)
			return -1;
	}
	return rc;
}

/* -------- a stream */

static int write_frame(void *w, struct frame *f, struct error *e)
{
	return tms_write(w, f, e);
}

static int to_stream(struct join *j, struct pick *p, const struct tms_options *o, struct error *e)
{
	struct tms_writer *w = tms_create(common.output, join_header(j), NULL, o, e);
	if (!w)
		return -1;
	if (for_frames(j, p, write_frame, w, e) == 0)
		return tms_finish(w, e);
	tms_abort(w);
	return -1;
}

/* -------- shards */

struct shards {
	size_t n;
	struct tms_writer **writer;
	struct deal *deal;
	size_t *shard;          /* of each sample of the frame at hand */
	bool *keep;
	size_t shard_capacity, keep_capacity;
};

static int split_frame(void *context, struct frame *f, struct error *e)
{
	struct shards *s = context;
	if (!f->n_samples && frame_n_rows(f))
		return error_set(e, "--split: '%s' has no samples that could be dealt out", f->name.p);
	mem_grow((void **)&s->shard, &s->shard_capacity, f->n_samples, sizeof *s->shard);
	mem_grow((void **)&s->keep, &s->keep_capacity, f->n_samples, sizeof *s->keep);
	deal_frame(s->deal, f, s->shard);
	for (size_t k = 0; k < s->n; k++) {
		struct frame *part;
		for (size_t i = 0; i < f->n_samples; i++)
			s->keep[i] = s->shard[i] == k;
		if (frame_pick(f, s->keep, &part, e) < 0)
			return -1;
		int rc = part ? tms_write(s->writer[k], part, e) : 0;
		frame_free(part);
		if (rc < 0)
			return -1;
	}
	return 0;
}

/* The name of shard k; "%d" stands for its number. */
static char *shard_name(size_t k)
{
	const char *at = strstr(common.output, "%d");
	return mem_format("%.*s%zu%s", (int)(at - common.output), common.output, k, at + 2);
}

static int open_shards(struct shards *s, const struct join *j, const struct tms_options *o, struct error *e)
{
	for (size_t k = 0; k < s->n; k++) {
		char *name = shard_name(k);
		s->writer[k] = tms_create(name, join_header(j), NULL, o, e);
		free(name);
		if (!s->writer[k])
			return -1;
	}
	return 0;
}

static int to_shards(struct join *j, struct pick *p, const struct tms_options *o, struct error *e)
{
	struct shards s = { .n = arg.split };
	s.writer = mem_zero(s.n, sizeof *s.writer);
	s.deal = deal_open(s.n);
	int rc = open_shards(&s, j, o, e);
	if (rc == 0)
		rc = for_frames(j, p, split_frame, &s, e);
	for (size_t k = 0; k < s.n; k++) {
		if (rc == 0)
			rc = tms_finish(s.writer[k], e);
		else
			tms_abort(s.writer[k]);
	}
	deal_close(s.deal);
	free(s.writer);
	free(s.shard);
	free(s.keep);
	return rc;
}

/* -------- other formats */

static int sink_frame(void *context, struct frame *f, struct error *e)
{
	struct sink *s = context;
	return s->frame(s, f, e);
}

static struct sink *open_sink(const struct tms_header *h, struct error *e)
{
	if (arg.summary)
		return summary_sink(common.output, h, arg.json, e);
	if (arg.json)
		return json_sink(common.output, h, e);
	if (arg.tsv)
		return tsv_sink(common.output, h, e);
	if (arg.gguf)
		return gguf_sink(arg.gguf, h, e);
	return arg.npy ? npy_sink(arg.npy, h, e) : safetensors_sink(arg.safetensors, h, e);
}

static int to_sink(struct join *j, struct pick *p, struct error *e)
{
	struct sink *s = open_sink(join_header(j), e);
	if (!s)
		return -1;
	if (for_frames(j, p, sink_frame, s, e) == 0)
		return s->finish(s, e);
	s->abort(s);
	return -1;
}

static int run(char **files, int n_files, struct error *e)
{
	/* What tcat does changes no value: it leaves no trace in the history. */
	struct tms_options o = { .plain_history = true };
	if (check_options(e) < 0 || zstd_level(&o.zstd_level, e) < 0)
		return -1;
	struct join *j = join_open(files, (size_t)n_files, arg.merge, e);
	if (!j)
		return -1;
	struct pick *p = pick_open(arg.select.item, arg.select.n, arg.ids, arg.variants, join_header(j), e);
	int rc = -1;
	if (p && arg.split)
		rc = to_shards(j, p, &o, e);
	else if (p && (arg.json || arg.tsv || arg.summary || arg.npy || arg.safetensors || arg.gguf))
		rc = to_sink(j, p, e);
	else if (p)
		rc = to_stream(j, p, &o, e);
	pick_close(p);
	join_close(j);
	return rc;
}

const struct tool tool = {
	"tcat",
	"[--merge] [--select SITE[,SITE...][@LAYERS]] [--ids LIST] [--variant LIST] "
	"[--json | --tsv | --summary | --npy DIR | --safetensors FILE | --gguf FILE | --split N] [--zstd[=LEVEL]] [-o FILE] [FILE...]",
	"Reads tensor streams, one after the other, and writes them as one, or in another form.", options, run
};
