/*
 * A run that can be resumed (layer-run --state DIR): what it writes outlives its process, and a record says up to where all of it
 * belongs together.  A commit brings the outputs and the stream between layers to the disk, then replaces the record
 * (run_record.h).  Whoever comes next cuts everything off behind the record's places and goes on there.
 *
 * DIR holds the record, a lock, and the stream between layers (stages.h).  Outputs grow beside their final names and are renamed
 * together: the record first says that all are whole, so that a crash between two renames is made good by the next process.
 */
#ifndef RUN_STATE_H
#define RUN_STATE_H

#include "option.h"
#include "patch.h"
#include "spill.h"
#include "stages.h"

struct run_state;

/* The directory whose file system will hold what goes to dir: itself, or where it would be made.  The caller's. */
char *run_state_place(const char *dir);

/* What must be the same for a run to go on.  The history's options belong to it, and must be complete. */
struct run_facts {
	const struct model *m;
	const char *backend;            /* as in the history */
	size_t from, to, hold;          /* layers from..to-1 */
	const struct resid_input *in;   /* just opened */
	const struct option_list *taps;
	bool stream;                    /* whether it is written, */
	const char *output;             /* and where to */
	struct patches *patches;
};

/*
 * Opens directory dir, made if it isn't there, for this run, and locks it.  resume: what another process left there is gone on
 * with, if there is anything; else an unfinished run there is refused.  0; 1: the run is finished, its outputs have their names,
 * and nothing is left to do but run_state_close; -1: another process has it, it is another run's, or it is damaged.  *s is closed
 * in any case.
 */
int run_state_open(struct run_state **s, const char *dir, bool resume, const struct run_facts *facts, struct error *e) MUST_CHECK;

/*
 * Opens an output as tms_create does; with a state, one that it keeps: gone on with where the run goes on.  Every process of a run
 * opens the same ones in the same order.
 */
struct tms_writer *run_state_create(struct run_state *s, const char *path, const struct tms_header *h, const struct tms_step *step,
                                    struct error *e) MUST_CHECK;

/* The stream between layers, of frames under this header: opened after the outputs, and before the first frame of the input is
 * read, which is borrowed.  NULL and e. */
struct spill *run_state_spill(struct run_state *s, const struct tms_header *header, struct resid_input *input,
                              struct error *e) MUST_CHECK;

/* Where it goes on: the layer that comes next; the rows of every pass (0: not known yet), and those of the next pass that are
 * done. */
void run_state_position(const struct run_state *s, size_t *layer, uint64_t *all, uint64_t *done);

/* A pass goes through so many layers, as many as the device has room for: a pass that is gone on with must as before.  0 or -1. */
int run_state_hold(struct run_state *s, size_t hold, struct error *e) MUST_CHECK;

/* Whether it is time for a commit: they are to take 2% of the time, and come no more often than once a second. */
bool run_state_due(const struct run_state *s);

/* Every frame that was read and used has been put, and tapped.  ahead: but the last one that was read.  0 or -1. */
int run_state_commit(struct run_state *s, bool ahead, struct error *e) MUST_CHECK;

/* The pass is over, of so many rows in this process, and layer `layer` comes next: commits.  0 or -1. */
int run_state_turn(struct run_state *s, size_t layer, uint64_t rows, struct error *e) MUST_CHECK;

/* After the last row: all outputs are whole, and the record says so; tms_finish renames them.  0 or -1. */
int run_state_finish(struct run_state *s, struct error *e) MUST_CHECK;

/* After the outputs and the stages were closed.  done: they have their names; else what was committed stays.  NULL is allowed. */
void run_state_close(struct run_state *s, bool done);

#endif
