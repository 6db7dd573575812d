#include "fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "io.h"
#include "memory.h"

enum {
	READERS = 4,
	CHUNK_LEN = 4 << 20,
	/* Chunks that the kernel is asked for before a reader waits for them. */
	AHEAD = 2 * READERS
};

struct chunk {
	size_t range;
	size_t at, len;         /* within the range */
	bool drop;              /* its pages weren't cached before */
};

struct fetch {
	const struct fetch_range *range;
	size_t n;
	char *ring;
	size_t ring_len;
	bool transient;
	struct fetch_cold *cold;
	size_t *place;          /* (n) where each range begins in an endless row of rings */
	size_t *missing;        /* (n) chunks of it not read yet */
	struct chunk *chunk;
	size_t n_chunks;

	pthread_mutex_t lock;   /* of what follows, and of missing */
	pthread_cond_t room, ready;
	size_t next, ahead;     /* chunks taken by readers, chunks asked of the kernel */
	size_t used;            /* ranges that are done with */
	bool stop, failed;
	struct error why;
};

/* Ranges stand end to end, at multiples of 64, and none crosses the end of a ring. */
static void plan(struct fetch *f)
{
	size_t at = 0, capacity = 0;
	f->place = mem_zero(f->n, sizeof *f->place);
	f->missing = mem_zero(f->n, sizeof *f->missing);
	for (size_t i = 0; i < f->n; i++) {
		size_t len = f->range[i].len;
		at = (at + 63) / 64 * 64;
		if (at % f->ring_len + len > f->ring_len)
			at = (at / f->ring_len + 1) * f->ring_len;
		f->place[i] = at;
		at += len;
		for (size_t done = 0; done < len; done += CHUNK_LEN) {
			void *p = f->chunk;
			mem_grow(&p, &capacity, f->n_chunks + 1, sizeof *f->chunk);
			f->chunk = p;
			size_t rest = len - done;
			size_t chunk_len = rest < CHUNK_LEN ? rest : CHUNK_LEN;
			f->chunk[f->n_chunks++] = (struct chunk){ i, done, chunk_len, false };
			f->missing[i]++;
		}
	}
}

static uint64_t chunk_offset(const struct fetch *f, const struct chunk *c)
{
	return f->range[c->range].offset + c->at;
}

/* Asks the kernel for chunks up to AHEAD of the one being taken.  Called with the lock: asking
 * doesn't wait for the disk. */
static void ask_ahead(struct fetch *f)
{
	for (; f->ahead < f->n_chunks && f->ahead < f->next + AHEAD; f->ahead++) {
		struct chunk *c = &f->chunk[f->ahead];
		/* The page in its middle stands for all. */
		c->drop = f->transient && io_is_cold(f->range[c->range].fd, chunk_offset(f, c) + c->len / 2);
		(void)posix_fadvise(f->range[c->range].fd, (off_t)chunk_offset(f, c), (off_t)c->len,
		                    POSIX_FADV_WILLNEED);
	}
}

static bool has_room(const struct fetch *f)
{
	size_t i = f->chunk[f->next].range;
	return f->place[i] + f->range[i].len <= f->place[f->used] + f->ring_len;
}

/* The next chunk to read, once its place in the ring is free; NULL when there is none. */
static struct chunk *take(struct fetch *f)
{
	pthread_mutex_lock(&f->lock);
	while (!f->stop && f->next < f->n_chunks && !has_room(f))
		pthread_cond_wait(&f->room, &f->lock);
	struct chunk *c = NULL;
	if (!f->stop && f->next < f->n_chunks) {
		ask_ahead(f);
		c = &f->chunk[f->next++];
	}
	pthread_mutex_unlock(&f->lock);
	return c;
}

static void drop(const struct fetch_range *r)
{
	(void)posix_fadvise(r->fd, (off_t)r->offset, (off_t)r->len, POSIX_FADV_DONTNEED);
}

void fetch_drop(struct fetch_cold *cold)
{
	for (size_t i = 0; i < cold->n; i++)
		drop(&cold->range[i]);
	cold->n = 0;
}

