/* pca: principal components of every place of a stream, and projections onto them. */
#include <stdlib.h>

#include "components.h"
#include "lapack.h"
#include "memory.h"
#include "option.h"
#include "projection.h"
#include "state.h"
#include "statistics.h"

static struct {
	uint64_t k;
	bool no_center, partial, merge;
	const char *transform;
} arg;

static const struct option options[] = {
	{ OPTION_COUNT, 'k', NULL, &arg.k, "K", "components to find; of --transform, to use (default all)", HISTORY_YES, 1 },
	{ OPTION_FLAG, 0, "no-center", &arg.no_center, NULL, "deviations from zero, not from the mean", HISTORY_YES, 0 },
	{ OPTION_FLAG, 0, "partial", &arg.partial, NULL, "write a state that --merge can go on with", HISTORY_NO, 0 },
	{ OPTION_FLAG, 0, "merge", &arg.merge, NULL, "the FILEs are states: join them", HISTORY_NO, 0 },
	{ OPTION_STRING, 0, "transform", &arg.transform, "FILE", "project rows onto the components in FILE", HISTORY_YES, 0 },
	OPTION_JOBS,
	OPTION_OUTPUT,
	OPTION_LAST
};

/* A place whose components are to be found. */
struct due {
	struct place place;
	struct scatter *scatter;
	struct components c;
	struct error error;
	int rc;
};

struct run {
	struct statistics s;
	struct tms_writer *out;
	struct due *due;        /* (n_due): an eigenproblem is one thread's work, several go side by side */
	size_t n_due, n_threads;
	uint64_t len;           /* bytes that they will take */
	bool any;
};

/* -------- components */

static int write_components(struct tms_writer *w, const struct place *p, const struct components *c, struct error *e)
{
	double n = (double)c->n;
	if (vectors_put(w, p, "components_", 2, (size_t[]){ c->k, c->width }, c->vector, e) < 0 ||
	    vectors_put(w, p, "mean_", 1, &c->width, c->mean, e) < 0 ||
	    vectors_put(w, p, "explained_variance_", 1, &c->k, c->variance, e) < 0 ||
	    vectors_put(w, p, "explained_variance_ratio_", 1, &c->k, c->ratio, e) < 0 ||
	    vectors_put(w, p, "singular_values_", 1, &c->k, c->singular, e) < 0)
		return -1;
	return vectors_put(w, p, "n_samples_", 0, NULL, &n, e);
}

static void find_task(void *argument, size_t i, size_t slot)
{
	(void)slot;
	struct due *d = &((struct run *)argument)->due[i];
	d->rc = components_find(&d->c, d->scatter, arg.k, !arg.no_center, &d->error);
	d->scatter = NULL;
}

static int find_due(struct run *r, struct error *e)
{
	int rc = 0;
	workers_run(r->s.workers, r->n_due, find_task, r);
	for (size_t i = 0; i < r->n_due; i++) {
		struct due *d = &r->due[i];
		if (rc == 0 && d->rc < 0) {
			char *place = place_text(&d->place);
			*e = d->error;
			rc = error_in(e, "%s", place);
			free(place);
		}
		if (rc == 0)
			rc = write_components(r->out, &d->place, &d->c, e);
		components_release(&d->c);
		place_release(&d->place);
	}
	r->n_due = 0;
	r->len = 0;
	return rc;
}

static int each(void *context, const struct place *p, struct scatter *s, struct error *e)
{
	struct run *r = context;
	r->any = true;
	if (arg.partial) {
		int rc = state_write(r->out, p, r->s.about, s, e);
		scatter_close(s);
		return rc;
	}
	uint64_t len = components_len(s->width, arg.k < s->width ? arg.k : s->width), room = mem_available();
	int rc = r->n_due && r->len + len > room ? find_due(r, e) : 0;
	if (rc == 0 && len > room) {
		char *place = place_text(p);
		rc = series_no_room(e, place, len, room);
		free(place);
	}
	if (rc < 0) {
		scatter_close(s);
		return -1;
	}
	r->due[r->n_due++] = (struct due){ .place = place_copy(p), .scatter = s };
	r->len += len;
	return r->n_due == r->n_threads ? find_due(r, e) : 0;
}

