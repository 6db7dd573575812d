/* steer: changes the rows of a stream by a direction or a basis. */
#include <stdlib.h>
#include <string.h>

#include "directions.h"
#include "memory.h"
#include "option.h"
#include "progress.h"
#include "resid.h"
#include "site.h"
#include "steering.h"
#include "strengths.h"
#include "tms.h"

static struct {
	const char *vector, *name, *component, *alpha, *strengths, *positions, *mode;
	bool unit;
} arg;

static const struct option options[] = {
	{ OPTION_STRING, 0, "vector", &arg.vector, "FILE", "a direction or basis: of diffmean, pca, .npy, GGUF or .safetensors", HISTORY_YES, 0 },
	{ OPTION_STRING, 0, "name", &arg.name, "NAME", "the array of FILE (default: direction, else components_)", HISTORY_YES, 0 },
	{ OPTION_STRING, 0, "component", &arg.component, "LIST", "rows of it, as 3, 0-5 or 0,2", HISTORY_YES, 0 },
	{ OPTION_FLAG, 0, "unit", &arg.unit, NULL, "scale the vector to length 1 first", HISTORY_YES, 0 },
	{ OPTION_STRING, 0, "alpha", &arg.alpha, "A[,A...]", "how strongly; several make a variant each", HISTORY_YES, 0 },
	{ OPTION_STRING, 0, "strengths", &arg.strengths, "FILE", "lines ID alpha [positions]: only these samples, their alpha times --alpha", HISTORY_YES, 0 },
	{ OPTION_STRING, 0, "positions", &arg.positions, "WHICH", "last, all, N, from:N or A-B, commas between (default all)", HISTORY_YES, 0 },
	{ OPTION_STRING, 0, "mode", &arg.mode, "MODE", "add, ablate, project, clamp, set or zero (default add)", HISTORY_YES, 0 },
	OPTION_OUTPUT,
	OPTION_LAST
};

/* What is done at one place of the model. */
struct here {
	const struct direction *vector;
	struct steering steering;
};

struct run {
	enum steer_mode mode;
	struct strengths strengths;
	struct directions *vectors;
	struct here *here;
	size_t n_here, here_capacity;
	double *scratch;
	size_t scratch_capacity;
	struct tms_reader *in;
	struct tms_writer *out;
};

static int read_arguments(struct run *r, const char *path, struct error *e)
{
	r->mode = steer_mode_find(arg.mode ? arg.mode : "add");
	if (r->mode == STEER_MODES)
		return error_set(e, "--mode %s: is none of add, ablate, project, clamp, set, zero", arg.mode);
	if (!arg.alpha && !arg.strengths && !steer_mode_has_default(r->mode))
		return error_set(e, "--mode %s needs --alpha: how strongly?", steer_mode_name(r->mode));
	if (strengths_parse(&r->strengths, arg.alpha, arg.positions, e) < 0)
		return -1;
	if (r->mode == STEER_ZERO && (arg.vector || arg.name || arg.component || arg.unit))
		return error_set(e, "--mode zero takes no vector");
	if (r->mode != STEER_ZERO && !arg.vector)
		return error_set(e, "--vector FILE is needed: which direction?");
	if (arg.vector && strcmp(arg.vector, "-") == 0 && (!path || strcmp(path, "-") == 0))
		return error_set(e, "--vector -: standard input is the stream; name one of the two as a file");
	if (arg.strengths && strengths_table(&r->strengths, arg.strengths, e) < 0)
		return -1;
	if (arg.strengths)
		option_history_set(&arg.strengths, r->strengths.identity);
	return 0;
}

