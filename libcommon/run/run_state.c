#include "run_state.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "io.h"
#include "memory.h"
#include "parting.h"
#include "progress.h"
#include "run_directory.h"

#ifndef VERSION
#define VERSION "0"
#endif

/* A commit may cost a fiftieth of the time since the last, and small ones come once a second. */
#define SHARE 50
#define LEAST_SECONDS 1.0

struct run_state {
	struct run_directory directory;
	struct run_record record;
	bool goes_on;                   /* the record's places hold what is kept */
	bool only_turns;                /* taps of several layers wait for each other, and come together when the pass ends */
	size_t from, to;
	struct patches *patches;
	struct stages *stages;          /* lent; NULL: not opened */
	struct tms_writer **writers;    /* (n_writers), as many as the record has outputs */
	size_t n_writers, capacity;
	uint64_t rows_before;           /* of the pass at hand, that earlier processes did */
	double last, took;              /* when the last commit ended, and how long it took */
};

/* -------- what the run is */

static void say(struct run_record *r, char *sentence)
{
	r->run = mem_resize(r->run, r->n_run + 1, sizeof *r->run);
	r->run[r->n_run++] = sentence;
}

static int say_output(struct run_record *r, const char *what, size_t what_len, const char *path, struct error *e)
{
	char *final = output_final_name(path, e);
	if (!final)
		return error_in(e, "--state needs outputs that are regular files: %.*s", (int)what_len, what);
	say(r, mem_format("%.*s%s", (int)what_len, what, final));
	free(final);
	return 0;
}

static int say_outputs(struct run_record *r, const struct run_facts *facts, struct error *e)
{
	for (size_t i = 0; i < facts->taps->n; i++) {
		const char *text = facts->taps->item[i], *target = strchr(text, '=') + 1; /* taps_plan took it */
		char *what = mem_format("--tap %.*s", (int)(target - text), text);
		int status = say_output(r, what, strlen(what), target, e);
		free(what);
		if (status < 0)
			return -1;
	}
	if (facts->stream && !facts->output)
		return error_set(e, "--state needs -o FILE, or -n: what went to a pipe can't be taken back");
	if (facts->stream)
		return say_output(r, "-o ", 3, facts->output, e);
	say(r, mem_string("-n"));
	return 0;
}

static int say_run(struct run_record *r, const struct run_facts *facts, struct error *e)
{
	size_t n;
	const char *const *options = option_history(&n);
	struct tms_place in = tms_read_place(facts->in->in);
	say(r, mem_format("layer-run %s", VERSION));
	say(r, run_record_model(facts->m));
	say(r, mem_format("back end %s", facts->backend));
	say(r, mem_format("an input that begins with checksum %016jx", (uintmax_t)in.sum));
	say(r, mem_format("layers %zu to %zu", facts->from, facts->to));
	say(r, mem_format("--hold %zu", facts->hold));
	for (size_t i = 0; i < n; i++)
		say(r, mem_string(options[i]));
	return say_outputs(r, facts, e);
}

static const char *sentence(const struct run_record *r, size_t i)
{
	return i < r->n_run ? r->run[i] : "nothing more";
}

static int compare(const struct run_state *s, const struct run_record *now, struct error *e)
{
	for (size_t i = 0; i < now->n_run || i < s->record.n_run; i++) {
		const char *was = sentence(&s->record, i), *is = sentence(now, i);
		if (strcmp(was, is) != 0)
			return error_set(e, "--state %s: another run was begun there, with '%s' where this one has '%s'; ask for that one, "
			                 "or give it up with --discard", s->directory.path, was, is);
	}
	return 0;
}

/* -------- the directory */

char *run_state_place(const char *dir)
{
	const char *slash = strrchr(dir, '/');
	if (access(dir, F_OK) == 0)
		return mem_string(dir);
	return !slash ? mem_string(".") : mem_slice(dir, slash == dir ? 1 : (size_t)(slash - dir));
}

/* -------- opening */

