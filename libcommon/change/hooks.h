/*
 * What a run wants at the sites that its program owns: taps, filters and patches, from the command line to the end.
 */
#ifndef HOOKS_H
#define HOOKS_H

#include "filter.h"
#include "option.h"
#include "patch.h"
#include "run_state.h"
#include "tap.h"
#include "tap_len.h"

struct hook_options {
	struct option_list taps, patches;
	struct filter_options filters;
	const char *tap_dtype;
	const char *sweep;      /* layer-run's */
};

/* The rows of a program's option table; `o` is its struct hook_options, begun as HOOK_OPTIONS(&its struct filter_builtin). */
#define HOOK_OPTIONS(builtin_filter) { .filters = { .timeout = 300, .builtin = (builtin_filter) } }
#define OPTION_HOOKS(o) \
	{ OPTION_LIST, 0, "tap", &(o).taps, "SITE[,SITE...][@LAYERS][/POOL]=FILE", "read rows at a site; FILE may be - or '|command'", HISTORY_NO, 0 }, \
	{ OPTION_STRING, 0, "tap-dtype", &(o).tap_dtype, "T", "type of taps' rows (default f32; f64 on ref)", HISTORY_YES, 0 }, \
	{ OPTION_LIST, 0, "filter", &(o).filters.list, "SITE[,SITE...][@LAYERS]=COMMAND", "rows go through COMMAND and come back changed", HISTORY_YES, 0 }, \
	{ OPTION_COUNT, 0, "filter-timeout", &(o).filters.timeout, "S", "the longest that a filter may take over an answer (default 300)", HISTORY_NO, 1 }, \
	{ OPTION_LIST, 0, "patch", &(o).patches, "SITE[@LAYERS][/pos:LIST][/head:LIST]=FILE", "replace rows by those of a stream", HISTORY_YES, 0 }

struct hooks {
	struct taps *taps;
	struct filters *filters;
	struct patches *patches;
	const struct hook_options *options;
	const struct model *m;
	const char *program;
	char **variants;        /* (n_variants) that --sweep names; else none */
	size_t n_variants;
	struct run_state *state; /* of a run that can be resumed, the caller's to set before hooks_tap; else NULL */
};

/* Whether a tap takes standard output, by the command line alone. */
bool hooks_take_stdout(const struct hook_options *o);

/* Reads the patches, and checks what taps ask for.  in: the header of the program's input, called in_name.  0 or -1. */
int hooks_open(struct hooks *h, const struct hook_options *o, const char *program, const struct model *m,
               const struct tms_header *in, const char *in_name, struct error *e) MUST_CHECK;

/* The last layer that a tap names; -1: none. */
int hooks_last_tapped(const struct hooks *h);

/* Gives the header the variants that --sweep names. */
void hooks_name_variants(const struct hooks *h, struct tms_header *header);

/* Starts the filters; from then on the history is complete.  0 or -1. */
int hooks_filter(struct hooks *h, const struct tms_header *header, const struct tms_step *step, struct error *e) MUST_CHECK;

/* Opens the taps' streams.  work: the type that rows are computed in, and taps' type by default. */
int hooks_tap(struct hooks *h, const struct tms_header *header, const struct tms_step *step, enum dtype work,
              struct error *e) MUST_CHECK;

/* Both. */
int hooks_start(struct hooks *h, const struct tms_header *header, const struct tms_step *step, enum dtype work,
                struct error *e) MUST_CHECK;

/* What hooks_start would refuse is refused, and nothing is started or opened; *lens (tap_len_close) measures taps' streams.
 * hooks_finish with a status other than 0 ends it. */
int hooks_check(struct hooks *h, const struct tms_header *header, const struct tms_step *step, enum dtype work,
                struct tap_len **lens, struct error *e) MUST_CHECK;

/* After the last row: filters must end well, patches of layers from..to-1 have found their places, taps are committed (all
 * outputs of a run that can be resumed together); or with another status than 0 all is dropped.  Frees in any case.  0, or the
 * other status; e is then left as it is. */
int hooks_finish(struct hooks *h, int status, size_t from, size_t to, struct error *e) MUST_CHECK;

#endif
