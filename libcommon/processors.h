/* The processors that this process may use: those of its affinity mask, which taskset(1) and a container's cpuset narrow. */
#ifndef PROCESSORS_H
#define PROCESSORS_H

#include <sched.h>
#include <stddef.h>

#include "error.h"

/* Room for 8192 of them. */
struct processors {
	cpu_set_t set[8];
};

/* Of the calling thread.  -1: the system doesn't say. */
int processors_get(struct processors *p);

/* How many of them threads can keep busy, which a container's quota of time may make fewer; at least 1. */
size_t processors_count(void);

/*
 * n of them (0: processors_count) for a thread each, freed by the caller; *n receives their number.  One of every core before a
 * core's second.  NULL and e: there are fewer.
 */
int *processors_list(size_t *n, struct error *e) MUST_CHECK;

/* That one alone. */
void processors_only(struct processors *p, int processor);

#endif