/* The outputs' names, each once, taps' first: the order in which they are opened. */
static const char **targets(const struct run_facts *facts, size_t *n)
{
	const char **list = mem_zero(facts->taps->n + 1, sizeof *list);
	*n = 0;
	for (size_t i = 0; i < facts->taps->n; i++) {
		const char *target = strchr(facts->taps->item[i], '=') + 1;
		bool seen = false;
		for (size_t k = 0; k < *n; k++)
			seen |= strcmp(list[k], target) == 0;
		if (!seen)
			list[(*n)++] = target;
	}
	if (facts->stream)
		list[(*n)++] = facts->output;
	return list;
}

/* Whatever a crash left to do of the end. */
static int complete(const struct run_state *s, const struct run_facts *facts, struct error *e)
{
	size_t n;
	const char **list = targets(facts, &n);
	int status = n == s->record.n_outputs ? 1 : error_set(e, "%s/record: is damaged", s->directory.path);
	for (size_t i = 0; i < n && status > 0; i++)
		if (output_complete_kept(list[i], s->directory.id, s->record.outputs[i].byte, e) < 0)
			status = error_in(e, "--state %s: the run there is finished, and its output is gone or was changed since (remove %s "
			                  "to start anew)", s->directory.path, s->directory.path);
	free(list);
	return status;
}

/* Goes on with the record that was read. */
static int go_on(struct run_state *s, const struct run_record *now, const struct run_facts *facts, struct error *e)
{
	size_t n;
	const struct run_record *r = &s->record;
	if (compare(s, now, e) < 0)
		return -1;
	if (r->finished)
		return complete(s, facts, e);
	s->goes_on = r->commits > 0;
	free(targets(facts, &n));
	if (!s->goes_on)
		return 0;
	if (r->n_outputs != n || r->layer < facts->from || r->layer > facts->to || (r->passes > 0) != (r->layer > facts->from) ||
	    patches_set_used(facts->patches, r->patched, r->n_patched) < 0)
		return error_set(e, "%s/record: is damaged; remove %s to start anew", s->directory.path, s->directory.path);
	return 0;
}

static int begin(struct run_state *s, struct run_record *now, const struct run_facts *facts, struct error *e)
{
	size_t n;
	run_record_release(&s->record);
	s->record = *now;
	*now = (struct run_record){ 0 };
	s->record.layer = facts->from;
	free(targets(facts, &n));
	s->record.n_outputs = n;
	s->record.outputs = mem_zero(n, sizeof *s->record.outputs);
	return run_record_write(&s->record, s->directory.path, e);
}

static int find(struct run_state *s, bool resume, const struct run_facts *facts, struct error *e)
{
	struct run_record now = { 0 };
	int status = say_run(&now, facts, e);
	int found = status == 0 ? run_record_read(&s->record, s->directory.path, e) : -1;
	if (status == 0 && found < 0)
		status = error_in(e, "--state %s can't be gone on with; remove it to start anew", s->directory.path);
	else if (found > 0 && !resume && !s->record.finished)
		status = error_set(e, "--state %s: a run there isn't finished; give --resume to go on with it, or --discard to give it up",
		                   s->directory.path);
	else if (found > 0 && resume)
		status = go_on(s, &now, facts, e);
	if (status == 0 && !s->goes_on)
		status = begin(s, &now, facts, e);
	run_record_release(&now);
	return status;
}

int run_state_open(struct run_state **to, const char *dir, bool resume, const struct run_facts *facts, struct error *e)
{
	struct run_state *s = *to = mem_zero(1, sizeof *s);
	s->from = facts->from;
	s->to = facts->to;
	s->patches = facts->patches;
	s->only_turns = facts->hold > 1 && facts->taps->n > 0;
	s->last = clock_seconds();
	int status = run_directory_open(&s->directory, dir, true, e) < 0 || run_directory_lock(&s->directory, e) < 0 ? -1
	             : find(s, resume, facts, e);
	if (status == 0)
		parting_set("the state of this run is kept in %s; the same command with --resume goes on there", dir);
	if (status == 0 && s->goes_on)
		progress_note("--state %s: goes on with layer %ju after %ju frames", dir, (uintmax_t)s->record.layer,
		              (uintmax_t)s->record.taken);
	return status;
}

