/* The directory of a resumable run (run_state.h): one process has it at a time. */
#ifndef RUN_DIRECTORY_H
#define RUN_DIRECTORY_H

#include <stdbool.h>

#include "error.h"

struct run_directory {
	char *path;             /* as it was given */
	char id[17];            /* of the directory, wherever it is called from, for the names of outputs under way */
	int lock;               /* held until this is closed; -1: not */
};

/* make: it is made if it isn't there.  0 or -1; *d is to be closed in any case. */
int run_directory_open(struct run_directory *d, const char *path, bool make, struct error *e) MUST_CHECK;
/* 0; -1: another process has it, or the lock can't be made. */
int run_directory_lock(struct run_directory *d, struct error *e) MUST_CHECK;
void run_directory_close(struct run_directory *d);

/* Removes the lock and the directory, if it is then empty.  Where it isn't, it stays, and that is no error.  0 or -1. */
int run_directory_remove(const struct run_directory *d, struct error *e) MUST_CHECK;

#endif
