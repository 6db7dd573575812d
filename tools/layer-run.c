/* layer-run: the residual stream through layers L..L'-1, each layer's weights read once. */
#include <stdlib.h>
#include <string.h>

#include "checkpoint.h"
#include "filter.h"
#include "io.h"
#include "memory.h"
#include "option.h"
#include "patch.h"
#include "profile.h"
#include "progress.h"
#include "resid.h"
#include "select.h"
#include "spill.h"
#include "sweep.h"
#include "tap.h"
#include "tms.h"

static struct {
	uint64_t from, to, hold, ram, timeout;
	const char *spill, *resid, *tap_dtype, *profile, *sweep;
	struct option_list taps, filters, patches;
	bool no_output;
} arg = { .from = UINT64_MAX, .to = UINT64_MAX, .hold = 1, .ram = UINT64_MAX, .timeout = 300 };

static const struct option options[] = {
	OPTION_MODEL,
	OPTION_OUTPUT,
	{ OPTION_FLAG, 'n', NULL, &arg.no_output, NULL, "no residual stream, only taps", HISTORY_NO, 0 },
	OPTION_JOBS,
	OPTION_DEVICE,
	{ OPTION_COUNT, 0, "from", &arg.from, "L", "the first layer; must be the one that the stream says is next", HISTORY_NO, 0 },
	{ OPTION_COUNT, 0, "to", &arg.to, "L", "stop before layer L (default: after the last)", HISTORY_NO, 0 },
	{ OPTION_COUNT, 0, "hold", &arg.hold, "N", "keep N layers in memory and spill N times less often (default 1)", HISTORY_NO, 1 },
	{ OPTION_SIZE, 0, "ram", &arg.ram, "SIZE", "memory for the stream between layers (default: a quarter of what is available)", HISTORY_NO, 0 },
	{ OPTION_STRING, 0, "spill", &arg.spill, "DIR", "where the stream goes beyond --ram (default $TMPDIR, else /var/tmp)", HISTORY_NO, 0 },
	{ OPTION_STRING, 0, "resid-dtype", &arg.resid, "T", "what rows are rounded to after every layer (default: the checkpoint's type; f64 on ref)", HISTORY_YES, 0 },
	{ OPTION_LIST, 0, "tap", &arg.taps, "SITE[,SITE...][@LAYERS][/POOL]=FILE", "read rows at a site; FILE may be - or '|command'", HISTORY_NO, 0 },
	{ OPTION_STRING, 0, "tap-dtype", &arg.tap_dtype, "T", "type of taps' rows (default f32; f64 on ref)", HISTORY_YES, 0 },
	{ OPTION_LIST, 0, "filter", &arg.filters, "SITE[,SITE...][@LAYERS]=COMMAND", "rows go through COMMAND and come back changed", HISTORY_YES, 0 },
	{ OPTION_COUNT, 0, "filter-timeout", &arg.timeout, "S", "the longest that a filter may take over an answer (default 300)", HISTORY_NO, 1 },
	{ OPTION_LIST, 0, "patch", &arg.patches, "SITE[@LAYERS][/pos:LIST][/head:LIST]=FILE", "replace rows by those of a stream", HISTORY_YES, 0 },
	{ OPTION_STRING, 0, "sweep", &arg.sweep, "FILE", "a table of patches, a variant each: variant site layers pos head file", HISTORY_YES, 0 },
	{ OPTION_STRING, 0, "profile", &arg.profile, "FILE", "write what every layer took, as JSON lines", HISTORY_NO, 0 },
	OPTION_LAST
};

struct run {
	struct checkpoint *checkpoint;
	const struct model *m;
	void *staging;
	struct sweep sweep;
	struct tms_reader *in;
	struct frame *first;            /* read ahead, to learn the layer */
	int layer;                      /* that the input says is next */
	size_t from, to;
	struct tms_writer *out;
	struct taps *taps;
	struct filters *filters;
	struct patches *patches;
	char **variants;                /* of --sweep */
	size_t n_variants, copy;        /* copies of a frame still to give */
	struct frame *copied;
	struct spill *spill;
	bool first_pass, last_pass;
	uint64_t rows;                  /* of the first pass: how many the others will have */
	struct output profile;
	struct traffic traffic;         /* up to the last pass */
};

/* -------- what the sweep asks for */

static size_t parts(void *context, size_t layer, const struct part **list)
{
	const struct run *r = context;
	return checkpoint_layer_parts(r->checkpoint, layer, list);
}

static int load(void *context, struct layer *l, struct error *e)
{
	struct run *r = context;
	return checkpoint_read_layer(r->checkpoint, l->index, r->staging, checkpoint_staging_len(r->checkpoint), layer_put, l, e);
}

