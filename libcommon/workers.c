#include "workers.h"

#include <fenv.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "processors.h"

/* Tasks under way: of a workers_run, on its caller's stack, or of workers_begin. */
struct workers_job {
	void (*task)(void *argument, size_t i, size_t slot);
	void *argument;
	size_t n_tasks;
	atomic_size_t next;     /* the first task nobody has taken */
	bool open;              /* in the list of open jobs: helpers may be inside */
	size_t helpers;         /* threads but the caller inside; under the lock */
	struct workers_job *parent;     /* the job whose task started this one */
	struct workers_job *newer;      /* in the list of open jobs, oldest first */
};

struct workers {
	size_t n;
	pthread_t *threads;     /* (n - 1): slots 1.. */
	pthread_t opener;
	int *pinned;            /* (n) the processor of each slot, or NULL */
	pthread_mutex_t lock;
	pthread_cond_t changed; /* a job was opened, a job's last helper left, or stop */
	struct workers_job *oldest;
	size_t idle, waiting;   /* threads asleep: without work, and in workers_run */
	bool stop;
	atomic_uint changes;    /* counts what `changed` tells, to be watched without the lock */
};

struct thread_start {
	struct workers *workers;
	size_t slot;
};

static _Thread_local size_t my_slot;
static _Thread_local struct workers_job *my_job;

size_t workers_slot(void)
{
	return my_slot;
}

size_t workers_count(const struct workers *w)
{
	return w->n;
}

static void pause_briefly(void)
{
#if defined __x86_64__ || defined __i386__
	__builtin_ia32_pause();
#elif defined __aarch64__
	__asm__ volatile("yield");
#endif
}

/* About as long as it takes to wake a sleeping thread, ten microseconds or a few more: products follow each other more closely. */
enum { SPINS = 1000 };

static void spin(struct workers *w, unsigned seen)
{
	for (int i = 0; i < SPINS && atomic_load_explicit(&w->changes, memory_order_relaxed) == seen; i++)
		pause_briefly();
}

static void work(struct workers_job *j)
{
	struct workers_job *outer = my_job;
	my_job = j;
	size_t i;
	while ((i = atomic_fetch_add_explicit(&j->next, 1, memory_order_relaxed)) < j->n_tasks)
		j->task(j->argument, i, my_slot);
	my_job = outer;
}

static bool descends(const struct workers_job *j, const struct workers_job *from)
{
	while (j && j != from)
		j = j->parent;
	return j != NULL;
}

/* The oldest job with tasks left: outer tasks are the larger ones.  With `from`, only jobs started below it. */
static struct workers_job *find_job(struct workers *w, const struct workers_job *from)
{
	for (struct workers_job *j = w->oldest; j; j = j->newer)
		if (atomic_load_explicit(&j->next, memory_order_relaxed) < j->n_tasks && (!from || descends(j, from)))
			return j;
	return NULL;
}

/* Under the lock, which is let go meanwhile. */
static void help(struct workers *w, struct workers_job *j)
{
	j->helpers++;
	pthread_mutex_unlock(&w->lock);
	work(j);
	pthread_mutex_lock(&w->lock);
	if (--j->helpers == 0) {
		atomic_fetch_add(&w->changes, 1);
		if (w->waiting)
			pthread_cond_broadcast(&w->changed);
	}
}

/* Under the lock: until something has changed, first spinning, then asleep.  `kind` counts the sleepers. */
static void wait_for_change(struct workers *w, size_t *kind)
{
	unsigned seen = atomic_load(&w->changes);
	pthread_mutex_unlock(&w->lock);
	spin(w, seen);
	pthread_mutex_lock(&w->lock);
	while (atomic_load(&w->changes) == seen) {
		++*kind;
		pthread_cond_wait(&w->changed, &w->lock);
		--*kind;
	}
}

