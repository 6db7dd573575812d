/* diffmean: the difference of two labelled classes' means, at every place of a stream. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "labels.h"
#include "lapack.h"
#include "memory.h"
#include "option.h"
#include "state.h"
#include "statistics.h"

static struct {
	const char *pos, *neg, *labels;
	bool partial, merge;
} arg;

static const struct option options[] = {
	{ OPTION_STRING, 0, "pos", &arg.pos, "LABEL", "the class that the direction points to", HISTORY_YES, 0 },
	{ OPTION_STRING, 0, "neg", &arg.neg, "LABEL", "the class that it comes from", HISTORY_YES, 0 },
	{ OPTION_STRING, 0, "labels", &arg.labels, "FILE", "labels from a table, id TAB label, not from the stream", HISTORY_NO, 0 },
	{ OPTION_FLAG, 0, "partial", &arg.partial, NULL, "write a state that --merge can go on with", HISTORY_NO, 0 },
	{ OPTION_FLAG, 0, "merge", &arg.merge, NULL, "the FILEs are states: join them", HISTORY_NO, 0 },
	OPTION_JOBS,
	OPTION_OUTPUT,
	OPTION_LAST
};

enum { POS, NEG, N_CLASSES, LABELS_SHOWN = 6 };

struct run {
	struct statistics s;
	struct labels *labels;          /* NULL: the stream's */
	struct tms_writer *out;
	const char *class[N_CLASSES];   /* their names */
	char *other[LABELS_SHOWN];      /* labels met that are neither, for messages */
	size_t n_other;
	bool any;
};

/* -------- classes */

static void note_other(struct run *r, struct text label)
{
	for (size_t i = 0; i < r->n_other; i++)
		if (text_equal(text_of(r->other[i]), label))
			return;
	if (r->n_other < LABELS_SHOWN && label.len < 64)
		r->other[r->n_other++] = mem_slice(label.p, label.len);
}

static int class_of(void *context, const struct sample *s, struct error *e)
{
	struct run *r = context;
	struct text label = r->labels ? labels_find(r->labels, s->id) : s->label;
	const char *id = s->id.p ? s->id.p : "";
	if (!label.p && r->labels)
		return error_set(e, "sample '%s' has no line in %s", id, arg.labels);
	if (!label.p)
		return error_set(e, "sample '%s' has no label; give tok lines with \"label\", or --labels FILE", id);
	for (int c = 0; c < N_CLASSES; c++)
		if (text_equal(label, text_of(r->class[c])))
			return c;
	note_other(r, label);
	return N_CLASSES;
}

/* -------- the direction */

static int empty_class(const struct run *r, size_t class, struct error *e)
{
	char *list = mem_string("");
	for (size_t i = 0; i < r->n_other; i++) {
		char *longer = mem_format("%s%s'%s'", list, i ? ", " : "; other labels are ", r->other[i]);
		free(list);
		list = longer;
	}
	error_set(e, "no row is of a sample labelled '%s'%s", r->class[class], list);
	free(list);
	return -1;
}

static double length(const double *v, size_t n)
{
	double sum = 0, lost = 0;
	for (size_t i = 0; i < n; i++) {
		double x = v[i] * v[i], s = sum + x;
		lost += x - (s - sum);
		sum = s;
	}
	return sqrt(sum + lost);
}

/* at: three times W numbers. */
static int write_direction(const struct run *r, const struct place *p, const struct scatter *s, double *at, struct error *e)
{
	size_t width = s->width;
	double *pos = at, *neg = at + width, *direction = at + 2 * width, n[N_CLASSES];
	for (size_t c = 0; c < N_CLASSES; c++) {
		n[c] = (double)s->n[c];
		if (!s->n[c])
			return empty_class(r, c, e);
		scatter_mean(s, c, at + c * width);
	}
	for (size_t i = 0; i < width; i++)
		direction[i] = pos[i] - neg[i];
	double norm = length(direction, width), freedom = n[POS] + n[NEG] - 2;
	if (!(norm > 0) || isinf(norm))
		return error_set(e, norm > 0 ? "the means of '%s' and '%s' differ by more than double precision can hold"
		                             : "the means of '%s' and '%s' are the same: there is no direction",
		                 r->class[POS], r->class[NEG]);
	if (vectors_put(r->out, p, "direction", 1, &width, direction, e) < 0 ||
	    vectors_put(r->out, p, "mean_pos", 1, &width, pos, e) < 0 || vectors_put(r->out, p, "mean_neg", 1, &width, neg, e) < 0)
		return -1;
	for (size_t i = 0; i < width; i++)
		direction[i] /= norm;
	/* Rounding may leave less than nothing where the rows of a class don't differ along the direction. */
	double along = scatter_along(s, direction), d = norm / sqrt((along > 0 ? along : 0) / freedom);
	scatter_diagonal(s, at);
	for (size_t i = 0; i < width; i++)
		at[i] /= freedom;
	if (vectors_put(r->out, p, "variance", 1, &width, at, e) < 0 || vectors_put(r->out, p, "norm", 0, NULL, &norm, e) < 0 ||
	    vectors_put(r->out, p, "cohens_d", 0, NULL, &d, e) < 0 || vectors_put(r->out, p, "n_pos", 0, NULL, &n[POS], e) < 0)
		return -1;
	return vectors_put(r->out, p, "n_neg", 0, NULL, &n[NEG], e);
}