/* With --sweep a stream without variants gets them here, every frame once for each. */
static int next_variant(struct run *r, struct frame **f)
{
	if (!r->copied)
		return 0;
	struct frame *all = r->copied;
	*f = r->copy + 1 < r->n_variants ? frame_copy(all) : all;
	(*f)->variant = (int)r->copy++;
	if (*f == all)
		r->copied = NULL;
	return 1;
}

static int next_input(struct run *r, struct frame **f, struct error *e)
{
	if (!r->first)
		return resid_next(r->in, r->m, &r->layer, f, e);
	*f = r->first;
	r->first = NULL;
	return 1;
}

static int next(void *context, struct frame **f, struct error *e)
{
	struct run *r = context;
	if (!r->first_pass)
		return spill_next(r->spill, f, e);
	if (next_variant(r, f))
		return 1;
	int more = next_input(r, f, e);
	if (more <= 0 || !r->n_variants || (*f)->variant >= 0)
		return more;
	r->copied = *f;
	r->copy = 0;
	return next_variant(r, f);
}

static int put(void *context, struct frame *f, struct error *e)
{
	struct run *r = context;
	if (!r->last_pass)
		return spill_put(r->spill, f, e);
	int status = r->out ? tms_write(r->out, f, e) : 0;
	frame_free(f);
	return status;
}

static int profile(struct run *r, const char *kind, const struct sweep_times *t, struct error *e)
{
	struct traffic all = { 0 }, since;
	if (!arg.profile)
		return 0;
	for (size_t layer = t->from; layer < t->to; layer++)
		all.weights += checkpoint_layer_len(r->checkpoint, layer);
	spill_traffic(r->spill, &all.spill_written, &all.spill_read);
	since.weights = all.weights;
	since.spill_written = all.spill_written - r->traffic.spill_written;
	since.spill_read = all.spill_read - r->traffic.spill_read;
	r->traffic = all;
	char *line = profile_line(&r->sweep, kind, t, strcmp(kind, "total") == 0 ? &all : &since);
	int status = output_write(&r->profile, line, strlen(line), e);
	free(line);
	return status;
}

static int turn(void *context, const struct sweep_times *times, struct error *e)
{
	struct run *r = context;
	if (r->first_pass)
		r->rows = times->rows;
	r->first_pass = false;
	r->last_pass = times->to + r->sweep.hold >= r->to;
	if (profile(r, "layers", times, e) < 0)
		return -1;
	return times->to < r->to ? spill_turn(r->spill, e) : 0;
}

static void wants(void *context, size_t layer, bool wanted[SITE_COUNT])
{
	const struct run *r = context;
	taps_wanted(r->taps, (int)layer, wanted);
}

static int tap(void *context, size_t layer, const struct frame *f, size_t first, size_t n, const struct tap_rows *rows,
               struct error *e)
{
	struct run *r = context;
	return taps_put(r->taps, (int)layer, f, first, n, rows, e);
}

static void changes(void *context, size_t layer, bool patched[SITE_COUNT], bool filtered[SITE_COUNT])
{
	const struct run *r = context;
	patches_wanted(r->patches, (int)layer, patched);
	filters_wanted(r->filters, (int)layer, filtered);
}

static void patch(void *context, size_t layer, enum site site, const struct frame *f, const struct sample *s, uint32_t first,
                  struct rows rows)
{
	struct run *r = context;
	patches_apply(r->patches, site, (int)layer, s, f->variant, first, rows.n, rows.p, rows.width, rows.stride,
	              r->sweep.ops->work);
}

static int filter(void *context, size_t layer, enum site site, const struct frame *piece, void *rows, struct error *e)
{
	struct run *r = context;
	return filters_run(r->filters, site, (int)layer, piece, r->sweep.ops->work, rows, e);
}

static int layer_end(void *context, size_t layer, struct error *e)
{
	struct run *r = context;
	return taps_layer_end(r->taps, (int)layer, e);
}

static void tell(void *context, size_t from, uint64_t rows)
{
	const struct run *r = context;
	progress_tell("layer", from, r->to, rows, r->rows);
}

/* -------- opening */

