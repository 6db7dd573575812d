/*
 * Commands run under sh -c, with pipes to and from them.
 */
#ifndef COMMAND_H
#define COMMAND_H

#include <stddef.h>
#include <sys/types.h>

#include "error.h"

/*
 * The words of a command that means the same without a shell: letters, digits, _./:,+-@%=, what isn't ASCII, and quotes around
 * anything that the shell leaves as it is between them.  *n receives their number.  The array and its strings are one
 * allocation, freed with free().  NULL: a shell would expand, join or redirect something, or a quote isn't closed.
 */
char **command_words(const char *command, size_t *n);

/*
 * Starts `sh -c command`.  *to receives the write end of its standard input, *from (unless from is NULL:
 * then it shares ours) the read end of its standard output.  Both are closed on exec, so that no other
 * command holds them open.  The process, or -1, as for a command without a word.  With `from` it leads a process group of its own, so that
 * command_end ends what it has started, too.
 */
pid_t command_start(const char *command, int *to, int *from, struct error *e) MUST_CHECK;

/*
 * Waits for it.  0 if it exited with 0, else -1: "|COMMAND: exited with status 3".  The caller has closed its
 * ends of the pipes first.
 */
int command_wait(pid_t child, const char *command, struct error *e) MUST_CHECK;

/* Ends a command that was started with `from`, and all of its process group: asked, and after a second not asked. */
void command_end(pid_t child);

#endif