/* The vector's identity for the history, with whose it is where that is another model than the stream's. */
static void remember_vector(const struct run *r)
{
	const struct directions *v = r->vectors;
	const struct tms_header *h = tms_header(r->in);
	char *text = mem_string(v->identity);
	if (v->fingerprint && h->fingerprint && strcmp(v->fingerprint, h->fingerprint) != 0) {
		progress_warn("%s: is of another model: %s (%s), and the stream is of %s (%s)", v->path,
		              v->model ? v->model : "unnamed", v->fingerprint, h->model ? h->model : "unnamed",
		              h->fingerprint);
		free(text);
		text = mem_format("%s of %s %s", v->identity, v->model ? v->model : "unnamed", v->fingerprint);
	}
	option_history_set(&arg.vector, text);
	free(text);
}

static int open_streams(struct run *r, const char *path, struct error *e)
{
	r->in = tms_open(path, e);
	if (!r->in)
		return -1;
	const enum tms_kind kind = tms_header(r->in)->kind;
	if (kind != TMS_RESID && kind != TMS_ACTS && kind != TMS_LOGITS)
		return error_set(e, "%s: holds %s, which have no rows to steer", tms_name(r->in), tms_kind_name(kind));
	if (arg.vector) {
		r->vectors = directions_open(arg.vector, arg.name, e);
		if (!r->vectors)
			return error_in(e, "--vector");
		remember_vector(r);
	}
	struct tms_header h;
	tms_header_copy(&h, tms_header(r->in));
	int status = strengths_variants(&r->strengths, &h, tms_name(r->in), e);
	if (status == 0) {
		r->out = tms_create(common.output, &h, NULL, NULL, e);
		status = r->out ? 0 : -1;
	}
	tms_header_release(&h);
	return status;
}

/* -------- what is done where */

static int prepare(struct run *r, const struct direction *v, size_t width, struct steering *s, struct error *e)
{
	size_t n = direction_rows(v, width);
	bool *set = arg.component ? mem_zero(n ? n : 1, sizeof *set) : NULL;
	double *values = NULL;
	int status = 0;
	if (set && n && layers_parse(arg.component, strlen(arg.component), n, set, e) < 0)
		status = error_set(e, "--component %s: %s has components 0 to %zu", arg.component, r->vectors->path, n - 1);
	if (status == 0)
		values = direction_values(r->vectors, v, width, n ? set : NULL, &n, e);
	if (values && n > 1 && !steer_mode_takes_basis(r->mode))
		status = error_set(e, "%s: --mode %s takes one vector and these are %zu; choose one with --component",
		                   r->vectors->path, steer_mode_name(r->mode), n);
	else if (values && steering_init(s, r->mode, values, n, width, arg.unit, e) < 0)
		status = error_in(e, "%s", r->vectors->path);
	free(values);
	free(set);
	return values ? status : -1;
}

/* Places come back frame after frame, so what is done at one is made once. */
static int find_steering(struct run *r, const struct frame *f, const struct steering **s, struct error *e)
{
	bool elsewhere;
	const struct direction *v = directions_find(r->vectors, f->site, f->layer, &elsewhere, e);
	if (!v)
		return -1;
	for (size_t i = 0; i < r->n_here; i++) {
		*s = &r->here[i].steering;
		if (r->here[i].vector == v && (*s)->width == frame_width(f))
			return 0;
	}
	if (elsewhere)
		progress_warn("%s: its one vector is of %s of layer %d; it is used at %s of layer %d", r->vectors->path,
		              v->site, v->layer, f->site.p, f->layer);
	struct here here = { .vector = v };
	if (prepare(r, v, frame_width(f), &here.steering, e) < 0)
		return -1;
	mem_grow((void **)&r->here, &r->here_capacity, r->n_here + 1, sizeof *r->here);
	r->here[r->n_here++] = here;
	*s = &r->here[r->n_here - 1].steering;
	return 0;
}

/* -------- rows */