/* The range: what is asked for, cut where nothing is wanted any more. */
static int find_range(struct run *r, struct error *e)
{
	size_t n = r->m->n_layers;
	r->layer = -1;
	int more = resid_next(r->in, r->m, &r->layer, &r->first, e);
	if (more < 0)
		return -1;
	if (more == 0)
		r->first = NULL;
	r->from = more ? (size_t)r->layer : arg.from == UINT64_MAX ? 0 : arg.from;
	if (arg.from != UINT64_MAX && arg.from != r->from)
		return error_set(e, "--from %llu: %s says that layer %zu is next", (unsigned long long)arg.from,
		                 tms_name(r->in), r->from);
	r->to = arg.to == UINT64_MAX ? n : arg.to;
	if (r->to > n)
		return error_set(e, "--to %zu: the model has %zu layers", r->to, n);
	if (r->to < r->from)
		return error_set(e, "--to %zu: %s says that layer %zu is next", r->to, tms_name(r->in), r->from);
	return 0;
}

static int open_device(struct run *r, struct error *e)
{
	struct sweep *s = &r->sweep;
	*s = (struct sweep){ .m = r->m, .hold = arg.hold, .context = r, .parts = parts, .load = load, .next = next,
	                     .put = put, .turn = turn, .wants = wants, .tap = tap, .layer_end = layer_end, .tell = tell,
	                     .changes = changes, .patch = patch, .filter = filter, .filters = arg.filters.n > 0 };
	s->ops = ops_select(common.device, e);
	if (!s->ops)
		return -1;
	s->workers = workers_open(common.jobs, e);
	s->device = s->workers ? s->ops->open(s->workers, e) : NULL;
	if (!s->device)
		return -1;
	bool exact = s->ops->work == DTYPE_F64;
	if (resid_dtype("--resid-dtype", arg.resid, exact ? DTYPE_F64 : r->m->dtype, &s->resid, e) < 0)
		return -1;
	r->staging = mem_try(checkpoint_staging_len(r->checkpoint), "staging of weights", e);
	return r->staging ? 0 : -1;
}

static int open_patches(struct run *r, struct error *e)
{
	r->patches = patches_open(r->m, "layer-run");
	if (patches_add(r->patches, &arg.patches, e) < 0)
		return -1;
	if (arg.sweep && patches_sweep(r->patches, arg.sweep, &r->variants, &r->n_variants, e) < 0)
		return -1;
	size_t had = tms_header(r->in)->n_variants;
	if (r->n_variants && had && had != r->n_variants)
		return error_set(e, "--sweep %s: names %zu variants, and %s has %zu", arg.sweep, r->n_variants, tms_name(r->in), had);
	return patches_load(r->patches, e);
}

/* What the files were, in place of their names. */
static void record_patches(const struct run *r)
{
	char *identity = patches_identity(r->patches);
	for (size_t i = 0; i < arg.patches.n; i++) {
		const char *text = arg.patches.item[i];
		char *record = mem_format("--patch=%.*s=%s", (int)strcspn(text, "="), text, identity);
		option_history_set(&arg.patches.item[i], record);
		free(record);
	}
	if (arg.sweep) {
		char *record = mem_format("--sweep=%s", identity);
		option_history_set(&arg.sweep, record);
		free(record);
	}
	free(identity);
}

static void name_variants(struct tms_header *h, const struct run *r)
{
	if (!r->n_variants)
		return;
	for (size_t i = 0; i < h->n_variants; i++)
		free(h->variants[i]);
	h->variants = mem_resize(h->variants, r->n_variants, sizeof *h->variants);
	h->n_variants = r->n_variants;
	for (size_t i = 0; i < r->n_variants; i++)
		h->variants[i] = mem_string(r->variants[i]);
}

/* Where no stream is written, nothing after the last layer that something is read from is asked for. */
static int cut_range(struct run *r, bool stream, struct error *e)
{
	if (stream)
		return 0;
	if (!arg.taps.n)
		return error_set(e, "-n writes no stream, and there is no --tap: nothing would come out");
	struct taps *t = taps_plan(&arg.taps, "layer-run", r->m, e);
	if (!t)
		return -1;
	size_t end = (size_t)(taps_last_layer(t) + 1);
	r->to = end < r->to ? end : r->to;
	taps_abort(t);
	return 0;
}

static bool tap_on_stdout(void)
{
	bool any = false;
	for (size_t i = 0; i < arg.taps.n; i++) {
		const char *target = strchr(arg.taps.item[i], '=');
		any |= target && strcmp(target, "=-") == 0;
	}
	return any;
}

static int open_streams(struct run *r, const struct tms_header *h, bool stream, struct error *e)
{
	enum dtype tap_dtype;
	char *backend = mem_format("%s %s", r->sweep.ops->name, r->sweep.ops->unit(r->sweep.device));
	const struct tms_step step = { backend, (int)r->from, (int)r->to };
	int status = resid_dtype("--tap-dtype", arg.tap_dtype, r->sweep.ops->work, &tap_dtype, e);
	if (status == 0)
		r->taps = taps_open(&arg.taps, "layer-run", r->m, h, &step, tap_dtype, e);
	if (r->taps && stream)
		r->out = tms_create(common.output, h, &step, NULL, e);
	free(backend);
	return r->taps && (r->out || !stream) ? 0 : -1;
}

