#include "series.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

int series_no_room(struct error *e, const char *what, uint64_t need, uint64_t room)
{
	return error_set(e, "%s: takes %.1f GB of memory and %.1f GB are free; select fewer sites or layers at a time with tcat "
	                 "--select, or give a stream that goes layer by layer", what, (double)need / 1e9, (double)room / 1e9);
}

static int check_frame(const struct frame *f, struct error *e)
{
	if (!f->n_samples && f->name.p)
		return error_set(e, "'%s' is an array without samples, not rows of a data set", f->name.p);
	if (!dtype_is_float(f->dtype))
		return error_set(e, "%s holds %s numbers; statistics are made of floating-point rows",
		                 f->site.p ? f->site.p : "it", dtype_name(f->dtype));
	if (!frame_width(f))
		return error_set(e, "%s has rows of no columns", f->site.p ? f->site.p : "it");
	return 0;
}

static int open_series(struct series_set *set, const struct frame *f, struct series **out, struct error *e)
{
	struct place place = place_of(f);
	size_t width = frame_width(f), matrix = scatter_len(&set->kind, width);
	uint64_t block = scatter_block(&set->kind, width);
	if (!set->room)
		set->room = mem_available();
	/* The rows that wait, and once two blocks in double. */
	uint64_t len = (uint64_t)matrix + block * width * dtype_size(f->dtype) * set->kind.n_classes;
	uint64_t need = set->taken + len + 2 * block * width * sizeof(double);
	if (matrix == SIZE_MAX || need > set->room) {
		char *name = place_text(&place);
		char *what = mem_format("%s, %zu columns, after %zu others", name, width, set->n);
		series_no_room(e, what, matrix == SIZE_MAX ? UINT64_MAX : need, set->room);
		free(what);
		free(name);
		return -1;
	}
	struct scatter *scatter = scatter_open(&set->kind, width, e);
	if (!scatter)
		return -1;
	if (!set->work)
		set->work = scatter_work_open(set->workers);
	struct series *s = mem_zero(1, sizeof *s);
	*s = (struct series){ .place = place_copy(&place), .width = width, .dtype = f->dtype, .scatter = scatter, .len = len };
	set->taken += len;
	mem_grow((void **)&set->at, &set->capacity, set->n + 1, sizeof *set->at);
	set->at[set->n++] = *out = s;
	return 0;
}

static int find_series(struct series_set *set, const struct frame *f, struct series **out, struct error *e)
{
	struct place place = place_of(f);
	for (size_t i = set->n; i-- > 0;) {
		struct series *s = set->at[i];
		if (s->place.layer != place.layer || s->place.variant != place.variant ||
		    !text_equal(s->place.site, place.site))
			continue;
		*out = s;
		if (s->width != frame_width(f))
			return error_set(e, "rows of %zu columns where those before have %zu", frame_width(f), s->width);
		if (s->dtype != f->dtype)
			return error_set(e, "rows of %s where those before are %s", dtype_name(f->dtype), dtype_name(s->dtype));
		return 0;
	}
	return open_series(set, f, out, e);
}

static int flush(struct series_set *set, struct series *s, size_t class, struct error *e)
{
	size_t n = s->waiting[class].n;
	s->waiting[class].n = 0;
	return scatter_add(s->scatter, set->work, class, s->waiting[class].rows, s->dtype, n, e);
}

static int grow(struct series *s, size_t class, size_t need, size_t most, struct error *e)
{
	size_t capacity = s->waiting[class].capacity, row_len = s->width * dtype_size(s->dtype);
	if (need <= capacity)
		return 0;
	capacity = 2 * need < most ? 2 * need : most;
	char *rows = mem_try_huge(capacity * row_len, "rows that wait for their block", e);
	if (!rows)
		return -1;
	if (s->waiting[class].n)
		memcpy(rows, s->waiting[class].rows, s->waiting[class].n * row_len);
	free(s->waiting[class].rows);
	s->waiting[class].rows = rows;
	s->waiting[class].capacity = capacity;
	return 0;
}