static int read_all(struct run *r, struct error *e)
{
	if (statistics_read(&r->s, e) < 0)
		return -1;
	if (!arg.partial && !r->any)
		return error_set(e, "there are no rows to find components of");
	return find_due(r, e);
}

static int components(char **files, size_t n, struct workers *w, struct error *e)
{
	struct run r = {
		.s = { .about = "pca", .kind = { .n_classes = 1, .matrix = true }, .workers = w, .each = each },
		.n_threads = workers_count(w),
	};
	r.s.context = &r;
	r.due = mem_zero(r.n_threads, sizeof *r.due);
	int rc = statistics_open(&r.s, files, n, arg.merge, e);
	if (rc == 0) {
		struct tms_step step = { .backend = lapack_backend(), .from = -1 };
		r.s.header.kind = arg.partial ? TMS_STATE : TMS_VECTORS;
		r.s.header.order = TMS_ORDER_LAYER;
		r.out = tms_create(common.output, &r.s.header, &step, NULL, e);
		rc = r.out ? read_all(&r, e) : -1;
	}
	for (size_t i = 0; i < r.n_due; i++) {
		scatter_close(r.due[i].scatter);
		place_release(&r.due[i].place);
	}
	rc = tms_settle(r.out, rc, e);
	statistics_close(&r.s);
	free(r.due);
	return rc;
}

/* -------- projections */

static int project_stream(struct tms_reader *in, struct tms_writer *out, const struct projections *p, struct workers *w,
                          struct error *e)
{
	struct frame *f;
	int rc;
	while ((rc = tms_next(in, &f, e)) > 0) {
		struct frame *projected = NULL;
		rc = projections_apply(p, w, f, &projected, e);
		if (rc < 0)
			tms_in_frame(in, e);
		else
			rc = tms_write(out, projected, e);
		frame_free(projected);
		frame_free(f);
		if (rc < 0)
			break;
	}
	return rc;
}

static int project(const char *path, struct workers *w, struct error *e)
{
	struct tms_reader *in = tms_open(path, e);
	if (!in)
		return -1;
	struct tms_header h;
	tms_header_copy(&h, tms_header(in));
	int rc = 0;
	if (h.kind == TMS_TOKENS || h.kind == TMS_VECTORS || h.kind == TMS_STATE)
		rc = error_set(e, "%s: holds %s, which have no rows to project", tms_name(in), tms_kind_name(h.kind));
	h.kind = TMS_ACTS;
	struct projections *p = rc < 0 ? NULL : projections_open(arg.transform, arg.k, &h, e);
	struct tms_writer *out = NULL;
	if (p) {
		option_history_set(&arg.transform, projections_checksum(p));
		out = tms_create(common.output, &h, NULL, NULL, e);
	}
	rc = tms_settle(out, out ? project_stream(in, out, p, w, e) : -1, e);
	projections_close(p);
	tms_header_release(&h);
	tms_close(in);
	return rc;
}

static int check_options(int n_files, char **files, struct error *e)
{
	if (arg.transform && (arg.partial || arg.merge || arg.no_center))
		return error_set(e, "--transform uses what was found; --partial, --merge and --no-center belong to finding it");
	if (arg.transform && n_files > 1)
		return error_set(e, "%s: one FILE is read; tcat joins several", files[1]);
	if (arg.partial && (arg.k || arg.no_center))
		return error_set(e, "-k and --no-center belong to the last step, without --partial");
	if (!arg.partial && !arg.transform && !arg.k)
		return error_set(e, "how many components? give -k K");
	return 0;
}

static int run(char **files, int n_files, struct error *e)
{
	if (check_options(n_files, files, e) < 0)
		return -1;
	struct workers *w = workers_open_jobs(common.jobs, e);
	if (!w)
		return -1;
	int rc = arg.transform ? project(n_files ? files[0] : NULL, w, e) : components(files, (size_t)n_files, w, e);
	workers_close(w);
	return rc;
}

const struct tool tool = {
	"pca", "-k K [--no-center] [--partial] [--merge] [--transform FILE] [-j N] [-o FILE] [FILE...]",
	"Reads activations, finds the principal components of each site and layer, and writes them as vectors.", options, run
};
