/* tdiff: compares tensor streams, checkpoints and arrays, value by value. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compare.h"
#include "config_diff.h"
#include "diff.h"
#include "hint.h"
#include "memory.h"
#include "option.h"
#include "row_match.h"
#include "tensor_match.h"
#include "workers.h"

static struct {
	const char *variant, *sort;
	double atol, rtol;
	bool sites, json, tsv;
} arg = { .atol = NAN, .rtol = NAN };

static const struct option options[] = {
	{ OPTION_STRING, 0, "variant", &arg.variant, "K", "only this variant of a stream, by name or number", HISTORY_NO, 0 },
	{ OPTION_NUMBER, 0, "atol", &arg.atol, "X", "tolerate |a - b| <= X", HISTORY_NO, 0 },
	{ OPTION_NUMBER, 0, "rtol", &arg.rtol, "X", "tolerate |a - b| <= X |a|, in addition", HISTORY_NO, 0 },
	{ OPTION_FLAG, 0, "sites", &arg.sites, NULL, "one line for all layers of a site or tensor", HISTORY_NO, 0 },
	{ OPTION_STRING, 0, "sort", &arg.sort, "FIELD", "by name, cosine, max, rms, relative, differ or n", HISTORY_NO, 0 },
	{ OPTION_FLAG, 0, "json", &arg.json, NULL, "write JSON lines", HISTORY_NO, 0 },
	{ OPTION_FLAG, 0, "tsv", &arg.tsv, NULL, "write a table", HISTORY_NO, 0 },
	OPTION_OUTPUT,
	OPTION_JOBS,
	OPTION_LAST
};

struct work {
	const char *path[2];
	struct workers *workers;
	struct comparer *comparer;
	struct diff_list list;
};

/* -------- tensors in files */

static struct compare_side side_of(const struct listed *t)
{
	return (struct compare_side){ .type = t->dtype, .fd = t->fd, .offset = t->offset, .name = t->path };
}

/* turned: b is looked at as its transpose.  Arrays in Fortran's order lie transposed already. */
static int add_pair(struct work *w, struct comparison *into, const struct tensor_pair *t, bool turned, struct error *e)
{
	struct compare_pair p = {
		.into = into, .a = side_of(t->a), .b = side_of(t->b), .n_rows = 1, .width = t->a->n,
		.transposed = turned != (t->a->fortran != t->b->fortran),
	};
	if (t->a->n_dims > 1 && !t->a->opaque && t->a->n) {
		p.width = (size_t)t->a->dim[t->a->fortran ? 0 : t->a->n_dims - 1];
		p.n_rows = t->a->n / p.width;
		p.by_rows = p.argmax = strstr(t->a->name, "logits") && !p.transposed && !t->a->fortran;
	}
	return comparer_add(w->comparer, &p, e);
}

/* A square matrix doesn't tell by its shape that it is another's transpose. */
static int try_transposed(struct work *w, const struct tensor_pair *t, struct error *e)
{
	struct diff_item *d = t->item;
	struct comparison turned = { 0 };
	if (d->transposed || d->opaque || !d->found.outside || !tensor_match_turned(t) || t->a->n < 4 ||
	    comparison_cosine(&d->found) > 0.9)
		return 0;
	int alike = tensor_match_corner(t, e);
	if (alike <= 0)
		return alike;
	if (add_pair(w, &turned, t, true, e) < 0 || comparer_flush(w->comparer, e) < 0) {
		comparison_release(&turned);
		return -1;
	}
	d->transposed = turned.identical == turned.n || comparison_cosine(&turned) > 0.99;
	struct comparison dropped = d->transposed ? d->found : turned;
	if (d->transposed)
		d->found = turned;
	comparison_release(&dropped);
	return 0;
}

