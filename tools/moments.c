/* moments: mean, variance, covariance, extremes and norms of the rows at every place of a stream. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lapack.h"
#include "memory.h"
#include "option.h"
#include "state.h"
#include "statistics.h"
#include "text_out.h"

static struct {
	bool covariance, json, tsv, partial, merge;
} arg;

static const struct option options[] = {
	{ OPTION_FLAG, 0, "covariance", &arg.covariance, NULL, "also the covariance of all pairs of columns", HISTORY_YES, 0 },
	{ OPTION_FLAG, 0, "json", &arg.json, NULL, "JSON lines: what sums up a place", HISTORY_NO, 0 },
	{ OPTION_FLAG, 0, "tsv", &arg.tsv, NULL, "the same as a table", HISTORY_NO, 0 },
	{ OPTION_FLAG, 0, "partial", &arg.partial, NULL, "write a state that --merge can go on with", HISTORY_NO, 0 },
	{ OPTION_FLAG, 0, "merge", &arg.merge, NULL, "the FILEs are states: join them", HISTORY_NO, 0 },
	OPTION_JOBS,
	OPTION_OUTPUT,
	OPTION_LAST
};

struct run {
	struct statistics s;
	struct tms_writer *out;         /* NULL: text */
	struct text_out text;
	bool any;
};

struct found {
	double *mean, *variance;        /* (W) */
	double n, norm_mean, norm_rms;
};

/* at: 2 W numbers. */
static struct found find(const struct scatter *s, double *at)
{
	struct found f = { .mean = at, .variance = at + s->width, .n = (double)s->n[0] };
	scatter_mean(s, 0, f.mean);
	scatter_diagonal(s, f.variance);
	double squares = 0;
	for (size_t i = 0; i < s->width; i++)
		squares += f.variance[i] / f.n + f.mean[i] * f.mean[i];
	for (size_t i = 0; i < s->width; i++)
		f.variance[i] /= f.n - 1;
	f.norm_mean = (s->norm + s->norm_lost) / f.n;
	f.norm_rms = sqrt(squares);
	return f;
}

/* -------- vectors */

static int write_covariance(struct run *r, const struct place *p, const struct scatter *s, struct error *e)
{
	size_t width = s->width;
	double *a = mem_try(width * width * sizeof *a, "a covariance", e), n = (double)s->n[0];
	if (!a)
		return -1;
	scatter_square(s, a);
	for (size_t i = 0; i < width; i++) {
		for (size_t j = 0; j <= i; j++) {
			a[i * width + j] /= n - 1;
			a[j * width + i] = a[i * width + j];
		}
	}
	int rc = vectors_put(r->out, p, "covariance_", 2, (size_t[]){ width, width }, a, e);
	free(a);
	return rc;
}

static int write_vectors(struct run *r, const struct place *p, const struct scatter *s, const struct found *f, struct error *e)
{
	if (vectors_put(r->out, p, "mean_", 1, &s->width, f->mean, e) < 0 ||
	    vectors_put(r->out, p, "variance_", 1, &s->width, f->variance, e) < 0 ||
	    vectors_put(r->out, p, "min_", 1, &s->width, s->min, e) < 0 ||
	    vectors_put(r->out, p, "max_", 1, &s->width, s->max, e) < 0 ||
	    vectors_put(r->out, p, "norm_mean_", 0, NULL, &f->norm_mean, e) < 0 ||
	    vectors_put(r->out, p, "norm_rms_", 0, NULL, &f->norm_rms, e) < 0 ||
	    vectors_put(r->out, p, "n_samples_", 0, NULL, &f->n, e) < 0)
		return -1;
	return arg.covariance ? write_covariance(r, p, s, e) : 0;
}

/* -------- text */

static const char *const columns[] = { "norm_mean", "norm_rms", "mean_norm", "variance", "min", "max" };

/* What sums up a place, in the order of the columns. */
static void summary(const struct scatter *s, const struct found *f, double v[ARRAY_LEN(columns)])
{
	double mean = 0, variance = 0, min = INFINITY, max = -INFINITY;
	for (size_t i = 0; i < s->width; i++) {
		mean += f->mean[i] * f->mean[i];
		variance += f->variance[i];
		min = s->min[i] < min ? s->min[i] : min;
		max = s->max[i] > max ? s->max[i] : max;
	}
	const double all[] = { f->norm_mean, f->norm_rms, sqrt(mean), variance, min, max };
	memcpy(v, all, sizeof all);
}

static struct text variant_name(const struct run *r, const struct place *p)
{
	return text_of(p->variant < 0 ? NULL : r->s.header.variants[p->variant]);
}