static void keep_cold(struct fetch *f, const struct fetch_range *r)
{
	struct fetch_cold *cold = f->cold;
	pthread_mutex_lock(&f->lock);
	void *p = cold->range;
	mem_grow(&p, &cold->capacity, cold->n + 1, sizeof *r);
	cold->range = p;
	cold->range[cold->n++] = *r;
	pthread_mutex_unlock(&f->lock);
}

static int read_chunk(struct fetch *f, const struct chunk *c, struct error *e)
{
	const struct fetch_range *range = &f->range[c->range];
	char *to = f->ring + f->place[c->range] % f->ring_len + c->at;
	uint64_t offset = chunk_offset(f, c);
	if (io_read_at(range->fd, to, c->len, offset, range->name, e) < 0)
		return -1;
	const struct fetch_range read = { range->fd, range->name, offset, c->len };
	if (c->drop && f->cold)
		keep_cold(f, &read);
	else if (c->drop)
		drop(&read);
	return 0;
}

static void *reader(void *argument)
{
	struct fetch *f = argument;
	for (struct chunk *c; (c = take(f));) {
		struct error e = { "" };
		int r = read_chunk(f, c, &e);
		pthread_mutex_lock(&f->lock);
		if (r < 0 && !f->failed) {
			f->failed = true;
			f->why = e;
		}
		f->stop = f->stop || r < 0;
		if (!--f->missing[c->range] || r < 0)
			pthread_cond_signal(&f->ready);
		pthread_mutex_unlock(&f->lock);
	}
	return NULL;
}

/* Waits until range i is whole. */
static int await(struct fetch *f, size_t i, struct error *e)
{
	pthread_mutex_lock(&f->lock);
	while (f->missing[i] && !f->failed)
		pthread_cond_wait(&f->ready, &f->lock);
	int r = f->failed ? -1 : 0;
	if (r < 0)
		*e = f->why;
	pthread_mutex_unlock(&f->lock);
	return r;
}

static int use_all(struct fetch *f, fetch_done *done, void *context, struct error *e)
{
	for (size_t i = 0; i < f->n; i++) {
		if (await(f, i, e) < 0 ||
		    done(context, i, f->ring + f->place[i] % f->ring_len, e) < 0)
			return -1;
		pthread_mutex_lock(&f->lock);
		f->used = i + 1 < f->n ? i + 1 : i;
		pthread_cond_broadcast(&f->room);
		pthread_mutex_unlock(&f->lock);
	}
	return 0;
}

/* How many could be started; they take no signals, which the program's own thread handles. */
static size_t start(struct fetch *f, pthread_t thread[READERS])
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	size_t n = 0;
	while (n < READERS && n < f->n_chunks && pthread_create(&thread[n], NULL, reader, f) == 0)
		n++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return n;
}

int fetch_run(const struct fetch_range *range, size_t n, void *ring, size_t ring_len,
              bool transient, struct fetch_cold *cold, fetch_done *done, void *context, struct error *e)
{
	ring_len -= ring_len % 64;
	struct fetch f = { .range = range, .n = n, .ring = ring, .ring_len = ring_len };
	f.transient = transient;
	f.cold = cold;
	for (size_t i = 0; i < n; i++)
		if (range[i].len > ring_len)
			return error_set(e,
			                 "%s: %zu bytes to read at once are more than the %zu of "
			                 "the staging memory",
			                 range[i].name, range[i].len, ring_len);
	plan(&f);
	pthread_mutex_init(&f.lock, NULL);
	pthread_cond_init(&f.room, NULL);
	pthread_cond_init(&f.ready, NULL);
	pthread_t thread[READERS];
	size_t n_threads = start(&f, thread);
	int r;
	if (f.n_chunks && !n_threads)
		r = error_set(e, "%s: no thread can be started to read it", range->name);
	else
		r = use_all(&f, done, context, e);
	pthread_mutex_lock(&f.lock);
	f.stop = true;
	pthread_cond_broadcast(&f.room);
	pthread_mutex_unlock(&f.lock);
	for (size_t i = 0; i < n_threads; i++)
		pthread_join(thread[i], NULL);
	pthread_cond_destroy(&f.ready);
	pthread_cond_destroy(&f.room);
	pthread_mutex_destroy(&f.lock);
	free(f.place);
	free(f.missing);
	free(f.chunk);
	return r;
}