static int change_rows(struct run *r, const struct steering *s, double alpha, struct frame *f, struct error *e)
{
	size_t width = frame_width(f), row_len = width * dtype_size(f->dtype);
	char *row = f->rows;
	for (size_t i = 0; i < f->n_samples; i++) {
		const struct sample *sample = &f->samples[i];
		size_t n = frame_sample_rows(f, sample), n_lines;
		struct strength *line = strengths_of(&r->strengths, sample->id, &n_lines);
		if (f->pool.p && strengths_choose(&r->strengths, line, n_lines))
			return tms_error(r->in, e, "its rows are pooled, and have no positions to choose from");
		for (size_t k = 0; k < n; k++, row += row_len) {
			double factor;
			if (strengths_name(&r->strengths, line, n_lines, sample, sample->first + (uint32_t)k, &factor))
				steering_rows(s, alpha * factor, row, f->dtype, 1, width, r->scratch);
		}
	}
	return 0;
}

static int change_frame(struct run *r, const struct steering *s, struct frame *f, struct error *e)
{
	const double *alpha = r->strengths.alpha;
	if (!r->strengths.fan_out) {
		if (r->strengths.n > 1 && f->variant < 0)
			return tms_error(r->in, e, "isn't one of the variants, so it has no strength");
		if (change_rows(r, s, alpha[r->strengths.n > 1 ? f->variant : 0], f, e) < 0)
			return -1;
		return tms_write(r->out, f, e);
	}
	struct frame *copy = frame_like(f);
	size_t len = frame_rows_len(f);
	int status = frame_take_rows(copy, len, e);
	for (size_t k = 0; k < r->strengths.n && status == 0; k++) {
		if (len)
			memcpy(copy->rows, f->rows, len);
		copy->variant = (int)k;
		status = change_rows(r, s, alpha[k], copy, e);
		if (status == 0)
			status = tms_write(r->out, copy, e);
	}
	frame_free(copy);
	return status;
}

static int steer_frame(struct run *r, struct frame *f, struct error *e)
{
	if (!dtype_is_float(f->dtype))
		return tms_error(r->in, e, "its rows are %s, which can't be steered", dtype_name(f->dtype));
	if (f->name.p && !f->n_samples)
		return tms_error(r->in, e, "'%s' has no samples; a vector isn't steered", f->name.p);
	struct steering zero = { .mode = STEER_ZERO, .width = frame_width(f) };
	const struct steering *s = &zero;
	if (r->vectors && find_steering(r, f, &s, e) < 0)
		return tms_in_frame(r->in, e);
	mem_grow((void **)&r->scratch, &r->scratch_capacity, steering_scratch(s), sizeof *r->scratch);
	return change_frame(r, s, f, e);
}

static int steer_all(struct run *r, struct error *e)
{
	struct frame *f;
	int more;
	progress_open("rows");
	while ((more = tms_next(r->in, &f, e)) > 0) {
		int status = steer_frame(r, f, e);
		frame_free(f);
		if (status < 0)
			return -1;
		progress_tell("steer", 0, 0, r->strengths.n_rows, 0);
	}
	progress_close();
	return more;
}

static void release(struct run *r)
{
	for (size_t i = 0; i < r->n_here; i++)
		steering_release(&r->here[i].steering);
	free(r->here);
	free(r->scratch);
	strengths_release(&r->strengths);
	directions_close(r->vectors);
	tms_close(r->in);
}

static int run(char **files, int n_files, struct error *e)
{
	struct run r = { 0 };
	const char *path;
	if (one_input(files, n_files, &path, e) < 0)
		return -1;
	int status = read_arguments(&r, path, e);
	if (status == 0)
		status = open_streams(&r, path, e);
	if (status == 0)
		status = steer_all(&r, e);
	if (status == 0)
		status = strengths_check(&r.strengths, tms_name(r.in), e);
	if (status == 0)
		status = tms_finish(r.out, e);
	else
		tms_abort(r.out);
	release(&r);
	return status;
}

const struct tool tool = {
	"steer",
	"--vector FILE [--name NAME] [--component LIST] [--unit] --alpha A[,A...] [--strengths FILE] "
	"[--positions last|all|from:N|A-B] [--mode add|ablate|project|clamp|set|zero] [-o FILE] [FILE]",
	"Reads activations or a residual stream, changes rows by a vector, and writes them.", options, run
};