static void *thread_main(void *argument)
{
	struct thread_start start = *(struct thread_start *)argument;
	struct workers *w = start.workers;
	free(argument);
	my_slot = start.slot;
	fesetenv(FE_DFL_ENV);
	pthread_mutex_lock(&w->lock);
	while (!w->stop) {
		struct workers_job *j = find_job(w, NULL);
		if (j)
			help(w, j);
		else
			wait_for_change(w, &w->idle);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* Shows a job to the threads and wakes as many as `wanted`. */
static void job_open(struct workers *w, struct workers_job *j, size_t wanted)
{
	if (w->n == 1)
		return;
	pthread_mutex_lock(&w->lock);
	struct workers_job **end = &w->oldest;
	while (*end)
		end = &(*end)->newer;
	*end = j;
	j->open = true;
	atomic_fetch_add(&w->changes, 1);
	/* A single signal could wake a caller that waits for its helpers and may not take this job. */
	if (w->waiting || wanted >= w->idle)
		pthread_cond_broadcast(&w->changed);
	else
		for (size_t i = 0; i < wanted; i++)
			pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

static void job_close(struct workers *w, struct workers_job *j)
{
	struct workers_job **at = &w->oldest;
	while (*at != j)
		at = &(*at)->newer;
	*at = j->newer;
}

/* Only the opener is pinned and let go again, before and after its outermost tasks.  false: it isn't to be. */
static bool pin_opener(const struct workers *w, struct processors *before)
{
	if (!w->pinned || my_job || !pthread_equal(pthread_self(), w->opener) || processors_get(before) < 0)
		return false;
	struct processors own;
	processors_only(&own, w->pinned[0]);
	return sched_setaffinity(0, sizeof own.set, own.set) == 0;
}

/* Does what tasks nobody has taken, and waits for the others. */
static void work_and_wait(struct workers *w, struct workers_job *j)
{
	work(j);
	if (!j->open)
		return;
	pthread_mutex_lock(&w->lock);
	job_close(w, j);
	while (j->helpers) {
		struct workers_job *below = find_job(w, j);
		if (below)
			help(w, below);
		else
			wait_for_change(w, &w->waiting);
	}
	pthread_mutex_unlock(&w->lock);
}

static void finish(struct workers *w, struct workers_job *j)
{
	struct processors before;
	bool pinned = pin_opener(w, &before);
	work_and_wait(w, j);
	/* Only a mask that has become another meanwhile can fail, and that one stays then. */
	if (pinned)
		(void)!sched_setaffinity(0, sizeof before.set, before.set);
}

void workers_run(struct workers *w, size_t n_tasks, void (*task)(void *argument, size_t i, size_t slot), void *argument)
{
	struct workers_job j = { .task = task, .argument = argument, .n_tasks = n_tasks, .parent = my_job };
	/* The caller takes one of them itself. */
	if (n_tasks > 1)
		job_open(w, &j, n_tasks - 1);
	finish(w, &j);
}

struct workers_job *workers_begin(struct workers *w, size_t n_tasks, void (*task)(void *argument, size_t i, size_t slot),
                                  void *argument)
{
	struct workers_job *j = mem_alloc(sizeof *j);
	*j = (struct workers_job){ .task = task, .argument = argument, .n_tasks = n_tasks, .parent = my_job };
	job_open(w, j, n_tasks);
	return j;
}

void workers_end(struct workers *w, struct workers_job *j)
{
	if (!j)
		return;
	finish(w, j);
	free(j);
}

/* Where pinned, on its processor from the start. */
static int start_thread(struct workers *w, size_t slot)
{
	struct thread_start *start = mem_alloc(sizeof *start);
	*start = (struct thread_start){ w, slot };
	pthread_attr_t attr;
	int r = pthread_attr_init(&attr);
	if (r) {
		free(start);
		return r;
	}
	if (w->pinned) {
		struct processors own;
		processors_only(&own, w->pinned[slot]);
		r = pthread_attr_setaffinity_np(&attr, sizeof own.set, own.set);
	}
	if (!r)
		r = pthread_create(&w->threads[slot - 1], &attr, thread_main, start);
	pthread_attr_destroy(&attr);
	if (r)
		free(start);
	return r;
}

static struct workers *open_on(size_t n, int *pinned, struct error *e)
{
	struct workers *w = mem_zero(1, sizeof *w);
	w->threads = mem_zero(n, sizeof *w->threads);
	w->opener = pthread_self();
	w->pinned = pinned;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->changed, NULL);
	fesetenv(FE_DFL_ENV);
	for (w->n = 1; w->n < n; w->n++) {
		int r = start_thread(w, w->n);
		if (r) {
			error_set(e, "thread %zu of %zu cannot be started (%s); ask for fewer with -j", w->n + 1, n, strerror(r));
			workers_close(w);
			return NULL;
		}
	}
	return w;
}

struct workers *workers_open_jobs(struct jobs jobs, struct error *e)
{
	size_t n = jobs.n || jobs.pinned ? jobs.n : processors_count();
	if (n > 4096) {
		error_set(e, "%zu threads are more than the 4096 that can be asked for", n);
		return NULL;
	}
	int *pinned = jobs.pinned ? processors_list(&n, e) : NULL;
	return jobs.pinned && !pinned ? NULL : open_on(n, pinned, e);
}

struct workers *workers_open(size_t n, struct error *e)
{
	return workers_open_jobs((struct jobs){ .n = n }, e);
}

void workers_close(struct workers *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	atomic_fetch_add(&w->changes, 1);
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
	for (size_t i = 1; i < w->n; i++)
		pthread_join(w->threads[i - 1], NULL);
	pthread_cond_destroy(&w->changed);
	pthread_mutex_destroy(&w->lock);
	free(w->pinned);
	free(w->threads);
	free(w);
}