static int each(void *context, const struct place *p, struct scatter *s, struct error *e)
{
	struct run *r = context;
	int rc;
	r->any = true;
	if (arg.partial) {
		rc = state_write(r->out, p, r->s.about, s, e);
	} else {
		double *at = mem_try(3 * s->width * sizeof *at, "a direction", e);
		rc = at ? write_direction(r, p, s, at, e) : -1;
		free(at);
		if (rc < 0) {
			char *place = place_text(p);
			error_in(e, "%s", place);
			free(place);
		}
	}
	scatter_close(s);
	return rc;
}

static int read_all(struct run *r, struct error *e)
{
	struct tms_step step = { .backend = lapack_backend(), .from = -1 };
	r->s.header.kind = arg.partial ? TMS_STATE : TMS_VECTORS;
	r->s.header.order = TMS_ORDER_LAYER;
	r->out = tms_create(common.output, &r->s.header, &step, NULL, e);
	if (!r->out)
		return -1;
	int rc = statistics_read(&r->s, e);
	if (rc == 0 && !arg.partial && !r->any)
		rc = error_set(e, "there are no rows to take means of");
	return tms_settle(r->out, rc, e);
}

static int check_options(struct error *e)
{
	if (!arg.pos != !arg.neg || (!arg.pos && !arg.merge))
		return error_set(e, "which classes? give --pos LABEL and --neg LABEL");
	if (arg.pos && !strcmp(arg.pos, arg.neg))
		return error_set(e, "--pos and --neg are both '%s'; give two labels", arg.pos);
	if (arg.labels && arg.merge)
		return error_set(e, "--labels belongs to reading rows; states have their classes");
	return 0;
}

/* "diffmean TAB pos TAB neg", as given or as the states say. */
static int name_classes(struct run *r, char *about, struct error *e)
{
	char *tab = strchr(about, '\t'), *second = tab ? strchr(tab + 1, '\t') : NULL;
	if (!second)
		return error_set(e, "%s: holds no state of diffmean", tms_name(r->s.states[0].in));
	*second = 0;
	r->class[POS] = tab + 1;
	r->class[NEG] = second + 1;
	return 0;
}

static int run(char **files, int n_files, struct error *e)
{
	if (check_options(e) < 0)
		return -1;
	struct run r = { .s = { .kind = { .n_classes = N_CLASSES, .matrix = true }, .class_of = class_of, .each = each } };
	char *about = arg.pos ? mem_format("diffmean\t%s\t%s", arg.pos, arg.neg) : mem_string("diffmean"), *names = NULL;
	r.s.about = about;
	r.s.about_any = !arg.pos;
	r.s.context = &r;
	int rc = !arg.labels || (r.labels = labels_read(arg.labels, e)) ? 0 : -1;
	if (rc == 0)
		rc = (r.s.workers = workers_open_jobs(common.jobs, e)) ? 0 : -1;
	if (rc == 0)
		rc = statistics_open(&r.s, files, (size_t)n_files, arg.merge, e);
	if (rc == 0 && (arg.pos || r.s.first_about)) {
		names = mem_string(arg.pos ? about : r.s.first_about);
		rc = name_classes(&r, names, e);
	}
	if (rc == 0 && r.s.about_any && r.s.first_about)
		r.s.about = r.s.first_about;
	if (rc == 0)
		rc = read_all(&r, e);
	statistics_close(&r.s);
	workers_close(r.s.workers);
	labels_free(r.labels);
	for (size_t i = 0; i < r.n_other; i++)
		free(r.other[i]);
	free(names);
	free(about);
	return rc;
}

const struct tool tool = {
	"diffmean", "--pos LABEL --neg LABEL [--labels FILE] [--partial] [--merge] [-j N] [-o FILE] [FILE...]",
	"Reads labelled activations, and writes the difference of two classes' means at each site and layer as vectors.",
	options, run
};
