/* pool: many rows of a sample into one. */
#include <stdlib.h>

#include "memory.h"
#include "option.h"
#include "pooling.h"
#include "tms.h"

static struct {
	bool last, first;
	const char *mean, *max, *pos, *span;
} arg;

static const struct option options[] = {
	{ OPTION_FLAG, 0, "last", &arg.last, NULL, "the last position", HISTORY_YES, 0 },
	{ OPTION_FLAG, 0, "first", &arg.first, NULL, "the first position", HISTORY_YES, 0 },
	{ OPTION_OPTIONAL, 0, "mean", &arg.mean, "N", "the mean, without the first N positions", HISTORY_YES, 0 },
	{ OPTION_OPTIONAL, 0, "max", &arg.max, "N", "the largest value of each column, without the first N positions", HISTORY_YES, 0 },
	{ OPTION_STRING, 0, "pos", &arg.pos, "N", "position N; -1 is the last", HISTORY_YES, 0 },
	{ OPTION_OPTIONAL, 0, "span", &arg.span, "POOL", "mean (or last, first, max) of the sample's span", HISTORY_YES, 0 },
	OPTION_OUTPUT,
	OPTION_LAST
};

/* The one pool asked for, as POOL spells it. */
static int choose(struct pool *p, struct error *e)
{
	const char *said[] = {
		arg.last ? "" : NULL, arg.first ? "" : NULL, arg.mean, arg.max, arg.pos, arg.span,
	};
	static const char *const names[] = { "last", "first", "mean", "max", "pos", "span" };
	const char *name = NULL, *value = NULL;
	for (size_t i = 0; i < ARRAY_LEN(said); i++) {
		if (!said[i])
			continue;
		if (name)
			return error_set(e, "--%s and --%s: give one of them", name, names[i]);
		name = names[i];
		value = said[i];
	}
	if (!name)
		return error_set(e, "which row? give one of --last, --first, --mean, --max, --pos N and --span");
	char *text = *value ? mem_format("%s:%s", name, value) : mem_string(name);
	int rc = pool_parse(p, text, e);
	free(text);
	return rc;
}

static int pool_stream(struct tms_reader *r, struct tms_writer *w, struct pooler *p, struct error *e)
{
	struct frame *f;
	int rc;
	while ((rc = tms_next(r, &f, e)) > 0) {
		struct frame *pooled = NULL;
		rc = pooler_add(p, f, &pooled, e);
		if (rc < 0)
			tms_in_frame(r, e);
		else if (pooled)
			rc = tms_write(w, pooled, e);
		frame_free(pooled);
		frame_free(f);
		if (rc < 0)
			break;
	}
	if (rc == 0 && pooler_end(p, e) < 0)
		return error_in(e, "%s", tms_name(r));
	return rc;
}

static int pool_file(const char *path, const struct pool *p, struct error *e)
{
	struct tms_reader *r = tms_open(path, e);
	if (!r)
		return -1;
	struct tms_header h;
	tms_header_copy(&h, tms_header(r));
	int rc = 0;
	if (h.kind == TMS_TOKENS || h.kind == TMS_VECTORS || h.kind == TMS_STATE)
		rc = error_set(e, "%s: holds %s, which have no rows to pool", tms_name(r), tms_kind_name(h.kind));
	/* A pooled residual stream can't go on through the layers: it is activations. */
	h.kind = h.kind == TMS_RESID ? TMS_ACTS : h.kind;
	struct tms_writer *w = rc < 0 ? NULL : tms_create(common.output, &h, NULL, NULL, e);
	if (w) {
		struct pooler *pooler = pooler_open(p);
		rc = pool_stream(r, w, pooler, e);
		pooler_close(pooler);
	}
	rc = tms_settle(w, w ? rc : -1, e);
	tms_header_release(&h);
	tms_close(r);
	return rc;
}

static int run(char **files, int n_files, struct error *e)
{
	struct pool p;
	if (choose(&p, e) < 0)
		return -1;
	if (n_files > 1)
		return error_set(e, "%s: one FILE is read; tcat joins several", files[1]);
	return pool_file(n_files ? files[0] : NULL, &p, e);
}

const struct tool tool = {
	"pool", "[-o FILE] --last | --first | --mean[=N] | --max[=N] | --pos N | --span[=POOL] [FILE]",
	"Reads activations, makes one row of each sample's rows, and writes activations.", options, run
};
