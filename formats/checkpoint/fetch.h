/*
 * Ranges of files read in order into a ring of memory, by threads that keep several requests in
 * flight and run ahead of whoever uses the bytes.
 */
#ifndef FETCH_H
#define FETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

struct fetch_range {
	int fd;
	const char *name;       /* of the file, for messages */
	uint64_t offset;
	size_t len;             /* at most the ring's */
};

/* Takes range i's bytes, which lie at a multiple of 8 and are valid until it returns.  0, or -1
 * and e. */
typedef int fetch_done(void *context, size_t i, const void *bytes, struct error *e);

/* Pages that had to be read from disk: what may leave the page cache again. */
struct fetch_cold {
	struct fetch_range *range;      /* (n); free() it */
	size_t n, capacity;
};

void fetch_drop(struct fetch_cold *cold);

/*
 * Reads the n ranges and calls `done` for each in order, on the calling thread.  ring: ring_len
 * bytes, 64-byte aligned. transient: pages that weren't in the page cache before don't enter it where
 * the file system can read past it, else leave it again after use; or, with cold, they are added to it
 * and stay.  0, or -1 and e.
 */
int fetch_run(const struct fetch_range *range, size_t n, void *ring, size_t ring_len,
              bool transient, struct fetch_cold *cold, fetch_done *done, void *context, struct error *e) MUST_CHECK;

#endif
