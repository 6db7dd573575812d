/*
 * A fixed set of threads that share out numbered tasks.  What a task computes must not depend on
 * which thread takes it or when; then neither does any bit of the result depend on -j.
 */
#ifndef WORKERS_H
#define WORKERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

struct workers;

/* n threads in all, the caller's included (0: one for each processor the process may use).  Every thread sets the same
 * floating-point environment (round to nearest, denormals kept).  NULL and e if a thread cannot be had. */
struct workers *workers_open(size_t n, struct error *e) MUST_CHECK;
/* Ends the threads.  By the thread that opened it, when no workers_run is under way; NULL is allowed. */
void workers_close(struct workers *w);
size_t workers_count(const struct workers *w);

/* What -j asks for. */
struct jobs {
	uint64_t n;             /* as above */
	bool pinned;
};

/*
 * The same; pinned: each thread is kept on a processor of its own, of those that the process may use, the caller's for as long as
 * it works at tasks.  So what it starts elsewhere (commands, further threads) is as free as it was itself.  NULL and e where there
 * are more threads than processors, too.
 */
struct workers *workers_open_jobs(struct jobs jobs, struct error *e) MUST_CHECK;

/*
 * Calls task(argument, i, slot) once for every i in 0..n_tasks-1 and returns when all have returned.
 * slot < workers_count names the thread, for its scratch memory.  Called by the thread that opened `w` or from
 * inside a task: the caller works at its own tasks first, and idle threads help.  While it waits for them it takes
 * none but tasks that its own tasks started, so its scratch memory is its own between its tasks of one depth.
 */
void workers_run(struct workers *w, size_t n_tasks, void (*task)(void *argument, size_t i, size_t slot), void *argument);

/*
 * The same in two steps: the other threads work at the tasks while the caller does something else, until it calls workers_end,
 * which does what is left and returns when all have returned.  In between it may call workers_run; the threads take the
 * older job's tasks first.  Both by the same thread and from the same task.  workers_end frees the job; NULL is allowed.
 */
struct workers_job;
struct workers_job *workers_begin(struct workers *w, size_t n_tasks, void (*task)(void *argument, size_t i, size_t slot),
                                  void *argument);
void workers_end(struct workers *w, struct workers_job *j);

/* The slot of the calling thread: 0 for the one that opened the workers. */
size_t workers_slot(void);

#endif
