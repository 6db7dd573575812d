#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "memory.h"

/*
 * Files that wait for their commit.  A signal handler may walk the list at any time, so a node, once linked, is
 * never freed or changed but for `live`.
 */
struct pending {
	struct pending *next;
	atomic_bool live;
	bool kept;              /* the temporary file stays until it is renamed */
	char *final, *temporary;
};
static _Atomic(struct pending *) pendings;
static atomic_bool standard_taken;
static pthread_mutex_t pendings_lock = PTHREAD_MUTEX_INITIALIZER;

void output_remove_all(void)
{
	for (struct pending *p = atomic_load(&pendings); p; p = p->next)
		if (atomic_load(&p->live) && !p->kept)
			unlink(p->temporary);
}

const char *io_output_name(const char *path)
{
	return !path || !strcmp(path, "-") ? "<stdout>" : path;
}

/* The directory part with its slash, or "./". */
static char *directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? mem_slice(path, (size_t)(slash - path) + 1) : mem_string("./");
}

/* Follows symbolic links, the last of which may point at nothing yet, and makes the directory absolute. */
static char *resolve(const char *path, struct error *e)
{
	char *at = mem_string(path);
	char target[4096];
	ssize_t n;
	int links = 0;
	while ((n = readlink(at, target, sizeof target)) >= 0) {
		if (++links > 40 || (size_t)n == sizeof target) {
			error_set(e, "%s: too many symbolic links", path);
			free(at);
			return NULL;
		}
		char *directory = target[0] == '/' ? mem_string("") : directory_of(at);
		free(at);
		at = mem_format("%s%.*s", directory, (int)n, target);
		free(directory);
	}
	char *directory = directory_of(at);
	char *absolute = realpath(directory, NULL);
	if (!absolute)
		error_errno(e, "%s", path);
	const char *slash = strrchr(at, '/');
	const char *base = slash ? slash + 1 : at;
	char *final = absolute ? mem_format("%s/%s", absolute[1] ? absolute : "", base) : NULL;
	free(absolute);
	free(directory);
	free(at);
	return final;
}

/* Links a node for `final` unless a live one has the same name.  Takes over both strings. */
static struct pending *pending_add(char *final, char *temporary, bool kept)
{
	struct pending *p = NULL;
	pthread_mutex_lock(&pendings_lock);
	bool taken = false;
	for (p = atomic_load(&pendings); p; p = p->next)
		taken |= atomic_load(&p->live) && !strcmp(p->final, final);
	if (!taken) {
		p = mem_zero(1, sizeof *p);
		p->final = final;
		p->temporary = temporary;
		p->kept = kept;
		atomic_init(&p->live, true);
		p->next = atomic_load(&pendings);
		atomic_store(&pendings, p);
	}
	pthread_mutex_unlock(&pendings_lock);
	return p;
}

/* A file that may not be written isn't replaced either.  Then errno says why. */
static bool is_protected(const char *final)
{
	return access(final, F_OK) == 0 && access(final, W_OK) < 0;
}

static int open_temporary(struct output *o, const char *path, struct error *e)
{
	char *final = resolve(path, e);
	if (!final)
		return -1;
	if (is_protected(final)) {
		free(final);
		return error_errno(e, "%s", path);
	}
	char *directory = directory_of(final);
	const char *base = final + strlen(directory);
	char *temporary = NULL;
	/* A file of that name was left by a process of the same number on another day or host: it stays. */
	for (int i = 0; o->fd < 0 && i < 100; i++) {
		free(temporary);
		temporary = i ? mem_format("%s.%.200s.%ld-%d.tmp", directory, base, (long)getpid(), i)
		              : mem_format("%s.%.200s.%ld.tmp", directory, base, (long)getpid());
		o->fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
		if (o->fd < 0 && errno != EEXIST)
			break;
	}
	free(directory);
	if (o->fd < 0)
		error_errno(e, "%s", path);
	else if (!(o->pending = pending_add(final, temporary, false)))
		error_set(e, "%s: two outputs cannot go to the same file", path);
	else
		return 0;
	if (o->fd >= 0) {
		close(o->fd);
		unlink(temporary);
	}
	free(temporary);
	free(final);
	return -1;
}

