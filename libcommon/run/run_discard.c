#include "run_discard.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io.h"
#include "memory.h"
#include "progress.h"
#include "run_directory.h"
#include "run_record.h"
#include "stages.h"

/* Text, with the name behind it; takes over the text. */
static char *and(char *text, const char *name)
{
	char *more = mem_format("%s%s%s", text, *text ? ", " : "", name);
	free(text);
	return more;
}

/* Without its record it isn't known where the outputs were to be. */
static int refuse_damaged(const struct run_directory *d, struct error *e)
{
	static const char *const files[] = { "record", "record.new", "stream.0", "stream.1", "lock" };
	char *known = mem_string("");
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		char *path = mem_format("%s/%s", d->path, files[i]);
		if (access(path, F_OK) == 0)
			known = and(known, path);
		free(path);
	}
	error_in(e, "--state %s: can't be told what the run there wrote; nothing was removed: its files are %s, and unfinished outputs "
	         "end in .%s.part", d->path, known, d->id);
	free(known);
	return -1;
}

static int refuse_model(const struct run_directory *d, const struct run_record *r, const char *model, struct error *e)
{
	char *outputs = mem_string("");
	for (size_t i = 0; i < r->n_run; i++)
		if (run_record_output(r, i))
			outputs = and(outputs, run_record_output(r, i));
	error_set(e, "--state %s: the run there has '%s' and not '%s'; nothing was removed: it writes %s", d->path, run_record_own_model(r),
	          model, outputs);
	free(outputs);
	return -1;
}

static int read_record(struct run_record *r, const struct run_directory *d, const struct model *m, struct error *e)
{
	int found = run_record_read(r, d->path, e);
	if (found < 0)
		return refuse_damaged(d, e);
	if (!found)
		return error_set(e, "--state %s: no run is kept there", d->path);
	char *model = m ? run_record_model(m) : NULL;
	int status = !m || !strcmp(run_record_own_model(r), model) ? 0 : refuse_model(d, r, model, e);
	free(model);
	return status;
}

static int remove_all(const struct run_directory *d, const struct run_record *r, struct error *e)
{
	for (size_t i = 0; i < r->n_run; i++) {
		const char *name = run_record_output(r, i);
		int removed = name ? output_remove_kept(name, d->id, e) : 0;
		if (removed < 0)
			return -1;
		if (removed)
			progress_note("--state %s: removed what there was of %s", d->path, name);
	}
	stages_remove(d->path);
	return run_record_remove(d->path, e) < 0 ? -1 : run_directory_remove(d, e);
}

int run_discard(const char *dir, const struct model *m, struct error *e)
{
	struct run_directory d;
	struct run_record r = { 0 };
	/* Nothing, a lock neither, is made in a directory that isn't a run's. */
	int status = run_directory_open(&d, dir, false, e) < 0 ? -1 : read_record(&r, &d, m, e);
	if (status == 0)
		status = run_directory_lock(&d, e);
	if (status == 0) {
		/* As the last process left it. */
		run_record_release(&r);
		status = read_record(&r, &d, m, e);
	}
	if (status == 0)
		status = remove_all(&d, &r, e);
	run_record_release(&r);
	run_directory_close(&d);
	return status;
}