static int compare_pairs(struct work *w, const struct tensor_pair *pair, size_t n, struct error *e)
{
	int rc = 0;
	for (size_t i = 0; i < n && rc == 0; i++)
		if (pair[i].comparable)
			rc = add_pair(w, &pair[i].item->found, &pair[i], pair[i].item->transposed, e);
	if (rc == 0)
		rc = comparer_flush(w->comparer, e);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = try_transposed(w, &pair[i], e);
	return rc;
}

static int weight_hint(struct work *w, const struct tensor_pair *t, struct error *e)
{
	const struct listed *a = t->a, *b = t->b;
	const struct comparison *found = &t->item->found;
	size_t width = a->n_dims > 1 && a->n ? (size_t)a->dim[a->n_dims - 1] : (size_t)a->n;
	if (diff_status(t->item) != DIFF_DIFFERS || a->opaque || !width || comparison_relative(found) < HINT_LEAST)
		return 0;
	const struct compare_side at_a = side_of(a), at_b = side_of(b);
	return hint_of_weight(&w->list.hint, a->name, &at_a, &at_b, a->n / width, width, e);
}

static int tensor_hint(struct work *w, const struct tensor_pair *pair, size_t n, struct error *e)
{
	const struct diff_item *first = diff_first(&w->list);
	if (!first || (w->list.hint = diff_shape_hint(first)))
		return 0;
	for (size_t i = 0; i < n; i++)
		if (pair[i].item == first)
			return weight_hint(w, &pair[i], e);
	return 0;
}

static int diff_tensors(struct work *w, struct error *e)
{
	struct tensor_list a, b;
	if (tensor_list_open(&a, w->path[0], e) < 0)
		return -1;
	if (tensor_list_open(&b, w->path[1], e) < 0) {
		tensor_list_close(&a);
		return -1;
	}
	struct tensor_pair *pair = mem_zero(a.n + 1, sizeof *pair);
	size_t n = tensor_match(&a, &b, &w->list, pair);
	int rc = compare_pairs(w, pair, n, e);
	if (rc == 0) {
		diff_order(&w->list);
		if (a.checkpoint && b.checkpoint)
			w->list.facts = config_diff(a.path, b.path);
		rc = tensor_hint(w, pair, n, e);
	}
	free(pair);
	tensor_list_close(&a);
	tensor_list_close(&b);
	return rc;
}

/* -------- streams */

/* Rows of the first sequence in the forward pass that differs, to see what it looks like. */
struct kept {
	const struct diff_item *item;
	struct hint_rows rows;
};

static void keep_rows(struct kept *k, const struct matched *m)
{
	if (!m->item->found.outside || (k->item && m->item->rank > k->item->rank))
		return;
	if (m->item != k->item)
		hint_rows_release(&k->rows);
	k->item = m->item;
	hint_rows_take(&k->rows, m->a, m->type_a, m->b, m->type_b, m->n_rows, m->width, m->heads, m->position);
}

static int compare_rows(struct work *w, const struct matched *m, size_t n, struct error *e)
{
	int rc = 0;
	for (size_t i = 0; i < n && rc == 0; i++) {
		const struct compare_pair p = {
			.into = &m[i].item->found, .a = { .type = m[i].type_a, .p = m[i].a },
			.b = { .type = m[i].type_b, .p = m[i].b }, .n_rows = m[i].n_rows, .width = m[i].width, .by_rows = true,
			.argmax = m[i].item->site == SITE_LOGITS, .first = m[i].first * m[i].width, .id = m[i].id,
			.position = m[i].position,
		};
		rc = comparer_add(w->comparer, &p, e);
	}
	return rc < 0 ? -1 : comparer_flush(w->comparer, e);
}

static int diff_streams(struct work *w, struct error *e)
{
	struct row_match *r = row_match_open(w->path[0], w->path[1], arg.variant, w->workers, &w->list, e);
	if (!r)
		return -1;
	struct kept kept = { 0 };
	const struct matched *m;
	size_t n;
	int rc;
	while ((rc = row_match_next(r, &m, &n, e)) > 0) {
		if ((rc = compare_rows(w, m, n, e)) < 0)
			break;
		for (size_t i = 0; i < n; i++)
			keep_rows(&kept, &m[i]);
	}
	diff_order(&w->list);
	const struct diff_item *first = diff_first(&w->list);
	if (first)
		w->list.hint = diff_shape_hint(first);
	if (first && first == kept.item && !w->list.hint)
		w->list.hint = hint_of_rows(first->site, &kept.rows);
	hint_rows_release(&kept.rows);
	row_match_close(r);
	return rc;
}

