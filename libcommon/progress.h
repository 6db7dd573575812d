/*
 * How far a run is.  One line on a terminal, rewritten in place, from the second second on; JSON lines with
 * --progress json; nothing with off, -q, or where standard error is no terminal.
 */
#ifndef PROGRESS_H
#define PROGRESS_H

#include <stdint.h>

/* Opens by common.progress and common.quiet.  unit: what `done` counts ("tokens"). */
void progress_open(const char *unit);

/* Any thread may call these.  Tells: step of steps (layer 3 of 16; 0 steps: none), done of total units (total 0: not known).  At most 10 lines a second. */
void progress_tell(const char *step_name, uint64_t step, uint64_t steps, uint64_t done, uint64_t total);

/* Removes the line (or writes the last JSON line).  Errors and -v messages call this first. */
void progress_close(void);

/* A line on standard error with the program's name before it, if -v. */
void progress_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same unless -q. */
void progress_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