static int add_rows(struct series_set *set, struct series *s, size_t class, const char *rows, size_t n, struct error *e)
{
	size_t block = scatter_block(&set->kind, s->width), row_len = s->width * dtype_size(s->dtype);
	while (n) {
		if (!s->waiting[class].n && n >= block) {
			if (scatter_add(s->scatter, set->work, class, rows, s->dtype, block, e) < 0)
				return -1;
			rows += block * row_len;
			n -= block;
			continue;
		}
		size_t room = block - s->waiting[class].n, some = n < room ? n : room;
		if (grow(s, class, s->waiting[class].n + some, block, e) < 0)
			return -1;
		memcpy(s->waiting[class].rows + s->waiting[class].n * row_len, rows, some * row_len);
		s->waiting[class].n += some;
		rows += some * row_len;
		n -= some;
		if (s->waiting[class].n == block && flush(set, s, class, e) < 0)
			return -1;
	}
	return 0;
}

static int check_rows(const struct frame *f, const struct sample *s, const char *rows, size_t n, struct error *e)
{
	size_t width = frame_width(f), at = scatter_not_finite(rows, f->dtype, n * width);
	if (at == n * width)
		return 0;
	const char *id = s->id.p ? s->id.p : "";
	if (f->pool.p)
		return error_set(e, "sample '%s' has NaN or infinity in its row, column %zu; leave it out, or mend its source", id,
		                 at % width);
	return error_set(e, "sample '%s' has NaN or infinity at position %zu, column %zu; leave it out, or mend its source", id,
	                 s->first + at / width, at % width);
}

int series_add(struct series_set *set, const struct frame *f, struct error *e)
{
	if (!frame_n_rows(f))
		return 0;
	struct series *s;
	if (check_frame(f, e) < 0 || find_series(set, f, &s, e) < 0)
		return -1;
	const char *rows = f->rows;
	for (size_t i = 0; i < f->n_samples; i++) {
		const struct sample *sample = &f->samples[i];
		size_t n = frame_sample_rows(f, sample);
		int class = set->class_of ? set->class_of(set->context, sample, e) : 0;
		if (class < 0)
			return -1;
		if ((size_t)class < set->kind.n_classes &&
		    (check_rows(f, sample, rows, n, e) < 0 || add_rows(set, s, (size_t)class, rows, n, e) < 0))
			return -1;
		rows += n * s->width * dtype_size(s->dtype);
	}
	return 0;
}

static int by_place(const void *a, const void *b)
{
	return place_compare(&(*(struct series *const *)a)->place, &(*(struct series *const *)b)->place);
}

int series_end(struct series_set *set, int layer, size_t *n, struct error *e)
{
	*n = 0;
	if (set->n)
		qsort(set->at, set->n, sizeof *set->at, by_place);
	/* Those without a layer sort last and wait for the end. */
	while (*n < set->n && (layer < 0 || (unsigned)set->at[*n]->place.layer < (unsigned)layer))
		++*n;
	int rc = 0;
	for (size_t i = 0; i < *n; i++)
		for (size_t c = 0; rc == 0 && c < set->kind.n_classes; c++)
			rc = flush(set, set->at[i], c, e);
	if (set->work)
		scatter_settle(set->work);
	return rc;
}

void series_drop(struct series_set *set, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct series *s = set->at[i];
		set->taken -= s->len;
		for (size_t c = 0; c < SCATTER_CLASSES; c++)
			free(s->waiting[c].rows);
		scatter_close(s->scatter);
		place_release(&s->place);
		free(s);
	}
	set->n -= n;
	if (set->n)
		memmove(set->at, set->at + n, set->n * sizeof *set->at);
}

void series_release(struct series_set *set)
{
	/* Before the scatters: its products may be under way. */
	scatter_work_close(set->work);
	set->work = NULL;
	series_drop(set, set->n);
	free(set->at);
	set->at = NULL;
}
