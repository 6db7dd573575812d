#include "loader.h"

#include <pthread.h>
#include <stdlib.h>

#include "clock.h"
#include "memory.h"
#include "sweep.h"

struct loader {
	const struct sweep *s;
	size_t n_arenas;
	struct layer_memory *arenas;
	struct layer *layers;           /* (n_arenas): layer i is in i mod n_arenas */
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	size_t loaded, released;        /* all layers before these are */
	bool stop, failed;
	struct error error;
	double seconds;
};

/* Waits for an arena.  false: nothing more is wanted. */
static bool wait_for_room(struct loader *l, size_t layer)
{
	pthread_mutex_lock(&l->lock);
	while (!l->stop && layer >= l->released + l->n_arenas)
		pthread_cond_wait(&l->changed, &l->lock);
	bool go = !l->stop;
	pthread_mutex_unlock(&l->lock);
	return go;
}

static int load(struct loader *l, size_t layer, struct error *e)
{
	const struct sweep *s = l->s;
	const struct part *parts;
	size_t n = s->parts(s->context, layer, &parts), at = layer % l->n_arenas;
	layer_release(&l->layers[at]);
	if (layer_init(&l->layers[at], s->ops, s->device, s->m, layer, parts, n, &l->arenas[at], e) < 0)
		return -1;
	if (s->load(s->context, &l->layers[at], e) < 0)
		return -1;
	s->ops->put_wait(s->device);
	return 0;
}

static void *loading(void *argument)
{
	struct loader *l = argument;
	for (size_t layer = l->s->first; layer < l->s->to && wait_for_room(l, layer); layer++) {
		struct error e;
		double start = clock_seconds();
		int status = load(l, layer, &e);
		pthread_mutex_lock(&l->lock);
		l->seconds += clock_seconds() - start;
		if (status == 0) {
			l->loaded = layer + 1;
		} else {
			l->failed = l->stop = true;
			l->error = e;
		}
		pthread_cond_broadcast(&l->changed);
		pthread_mutex_unlock(&l->lock);
	}
	return NULL;
}

size_t loader_n_arenas(const struct sweep *s, size_t hold)
{
	size_t n_layers = s->to - s->from;
	return hold < (n_layers + 1) / 2 ? 2 * hold : n_layers;
}

enum { LARGE_PAGE = 2 << 20, PAGE = 4 << 10 };

static void touch(void *argument, size_t i, size_t slot)
{
	volatile char *p = (char *)argument + i * LARGE_PAGE;
	(void)slot;
	for (size_t at = 0; at < LARGE_PAGE; at += PAGE)
		p[at] = 0;
}

/*
 * Memory lies near the processor that touches it first.  Every thread reads all of a layer, so its pages are dealt out to the
 * threads; else all of it would be near the thread that packs weights.
 */
static void spread(const struct sweep *s, void *arena, size_t len)
{
	if (s->ops->host)
		workers_run(s->workers, len / LARGE_PAGE, touch, arena);
}

struct loader *loader_open(const struct sweep *s, size_t hold, struct layer_len len, bool on_host, struct error *e)
{
	struct loader *l = mem_zero(1, sizeof *l);
	l->s = s;
	l->n_arenas = loader_n_arenas(s, hold);
	l->loaded = l->released = s->first;
	l->arenas = mem_zero(l->n_arenas, sizeof *l->arenas);
	l->layers = mem_zero(l->n_arenas, sizeof *l->layers);
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->changed, NULL);
	for (size_t i = 0; i < l->n_arenas; i++) {
		if (layer_memory_take(&l->arenas[i], s->ops, s->device, len, on_host, "a layer's weights", e) < 0) {
			loader_close(l);
			return NULL;
		}
		spread(s, l->arenas[i].weights, len.weights);
	}
	if (pthread_create(&l->thread, NULL, loading, l) != 0) {
		error_set(e, "can't start a thread to load weights");
		loader_close(l);
		return NULL;
	}
	l->started = true;
	return l;
}

int loader_wait(struct loader *l, size_t end, double *seconds, struct error *e)
{
	pthread_mutex_lock(&l->lock);
	while (l->loaded < end && !l->failed)
		pthread_cond_wait(&l->changed, &l->lock);
	bool loaded = l->loaded >= end;
	*seconds = l->seconds;
	l->seconds = 0;
	if (!loaded)
		*e = l->error;
	pthread_mutex_unlock(&l->lock);
	return loaded ? 0 : -1;
}

const struct layer *loader_layer(const struct loader *l, size_t layer)
{
	return &l->layers[layer % l->n_arenas];
}

void loader_release(struct loader *l, size_t end)
{
	pthread_mutex_lock(&l->lock);
	l->released = end;
	pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->lock);
}

void loader_close(struct loader *l)
{
	if (!l)
		return;
	if (l->started) {
		pthread_mutex_lock(&l->lock);
		l->stop = true;
		pthread_cond_broadcast(&l->changed);
		pthread_mutex_unlock(&l->lock);
		pthread_join(l->thread, NULL);
	}
	const struct sweep *s = l->s;
	for (size_t i = 0; i < l->n_arenas; i++) {
		layer_release(&l->layers[i]);
		layer_memory_give(&l->arenas[i], s->ops, s->device);
	}
	pthread_cond_destroy(&l->changed);
	pthread_mutex_destroy(&l->lock);
	free(l->arenas);
	free(l->layers);
	free(l);
}