struct tms_writer *run_state_create(struct run_state *s, const char *path, const struct tms_header *h, const struct tms_step *step,
                                    struct error *e)
{
	struct output output;
	if (!s)
		return tms_create(path, h, step, NULL, e);
	if (output_open_kept(&output, path, s->directory.id, !s->goes_on, e) < 0)
		return NULL;
	struct tms_writer *w = tms_create_on(&output, h, step, NULL, s->goes_on ? &s->record.outputs[s->n_writers] : NULL, e);
	if (!w) {
		error_in(e, "--state %s (remove it to start anew)", s->directory.path);
		return NULL;
	}
	mem_grow((void **)&s->writers, &s->capacity, s->n_writers + 1, sizeof(struct tms_writer *));
	s->writers[s->n_writers++] = w;
	return w;
}

struct spill *run_state_spill(struct run_state *s, const struct tms_header *header, struct resid_input *input, struct error *e)
{
	s->stages = stages_open(s->directory.path, header, input, s->goes_on && s->record.layer < s->to ? &s->record : NULL, e);
	if (!s->stages)
		return NULL;
	s->rows_before = stages_rows(s->stages);
	return spill_of_stages(s->stages);
}

void run_state_position(const struct run_state *s, size_t *layer, uint64_t *all, uint64_t *done)
{
	*layer = s->record.layer;
	*all = s->record.rows;
	*done = s->rows_before;
}

int run_state_hold(struct run_state *s, size_t hold, struct error *e)
{
	if (s->goes_on && s->record.taken && s->record.hold != hold) {
		parting_clear();
		return error_set(e, "--state %s: the pass that it goes on with went through %ju layers, and the device now has room for %zu at a "
		                 "time; give --vram as before or free the device's memory, or remove %s to start anew", s->directory.path,
		                 (uintmax_t)s->record.hold, hold, s->directory.path);
	}
	s->record.hold = hold;
	return 0;
}

/* -------- commits */

bool run_state_due(const struct run_state *s)
{
	double since = clock_seconds() - s->last;
	return !s->only_turns && since >= LEAST_SECONDS && since >= SHARE * s->took;
}

/* The outputs first: the record must never be ahead of them. */
static int write_record(struct run_state *s, struct error *e)
{
	struct run_record *r = &s->record;
	for (size_t i = 0; i < s->n_writers; i++) {
		if (tms_sync(s->writers[i], e) < 0)
			return -1;
		r->outputs[i] = tms_written_place(s->writers[i]);
	}
	free(r->patched);
	r->patched = patches_used(s->patches, &r->n_patched);
	r->commits++;
	return run_record_write(r, s->directory.path, e);
}

int run_state_commit(struct run_state *s, bool ahead, struct error *e)
{
	double start = clock_seconds();
	if (stages_commit(s->stages, ahead, &s->record, e) < 0 || write_record(s, e) < 0)
		return -1;
	stages_free(s->stages, &s->record);
	s->last = clock_seconds();
	s->took = s->last - start;
	return 0;
}

int run_state_turn(struct run_state *s, size_t layer, uint64_t rows, struct error *e)
{
	s->record.layer = layer;
	s->record.rows = s->rows_before + rows;
	s->rows_before = 0;
	return stages_turn(s->stages, layer == s->to, e) < 0 ? -1 : run_state_commit(s, false, e);
}

int run_state_finish(struct run_state *s, struct error *e)
{
	for (size_t i = 0; i < s->n_writers; i++)
		if (tms_end(s->writers[i], e) < 0)
			return -1;
	s->record.finished = 1;
	return write_record(s, e);
}

void run_state_close(struct run_state *s, bool done)
{
	if (!s)
		return;
	if (done)
		stages_remove(s->directory.path);
	/* What couldn't even be opened can't be gone on with as it is. */
	if (done || !s->record.commits || !s->stages)
		parting_clear();
	run_directory_close(&s->directory);
	run_record_release(&s->record);
	free(s->writers);
	free(s);
}
