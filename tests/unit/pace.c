/* Processes that read layers in step: nobody runs ahead of a live one, and nobody waits for one that is gone. */
#include "pace.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

enum { LAYERS = 30, PROCESSES = 3 };

static const char MODEL[] = "0123456789abcdef";

/* Seen by all processes. */
static struct shared {
	atomic_int at[PROCESSES];       /* the layer that each has entered; -1 before the first, LAYERS after the last */
	atomic_int ready, apart;        /* processes that have joined; the largest distance seen */
} *shared;

static void rest(int milliseconds)
{
	const struct timespec t = { milliseconds / 1000, milliseconds % 1000 * 1000000L };
	nanosleep(&t, NULL);
}

static void look(int own, int layer)
{
	for (int i = 0; i < PROCESSES; i++) {
		const int at = atomic_load(&shared->at[i]), apart = layer - at;
		if (i != own && at >= 0 && apart > atomic_load(&shared->apart))
			atomic_store(&shared->apart, apart);
	}
}

static int reader(const char *path, int own)
{
	struct error e;
	struct pace *p = pace_open(path, MODEL, &e);
	if (!p)
		return 1;
	for (int layer = 0; layer < LAYERS; layer++) {
		pace_enter(p, (size_t)layer);
		atomic_store(&shared->at[own], layer);
		look(own, layer);
		if (layer == 0) { /* so that all begin together */
			atomic_fetch_add(&shared->ready, 1);
			while (atomic_load(&shared->ready) < PROCESSES)
				rest(1);
		}
		rest((own * 7 + layer * 5) % 11);
		if (pace_done(p) > (size_t)layer)
			return 2;
	}
	atomic_store(&shared->at[own], LAYERS);
	pace_leave(p);
	pace_close(p);
	return 0;
}

static void check_step(const char *path)
{
	pid_t child[PROCESSES];
	int failed = 0, status;
	for (int i = 0; i < PROCESSES; i++) {
		atomic_store(&shared->at[i], -1);
		child[i] = fork();
		if (child[i] == 0)
			_exit(reader(path, i));
	}
	for (int i = 0; i < PROCESSES; i++)
		failed += waitpid(child[i], &status, 0) != child[i] || status != 0;
	ok(failed == 0, "%d processes read %d layers", PROCESSES, LAYERS);
	ok(shared->apart <= PACE_AHEAD && shared->apart > 0, "and were at most %d apart (%d)", PACE_AHEAD, shared->apart);
}

static void check_gone(const char *path)
{
	struct error e;
	int ready[2], status;
	char byte;
	if (pipe(ready) < 0)
		exit(2);
	const pid_t child = fork();
	if (child == 0) {
		struct pace *p = pace_open(path, MODEL, &e);
		if (p)
			pace_enter(p, 0);
		(void)!write(ready[1], "", 1);
		pause();
		_exit(p == NULL);
	}
	(void)!read(ready[0], &byte, 1);
	struct pace *p = pace_open(path, MODEL, &e);
	ok(p != NULL, "another joins: %s", p ? "" : e.text);
	pace_enter(p, 2);
	ok(pace_done(p) == 0, "what one in step still reads isn't done with");
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	pace_enter(p, 9);
	ok(pace_done(p) == 9, "a process that was killed isn't waited for");
	pace_close(p);
	close(ready[0]);
	close(ready[1]);
}

static void check_late(const char *path)
{
	struct error e;
	struct pace *first = pace_open(path, MODEL, &e), *late = pace_open(path, MODEL, &e);
	pace_enter(first, 20);
	pace_enter(late, 0);
	pace_enter(first, 24);
	ok(pace_done(first) == 24 && pace_done(late) == 0, "one that comes late is on its own");
	ok(!pace_open(path, "fedcba9876543210", &e) && strstr(e.text, "another model"), "another model is refused: %s", e.text);
	pace_close(first);
	pace_close(late);
	first = pace_open(path, "fedcba9876543210", &e);
	ok(first != NULL, "and taken when nobody is left");
	pace_close(first);
}

static void check_files(const char *path)
{
	struct error e;
	FILE *f = fopen(path, "w");
	if (f && fputs("somebody's work", f) >= 0 && fclose(f) == 0)
		ok(!pace_open(path, MODEL, &e), "another file is left alone: %s", e.text);
	char text[32] = "";
	f = fopen(path, "r");
	ok(f && fgets(text, sizeof text, f) && strcmp(text, "somebody's work") == 0, "as it was");
	if (f)
		fclose(f);
	ok(!pace_open("/dev/null", MODEL, &e), "a device: %s", e.text);
	ok(!pace_open("/no/such/place", MODEL, &e), "a directory that isn't there: %s", e.text);
}

int main(void)
{
	char path[] = "/tmp/onelayer-pace-XXXXXX";
	const int fd = mkstemp(path);
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (fd < 0 || shared == MAP_FAILED)
		return 2;
	check_step(path);
	check_gone(path);
	check_late(path);
	check_files(path);
	close(fd);
	unlink(path);
	return done();
}
