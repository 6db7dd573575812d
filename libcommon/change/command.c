#include "command.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "memory.h"

extern char **environ;

/* -------- words */

static const char blanks[] = " \t";

static bool plain(char c)
{
	return isalnum((unsigned char)c) || strchr("_./:,+-@%=", c) || (unsigned char)c > 127;
}

/* What stands between two quotes, to *to; the closing one's place.  NULL: there is none, or the shell looks inside. */
static const char *unquote(const char *from, char **to)
{
	const char *end = strchr(from + 1, *from);
	size_t len = end ? (size_t)(end - from - 1) : 0;
	if (!end || (*from == '"' && strcspn(from + 1, "$`\\") < len))
		return NULL;
	*to = (char *)mempcpy(*to, from + 1, len);
	return end;
}

char **command_words(const char *command, size_t *n)
{
	size_t len = strlen(command);
	char **word = mem_alloc((len / 2 + 1) * sizeof *word + len + 1), *to = (char *)(word + len / 2 + 1);
	const char *p = command + strspn(command, blanks);
	for (*n = 0; *p; p += strspn(p, blanks)) {
		word[(*n)++] = to;
		for (; *p && !strchr(blanks, *p); p++) {
			const char *end = *p == '\'' || *p == '"' ? unquote(p, &to) : NULL;
			if (end) {
				p = end;
			} else if (plain(*p)) {
				*to++ = *p;
			} else {
				free(word);
				return NULL;
			}
		}
		*to++ = 0;
	}
	return word;
}

/* -------- processes */

/* The parent's signal mask and handlers are its own: the shell starts with an empty mask and default signals. */
static int spawn_shell(pid_t *child, const char *command, int input, int output)
{
	char *argv[] = { "sh", "-c", "--", (char *)command, NULL };
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, pipe_signal;
	sigemptyset(&none);
	sigemptyset(&pipe_signal);
	sigaddset(&pipe_signal, SIGPIPE);
	int r = posix_spawn_file_actions_init(&files);
	if (r)
		return r;
	r = posix_spawnattr_init(&attr);
	if (!r) {
		posix_spawnattr_setsigmask(&attr, &none);
		posix_spawnattr_setsigdefault(&attr, &pipe_signal);
		short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
		posix_spawnattr_setpgroup(&attr, 0);
		posix_spawnattr_setflags(&attr, output >= 0 ? flags | POSIX_SPAWN_SETPGROUP : flags);
		r = posix_spawn_file_actions_adddup2(&files, input, STDIN_FILENO);
		if (!r && output >= 0)
			r = posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
		if (!r)
			r = posix_spawn(child, "/bin/sh", &files, &attr, argv, environ);
		posix_spawnattr_destroy(&attr);
	}
	posix_spawn_file_actions_destroy(&files);
	return r;
}

pid_t command_start(const char *command, int *to, int *from, struct error *e)
{
	int in[2], out[2] = { -1, -1 };
	if (!command[strspn(command, " \t\n")])
		return error_set(e, "|%s: names no command", command);
	if (pipe2(in, O_CLOEXEC) < 0)
		return error_errno(e, "|%s", command);
	if (from && pipe2(out, O_CLOEXEC) < 0) {
		error_errno(e, "|%s", command);
		close(in[0]);
		close(in[1]);
		return -1;
	}
	pid_t child;
	int r = spawn_shell(&child, command, in[0], out[1]);
	close(in[0]);
	if (from)
		close(out[1]);
	if (r) {
		close(in[1]);
		if (from)
			close(out[0]);
		return error_set(e, "|%s: %s", command, strerror(r));
	}
	*to = in[1];
	if (from)
		*from = out[0];
	return child;
}

void command_end(pid_t child)
{
	siginfo_t info;
	kill(-child, SIGTERM);
	for (int i = 0; i < 100; i++) {
		info.si_pid = 0;
		if (waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid)
			break;
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	}
	/* Nobody reads what is left of them; a process that was reaped cannot be meant, the child still is one. */
	kill(-child, SIGKILL);
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
}

int command_wait(pid_t child, const char *command, struct error *e)
{
	int status;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return error_errno(e, "|%s", command);
	if (WIFSIGNALED(status))
		return error_set(e, "|%s: ended by signal %d (%s)", command, WTERMSIG(status),
		                 strsignal(WTERMSIG(status)));
	if (WEXITSTATUS(status))
		return error_set(e, "|%s: exited with status %d", command, WEXITSTATUS(status));
	return 0;
}
