#include "filter.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "memory.h"

/*
 * A frame and its answer are both larger than a pipe, so a thread of its own writes while the caller reads.  The
 * same lock guards the deadline, which a second thread watches: what blocks on a silent command is ended by
 * ending the command.  A built-in has none of it, but its state.
 */
struct filter {
	struct selection selection;
	bool *layers;                   /* (n_layers) */
	const struct filter_builtin *builtin;
	void *state;
	char **words;
	uint64_t seconds;
	pid_t child;
	struct tms_writer *to;
	int from_fd;
	struct tms_reader *from;        /* opened with the first answer: its header may wait for a frame */
	pthread_t writer, watch;
	bool threads;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	const struct frame *sending;    /* the writer's; NULL: it is idle */
	bool write_failed, stop, waiting, late;
	struct error write_error;
	struct timespec deadline;
};

struct filters {
	const struct model *m;
	struct filter *filters;
	size_t n;
	bool idle;              /* commands aren't started */
};

/* -------- threads */

static void *writing(void *argument)
{
	struct filter *f = argument;
	struct error e;
	pthread_mutex_lock(&f->lock);
	while (!f->stop) {
		if (!f->sending) {
			pthread_cond_wait(&f->changed, &f->lock);
			continue;
		}
		const struct frame *frame = f->sending;
		pthread_mutex_unlock(&f->lock);
		int status = tms_write(f->to, frame, &e);
		pthread_mutex_lock(&f->lock);
		if (status < 0) {
			f->write_failed = true;
			f->write_error = e;
		}
		f->sending = NULL;
		pthread_cond_broadcast(&f->changed);
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

static void *watching(void *argument)
{
	struct filter *f = argument;
	pthread_mutex_lock(&f->lock);
	while (!f->stop) {
		if (!f->waiting) {
			pthread_cond_wait(&f->changed, &f->lock);
		} else if (pthread_cond_timedwait(&f->changed, &f->lock, &f->deadline) == ETIMEDOUT && f->waiting) {
			f->late = true;
			f->waiting = false;
			kill(-f->child, SIGKILL);
		}
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

static void expect(struct filter *f, bool waiting)
{
	pthread_mutex_lock(&f->lock);
	f->waiting = waiting;
	clock_gettime(CLOCK_REALTIME, &f->deadline);
	f->deadline.tv_sec += (time_t)f->seconds;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

/* -------- opening */

static int blame(const struct filter *f, struct error *e)
{
	return error_in(e, "--filter %s", f->selection.text);
}

static int start(struct filter *f, const struct tms_header *header, struct error *e)
{
	int to;
	f->child = command_start(f->selection.target, &to, &f->from_fd, e);
	if (f->child < 0) {
		f->child = 0;
		f->from_fd = -1;
		return blame(f, e);
	}
	f->to = tms_create_fd(to, "its input", header, e);
	if (!f->to)
		return blame(f, e);
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->changed, NULL);
	if (pthread_create(&f->writer, NULL, writing, f) != 0)
		return error_set(e, "--filter %s: can't start a thread", f->selection.text);
	if (pthread_create(&f->watch, NULL, watching, f) != 0) {
		f->stop = true;
		pthread_join(f->writer, NULL);
		return error_set(e, "--filter %s: can't start a thread", f->selection.text);
	}
	f->threads = true;
	return 0;
}

static bool applies(const struct filter *f, const struct model *m, enum site s, int layer)
{
	if (!f->selection.site[s] || site_in_block(s) != (layer >= 0))
		return false;
	return layer < 0 || (f->layers[layer] && site_exists(s, m, (size_t)layer));
}

/* A frame of that site and layer, but for its samples and rows. */
static void describe(struct frame *f, const struct model *m, enum site s, int layer, enum dtype dtype)
{
	f->site = text_of(site_name(s));
	f->layer = layer;
	f->dtype = dtype;
	f->n_dims = site_shape(s, m, f->dim);
}

/* Rows as long as their sample have no shape yet: what can't be changed of them shows when they come. */
static int expect_layer(const struct filter *f, const struct model *m, int layer, struct error *e)
{
	for (enum site s = 0; s < SITE_COUNT; s++) {
		struct frame like = { .variant = -1 };
		if (!applies(f, m, s, layer) || site_by_length(s))
			continue;
		describe(&like, m, s, layer, DTYPE_F32);
		if (f->builtin->expect(f->state, &like, e) < 0)
			return -1;
	}
	return 0;
}

static int expect_rows(const struct filter *f, const struct model *m, const struct tms_step *step, struct error *e)
{
	int status = expect_layer(f, m, -1, e);
	for (int layer = step->from; layer >= 0 && layer < step->to && status == 0; layer++)
		status = expect_layer(f, m, layer, e);
	return status;
}

/* 1: the command is the built-in, and open; 0: it isn't; -1. */
static int open_builtin(struct filter *f, const struct filter_builtin *builtin, const struct tms_header *h, struct error *e)
{
	size_t n;
	f->words = builtin ? command_words(f->selection.target, &n) : NULL;
	if (!f->words || !n || strcmp(f->words[0], builtin->name) != 0)
		return 0;
	int status = builtin->open(f->words + 1, n - 1, h, &f->state, e);
	if (status > 0)
		f->builtin = builtin;
	return status;
}

static void tell(const struct filter *f, const char *const *item)
{
	char *command = f->builtin->told(f->state);
	char *told = mem_format("%.*s=%s", (int)strcspn(*item, "="), *item, command);
	option_history_set(item, told);
	free(told);
	free(command);
}

static int filter_open(struct filters *all, struct filter *f, const struct filter_options *o, const char *const *item,
                       const char *program, const struct tms_header *header, const struct tms_step *step, struct error *e)
{
	f->from_fd = -1;
	f->seconds = o->timeout;
	if (selection_parse(&f->selection, *item, program, e) < 0)
		return -1;
	const char *target = f->selection.target;
	if (f->selection.pool || !target || !target[strspn(target, " \t\n")])
		return error_set(e, "--filter %s: is SITE[@LAYERS]=COMMAND", *item);
	if (f->selection.site[SITE_EXPERT_IDX])
		return error_set(e, "--filter %s: expert_idx follows router_logits; filter those", *item);
	f->layers = mem_zero(all->m->n_layers + 1, sizeof *f->layers);
	if (selection_layers(&f->selection, all->m, f->layers, e) < 0)
		return -1;
	selection_warn_unreached(&f->selection, "--filter", all->m, f->layers, step->from, step->to);
	int status = open_builtin(f, o->builtin, header, e);
	if (status < 0 || (status > 0 && expect_rows(f, all->m, step, e) < 0))
		return blame(f, e);
	if (status == 0)
		return all->idle ? 0 : start(f, header, e);
	tell(f, item);
	return 0;
}

static struct filters *open_all(const struct filter_options *o, bool idle, const char *program, const struct model *m,
                                const struct tms_header *header, const struct tms_step *step, struct error *e)
{
	struct filters *all = mem_zero(1, sizeof *all);
	struct tms_header h;
	tms_header_copy(&h, header);
	h.kind = TMS_ACTS;
	h.order = TMS_ORDER_ANY;
	all->m = m;
	all->idle = idle;
	all->filters = mem_zero(o->list.n, sizeof *all->filters);
	int status = 0;
	for (size_t i = 0; i < o->list.n && status == 0; i++)
		status = filter_open(all, &all->filters[all->n++], o, &o->list.item[i], program, &h, step, e);
	tms_header_release(&h);
	if (status < 0) {
		filters_abort(all);
		return NULL;
	}
	return all;
}

struct filters *filters_open(const struct filter_options *o, const char *program, const struct model *m,
                             const struct tms_header *header, const struct tms_step *step, struct error *e)
{
	return open_all(o, false, program, m, header, step, e);
}

struct filters *filters_check(const struct filter_options *o, const char *program, const struct model *m,
                              const struct tms_header *header, const struct tms_step *step, struct error *e)
{
	return open_all(o, true, program, m, header, step, e);
}

bool filters_any(const struct filters *f)
{
	return f->n > 0;
}

void filters_wanted(const struct filters *f, int layer, bool wanted[SITE_COUNT])
{
	for (size_t i = 0; i < f->n; i++)
		for (enum site s = 0; s < SITE_COUNT; s++)
			wanted[s] |= applies(&f->filters[i], f->m, s, layer);
}

int filters_last_layer(const struct filters *f)
{
	int last = -1;
	for (int layer = 0; layer < (int)f->m->n_layers; layer++)
		for (size_t i = 0; i < f->n; i++)
			last = f->filters[i].layers[layer] ? layer : last;
	return last;
}

/* -------- asking */

static int compare(const struct frame *asked, const struct frame *got, struct error *e)
{
	size_t want = frame_rows_len(asked), has = frame_rows_len(got);
	if (got->dtype != asked->dtype)
		return error_set(e, "answered in %s, and was asked in %s", dtype_name(got->dtype), dtype_name(asked->dtype));
	if (frame_n_rows(asked) != frame_n_rows(got))
		return error_set(e, "answered %zu rows to %zu", frame_n_rows(got), frame_n_rows(asked));
	if (want != has)
		return error_set(e, "answered rows of %zu values to rows of %zu", frame_width(got), frame_width(asked));
	bool same = got->n_samples == asked->n_samples;
	for (size_t i = 0; same && i < got->n_samples; i++) {
		const struct sample *a = &asked->samples[i], *b = &got->samples[i];
		same = a->first == b->first && a->n == b->n && text_equal(a->id, b->id);
	}
	return same ? 0 : error_set(e, "answered with other samples, or in another order");
}

/* Large frames come back in pieces, as the reader cuts them. */
static int read_answer(struct filter *f, const struct frame *asked, char *rows, struct error *e)
{
	struct frame_cursor cursor = { 0 };
	struct frame piece, *got;
	int status = 0;
	if (!f->from) {
		f->from = tms_open_fd(f->from_fd, "its answer", e);
		f->from_fd = -1;
		if (!f->from)
			return -1;
	}
	size_t row_len = frame_width(asked) * dtype_size(asked->dtype);
	while (status == 0 && frame_cut(asked, row_len, &cursor, &piece)) {
		piece.dtype = asked->dtype;
		piece.n_dims = asked->n_dims;
		memcpy(piece.dim, asked->dim, sizeof piece.dim);
		int more = tms_next(f->from, &got, e);
		if (more <= 0) {
			status = more < 0 ? -1 : error_set(e, "ended before it had answered every frame");
			break;
		}
		status = compare(&piece, got, e);
		size_t len = frame_rows_len(got);
		if (status == 0 && len)
			memcpy(rows, got->rows, len);
		rows += len;
		frame_free(got);
	}
	frame_cut_release(&cursor);
	return status;
}

/* The frame is the caller's, so the writer must be done with it, if need be because nobody reads any more.  Whether it had
 * failed before that. */
static bool let_go(struct filter *f, bool failed)
{
	struct timespec soon;
	clock_gettime(CLOCK_REALTIME, &soon);
	soon.tv_sec++;
	pthread_mutex_lock(&f->lock);
	bool gone = f->write_failed;
	if (failed)
		kill(-f->child, SIGTERM);
	f->waiting &= !failed;
	while (f->sending) {
		if (!failed)
			pthread_cond_wait(&f->changed, &f->lock);
		else if (pthread_cond_timedwait(&f->changed, &f->lock, &soon) == ETIMEDOUT)
			kill(-f->child, SIGKILL);
	}
	f->waiting = false;
	pthread_mutex_unlock(&f->lock);
	return gone;
}

static int ask(struct filter *f, const struct frame *frame, void *rows, struct error *e)
{
	pthread_mutex_lock(&f->lock);
	f->sending = frame;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
	expect(f, true);
	/* The answer may be written over the rows only when the writer has let go of them. */
	size_t len = frame_rows_len(frame);
	char *answer = mem_try(len, "a filter's answer", e);
	int status = answer ? read_answer(f, frame, answer, e) : -1;
	bool gone = let_go(f, status < 0);
	pthread_mutex_lock(&f->lock);
	if (f->late)
		status = error_set(e, "no answer within %llu seconds; --filter-timeout allows more", (unsigned long long)f->seconds);
	else if (gone && status < 0)
		status = error_set(e, "went away before it had read every frame");
	pthread_mutex_unlock(&f->lock);
	if (status == 0 && len)
		memcpy(rows, answer, len);
	free(answer);
	return status;
}

int filters_run(struct filters *all, enum site site, int layer, const struct frame *frame, enum dtype work, void *rows,
                struct error *e)
{
	struct frame f = *frame;
	describe(&f, all->m, site, layer, work);
	if (site_by_length(site))
		f.dim[1] = frame->samples[0].len;
	f.rows = rows;
	int status = 0;
	for (size_t i = 0; i < all->n && status == 0; i++) {
		struct filter *one = &all->filters[i];
		if (!applies(one, all->m, site, layer))
			continue;
		status = one->builtin ? one->builtin->change(one->state, &f, e) : ask(one, &f, rows, e);
		if (status < 0)
			blame(one, e);
	}
	return status;
}

/* -------- the end */

static void stop_threads(struct filter *f)
{
	if (!f->threads)
		return;
	pthread_mutex_lock(&f->lock);
	f->stop = true;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
	pthread_join(f->writer, NULL);
	pthread_join(f->watch, NULL);
	f->threads = false;
}

static int filter_finish(struct filter *f, struct error *e)
{
	struct tms_writer *to = f->to;
	struct frame *extra;
	if (f->builtin)
		return f->builtin->finish(f->state, e) < 0 ? blame(f, e) : 0;
	f->to = NULL;
	expect(f, true);
	int status = tms_finish(to, e);
	if (status == 0 && !f->from) {
		f->from = tms_open_fd(f->from_fd, "its answer", e);
		f->from_fd = -1;
		status = f->from ? 0 : -1;
	}
	if (status == 0) {
		status = tms_next(f->from, &extra, e);
		if (status > 0) {
			frame_free(extra);
			status = error_set(e, "answered more frames than it was given");
		}
	}
	/* The watch must not take the child's number for another's, so it is waited for before it is reaped. */
	siginfo_t info;
	while (status == 0 && waitid(P_PID, (id_t)f->child, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR)
		;
	expect(f, false);
	if (status == 0) {
		pid_t child = f->child;
		f->child = 0;
		status = command_wait(child, f->selection.target, e);
	}
	if (f->late)
		status = error_set(e, "didn't end within %llu seconds of its last frame", (unsigned long long)f->seconds);
	return status < 0 ? blame(f, e) : 0;
}

static void filter_release(struct filter *f)
{
	if (f->builtin)
		f->builtin->close(f->state);
	/* A thread may be writing to it. */
	if (f->child)
		command_end(f->child);
	f->child = 0;
	stop_threads(f);
	tms_abort(f->to);
	tms_close(f->from);
	if (f->from_fd >= 0)
		close(f->from_fd);
	selection_release(&f->selection);
	free(f->words);
	free(f->layers);
}

int filters_finish(struct filters *all, struct error *e)
{
	int status = 0;
	for (size_t i = 0; i < all->n && status == 0; i++)
		status = filter_finish(&all->filters[i], e);
	filters_abort(all);
	return status;
}

void filters_abort(struct filters *all)
{
	if (!all)
		return;
	for (size_t i = 0; i < all->n; i++)
		filter_release(&all->filters[i]);
	free(all->filters);
	free(all);
}
