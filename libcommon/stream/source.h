/*
 * Bytes as they come from a descriptor, with as many in view as a parser asks for.  Never waits for more
 * than was asked, so that both ends of a pipe can talk.
 */
#ifndef SOURCE_H
#define SOURCE_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

struct source {
	int fd;                 /* owned */
	const char *name;       /* for messages; borrowed */
	uint8_t *p;             /* (len): the bytes in view */
	size_t len;
	uint64_t offset;        /* of p from the first byte */
	uint8_t *buffer;
	size_t capacity;
};

void source_init(struct source *s, int fd, const char *name);
void source_release(struct source *s);

/* Brings at least n bytes into view.  1; 0: the end comes before (what there is, is in view); -1 and e. */
int source_need(struct source *s, size_t n, struct error *e) MUST_CHECK;

/* Steps over n bytes in view. */
void source_skip(struct source *s, size_t n);

/* The next n bytes into memory of the caller's, large ones without a copy between.  1, 0 or -1 as source_need. */
int source_take(struct source *s, void *to, size_t n, struct error *e) MUST_CHECK;

/* Passes over the next n bytes, unread where the descriptor can seek: what a file lacks then shows at the next read.  1, 0 or -1
 * as source_need. */
int source_pass(struct source *s, uint64_t n, struct error *e) MUST_CHECK;

#endif
