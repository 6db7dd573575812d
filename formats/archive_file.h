/*
 * Files, and the files inside archives, as streams of bytes: tar and zip, and a plain file as the
 * only member of itself; each also compressed with gzip, bzip2, xz, zstd or lz4.  What a file is
 * shows in its first bytes, not in its name.  Only archive_file.c knows libarchive.
 */
#ifndef ARCHIVE_FILE_H
#define ARCHIVE_FILE_H

#include <stddef.h>
#include <sys/types.h>

#include "error.h"

struct archive_file;

/* Opens a file; "-" is standard input.  Returns 0, or -1 with the file's name in the message. */
int archive_file_open(const char *path, struct archive_file **out, struct error *e) MUST_CHECK;

/* The same for len bytes, which must stay there. */
int archive_file_open_bytes(const void *bytes, size_t len, struct archive_file **out,
			    struct error *e) MUST_CHECK;

/*
 * Moves to the next regular member.  Returns 1 with its path (valid UTF-8, until the next call;
 * NULL where the file is no archive), 0 after the last, -1 for a damaged or cut file.
 */
int archive_file_next(struct archive_file *f, const char **member, struct error *e) MUST_CHECK;

/* Reads up to n bytes of the member; 0 at its end, -1 for a damaged or cut file. */
ssize_t archive_file_read(struct archive_file *f, void *to, size_t n, struct error *e) MUST_CHECK;

void archive_file_close(struct archive_file *f); /* NULL is fine */

#endif