/* -------- both */

static int compare(struct work *w, struct error *e)
{
	int stream[2];
	for (int i = 0; i < 2; i++)
		if ((stream[i] = tensor_list_is_stream(w->path[i], e)) < 0)
			return -1;
	for (int i = 0; i < 2; i++)
		if (stream[0] != stream[1] && !stream[i] && access(w->path[i], F_OK) < 0)
			return error_errno(e, "%s", w->path[i]);
	if (stream[0] != stream[1])
		return error_set(e, "%s: is a tensor stream and %s is none; tcat --npy or --safetensors makes files of a stream",
		                 w->path[stream[0] ? 0 : 1], w->path[stream[0] ? 1 : 0]);
	if (!stream[0] && arg.variant)
		return error_set(e, "--variant: only streams have variants");
	return stream[0] ? diff_streams(w, e) : diff_tensors(w, e);
}

static int report(struct diff_list *l, struct error *e)
{
	const struct diff_item *at = diff_first(l);
	struct diff_item first = { 0 };
	/* Joined layers don't have its place any more. */
	if (at)
		first = (struct diff_item){ .site = at->site, .layer = at->layer, .rows = at->rows, .name = mem_string(at->name),
			                    .variant = mem_string(at->variant) };
	if (arg.sites)
		diff_join_layers(l);
	enum diff_format format = arg.json ? DIFF_JSON : arg.tsv ? DIFF_TSV : DIFF_TEXT;
	int rc = arg.sort ? diff_sort(l, arg.sort, e) : 0;
	if (rc == 0 && (!common.quiet || common.output))
		rc = diff_report(common.output, l, at ? &first : NULL, format, common.verbose, e);
	free(first.name);
	free(first.variant);
	return rc < 0 ? -1 : at || l->facts ? 1 : 0;
}

static int run(char **files, int n_files, struct error *e)
{
	struct diff_list none = { 0 };
	if (n_files != 2)
		return error_set(e, "two operands are compared, A and B; %d given", n_files);
	if (!strcmp(files[0], "-") && !strcmp(files[1], "-"))
		return error_set(e, "-: standard input can be read only once");
	if (arg.json && arg.tsv)
		return error_set(e, "--json and --tsv: give one of them");
	if (arg.atol < 0 || arg.rtol < 0)
		return error_set(e, "--%s: a tolerance is no less than 0", arg.atol < 0 ? "atol" : "rtol");
	/* A field that doesn't exist is told before the work. */
	if (arg.sort && diff_sort(&none, arg.sort, e) < 0)
		return -1;
	struct work w = { .path = { files[0], files[1] } };
	const struct compare_rules rules = { arg.atol >= 0 || arg.rtol >= 0, arg.atol > 0 ? arg.atol : 0,
		                             arg.rtol > 0 ? arg.rtol : 0 };
	w.workers = workers_open_jobs(common.jobs, e);
	if (!w.workers)
		return -1;
	w.comparer = comparer_open(w.workers, &rules, e);
	int rc = w.comparer ? compare(&w, e) : -1;
	if (rc == 0)
		rc = report(&w.list, e);
	comparer_close(w.comparer);
	workers_close(w.workers);
	diff_release(&w.list);
	return rc;
}

const struct tool tool = {
	"tdiff", "[-o FILE] [-j N] [--variant K] [--atol X] [--rtol X] [--sites] [--sort FIELD] [--json | --tsv] A B",
	"Compares tensor streams, checkpoints, safetensors and NumPy files, all of their values; A is the reference.",
	options, run
};
