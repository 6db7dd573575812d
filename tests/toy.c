/* A program for tests/main.t: what every program does, and nothing else. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io.h"
#include "option.h"
#include "parting.h"
#include "progress.h"

static struct {
	bool wait, leave, warn, advise;
	uint64_t lines, status;
	struct option_list also;
} arg;

static const struct option options[] = {
	OPTION_OUTPUT,
	{ OPTION_LIST, 0, "also", &arg.also, "FILE", "further outputs", HISTORY_NO, 0 },
	{ OPTION_COUNT, 'n', NULL, &arg.lines, "N", "lines to standard output", HISTORY_NO, 0 },
	{ OPTION_COUNT, 0, "status", &arg.status, "N", "0, 1, or 2 for an error", HISTORY_NO, 0 },
	{ OPTION_FLAG, 0, "wait", &arg.wait, NULL, "say so on standard output, then wait", HISTORY_NO, 0 },
	{ OPTION_FLAG, 0, "leave", &arg.leave, NULL, "return without commit or abort", HISTORY_NO, 0 },
	{ OPTION_FLAG, 0, "advise", &arg.advise, NULL, "a line for those who meet trouble", HISTORY_NO, 0 },
	{ OPTION_FLAG, 0, "warn", &arg.warn, NULL, "a warning and a note", HISTORY_NO, 0 },
	OPTION_LAST
};

static int open_outputs(struct output *o, size_t n, struct error *e)
{
	for (size_t i = 0; i < n; i++) {
		const char *path = i ? arg.also.item[i - 1] : common.output;
		if (output_open(&o[i], path, false, e) < 0 || output_write(&o[i], "data\n", 5, e) < 0)
			return -1;
	}
	return 0;
}

static int run(char **files, int n_files, struct error *e)
{
	struct output o[8];
	size_t n = common.output ? 1 + arg.also.n : 0;
	for (int i = 0; i < n_files; i++)
		printf("operand %s\n", files[i]);
	progress_open("lines");
	for (uint64_t i = 0; i < arg.lines; i++) {
		printf("line %ju\n", (uintmax_t)i);
		progress_tell("half", i * 2 / arg.lines, 2, i, arg.lines);
	}
	if (arg.advise)
		parting_set("take\n%s", "care");
	if (n > 8 || open_outputs(o, n, e) < 0)
		return -1;
	if (arg.warn) {
		progress_warn("careful with %d", 7);
		progress_note("more");
	}
	if (arg.wait) {
		puts("waiting");
		fflush(stdout);
		sleep(60);
	}
	for (size_t i = 0; i < n && !arg.leave; i++)
		if (output_commit(&o[i], e) < 0)
			return -1;
	if (arg.status < 2)
		parting_clear();
	return arg.status == 2 ? error_set(e, "object: what is wrong, what to do") : (int)arg.status;
}

const struct tool tool = { "toy", "[-n N] [-o FILE] [--also FILE] [--status N] [--wait] [--leave] [--advise] [--warn] [FILE...]",
	"Writes lines to standard output and files, and ends as it is told to.", options, run };
