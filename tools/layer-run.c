/* layer-run: the residual stream through layers L..L'-1, each layer's weights read once. */
#include <stdlib.h>
#include <string.h>

#include "checkpoint.h"
#include "hooks.h"
#include "io.h"
#include "option.h"
#include "plan_report.h"
#include "plan_stream.h"
#include "profile.h"
#include "progress.h"
#include "resid.h"
#include "run_discard.h"
#include "run_state.h"
#include "scratch.h"
#include "select.h"
#include "spill.h"
#include "steer_filter.h"
#include "sweep.h"
#include "sweep_plan.h"
#include "tms.h"
#include "weights_plan.h"

static struct {
	uint64_t from, to, hold, ram;
	const char *spill, *state, *resid, *profile, *attention, *share;
	bool no_output, resume, discard, plan, json;
	struct hook_options hooks;
} arg = { .from = UINT64_MAX, .to = UINT64_MAX, .hold = 1, .ram = UINT64_MAX, .hooks = HOOK_OPTIONS(&steer_filter) };

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
	{ OPTION_STRING, 0, "state", &arg.state, "DIR", "keep in DIR what --resume needs to go on after a crash", HISTORY_NO, 0 },
	{ OPTION_FLAG, 0, "resume", &arg.resume, NULL, "go on with the run in --state, if there is one", HISTORY_NO, 0 },
	{ OPTION_FLAG, 0, "discard", &arg.discard, NULL, "give the run in --state up: remove what it has there, and its unfinished outputs", HISTORY_NO, 0 },
	{ OPTION_STRING, 0, "share", &arg.share, "FILE", "read weights in step with other processes that name FILE, once from disk for all", HISTORY_NO, 0 },
	{ OPTION_STRING, 0, "resid-dtype", &arg.resid, "T", "what rows are rounded to after every layer (default: the checkpoint's type; f64 on ref)", HISTORY_YES, 0 },
	OPTION_HOOKS(arg.hooks),
	{ OPTION_STRING, 0, "sweep", &arg.hooks.sweep, "FILE", "a table of patches, a variant each: variant site layers pos head file", HISTORY_YES, 0 },
	{ OPTION_STRING, 0, "attention", &arg.attention, "plain", "attention unfused, as a patch or filter at attn_scores or attn_probs has it", HISTORY_YES, 0 },
	{ OPTION_STRING, 0, "profile", &arg.profile, "FILE", "write what every layer took, as JSON lines", HISTORY_NO, 0 },
	{ OPTION_FLAG, 0, "plan", &arg.plan, NULL, "say what the run will need and take, and whether it can work; do nothing", HISTORY_NO, 0 },
	{ OPTION_FLAG, 0, "json", &arg.json, NULL, "the plan as one line of JSON", HISTORY_NO, 0 },
	OPTION_LAST
};

/* How a plan ends, and a run that needs no work, beside -1. */
enum { IMPOSSIBLE = 1, DONE };

