/*
 * Bytes in and out.  The only read(2), write(2), open(2), pread(2) and rename(2) calls of the tree
 * are behind these.  Descriptors are closed on exec, so that no command inherits them.
 */
#ifndef IO_H
#define IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "error.h"

/* "-" and NULL are standard input, named "<stdin>".  A descriptor that the caller closes (standard input: a duplicate),
 * or -1 (no such file, a directory). */
int io_open_input(const char *path, struct error *e) MUST_CHECK;

/* What to call that path in a message: "<stdin>", "<stdout>" or the path itself. */
const char *io_input_name(const char *path);
const char *io_output_name(const char *path);

/* Whether the path names a regular file, which can be opened again and read from its start. */
bool io_regular(const char *path);

/* Whether both paths name one regular file, under whatever names. */
bool io_same_file(const char *a, const char *b);

/* Reads what is there, at most n bytes, as soon as there is any; 0 only at the end.  The number read, or -1.  Restarts after EINTR. */
ssize_t io_read_some(int fd, void *buffer, size_t n, const char *name, struct error *e) MUST_CHECK;

/* The same until n bytes, or end of file: the number is < n only at the end. */
ssize_t io_read_full(int fd, void *buffer, size_t n, const char *name, struct error *e) MUST_CHECK;

/* Writes all n bytes.  0, or -1 with errno (EPIPE where SIGPIPE is held back). */
int io_write(int fd, const void *buffer, size_t n) MUST_CHECK;

/* The same with a message.  0 or -1.  A reader that went away (EPIPE) ends the process by SIGPIPE, silently, after the
 * temporary files of outputs have been removed. */
int io_write_all(int fd, const void *buffer, size_t n, const char *name, struct error *e) MUST_CHECK;

/* Exactly n bytes at an offset; a short file is an error. */
int io_read_at(int fd, void *buffer, size_t n, uint64_t offset, const char *name, struct error *e) MUST_CHECK;
int io_write_at(int fd, const void *buffer, size_t n, uint64_t offset, const char *name, struct error *e) MUST_CHECK;

/* What was written to the file is on the disk.  Some file systems have nothing to flush and say so, which is no error. */
int io_sync(int fd, const char *name, struct error *e) MUST_CHECK;
/* The same of names that were made, renamed or removed in that directory. */
int io_sync_directory(const char *dir, struct error *e) MUST_CHECK;

/* The descriptor's file once more, to be read past the page cache by io_read_direct; the caller closes it.  -1: the file system
 * can't. */
int io_open_direct(int fd);

enum { IO_PAGE = 4096 };

/* Reads up to n bytes past the page cache; buffer, n and offset are multiples of IO_PAGE.  How many came, fewer at the file's end
 * or where it can't go on. */
size_t io_read_direct(int fd, void *buffer, size_t n, uint64_t offset);

/* Whether the page of that byte would have to come from the disk, as far as the system can tell. */
bool io_is_cold(int fd, uint64_t offset);

/* Has the kernel begin to read n bytes, unless the first and the last are in memory.  It doesn't wait. */
void io_will_need(int fd, uint64_t offset, uint64_t n);

/* A whole file, at most `limit` bytes, closed with a NUL that is not counted.  Caller frees. */
char *io_slurp(const char *path, size_t limit, size_t *len, struct error *e) MUST_CHECK;

/*
 * An output.  Standard output, a command's standard input ("|command", under sh -c), or a file: a
 * regular or new file is written under a temporary name (".NAME.PID.tmp") beside it and renamed by
 * output_commit; a symbolic link's target is replaced, not the link; what exists and isn't regular
 * (/dev/null, a FIFO) and what is named under /dev is written in place.
 */
struct output {
	int fd;
	const char *name;   /* for messages; owned */
	struct pending *pending; /* the file's final and temporary names; NULL: written in place */
	pid_t child;        /* of "|command"; 0: none */
	bool piped;         /* of output_from_fd */
	bool closed_early;  /* a command's end: it went away with exit 0, later writes are dropped */
};

/* path NULL or "-": standard output.  binary: refuses a terminal.  A file that another open output will replace
 * is refused, as is standard output twice.  0 or -1. */
int output_open(struct output *o, const char *path, bool binary, struct error *e) MUST_CHECK;

/*
 * An output that outlives its process: written under ".NAME.ID.part" beside its file, which stays as it is however the process
 * ends, until output_commit renames it.  anew: begun empty; else what is there is kept, open for reading too, at its first byte.
 * path must be a regular or new file's.  0 or -1.
 */
int output_open_kept(struct output *o, const char *path, const char *id, bool anew, struct error *e) MUST_CHECK;

/* What is left of the commit of such an output, of which all len bytes were written.  -1: neither name has them. */
int output_complete_kept(const char *path, const char *id, uint64_t len, struct error *e) MUST_CHECK;

/* Removes such an output, of that absolute final name, if it is still under way.  1; 0: there is none; -1. */
int output_remove_kept(const char *final, const char *id, struct error *e) MUST_CHECK;

/* The name that it will have in the end, absolute and behind symbolic links; the caller's.  NULL: no regular file can be there. */
char *output_final_name(const char *path, struct error *e) MUST_CHECK;

/* Where output_open would make the file of that path: *final receives its absolute name, the caller's, or NULL where none is made
 * (standard output, a command, what is written in place).  Nothing is opened.  -1: output_open would fail. */
int output_where(const char *path, char **final, struct error *e) MUST_CHECK;

/* An output that writes to fd, which it takes over, and renames nothing.  Where fd is a pipe whose reader went away, a write
 * fails and no signal comes. */
void output_from_fd(struct output *o, int fd, const char *name);

/* 0 or -1.  For a command that stopped reading: waits for it; exit 0 ends this output only, else an error. */
int output_write(struct output *o, const void *data, size_t n, struct error *e) MUST_CHECK;

/* Flushes to disk and renames, or waits for the command (non-zero exit: error).  Frees.  0 or -1. */
int output_commit(struct output *o, struct error *e) MUST_CHECK;

/* Leaves nothing under the final name (a command gets its end of input and is waited for).  Frees. */
void output_abort(struct output *o);

/* The one where status is 0, else the other, and status is returned; so it is for an output that was never opened. */
int output_settle(struct output *o, int status, struct error *e) MUST_CHECK;

/* Removes the temporary file of every open output.  Only main.c calls it, when the process exits or a signal ends it;
 * safe inside a signal handler. */
void output_remove_all(void);

#endif
