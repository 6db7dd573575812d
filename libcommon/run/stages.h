/*
 * The residual stream of a resumable run on its way from pass to pass: the first pass reads the program's input, and every
 * pass but the last writes a file of the run's directory, which the next one reads.  There are two, stream.0 and stream.1, in
 * turns.
 *
 * How far the reading is, is known frame by frame.  What lies before there is freed (hole-punched) when the caller says that it
 * will not be wanted again.
 */
#ifndef STAGES_H
#define STAGES_H

#include "resid.h"
#include "run_record.h"

struct stages;

/*
 * dir is borrowed.  header: of the files.  input: what the first pass reads, borrowed.  at: a record of this run, from whose places
 * the stages go on (an input is read up to there, and refused if it is another one); NULL: from the input's start.  NULL and e.
 */
struct stages *stages_open(const char *dir, const struct tms_header *header, struct resid_input *input, const struct run_record *at,
                           struct error *e) MUST_CHECK;
void stages_close(struct stages *s);

/* As resid_input_next. */
int stages_next(struct stages *s, struct frame **f, struct error *e) MUST_CHECK;
/* Whether that comes from a file of the directory. */
bool stages_in_file(const struct stages *s);
/* Rows of the pass at hand up to there. */
uint64_t stages_rows(const struct stages *s);
/* Writes the frame, the caller's, for the next pass.  0 or -1. */
int stages_put(struct stages *s, const struct frame *f, struct error *e) MUST_CHECK;

/* The pass is over: what was put, on the disk, comes next.  last: nothing comes next. */
int stages_turn(struct stages *s, bool last, struct error *e) MUST_CHECK;

/* What was put is on the disk; tells the record how far the pass at hand is.  ahead: but for the frame that was read last. */
int stages_commit(struct stages *s, bool ahead, struct run_record *to, struct error *e) MUST_CHECK;

/* That record is on the disk, so what lies before its places will not be read again. */
void stages_free(struct stages *s, const struct run_record *at);

/* Removes the files of directory dir. */
void stages_remove(const char *dir);

#endif
