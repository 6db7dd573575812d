#include "outer.h"

#include <pthread.h>
#include <stdlib.h>

#include "memory.h"

enum { PIECE_LEN = 4 << 20, PIECE_COLUMNS = 64 };

struct reading {
	struct checkpoint *c;
	const struct part *part;
	checkpoint_put *put;
	void *context;
	size_t columns;         /* of a piece */
	void **staging;         /* one a thread */
	pthread_mutex_t lock;   /* guards what follows */
	int status;
	struct error error;     /* of the first piece that failed */
};

size_t outer_parts(const struct checkpoint *c, const bool wanted[ROLE_COUNT], struct part **parts)
{
	const struct part *all;
	size_t n_all = checkpoint_outer_parts(c, &all), n = 0;
	*parts = mem_zero(n_all, sizeof **parts);
	for (size_t i = 0; i < n_all; i++)
		if (wanted[all[i].role])
			(*parts)[n++] = all[i];
	return n;
}

/* A plain (n, k) matrix of the columns from `first` on, in the staging memory. */
static int read_piece(struct reading *r, size_t first, void *staging, struct error *e)
{
	struct part piece = *r->part;
	size_t left = r->part->view.n - first, n = left < r->columns ? left : r->columns;
	if (checkpoint_read_part(r->c, r->part, first, n, staging, e) < 0)
		return -1;
	piece.column += first;
	piece.view.data = staging;
	piece.view.n = piece.view.group = n;
	piece.view.n_stride = piece.view.k;
	piece.view.k_stride = 1;
	piece.view.first = piece.view.group_stride = 0;
	return r->put(r->context, &piece, e);
}

static void piece_task(void *argument, size_t i, size_t slot)
{
	struct reading *r = argument;
	struct error e;
	pthread_mutex_lock(&r->lock);
	int status = r->status;
	pthread_mutex_unlock(&r->lock);
	if (status < 0 || read_piece(r, i * r->columns, r->staging[slot], &e) == 0)
		return;
	pthread_mutex_lock(&r->lock);
	if (r->status == 0)
		r->error = e;
	r->status = -1;
	pthread_mutex_unlock(&r->lock);
}

static int read_part(struct reading *r, struct workers *w, const struct part *part, struct error *e)
{
	size_t row = part->view.k * dtype_size(part->view.dtype), n_slots = workers_count(w);
	size_t columns = row ? PIECE_LEN / row / PIECE_COLUMNS * PIECE_COLUMNS : part->view.n;
	if (!part->view.n)
		return 0;
	r->part = part;
	r->columns = columns ? columns : PIECE_COLUMNS;
	r->columns = r->columns < part->view.n ? r->columns : part->view.n;
	r->staging = mem_zero(n_slots, sizeof *r->staging);
	r->status = 0;
	for (size_t i = 0; i < n_slots && r->status == 0; i++) {
		r->staging[i] = mem_try(r->columns * row, "staging of weights", &r->error);
		r->status = r->staging[i] ? 0 : -1;
	}
	if (r->status == 0)
		workers_run(w, (part->view.n + r->columns - 1) / r->columns, piece_task, r);
	for (size_t i = 0; i < n_slots; i++)
		free(r->staging[i]);
	free(r->staging);
	if (r->status < 0)
		*e = r->error;
	return r->status;
}

int outer_read(struct checkpoint *c, struct workers *w, const bool wanted[ROLE_COUNT], checkpoint_put *put, void *context,
               struct error *e)
{
	struct reading r = { .c = c, .put = put, .context = context };
	const struct part *all;
	size_t n = checkpoint_outer_parts(c, &all);
	int status = 0;
	pthread_mutex_init(&r.lock, NULL);
	for (size_t i = 0; i < n && status == 0; i++)
		if (wanted[all[i].role])
			status = read_part(&r, w, &all[i], e);
	pthread_mutex_destroy(&r.lock);
	return status;
}
