#include "workers.h"

#include <fenv.h>
#include <float.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "clock.h"
#include "processors.h"

enum { OUTER = 7, MIDDLE = 5, INNER = 11, ROUNDS = 60 };

struct nest {
	struct workers *w;
	atomic_int busy[16];    /* depth of tasks on each slot */
	atomic_int count[OUTER * MIDDLE * INNER];
	atomic_int slot_errors;
	size_t base;
};

struct below {
	struct nest *n;
	size_t base;
};

static void inner(void *argument, size_t i, size_t slot)
{
	struct below *b = argument;
	if (slot >= workers_count(b->n->w) || slot != workers_slot())
		atomic_fetch_add(&b->n->slot_errors, 1);
	atomic_fetch_add(&b->n->count[b->base + i], 1);
}

static void middle(void *argument, size_t i, size_t slot)
{
	struct below *b = argument, next = { b->n, b->base + i * INNER };
	(void)slot;
	workers_run(b->n->w, INNER, inner, &next);
	for (size_t k = 0; k < INNER; k++)
		if (!atomic_load(&b->n->count[next.base + k]))
			atomic_fetch_add(&b->n->slot_errors, 1);
}

/* Two tasks of the outermost job must never be under way on one thread: scratch memory would be shared. */
static void outer(void *argument, size_t i, size_t slot)
{
	struct nest *n = argument;
	struct below next = { n, i * MIDDLE * INNER };
	if (atomic_fetch_add(&n->busy[slot], 1) != 0)
		atomic_fetch_add(&n->slot_errors, 1);
	workers_run(n->w, MIDDLE, middle, &next);
	atomic_fetch_sub(&n->busy[slot], 1);
}

static void test_nesting(size_t threads)
{
	struct error e;
	struct nest *n = calloc(1, sizeof *n);
	n->w = workers_open(threads, &e);
	if (!n->w || workers_count(n->w) != threads) {
		ok(false, "%zu threads open", threads);
		free(n);
		return;
	}
	for (int r = 0; r < ROUNDS; r++)
		workers_run(n->w, OUTER, outer, n);
	bool once = true;
	for (size_t i = 0; i < OUTER * MIDDLE * INNER; i++)
		once &= n->count[i] == ROUNDS;
	ok(once, "%zu threads: every nested task ran once", threads);
	ok(n->slot_errors == 0, "%zu threads: slots are held by one task at each depth", threads);
	workers_run(n->w, 0, outer, n);
	workers_close(n->w);
	free(n);
}

static void count(void *argument, size_t i, size_t slot)
{
	(void)slot;
	atomic_fetch_add(&((atomic_int *)argument)[i], 1);
}

/* A job begun, others run meanwhile, one begun in between and ended after it. */
static void test_begin(size_t threads)
{
	struct error e;
	static atomic_int first[OUTER], second[MIDDLE], within[INNER];
	struct workers *w = workers_open(threads, &e);
	if (!w) {
		ok(false, "%zu threads open", threads);
		return;
	}
	bool once = true;
	for (int r = 1; r <= ROUNDS; r++) {
		struct workers_job *a = workers_begin(w, OUTER, count, first);
		struct workers_job *b = workers_begin(w, MIDDLE, count, second);
		workers_run(w, INNER, count, within);
		workers_end(w, a);
		for (size_t i = 0; i < OUTER; i++)
			once &= first[i] % ROUNDS == r % ROUNDS;
		workers_end(w, b);
		for (size_t i = 0; i < MIDDLE; i++)
			once &= second[i] % ROUNDS == r % ROUNDS;
		for (size_t i = 0; i < INNER; i++)
			once &= within[i] % ROUNDS == r % ROUNDS;
	}
	workers_end(w, workers_begin(w, 0, count, NULL));
	workers_end(w, NULL);
	ok(once, "%zu threads: workers_end returns when all its tasks have run, once each", threads);
	workers_close(w);
}

static void denormal(void *argument, size_t i, size_t slot)
{
	(void)slot;
	volatile float tiny = FLT_MIN, zero = 0;
	volatile float half = tiny / 2, kept = half + zero;
	((bool *)argument)[i] = half > 0 && kept > 0 && fegetround() == FE_TONEAREST;
}