/* Open in place what is there and isn't a regular file; /dev/stdout and its like even if it is one. */
static bool in_place(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && (!S_ISREG(st.st_mode) || !strncmp(path, "/dev/", 5));
}

char *output_final_name(const char *path, struct error *e)
{
	if (path && *path && *path != '|' && strcmp(path, "-") != 0 && !in_place(path))
		return resolve(path, e);
	error_set(e, "%s: isn't a regular file", path && *path ? io_output_name(path) : "an output");
	return NULL;
}

/* Beside the final name, and the same for every process that knows the id. */
static char *kept_name(const char *final, const char *id)
{
	char *directory = directory_of(final);
	char *name = mem_format("%s.%.200s.%s.part", directory, final + strlen(directory), id);
	free(directory);
	return name;
}

int output_open_kept(struct output *o, const char *path, const char *id, bool anew, struct error *e)
{
	*o = (struct output){ .fd = -1 };
	char *final = output_final_name(path, e);
	if (!final)
		return -1;
	if (is_protected(final)) {
		free(final);
		return error_errno(e, "%s", path);
	}
	char *temporary = kept_name(final, id), *directory = directory_of(final);
	int fd = open(temporary, O_RDWR | (anew ? O_CREAT | O_TRUNC : 0) | O_CLOEXEC | O_NOFOLLOW, 0666);
	if (fd < 0)
		error_errno(e, "%s", temporary);
	else if ((!anew || io_sync_directory(directory, e) == 0) && !(o->pending = pending_add(final, temporary, true)))
		error_set(e, "%s: two outputs cannot go to the same file", path);
	free(directory);
	if (o->pending) {
		o->fd = fd;
		o->name = mem_string(path);
		return 0;
	}
	if (fd >= 0)
		close(fd);
	free(temporary);
	free(final);
	return -1;
}

int output_complete_kept(const char *path, const char *id, uint64_t len, struct error *e)
{
	struct stat st;
	char *final = output_final_name(path, e);
	if (!final)
		return -1;
	char *temporary = kept_name(final, id);
	int status = 0;
	if (access(temporary, F_OK) == 0 && rename(temporary, final) < 0)
		status = error_errno(e, "%s", path);
	else if (stat(final, &st) < 0)
		status = error_errno(e, "%s", path);
	else if ((uint64_t)st.st_size != len)
		status = error_set(e, "%s: has %ju bytes where %ju were written", path, (uintmax_t)st.st_size, (uintmax_t)len);
	free(temporary);
	free(final);
	return status;
}

int output_remove_kept(const char *final, const char *id, struct error *e)
{
	char *temporary = kept_name(final, id);
	int status = unlink(temporary) == 0 ? 1 : errno == ENOENT || errno == ENOTDIR ? 0 : error_errno(e, "%s", temporary);
	free(temporary);
	return status;
}

static int open_standard(struct output *o, struct error *e)
{
	if (atomic_exchange(&standard_taken, true))
		return error_set(e, "<stdout>: two outputs cannot both go there, give one of them a file");
	o->fd = STDOUT_FILENO;
	return 0;
}

int output_open(struct output *o, const char *path, bool binary, struct error *e)
{
	*o = (struct output){ .fd = -1 };
	int r = 0;
	if (!path || !strcmp(path, "-")) {
		r = open_standard(o, e);
	} else if (path[0] == '|') {
		o->child = command_start(path + 1, &o->fd, NULL, e);
		r = o->child < 0 ? -1 : 0;
	} else if (!*path) {
		r = error_set(e, "an output's file name is empty");
	} else if (in_place(path)) {
		o->fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
		r = o->fd < 0 ? error_errno(e, "%s", path) : 0;
	} else {
		r = open_temporary(o, path, e);
	}
	if (r < 0)
		return -1;
	o->name = mem_string(io_output_name(path));
	if (binary && isatty(o->fd)) {
		error_set(e, "%s: is a terminal, and this output is binary; redirect it or name a file with -o", o->name);
		output_abort(o);
		return -1;
	}
	return 0;
}

