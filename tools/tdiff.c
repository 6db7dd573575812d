/* tdiff: compares tensor streams, checkpoints and arrays, value by value. */
#include <stdlib.h>
#include <string.h>

#include "compare.h"
#include "config_diff.h"
#include "diff.h"
#include "hint.h"
#include "memory.h"
#include "option.h"
#include "row_match.h"
#include "tensor_list.h"
#include "workers.h"

static struct {
	const char *variant, *sort;
	double atol, rtol;
	bool sites, json, tsv;
} arg = { .atol = -1, .rtol = -1 };

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

struct two {
	struct diff_item *item;
	const struct listed *a, *b;
};

static bool same_shape(const struct listed *a, const struct listed *b)
{
	return a->n_dims == b->n_dims && memcmp(a->dim, b->dim, (size_t)a->n_dims * sizeof *a->dim) == 0;
}

static bool turned_shape(const struct listed *a, const struct listed *b)
{
	return a->n_dims == 2 && b->n_dims == 2 && a->dim[0] == b->dim[1] && a->dim[1] == b->dim[0];
}

static void describe(struct diff_item *d, int side, const struct listed *t)
{
	d->there[side] = true;
	d->rank = t->rank;
	d->layer = t->layer;
	d->opaque |= t->opaque;
	strncpy(d->type[side], t->type, sizeof d->type[side] - 1);
	safetensors_shape(d->shape[side], sizeof d->shape[side], t->dim, t->n_dims);
}

/* turned: b is looked at as its transpose.  Arrays in Fortran's order lie transposed already. */
static void add_pair(struct work *w, struct comparison *into, const struct two *t, bool turned)
{
	struct compare_pair p = {
		.into = into, .a = t->a->p, .b = t->b->p, .type_a = t->a->dtype, .type_b = t->b->dtype, .n_rows = 1,
		.width = t->a->n, .transposed = turned != (t->a->fortran != t->b->fortran), .mapped = true,
	};
	if (t->a->n_dims > 1 && !t->a->opaque && t->a->n) {
		p.width = (size_t)t->a->dim[t->a->fortran ? 0 : t->a->n_dims - 1];
		p.n_rows = t->a->n / p.width;
		p.by_rows = p.argmax = strstr(t->a->name, "logits") && !p.transposed && !t->a->fortran;
	}
	comparer_add(w->comparer, &p);
}

static void compare_two(struct work *w, struct two *t)
{
	struct diff_item *d = t->item;
	describe(d, 0, t->a);
	describe(d, 1, t->b);
	d->types_differ = d->opaque && strcmp(t->a->type, t->b->type) != 0;
	d->transposed = !same_shape(t->a, t->b) && turned_shape(t->a, t->b) && !d->opaque;
	d->shapes_differ = !same_shape(t->a, t->b) && !d->transposed;
	if (!d->types_differ && t->a->n == t->b->n && !(d->shapes_differ && t->a->fortran != t->b->fortran))
		add_pair(w, &d->found, t, d->transposed);
}

/* A square matrix doesn't tell by its shape that it is another's transpose. */
static void try_transposed(struct work *w, const struct two *t)
{
	struct diff_item *d = t->item;
	struct comparison turned = { 0 };
	if (d->transposed || d->opaque || !d->found.outside || !turned_shape(t->a, t->b) || t->a->n < 4 ||
	    comparison_cosine(&d->found) > 0.9)
		return;
	add_pair(w, &turned, t, true);
	comparer_flush(w->comparer);
	d->transposed = turned.identical == turned.n || comparison_cosine(&turned) > 0.99;
	struct comparison dropped = d->transposed ? d->found : turned;
	if (d->transposed)
		d->found = turned;
	comparison_release(&dropped);
}

static const struct listed *counterpart(const struct tensor_list *l, const struct listed *t, bool alone)
{
	return alone ? &l->tensor[0] : tensor_list_find(l, t);
}

/* two (n of A's tensors) receives those that both have; how many. */
static size_t compare_lists(struct work *w, const struct tensor_list *a, const struct tensor_list *b, struct two *two)
{
	/* Two arrays in files of their own need no common name. */
	bool alone = a->n == 1 && b->n == 1 && !a->files.n_files && !b->files.n_files;
	size_t n = 0;
	for (size_t i = 0; i < a->n; i++) {
		const struct listed *other = counterpart(b, &a->tensor[i], alone);
		struct diff_item *d = diff_add(&w->list, a->tensor[i].name);
		two[n] = (struct two){ d, &a->tensor[i], other };
		if (other)
			compare_two(w, &two[n++]);
		else
			describe(d, 0, &a->tensor[i]);
	}
	for (size_t i = 0; i < b->n; i++)
		if (!counterpart(a, &b->tensor[i], alone))
			describe(diff_add(&w->list, b->tensor[i].name), 1, &b->tensor[i]);
	comparer_flush(w->comparer);
	for (size_t i = 0; i < n; i++)
		try_transposed(w, &two[i]);
	return n;
}

static void tensor_hint(struct work *w, const struct two *two, size_t n)
{
	const struct diff_item *first = diff_first(&w->list);
	if (!first)
		return;
	w->list.hint = diff_shape_hint(first);
	for (size_t i = 0; i < n && !w->list.hint; i++) {
		const struct listed *a = two[i].a;
		size_t width = a->n_dims > 1 && a->n ? (size_t)a->dim[a->n_dims - 1] : (size_t)a->n;
		if (two[i].item == first && diff_status(first) == DIFF_DIFFERS && !a->opaque && width)
			w->list.hint = hint_of_weight(a->name, a->p, a->dtype, two[i].b->p, two[i].b->dtype, a->n / width, width);
	}
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
	struct two *two = mem_zero(a.n + 1, sizeof *two);
	size_t n = compare_lists(w, &a, &b, two);
	diff_order(&w->list);
	if (a.checkpoint && b.checkpoint)
		w->list.facts = config_diff(a.path, b.path);
	tensor_hint(w, two, n);
	free(two);
	tensor_list_close(&a);
	tensor_list_close(&b);
	return 0;
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

static void compare_rows(struct work *w, const struct matched *m, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct compare_pair p = {
			.into = &m[i].item->found, .a = m[i].a, .b = m[i].b, .type_a = m[i].type_a, .type_b = m[i].type_b,
			.n_rows = m[i].n_rows, .width = m[i].width, .by_rows = true,
			.argmax = m[i].item->site == SITE_LOGITS, .first = m[i].first * m[i].width, .id = m[i].id,
			.position = m[i].position,
		};
		comparer_add(w->comparer, &p);
	}
	comparer_flush(w->comparer);
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
		compare_rows(w, m, n);
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
		return error_set(e, "two operands are compared, A and B; %d are given", n_files);
	if (!strcmp(files[0], "-") && !strcmp(files[1], "-"))
		return error_set(e, "-: standard input can be read only once");
	if (arg.json && arg.tsv)
		return error_set(e, "--json and --tsv: give one of them");
	/* A field that doesn't exist is told before the work. */
	if (arg.sort && diff_sort(&none, arg.sort, e) < 0)
		return -1;
	struct work w = { .path = { files[0], files[1] } };
	const struct compare_rules rules = { arg.atol >= 0 || arg.rtol >= 0, arg.atol > 0 ? arg.atol : 0,
		                             arg.rtol > 0 ? arg.rtol : 0 };
	w.workers = workers_open(common.jobs, e);
	if (!w.workers)
		return -1;
	w.comparer = comparer_open(w.workers, &rules);
	int rc = compare(&w, e);
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