static void put_json(struct run *r, const struct place *p, const struct scatter *s, const double *v)
{
	struct text_out *t = &r->text;
	struct text variant = variant_name(r, p);
	text_string(t, "{");
	if (p->site.p) {
		text_string(t, "\"site\":");
		text_json(t, p->site.p, p->site.len);
		text_string(t, ",");
	}
	if (p->layer >= 0) {
		text_string(t, "\"layer\":");
		text_uint(t, (uint64_t)p->layer);
		text_string(t, ",");
	}
	if (variant.p) {
		text_string(t, "\"variant\":");
		text_json(t, variant.p, variant.len);
		text_string(t, ",");
	}
	text_string(t, "\"rows\":");
	text_uint(t, s->n[0]);
	text_string(t, ",\"width\":");
	text_uint(t, s->width);
	for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
		text_string(t, ",\"");
		text_string(t, columns[i]);
		text_string(t, "\":");
		text_value(t, v, DTYPE_F64, i, 1);
	}
	text_string(t, "}\n");
}

static void put_line(struct run *r, const struct place *p, const struct scatter *s, const double *v)
{
	struct text_out *t = &r->text;
	struct text variant = variant_name(r, p);
	text_field(t, p->site.p, p->site.len);
	text_char(t, '\t');
	if (p->layer >= 0)
		text_uint(t, (uint64_t)p->layer);
	text_char(t, '\t');
	text_field(t, variant.p, variant.len);
	text_char(t, '\t');
	text_uint(t, s->n[0]);
	text_char(t, '\t');
	text_uint(t, s->width);
	for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
		text_char(t, '\t');
		text_value(t, v, DTYPE_F64, i, 0);
	}
	text_char(t, '\n');
}

static void put_title(struct text_out *t)
{
	text_string(t, "site\tlayer\tvariant\trows\twidth");
	for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
		text_char(t, '\t');
		text_string(t, columns[i]);
	}
	text_char(t, '\n');
}

/* -------- all */

static int write_found(struct run *r, const struct place *p, const struct scatter *s, struct error *e)
{
	double *at = mem_try(2 * s->width * sizeof *at, "moments", e), v[ARRAY_LEN(columns)];
	if (!at)
		return -1;
	struct found f = find(s, at);
	int rc = 0;
	if (r->out) {
		rc = write_vectors(r, p, s, &f, e);
	} else {
		summary(s, &f, v);
		(arg.json ? put_json : put_line)(r, p, s, v);
	}
	free(at);
	return rc;
}

static int each(void *context, const struct place *p, struct scatter *s, struct error *e)
{
	struct run *r = context;
	r->any = true;
	int rc = arg.partial ? state_write(r->out, p, r->s.about, s, e) : write_found(r, p, s, e);
	scatter_close(s);
	return rc;
}

static int open_output(struct run *r, struct error *e)
{
	if (arg.json || arg.tsv) {
		if (text_out_open(&r->text, common.output, e) < 0)
			return -1;
		if (arg.tsv)
			put_title(&r->text);
		return 0;
	}
	struct tms_step step = { .backend = arg.covariance ? lapack_backend() : NULL, .from = -1 };
	r->s.header.kind = arg.partial ? TMS_STATE : TMS_VECTORS;
	r->s.header.order = TMS_ORDER_LAYER;
	r->out = tms_create(common.output, &r->s.header, &step, NULL, e);
	return r->out ? 0 : -1;
}

static int read_all(struct run *r, struct error *e)
{
	if (open_output(r, e) < 0)
		return -1;
	int rc = statistics_read(&r->s, e);
	if (rc == 0 && !arg.partial && !r->any)
		rc = error_set(e, "there are no rows to measure");
	if (rc == 0)
		return r->out ? tms_finish(r->out, e) : text_out_finish(&r->text, e);
	if (r->out)
		tms_abort(r->out);
	else
		text_out_abort(&r->text);
	return -1;
}

static int run(char **files, int n_files, struct error *e)
{
	if (arg.json + arg.tsv + arg.partial > 1)
		return error_set(e, "--json, --tsv and --partial: give one of them");
	if (arg.covariance && (arg.json || arg.tsv))
		return error_set(e, "--covariance is written as vectors; --json and --tsv don't have it");
	struct run r = {
		.s = {
			.about = arg.covariance ? "moments\tcovariance" : "moments\tdiagonal",
			.kind = { .n_classes = 1, .matrix = arg.covariance, .range = true }, .each = each,
		},
	};
	r.s.context = &r;
	r.s.workers = workers_open_jobs(common.jobs, e);
	int rc = r.s.workers ? statistics_open(&r.s, files, (size_t)n_files, arg.merge, e) : -1;
	if (rc == 0)
		rc = read_all(&r, e);
	statistics_close(&r.s);
	workers_close(r.s.workers);
	return rc;
}

const struct tool tool = {
	"moments", "[--covariance | --json | --tsv] [--partial] [--merge] [-j N] [-o FILE] [FILE...]",
	"Reads activations, and writes mean, variance, extremes and norms of the rows of each site and layer.", options, run
};
