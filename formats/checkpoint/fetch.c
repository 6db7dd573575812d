#include "fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

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
	bool cold;              /* its pages weren't cached before, and needn't be after */
};

struct fetch {
	const struct fetch_range *range;
	size_t n;
	char *ring;
	size_t ring_len;
	bool transient;
	struct fetch_cold *cold;
	size_t unit;            /* ranges share no such piece of the ring: IO_PAGE where they may be read past the page cache */
	int *direct;            /* (n) descriptors for that, -1: none; neighbours of one file have the same */
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

static size_t whole_units(const struct fetch *f, size_t n)
{
	return (n + f->unit - 1) / f->unit * f->unit;
}

/* The disk's pages are to come where the ring's are: a range begins at the same byte of one. */
static size_t in_page(const struct fetch *f, size_t i)
{
	return f->unit == IO_PAGE && f->range[i].offset % 8 == 0 ? f->range[i].offset % IO_PAGE : 0;
}

static void open_direct(struct fetch *f)
{
	f->direct = mem_alloc(f->n * sizeof *f->direct);
	for (size_t i = 0; i < f->n; i++) {
		const struct fetch_range *r = &f->range[i];
		bool same = i && r->fd == r[-1].fd;
		f->direct[i] = f->unit != IO_PAGE ? -1 : same ? f->direct[i - 1] : io_open_direct(r->fd);
	}
}

static void close_direct(struct fetch *f)
{
	for (size_t i = 0; i < f->n; i++)
		if (f->direct[i] >= 0 && (i + 1 == f->n || f->direct[i + 1] != f->direct[i]))
			close(f->direct[i]);
	free(f->direct);
}

/* Ranges stand end to end, each in units of its own, and none crosses the end of a ring. */
static void plan(struct fetch *f)
{
	size_t at = 0, capacity = 0;
	f->place = mem_zero(f->n, sizeof *f->place);
	f->missing = mem_zero(f->n, sizeof *f->missing);
	for (size_t i = 0; i < f->n; i++) {
		size_t len = f->range[i].len;
		at = whole_units(f, at);
		if (at % f->ring_len + in_page(f, i) + len > f->ring_len)
			at = (at / f->ring_len + 1) * f->ring_len;
		at += in_page(f, i);
		f->place[i] = at;
		at += len;
		for (size_t done = 0, chunk_len; done < len; done += chunk_len) {
			void *p = f->chunk;
			mem_grow(&p, &capacity, f->n_chunks + 1, sizeof *f->chunk);
			f->chunk = p;
			/* All but the first begin with a page. */
			size_t most = CHUNK_LEN - (done ? 0 : in_page(f, i));
			chunk_len = len - done < most ? len - done : most;
			f->chunk[f->n_chunks++] = (struct chunk){ i, done, chunk_len, false };
			f->missing[i]++;
		}
	}
}

static uint64_t chunk_offset(const struct fetch *f, const struct chunk *c)
{
	return f->range[c->range].offset + c->at;
}

static bool is_direct(const struct fetch *f, const struct chunk *c)
{
	return c->cold && f->direct[c->range] >= 0 && f->range[c->range].offset % 8 == 0;
}

/* Asks the kernel for chunks up to AHEAD of the one being taken.  Called with the lock: asking
 * doesn't wait for the disk. */
static void ask_ahead(struct fetch *f)
{
	for (; f->ahead < f->n_chunks && f->ahead < f->next + AHEAD; f->ahead++) {
		struct chunk *c = &f->chunk[f->ahead];
		/* The page in its middle stands for all. */
		c->cold = f->transient && io_is_cold(f->range[c->range].fd, chunk_offset(f, c) + c->len / 2);
		if (!is_direct(f, c))
			(void)posix_fadvise(f->range[c->range].fd, (off_t)chunk_offset(f, c), (off_t)c->len,
			                    POSIX_FADV_WILLNEED);
	}
}

static bool has_room(const struct fetch *f)
{
	size_t i = f->chunk[f->next].range;
	return whole_units(f, f->place[i] + f->range[i].len) <= f->place[f->used] / f->unit * f->unit + f->ring_len;
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

/* Whole pages, of which the first and the last have bytes of nobody beside the chunk's.  How many of these came. */
static size_t read_direct(const struct fetch *f, const struct chunk *c, char *to)
{
	uint64_t offset = chunk_offset(f, c);
	size_t before = offset % IO_PAGE, got = io_read_direct(f->direct[c->range], to - before, whole_units(f, before + c->len), offset - before);
	got = got > before ? got - before : 0;
	return got < c->len ? got : c->len;
}

static int read_chunk(struct fetch *f, const struct chunk *c, struct error *e)
{
	const struct fetch_range *range = &f->range[c->range];
	char *to = f->ring + f->place[c->range] % f->ring_len + c->at;
	uint64_t offset = chunk_offset(f, c);
	size_t have = is_direct(f, c) ? read_direct(f, c, to) : 0;
	if (have == c->len)
		return 0;
	if (io_read_at(range->fd, to + have, c->len - have, offset + have, range->name, e) < 0)
		return -1;
	const struct fetch_range read = { range->fd, range->name, offset, c->len };
	if (c->cold && f->cold)
		keep_cold(f, &read);
	else if (c->cold)
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

static bool room_for_pages(const struct fetch_range *range, size_t n, size_t ring_len)
{
	for (size_t i = 0; i < n; i++)
		if (ring_len < 3 * IO_PAGE || range[i].len > ring_len - 3 * IO_PAGE)
			return false;
	return true;
}

int fetch_run(const struct fetch_range *range, size_t n, void *ring, size_t ring_len,
              bool transient, struct fetch_cold *cold, fetch_done *done, void *context, struct error *e)
{
	struct fetch f = { .range = range, .n = n, .ring = ring, .transient = transient, .cold = cold };
	f.unit = transient && !cold && room_for_pages(range, n, ring_len) ? IO_PAGE : 64;
	f.ring += -(uintptr_t)ring % f.unit;
	ring_len -= (size_t)(f.ring - (char *)ring);
	f.ring_len = ring_len -= ring_len % f.unit;
	for (size_t i = 0; i < n; i++)
		if (range[i].len > ring_len)
			return error_set(e,
			                 "%s: %zu bytes to read at once are more than the %zu of "
			                 "the staging memory",
			                 range[i].name, range[i].len, ring_len);
	plan(&f);
	open_direct(&f);
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
	close_direct(&f);
	free(f.place);
	free(f.missing);
	free(f.chunk);
	return r;
}
