#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "io.h"
#include "option.h"
#include "parting.h"
#include "progress.h"

#ifndef VERSION
#define VERSION "0"
#endif

static const int deadly[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE };

static void leave(void)
{
	output_remove_all();
	parting_say();
}

/* SA_RESETHAND: raised again, and let through when this returns, it ends the process the way its parent expects. */
static void die_by(int signal_number)
{
	leave();
	raise(signal_number);
}

static void go_on(int signal_number)
{
	(void)signal_number;
}

/*
 * SIGPIPE ends us as it ends any filter, after the temporary files are gone, even where the parent ignored or
 * blocked it.  The others stay ignored where they were, as nohup(1) wants.
 */
static void set_signals(void)
{
	struct sigaction act = { .sa_handler = die_by, .sa_flags = (int)SA_RESETHAND };
	sigset_t pipe_signal;
	sigemptyset(&act.sa_mask);
	for (size_t i = 0; i < ARRAY_LEN(deadly); i++)
		sigaddset(&act.sa_mask, deadly[i]);
	for (size_t i = 0; i < ARRAY_LEN(deadly); i++) {
		struct sigaction was;
		sigaction(deadly[i], NULL, &was);
		if (was.sa_handler != SIG_IGN || deadly[i] == SIGPIPE)
			sigaction(deadly[i], &act, NULL);
	}
	/* A write beyond ulimit -f fails and is told like any other.  A command that we start gets the signal's own action. */
	sigaction(SIGXFSZ, &(struct sigaction){ .sa_handler = go_on, .sa_flags = SA_RESTART }, NULL);
	sigemptyset(&pipe_signal);
	sigaddset(&pipe_signal, SIGPIPE);
	pthread_sigmask(SIG_UNBLOCK, &pipe_signal, NULL);
}

/* A closed descriptor 0, 1 or 2 would be given to the next file opened.  /dev/null opened the wrong way round keeps the
 * place, and using it is still an error. */
static void hold_standard_descriptors(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
			(void)!open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

static int answer(int argc, char **argv, struct error *e)
{
	int n = option_parse(&tool, argc, argv, e);
	if (n < 0)
		return -1;
	if (common.help) {
		option_help(&tool);
		return 0;
	}
	if (common.version) {
		printf("%s (onelayer) %s\n", tool.name, VERSION);
		return 0;
	}
	argv[n + 1] = NULL;
	return tool.run(argv + 1, n, e);
}

int main(int argc, char **argv)
{
	struct error e = { "" };
	hold_standard_descriptors();
	set_signals();
	atexit(leave);
	int r = answer(argc, argv, &e);
	/* Errors of delayed writes show when the stream is closed. */
	errno = 0;
	if ((fflush(stdout) != 0 || ferror(stdout)) && r >= 0)
		r = errno ? error_errno(&e, "<stdout>") : error_set(&e, "<stdout>: could not be written");
	if (close(STDOUT_FILENO) < 0 && errno != EBADF && r >= 0)
		r = error_errno(&e, "<stdout>");
	progress_close();
	if (r < 0)
		error_print(tool.name, *e.text ? e.text : "failed");
	return r < 0 ? 2 : r > 0 ? 1 : 0;
}