struct run {
	struct checkpoint *checkpoint;
	const struct model *m;
	void *staging;
	struct sweep sweep;
	struct backend backend;
	struct resid_input in;
	size_t from, to;
	struct tms_writer *out;
	struct hooks hooks;
	struct spill *spill;
	struct run_state *state;        /* NULL: the run can't be resumed */
	uint64_t rows, rows_before;     /* of every pass, 0: not known yet; of this one, that a former process did */
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

static int next(void *context, struct frame **f, struct error *e)
{
	struct run *r = context;
	return spill_next(r->spill, f, e);
}

static int put(void *context, struct frame *f, struct error *e)
{
	struct run *r = context;
	if (f->layer < (int)r->to)
		return spill_put(r->spill, f, e);
	int status = r->out ? tms_write(r->out, f, e) : 0;
	frame_free(f);
	return status;
}

static int profile(struct run *r, const char *kind, const struct sweep_times *t, struct error *e)
{
	struct traffic all = { 0 };
	if (!arg.profile)
		return 0;
	for (size_t layer = t->from; layer < t->to; layer++)
		all.weights += checkpoint_layer_len(r->checkpoint, layer);
	spill_traffic(r->spill, &all.spill_written, &all.spill_read);
	char *line = profile_line(&r->sweep, kind, t, &all, &r->traffic);
	int status = output_write(&r->profile, line, strlen(line), e);
	free(line);
	return status;
}

static int turn(void *context, const struct sweep_times *times, struct error *e)
{
	struct run *r = context;
	r->rows = r->rows_before + times->rows;
	r->rows_before = 0;
	if (profile(r, "layers", times, e) < 0)
		return -1;
	return r->state ? run_state_turn(r->state, times->to, times->rows, e) : times->to < r->to ? spill_turn(r->spill, e) : 0;
}

static void tell(void *context, size_t from, uint64_t rows)
{
	const struct run *r = context;
	progress_tell("layer", from + 1, r->to, r->rows_before + rows, r->rows);
}

static int open_device(struct run *r, struct error *e)
{
	struct sweep *s = &r->sweep;
	*s = (struct sweep){ .m = r->m, .hold = arg.hold, .context = r, .parts = parts, .load = load, .next = next,
	                     .put = put, .turn = turn, .tell = tell, .hooks = &r->hooks, .filters = arg.hooks.filters.list.n > 0,
	                     .plain = arg.attention != NULL, .timed = arg.profile != NULL };
	if (arg.attention && strcmp(arg.attention, "plain") != 0)
		return error_set(e, "--attention %s: can only be plain", arg.attention);
	if (backend_open(&r->backend, r->m, common.device, common.vram, common.jobs, e) < 0)
		return -1;
	s->ops = r->backend.ops;
	s->workers = r->backend.workers;
	s->device = r->backend.device;
	enum dtype usual = s->ops->work == DTYPE_F64 ? DTYPE_F64 : r->m->dtype;
	if (resid_dtype("--resid-dtype", arg.resid, usual, &s->resid, e) < 0)
		return -1;
	r->staging = s->ops->take_staging(s->device, checkpoint_staging_len(r->checkpoint), e);
	return r->staging ? 0 : -1;
}

/* Where no stream is written, nothing after the last layer that is tapped is asked for. */
static int cut_range(struct run *r, bool stream, struct error *e)
{
	if (!stream && !taps_any(r->hooks.taps))
		return error_set(e, "-n writes no stream, and there is no --tap: nothing would come out");
	size_t end = (size_t)(hooks_last_tapped(&r->hooks) + 1);
	if (!stream && end < r->to)
		r->to = end;
	r->sweep.from = r->from;
	r->sweep.to = r->to;
	return 0;
}

/* DONE: the run is finished. */
static int open_state(struct run *r, bool stream, struct error *e)
{
	const struct run_facts facts = {
		.m = r->m, .backend = r->backend.name, .from = r->from, .to = r->to, .hold = r->sweep.hold, .in = &r->in,
		.taps = &arg.hooks.taps, .stream = stream, .output = common.output, .patches = r->hooks.patches
	};
	int status = run_state_open(&r->state, arg.state, arg.resume, &facts, e);
	r->hooks.state = r->sweep.state = r->state;
	return status > 0 ? DONE : status;
}

/* In place of the run: DONE, IMPOSSIBLE or -1. */
static int plan_run(struct run *r, const struct tms_header *h, const struct tms_step *step, bool stream, struct error *e)
{
	char *place = arg.state ? run_state_place(arg.state) : NULL;
	struct plan p = { .m = r->m, .device = r->backend.name, .threads = workers_count(r->backend.workers), .from = r->from,
	                  .to = r->to, .hold = arg.hold, .ram = place ? 0 : arg.ram, .spill = place ? place : scratch_directory(arg.spill) };
	const struct plan_frames frames = { &r->in, &r->hooks, h, step, r->sweep.ops->work, r->sweep.resid, stream, common.output };
	int status = -1;
	if (plan_walk(&p, &frames, e) == 0 &&
	    weights_plan(&p, r->checkpoint, r->staging, checkpoint_staging_len(r->checkpoint), e) == 0) {
		sweep_plan(&p, &r->sweep);
		if (plan_judge(&p, e) == 0 && plan_report(&p, arg.json, e) == 0)
			status = p.n_problems ? IMPOSSIBLE : DONE;
	}
	plan_release(&p);
	free(place);
	return status;
}

static int open_outputs(struct run *r, struct error *e)
{
	const bool stream = !arg.no_output && (common.output || !hooks_take_stdout(&arg.hooks));
	const struct tms_header *in = tms_header(r->in.in);
	struct tms_header h;
	if (hooks_open(&r->hooks, &arg.hooks, "layer-run", r->m, in, tms_name(r->in.in), e) < 0 || cut_range(r, stream, e) < 0)
		return -1;
	tms_header_copy(&h, in);
	hooks_name_variants(&r->hooks, &h);
	const struct tms_step step = { r->backend.name, (int)r->from, (int)r->to };
	r->in.n_variants = arg.plan ? 0 : r->hooks.n_variants;
	int status = arg.plan ? plan_run(r, &h, &step, stream, e) : hooks_filter(&r->hooks, &h, &step, e);
	if (status == 0 && arg.state)
		status = open_state(r, stream, e);
	if (status == 0)
		status = hooks_tap(&r->hooks, &h, &step, r->sweep.ops->work, e);
	if (status == 0 && stream) {
		r->out = run_state_create(r->state, common.output, &h, &step, e);
		status = r->out ? 0 : -1;
	}
	r->sweep.first = r->from;
	if (status == 0) {
		r->spill = r->state ? run_state_spill(r->state, &h, &r->in, e) : spill_open(arg.ram, arg.spill, &h, &r->in);
		status = r->spill ? 0 : -1;
	}
	if (status == 0 && r->state)
		run_state_position(r->state, &r->sweep.first, &r->rows, &r->rows_before);
	tms_header_release(&h);
	return status;
}

static int open_all(struct run *r, const char *path, struct error *e)
{
	r->checkpoint = checkpoint_open(common.model, e);
	if (!r->checkpoint)
		return -1;
	r->m = checkpoint_model(r->checkpoint);
	if (arg.discard && !arg.plan)
		return run_discard(arg.state, r->m, e) < 0 ? -1 : DONE;
	if (resid_input_open(&r->in, path, r->m, e) < 0 ||
	    resid_input_range(&r->in, arg.from, arg.to, &r->from, &r->to, e) < 0 || open_device(r, e) < 0)
		return -1;
	int status = open_outputs(r, e);
	if (status == 0 && arg.share)
		status = checkpoint_share(r->checkpoint, arg.share, r->to, e);
	return status == 0 && arg.profile ? output_open(&r->profile, arg.profile, false, e) : status;
}

static int run_layers(struct run *r, struct error *e)
{
	struct sweep_times total;
	progress_note("%s, %zu threads, layers %zu to %zu", r->backend.told, workers_count(r->backend.workers), r->from, r->to);
	progress_open("tokens");
	int status = sweep_run(&r->sweep, &total, e);
	progress_close();
	return status == 0 ? profile(r, "total", &total, e) : status;
}

static int finish(struct run *r, int status, struct error *e)
{
	status = tms_settle(r->out, hooks_finish(&r->hooks, status, r->from, r->to, e), e);
	status = output_settle(&r->profile, status, e);
	spill_close(r->spill);
	run_state_close(r->state, status >= 0);
	resid_input_close(&r->in);
	if (r->staging)
		r->sweep.ops->free_staging(r->sweep.device, r->staging);
	backend_close(&r->backend);
	checkpoint_close(r->checkpoint);
	return status == DONE ? 0 : status;
}

static int run(char **files, int n_files, struct error *e)
{
	struct run r = { 0 };
	const char *path;
	if (one_input(files, n_files, &path, e) < 0)
		return -1;
	if ((arg.resume || arg.discard) && !arg.state)
		return error_set(e, "--%s needs --state DIR: which run is meant?", arg.resume ? "resume" : "discard");
	if (arg.discard && !arg.plan && !common.model)
		return run_discard(arg.state, NULL, e);
	if (!common.model)
		return error_set(e, "-m MODEL is needed: whose layers?");
	if (arg.json && !arg.plan)
		return error_set(e, "--json is the form of a plan; add --plan");
	arg.ram = spill_room(arg.ram);
	int status = open_all(&r, path, e);
	if (status == 0)
		status = run_layers(&r, e);
	return finish(&r, status, e);
}

const struct tool tool = {
	"layer-run",
	"-m MODEL [-n] [--from L] [--to L] [--hold N] [--ram SIZE] [--spill DIR] [--state DIR [--resume | --discard]] [--share FILE] [--tap SITE[@LAYERS][/POOL]=FILE] "
	"[--filter SITE[@LAYERS]=COMMAND] [--patch SITE[@LAYERS][/pos:LIST][/head:LIST]=FILE] [--sweep FILE] [--attention plain] [--profile FILE] [--plan [--json]] [-o FILE] [FILE]",
	"Runs layers of the model over a residual stream, each layer's weights read once for all samples.", options, run
};
