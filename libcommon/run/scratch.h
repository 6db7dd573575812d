/* A file without a name: what is written is gone when it is closed, however the process ends. */
#ifndef SCRATCH_H
#define SCRATCH_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

struct scratch {
	int fd;                 /* -1: not open */
	const char *name;       /* of its directory, for messages; owned */
	uint64_t len;           /* of the file, without what is buffered */
	char *p;
	size_t buffered;
};

/* Where temporary files go: dir itself, or without one $TMPDIR, else /var/tmp. */
const char *scratch_directory(const char *dir);

/* The descriptor of such a file, open for reading and writing; -1 and e, which calls the directory `name`. */
int scratch_file(const char *dir, const char *name, struct error *e) MUST_CHECK;

/* dir NULL: $TMPDIR, else /var/tmp.  0 or -1. */
int scratch_open(struct scratch *s, const char *dir, struct error *e) MUST_CHECK;
int scratch_append(struct scratch *s, const void *p, size_t n, struct error *e) MUST_CHECK;
/* Bytes appended so far. */
uint64_t scratch_len(const struct scratch *s);
/* Reads n bytes at an offset; all of them have been appended. */
int scratch_read(struct scratch *s, void *p, size_t n, uint64_t offset, struct error *e) MUST_CHECK;
/* Closes; a scratch that is all zero or closed is left alone. */
void scratch_close(struct scratch *s);

#endif
