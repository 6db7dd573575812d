/* steer: changes the rows of a stream by a direction or a basis. */
#include <string.h>

#include "option.h"
#include "progress.h"
#include "resid.h"
#include "steerer.h"
#include "tms.h"

static struct {
	struct steer_options steer;
} arg;

static const struct option options[] = {
	OPTION_STEER(arg.steer),
	OPTION_OUTPUT,
	OPTION_LAST
};

struct run {
	struct steerer *steerer;
	struct tms_reader *in;
	struct tms_writer *out;
};

static int open_streams(struct run *r, const char *path, struct error *e)
{
	r->in = tms_open(path, e);
	if (!r->in)
		return -1;
	const enum tms_kind kind = tms_header(r->in)->kind;
	if (kind != TMS_RESID && kind != TMS_ACTS && kind != TMS_LOGITS)
		return error_set(e, "%s: holds %s, which have no rows to steer", tms_name(r->in), tms_kind_name(kind));
	struct tms_header h;
	tms_header_copy(&h, tms_header(r->in));
	int status = steerer_begin(r->steerer, &h, tms_name(r->in), e);
	if (status == 0) {
		const struct steer_options *told = steerer_told(r->steerer);
		if (told->vector)
			option_history_set(&arg.steer.vector, told->vector);
		if (told->strengths)
			option_history_set(&arg.steer.strengths, told->strengths);
		r->out = tms_create(common.output, &h, NULL, NULL, e);
		status = r->out ? 0 : -1;
	}
	tms_header_release(&h);
	return status;
}

static int change_frame(struct run *r, struct frame *f, struct error *e)
{
	return steerer_change(r->steerer, f, e) < 0 ? tms_in_frame(r->in, e) : tms_write(r->out, f, e);
}

static int fan_out(struct run *r, const struct frame *f, struct error *e)
{
	struct frame *copy = frame_like(f);
	size_t len = frame_rows_len(f);
	int status = frame_take_rows(copy, len, e);
	for (size_t k = 0; k < steerer_fan_out(r->steerer) && status == 0; k++) {
		if (len)
			memcpy(copy->rows, f->rows, len);
		copy->variant = (int)k;
		status = change_frame(r, copy, e);
	}
	frame_free(copy);
	return status;
}

static int steer_all(struct run *r, struct error *e)
{
	struct frame *f;
	int more;
	progress_open("rows");
	while ((more = tms_next(r->in, &f, e)) > 0) {
		int status = steerer_fan_out(r->steerer) > 1 ? fan_out(r, f, e) : change_frame(r, f, e);
		frame_free(f);
		if (status < 0)
			return -1;
		progress_tell("steer", 0, 0, steerer_rows(r->steerer), 0);
	}
	progress_close();
	return more;
}

static int run(char **files, int n_files, struct error *e)
{
	struct run r = { 0 };
	const char *path;
	if (one_input(files, n_files, &path, e) < 0)
		return -1;
	r.steerer = steerer_open(&arg.steer, !path || strcmp(path, "-") == 0, e);
	int status = r.steerer ? open_streams(&r, path, e) : -1;
	if (status == 0)
		status = steer_all(&r, e);
	if (status == 0)
		status = steerer_check(r.steerer, tms_name(r.in), e);
	status = tms_settle(r.out, status, e);
	steerer_close(r.steerer);
	tms_close(r.in);
	return status;
}

const struct tool tool = {
	"steer",
	"--vector FILE [--name NAME] [--component LIST] [--unit] --alpha A[,A...] [--strengths FILE] "
	"[--positions last|all|from:N|A-B] [--mode add|ablate|project|clamp|set|zero] [-o FILE] [FILE]",
	"Reads activations or a residual stream, changes rows by a vector, and writes them.", options, run
};