static int open_outputs(struct run *r, struct error *e)
{
	bool stream = !arg.no_output && !tap_on_stdout();
	struct tms_header h;
	if (open_patches(r, e) < 0 || cut_range(r, stream, e) < 0)
		return -1;
	record_patches(r);
	tms_header_copy(&h, tms_header(r->in));
	name_variants(&h, r);
	r->filters = filters_open(&arg.filters, "layer-run", r->m, &h, arg.timeout, e);
	int status = r->filters ? open_streams(r, &h, stream, e) : -1;
	r->spill = spill_open(arg.ram == UINT64_MAX ? mem_available() / 4 : arg.ram, arg.spill, &h);
	tms_header_release(&h);
	return status;
}

static int open_all(struct run *r, const char *path, struct error *e)
{
	r->checkpoint = checkpoint_open(common.model, e);
	if (!r->checkpoint)
		return -1;
	r->m = checkpoint_model(r->checkpoint);
	r->in = resid_open(path, r->m, e);
	if (!r->in || find_range(r, e) < 0 || open_device(r, e) < 0 || open_outputs(r, e) < 0)
		return -1;
	return arg.profile ? output_open(&r->profile, arg.profile, false, e) : 0;
}

/* -------- the run */

/* No layer to run: frames go through as they are. */
static int pass_on(struct run *r, struct error *e)
{
	struct frame *f;
	int more;
	while ((more = next(r, &f, e)) > 0) {
		int status = r->out ? tms_write(r->out, f, e) : 0;
		frame_free(f);
		if (status < 0)
			return -1;
	}
	return more;
}

static int run_layers(struct run *r, struct error *e)
{
	struct sweep *s = &r->sweep;
	struct sweep_times total;
	r->first_pass = true;
	if (r->from >= r->to)
		return pass_on(r, e);
	s->from = r->from;
	s->to = r->to;
	if (s->hold > s->to - s->from)
		s->hold = s->to - s->from;
	r->last_pass = s->hold == s->to - s->from;
	progress_open("tokens");
	int status = sweep_run(s, &total, e);
	progress_close();
	if (status == 0)
		status = patches_check(r->patches, r->from, r->to, e);
	return status == 0 ? profile(r, "total", &total, e) : status;
}

static int finish(struct run *r, int status, struct error *e)
{
	struct taps *taps = r->taps;
	struct tms_writer *out = r->out;
	if (status == 0) {
		struct filters *filters = r->filters;
		r->filters = NULL;
		status = filters_finish(filters, e);
	}
	if (status == 0) {
		status = taps_finish(taps, e);
		taps = NULL;
	}
	if (status == 0 && out) {
		status = tms_finish(out, e);
		out = NULL;
	}
	if (r->profile.name && status == 0)
		status = output_commit(&r->profile, e);
	else if (r->profile.name)
		output_abort(&r->profile);
	taps_abort(taps);
	tms_abort(out);
	filters_abort(r->filters);
	patches_close(r->patches);
	for (size_t i = 0; i < r->n_variants; i++)
		free(r->variants[i]);
	free(r->variants);
	frame_free(r->first);
	frame_free(r->copied);
	spill_close(r->spill);
	tms_close(r->in);
	if (r->sweep.device)
		r->sweep.ops->close(r->sweep.device);
	if (r->sweep.workers)
		workers_close(r->sweep.workers);
	free(r->staging);
	checkpoint_close(r->checkpoint);
	return status;
}

static int run(char **files, int n_files, struct error *e)
{
	struct run r = { 0 };
	const char *path;
	if (one_input(files, n_files, &path, e) < 0)
		return -1;
	if (!common.model)
		return error_set(e, "-m MODEL is needed: whose layers?");
	int status = open_all(&r, path, e);
	if (status == 0)
		status = run_layers(&r, e);
	return finish(&r, status, e);
}

const struct tool tool = {
	"layer-run",
	"-m MODEL [-n] [--from L] [--to L] [--hold N] [--ram SIZE] [--spill DIR] [--tap SITE[@LAYERS][/POOL]=FILE] "
	"[--filter SITE[@LAYERS]=COMMAND] [--patch SITE[@LAYERS][/pos:LIST][/head:LIST]=FILE] [--sweep FILE] [--profile FILE] [-o FILE] [FILE]",
	"Runs layers of the model over a residual stream, each layer's weights read once for all samples.", options, run
};