static void test_environment(void)
{
	struct error e;
	bool good[64] = { false }, all = true;
	fesetround(FE_UPWARD);
#ifdef __x86_64__
	__builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040);
#endif
	struct workers *w = workers_open(4, &e);
	if (!w) {
		ok(false, "4 threads open");
		return;
	}
	workers_run(w, 64, denormal, good);
	for (int i = 0; i < 64; i++)
		all &= good[i];
	ok(all, "every thread rounds to nearest and keeps denormals, whatever its parent did");
	workers_close(w);
}

enum { SLOTS = 8 };

struct places {
	size_t n;
	int at[SLOTS];          /* the one processor of each slot, -1: several */
	atomic_size_t slots;    /* that have had a task */
	bool seen[SLOTS];
};

static int only(void)
{
	struct processors p;
	if (processors_get(&p) < 0 || CPU_COUNT_S(sizeof p.set, p.set) != 1)
		return -1;
	int i = 0;
	while (!CPU_ISSET_S((size_t)i, sizeof p.set, p.set))
		i++;
	return i;
}

/* Every slot has come by when the last task ends. */
static void look(void *argument, size_t i, size_t slot)
{
	struct places *p = argument;
	(void)i;
	if (!p->seen[slot]) {
		p->seen[slot] = true;
		p->at[slot] = only();
		atomic_fetch_add(&p->slots, 1);
	}
	for (double start = clock_seconds(); atomic_load(&p->slots) < p->n && clock_seconds() - start < 5;)
		;
}

static void test_pinned(void)
{
	struct error e;
	struct processors before, after;
	size_t all = processors_count(), n = all < SLOTS ? all : SLOTS;
	struct places p = { .n = n };
	bool own = true;
	if (processors_get(&before) < 0) {
		printf("# the system doesn't say which processors this process may use\n");
		return;
	}
	struct workers *w = workers_open_jobs((struct jobs){ n, true }, &e);
	if (!w) {
		ok(false, "pinned threads: %s", e.text);
		return;
	}
	workers_run(w, 2 * n, look, &p);
	for (size_t i = 0; i < n; i++) {
		own &= p.at[i] >= 0 && CPU_ISSET_S((size_t)p.at[i], sizeof before.set, before.set);
		for (size_t k = 0; k < i; k++)
			own &= p.at[i] != p.at[k];
	}
	ok(own && p.slots == n, "%zu pinned threads have a processor each", n);
	ok(processors_get(&after) == 0 && CPU_EQUAL_S(sizeof before.set, before.set, after.set), "the caller is free between runs");
	struct workers_job *j = workers_begin(w, n, look, &p);
	ok(processors_get(&after) == 0 && CPU_EQUAL_S(sizeof before.set, before.set, after.set), "and while others work");
	workers_end(w, j);
	workers_close(w);
	ok(!workers_open_jobs((struct jobs){ all + 1, true }, &e) && strstr(e.text, "this process may use"),
	   "more pinned threads than processors: %s", e.text);
}

static void test_pinned_within(void)
{
	struct error e;
	struct processors before, one;
	struct places p = { .n = 1 };
	if (processors_get(&before) < 0)
		return;
	int last = (int)(8 * sizeof before.set) - 1;
	while (!CPU_ISSET_S((size_t)last, sizeof before.set, before.set))
		last--;
	processors_only(&one, last);
	bool narrowed = sched_setaffinity(0, sizeof one.set, one.set) == 0;
	struct workers *w = workers_open_jobs((struct jobs){ 0, true }, &e);
	if (w)
		workers_run(w, 1, look, &p);
	ok(narrowed && w && workers_count(w) == 1 && p.at[0] == last, "pinned threads stay within the process's own processors");
	workers_close(w);
	(void)!sched_setaffinity(0, sizeof before.set, before.set);
}

int main(void)
{
	struct error e;
	test_pinned();
	test_pinned_within();
	for (size_t threads = 1; threads <= 8; threads += threads < 3 ? 1 : 5)
		test_nesting(threads);
	for (size_t threads = 1; threads <= 4; threads++)
		test_begin(threads);
	test_environment();
	ok(!workers_open(5000, &e) && strstr(e.text, "4096"), "too many threads are refused");
	workers_close(NULL);
	return done();
}
