#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "io.h"

static struct error e;

/* Entries of the current directory, temporary files included. */
static int n_files(void)
{
	FILE *f = popen("ls -A | wc -l", "r");
	int n = -1;
	if (!f || fscanf(f, "%d", &n) != 1)
		n = -1;
	if (f)
		pclose(f);
	return n;
}

static bool holds(const char *path, const char *want)
{
	size_t n;
	char *text = io_slurp(path, 1 << 20, &n, &e);
	bool same = text && n == strlen(want) && !memcmp(text, want, n);
	free(text);
	return same;
}

static int put(struct output *o, const char *text)
{
	return output_write(o, text, strlen(text), &e);
}

static void test_files(void)
{
	struct output o, second;
	struct stat st;
	umask(027);
	ok(output_open(&o, "new", true, &e) == 0 && put(&o, "whole") == 0 && access("new", F_OK) < 0 && n_files() == 1,
	   "a new file has a temporary name until it is complete");
	ok(output_open(&second, "./new", true, &e) < 0 && strstr(e.text, "two outputs") && n_files() == 1,
	   "two outputs to one file are refused");
	ok(output_commit(&o, &e) == 0 && holds("new", "whole") && n_files() == 1, "and its own name afterwards");
	ok(stat("new", &st) == 0 && (st.st_mode & 0777) == 0640, "its permissions follow the umask");
	ok(output_open(&o, "new", true, &e) == 0 && put(&o, "half") == 0 && (output_abort(&o), holds("new", "whole")) &&
	   n_files() == 1, "an abort leaves what was there");
	ok(symlink("new", "link") == 0 && output_open(&o, "link", true, &e) == 0 && put(&o, "2") == 0 &&
	   output_commit(&o, &e) == 0 && holds("new", "2") && lstat("link", &st) == 0 && S_ISLNK(st.st_mode),
	   "a link's target is replaced, the link stays");
	ok(symlink("later", "dangling") == 0 && output_open(&o, "dangling", true, &e) == 0 && put(&o, "3") == 0 &&
	   output_commit(&o, &e) == 0 && holds("later", "3"), "a link to nothing makes its target");
	ok(symlink("loop", "loop") == 0 && output_open(&o, "loop", true, &e) < 0 && unlink("loop") == 0, "a loop of links is an error");
	ok(output_open(&o, "no/such/file", true, &e) < 0 && strstr(e.text, "no/such/file"), "no directory: %s", e.text);
	ok(output_open(&o, ".", true, &e) < 0 && output_open(&o, "", true, &e) < 0, "a directory and an empty name are errors");
	int before = n_files();
	ok(output_open(&o, "gone", true, &e) == 0 && n_files() == before + 1 && (output_remove_all(), n_files() == before), "the signal handler's list knows the temporary file");
	output_abort(&o);
	ok(output_open(&o, "/dev/null", true, &e) == 0 && output_open(&second, "/dev/null", true, &e) == 0 &&
	   put(&o, "x") == 0 && output_commit(&o, &e) == 0 && output_commit(&second, &e) == 0, "/dev/null is written in place");
	ok(output_open(&o, "/dev/full", true, &e) == 0 && put(&o, "x") < 0 && strstr(e.text, "/dev/full: "), "/dev/full: %s", e.text);
	output_abort(&o);
	ok(output_open(&o, NULL, false, &e) == 0 && output_open(&second, "-", false, &e) < 0, "standard output is given once");
	output_abort(&o);
}

static void test_commands(void)
{
	struct output o, second;
	char block[65536];
	memset(block, 'x', sizeof block);
	ok(output_open(&o, "|cat > a", true, &e) == 0 && output_open(&second, "|cat > b", true, &e) == 0 && put(&o, "one") == 0 &&
	   put(&second, "two") == 0 && output_commit(&o, &e) == 0 && holds("a", "one") && output_commit(&second, &e) == 0 &&
	   holds("b", "two"), "two commands: neither holds the other's pipe open");
	ok(output_open(&o, "|exec head -c 3 > c", true, &e) == 0, "a command that reads little");
	int r = 0;
	for (int i = 0; r == 0 && i < 100; i++)
		r = output_write(&o, block, sizeof block, &e);
	ok(r == 0 && o.closed_early && output_commit(&o, &e) == 0 && holds("c", "xxx"), "and exits with 0 ends its output only");
	ok(output_open(&o, "|exit 3", true, &e) == 0, "a command that fails");
	for (int i = 0; r == 0 && i < 100; i++)
		r = output_write(&o, block, sizeof block, &e);
	ok(r < 0 && !strcmp(e.text, "|exit 3: exited with status 3"), "is an error: %s", e.text);
	output_abort(&o);
	ok(output_open(&o, "|cat > /dev/null; exit 1", true, &e) == 0 && put(&o, "x") == 0 && output_commit(&o, &e) < 0 &&
	   strstr(e.text, "status 1"), "so is one that fails at the end: %s", e.text);
	ok(output_open(&o, "|kill -9 $$", true, &e) == 0 && output_commit(&o, &e) < 0 && strstr(e.text, "signal 9"), "or is killed: %s", e.text);
}

/* In a child: writes into a pipe nobody reads. */
static void test_pipe(void)
{
	int fd[2], status;
	if (pipe(fd) < 0)
		return;
	close(fd[0]);
	pid_t child = fork();
	if (child == 0) {
		signal(SIGPIPE, SIG_DFL);
		(void)!io_write_all(fd[1], "x", 1, "pipe", &e);
		_exit(0);
	}
	waitpid(child, &status, 0);
	ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE, "a reader that went away ends the process by SIGPIPE");
	close(fd[1]);
}

static void test_input(void)
{
	size_t n;
	char small[8];
	int fd = io_open_input("new", &e);
	ok(fd >= 3 && io_read_full(fd, small, 8, "new", &e) == 1 && io_read_at(fd, small, 1, 0, "new", &e) == 0, "a file is read");
	ok(io_read_at(fd, small, 8, 0, "new", &e) < 0 && strstr(e.text, "ends at byte 1"), "a short file is an error: %s", e.text);
	close(fd);
	ok(io_open_input(".", &e) < 0 && strstr(e.text, "directory"), "a directory is none: %s", e.text);
	ok(io_open_input("missing", &e) < 0 && !strcmp(e.text, "missing: No such file or directory"), "%s", e.text);
	char *text = io_slurp("/proc/self/status", 1 << 20, &n, &e);
	ok(text && n > 100 && !text[n], "a file that says 0 bytes is read to its end");
	free(text);
	ok(!io_slurp("/dev/zero", 100000, &n, &e) && strstr(e.text, "longer than 100000"), "no more than the limit: %s", e.text);
	text = io_slurp("new", 1, &n, &e);
	ok(text && n == 1, "exactly the limit");
	free(text);
	text = io_slurp("/dev/null", 100, &n, &e);
	ok(text && n == 0 && !*text, "an empty file");
	free(text);
}

int main(void)
{
	char directory[] = "/tmp/onelayer-unit.XXXXXX";
	if (!mkdtemp(directory) || chdir(directory) < 0)
		return 2;
	test_files();
	test_commands();
	test_pipe();
	test_input();
	if (chdir("/") == 0) {
		char command[64];
		snprintf(command, sizeof command, "rm -rf %s", directory);
		(void)!system(command);
	}
	return done();
}