void output_from_fd(struct output *o, int fd, const char *name)
{
	*o = (struct output){ .fd = fd, .name = mem_string(name), .piped = true };
}

/*
 * A command that stops reading must not end us, so SIGPIPE is held back in this thread for the write, and taken
 * off it if it came.  The signal's action stays: standard output and libraries' writes keep their manners.
 * 0, or -1 with errno.
 */
static int write_command(int fd, const void *data, size_t n)
{
	sigset_t pipe_signal, was, waiting;
	sigemptyset(&pipe_signal);
	sigaddset(&pipe_signal, SIGPIPE);
	sigpending(&waiting);
	pthread_sigmask(SIG_BLOCK, &pipe_signal, &was);
	int r = io_write(fd, data, n);
	int saved = errno;
	if (r < 0 && saved == EPIPE && !sigismember(&waiting, SIGPIPE))
		while (sigtimedwait(&pipe_signal, NULL, &(struct timespec){ 0 }) < 0 && errno == EINTR)
			continue;
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	errno = saved;
	return r;
}

int output_write(struct output *o, const void *data, size_t n, struct error *e)
{
	if (o->piped)
		return write_command(o->fd, data, n) == 0 ? 0 : error_errno(e, "%s", o->name);
	if (!o->child && !o->closed_early)
		return io_write_all(o->fd, data, n, o->name, e);
	if (o->closed_early || write_command(o->fd, data, n) == 0)
		return 0;
	if (errno != EPIPE)
		return error_errno(e, "%s", o->name);
	pid_t child = o->child;
	o->child = 0;
	o->closed_early = true;
	return command_wait(child, o->name + 1, e);
}

static void release(struct output *o)
{
	if (o->pending)
		atomic_store(&o->pending->live, false);
	if (o->fd == STDOUT_FILENO)
		atomic_store(&standard_taken, false);
	free((char *)o->name);
	*o = (struct output){ .fd = -1 };
}

int output_where(const char *path, char **final, struct error *e)
{
	*final = NULL;
	if (!path || !strcmp(path, "-") || path[0] == '|')
		return 0;
	if (!*path)
		return error_set(e, "an output's file name is empty");
	if (in_place(path))
		return access(path, W_OK) == 0 ? 0 : error_errno(e, "%s", path);
	*final = resolve(path, e);
	if (!*final)
		return -1;
	char *directory = directory_of(*final);
	bool closed = access(directory, W_OK) < 0 || is_protected(*final);
	free(directory);
	if (!closed)
		return 0;
	free(*final);
	*final = NULL;
	return error_errno(e, "%s", path);
}

/* The file under its final name, whole and on disk. */
static int settle(struct output *o, struct error *e)
{
	if (io_sync(o->fd, o->name, e) < 0)
		return -1;
	int fd = o->fd;
	o->fd = -1;
	if (close(fd) < 0 || rename(o->pending->temporary, o->pending->final) < 0)
		return error_errno(e, "%s", o->name);
	atomic_store(&o->pending->live, false);
	return 0;
}

int output_commit(struct output *o, struct error *e)
{
	int r = 0;
	if (o->pending) {
		r = settle(o, e);
	} else if (o->fd != STDOUT_FILENO) {
		int fd = o->fd;
		o->fd = -1;
		/* The command's end of input: it is waited for even if this fails. */
		if (close(fd) < 0)
			r = error_errno(e, "%s", o->name);
	}
	if (r < 0) {
		output_abort(o);
		return -1;
	}
	pid_t child = o->child;
	char *command = child ? mem_string(o->name + 1) : NULL;
	release(o);
	if (child)
		r = command_wait(child, command, e);
	free(command);
	return r;
}

void output_abort(struct output *o)
{
	if (o->fd >= 0 && o->fd != STDOUT_FILENO)
		close(o->fd);
	if (o->pending && !o->pending->kept)
		unlink(o->pending->temporary);
	struct error ignored;
	if (o->child)
		(void)!command_wait(o->child, "", &ignored);   /* the reason for the abort is the one to tell */
	release(o);
}

int output_settle(struct output *o, int status, struct error *e)
{
	if (o->name && status == 0)
		return output_commit(o, e);
	if (o->name)
		output_abort(o);
	return status;
}
