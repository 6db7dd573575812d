#include "statistics.h"

#include <stdlib.h>
#include <string.h>

#include "history.h"
#include "io.h"
#include "lapack.h"
#include "memory.h"
#include "state.h"

/* -------- opening */

static int open_rows(struct statistics *s, const char *path, struct error *e)
{
	s->in = tms_open(path, e);
	if (!s->in)
		return -1;
	enum tms_kind kind = tms_header(s->in)->kind;
	if (kind == TMS_STATE)
		return error_set(e, "%s: holds the state of a statistic; --merge joins states", tms_name(s->in));
	if (kind == TMS_TOKENS || kind == TMS_VECTORS)
		return error_set(e, "%s: holds %s, which have no rows of a data set; give activations", tms_name(s->in),
		                 tms_kind_name(kind));
	tms_header_copy(&s->header, tms_header(s->in));
	return 0;
}

/* By all that the header of the joined states will be made of. */
static int compare_headers(const struct tms_header *a, const struct tms_header *b)
{
	size_t n = a->history_len < b->history_len ? a->history_len : b->history_len;
	int c = n ? memcmp(a->history, b->history, n) : 0;
	if (c)
		return c;
	if (a->history_len != b->history_len)
		return a->history_len < b->history_len ? -1 : 1;
	c = strcmp(a->model ? a->model : "", b->model ? b->model : "");
	return c ? c : strcmp(a->fingerprint ? a->fingerprint : "", b->fingerprint ? b->fingerprint : "");
}

static int by_header(const void *a, const void *b)
{
	return compare_headers(tms_header(((const struct state_input *)a)->in), tms_header(((const struct state_input *)b)->in));
}

static int check_alike(const struct statistics *s, const struct state_input *one, struct error *e)
{
	const struct tms_header *a = tms_header(s->states[0].in), *b = tms_header(one->in);
	bool same = a->n_variants == b->n_variants;
	if (a->fingerprint && b->fingerprint && strcmp(a->fingerprint, b->fingerprint) != 0)
		return error_set(e, "%s: is of another model (%s) than %s (%s)", tms_name(one->in), b->model ? b->model : b->fingerprint,
		                 tms_name(s->states[0].in), a->model ? a->model : a->fingerprint);
	for (size_t i = 0; same && i < a->n_variants; i++)
		same = !strcmp(a->variants[i], b->variants[i]);
	if (!same)
		return error_set(e, "%s: has other variants than %s", tms_name(one->in), tms_name(s->states[0].in));
	return 0;
}

/* A file named twice would count its rows twice. */
static int check_distinct(char **files, size_t n, struct error *e)
{
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < i; j++)
			if (io_same_file(files[i], files[j]))
				return error_set(e, "%s: is %s once more; its rows would count twice", files[i], files[j]);
	return 0;
}

static int open_states(struct statistics *s, char **files, size_t n, struct error *e)
{
	if (!n)
		return error_set(e, "--merge: name the states to join, as in %.*s --merge shard-*.state",
		                 (int)strcspn(s->about, "\t"), s->about);
	if (check_distinct(files, n, e) < 0)
		return -1;
	s->states = mem_zero(n, sizeof *s->states);
	for (; s->n_states < n; s->n_states++)
		if (state_open(&s->states[s->n_states], files[s->n_states], e) < 0) {
			state_close(&s->states[s->n_states]);
			return -1;
		}
	/* From here on nothing depends on the order in which they were named. */
	qsort(s->states, n, sizeof *s->states, by_header);
	const struct tms_header **headers = mem_zero(n, sizeof *headers);
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < n; i++) {
		headers[i] = tms_header(s->states[i].in);
		rc = check_alike(s, &s->states[i], e);
	}
	if (rc == 0) {
		tms_header_copy(&s->header, headers[0]);
		history_join(&s->header, headers, n);
	}
	free(headers);
	return rc;
}

static const struct state_input *first_of(const struct statistics *s)
{
	const struct state_input *first = NULL;
	for (size_t i = 0; i < s->n_states; i++) {
		const struct state_input *one = &s->states[i];
		if (!one->ended && (!first || place_compare(&one->place, &first->place) < 0))
			first = one;
	}
	return first;
}

int statistics_open(struct statistics *s, char **files, size_t n, bool merge, struct error *e)
{
	int rc;
	if (!merge && n > 1)
		return error_set(e, "%s: one FILE is read; tcat joins several, and --merge states", files[1]);
	if (s->kind.matrix && lapack_open(workers_count(s->workers), e) < 0)
		return -1;
	rc = merge ? open_states(s, files, n, e) : open_rows(s, n ? files[0] : NULL, e);
	if (rc < 0)
		return -1;
	const struct state_input *first = first_of(s);
	s->first_about = first ? mem_string(first->about) : NULL;
	return 0;
}

void statistics_close(struct statistics *s)
{
	for (size_t i = 0; i < s->n_states; i++)
		state_close(&s->states[i]);
	free(s->states);
	free(s->first_about);
	tms_close(s->in);
	tms_header_release(&s->header);
	s->n_states = 0;
}

/* A finished scatter to whom it is for. */
static int give(struct statistics *s, const struct place *place, struct scatter *scatter, struct error *e)
{
	if (scatter_check(scatter, e) == 0)
		return s->each(s->context, place, scatter, e);
	char *name = place_text(place);
	scatter_close(scatter);
	error_in(e, "%s", name);
	free(name);
	return -1;
}

/* -------- states */

static int check_about(const struct statistics *s, const struct state_input *one, struct error *e)
{
	size_t program = strcspn(s->about, "\t");
	const char *want = s->about_any ? s->first_about : s->about;
	if (strncmp(one->about, s->about, program) != 0 || (one->about[program] && one->about[program] != '\t'))
		return error_set(e, "%s: holds a state of %.*s, not of %.*s", tms_name(one->in), (int)strcspn(one->about, "\t"),
		                 one->about, (int)program, s->about);
	if (strcmp(one->about, want) != 0)
		return error_set(e, "%s: holds a state of '%s' where '%s' is due; the same options must have made all", tms_name(one->in),
		                 one->about, want);
	return 0;
}

static int by_digest(const void *a, const void *b)
{
	return memcmp((*(struct state_input *const *)a)->digest, (*(struct state_input *const *)b)->digest, 8);
}

/* The states at one place, joined in the order of their contents. */
static int join_place(struct statistics *s, struct state_input **at, size_t n, struct scatter **out, struct error *e)
{
	qsort(at, n, sizeof *at, by_digest);
	*out = NULL;
	for (size_t i = 0; i < n; i++) {
		struct scatter *one;
		if (check_about(s, at[i], e) < 0 || state_take(at[i], &s->kind, &one, e) < 0)
			return -1;
		if (!*out) {
			*out = one;
			continue;
		}
		size_t width = one->width, due = (*out)->width;
		if (width == due)
			scatter_join(*out, one);
		scatter_close(one);
		if (width != due)
			return error_set(e, "%s: rows of %zu columns where the other states have %zu", tms_name(at[i]->in), width, due);
	}
	return 0;
}

static int read_states(struct statistics *s, struct error *e)
{
	struct state_input **at = mem_zero(s->n_states, sizeof *at);
	const struct state_input *first;
	int rc = 0;
	while (rc == 0 && (first = first_of(s))) {
		size_t n = 0;
		struct place place = place_copy(&first->place);
		struct scatter *joined = NULL;
		for (size_t i = 0; i < s->n_states; i++)
			if (!s->states[i].ended && place_compare(&s->states[i].place, &place) == 0)
				at[n++] = &s->states[i];
		rc = join_place(s, at, n, &joined, e);
		if (rc == 0)
			rc = give(s, &place, joined, e);
		else
			scatter_close(joined);
		place_release(&place);
	}
	free(at);
	return rc;
}

/* -------- rows */

/* Hands over all series of layers before `layer` (-1: all). */
static int hand_over(struct statistics *s, struct series_set *set, int layer, struct error *e)
{
	size_t n;
	int rc = series_end(set, layer, &n, e);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct scatter *scatter = set->at[i]->scatter;
		set->at[i]->scatter = NULL;
		rc = give(s, &set->at[i]->place, scatter, e);
	}
	series_drop(set, n);
	return rc;
}

/* A frame and where it was, or why there is none. */
struct incoming {
	struct tms_reader *in;
	struct frame *f;
	struct tms_frame_place at;
	int rc;                         /* of tms_next */
	struct error error;
};

static void read_task(void *argument, size_t i, size_t slot)
{
	(void)i;
	(void)slot;
	struct incoming *next = argument;
	next->rc = tms_next(next->in, &next->f, &next->error);
	next->at = tms_frame_place(next->in);
}

/* While a frame's rows are added, the next is read. */
static int read_rows(struct statistics *s, struct error *e)
{
	struct series_set set = { .kind = s->kind, .workers = s->workers, .class_of = s->class_of, .context = s->context };
	bool by_layer = tms_header(s->in)->order == TMS_ORDER_LAYER;
	int layer = -1, rc = 0;
	struct incoming next = { .in = s->in };
	read_task(&next, 0, 0);
	while (rc == 0 && next.rc > 0) {
		struct incoming now = next;
		struct workers_job *reading = workers_begin(s->workers, 1, read_task, &next);
		if (by_layer && layer >= 0 && now.f->layer > layer)
			rc = hand_over(s, &set, now.f->layer, e);
		layer = now.f->layer > layer ? now.f->layer : layer;
		if (rc == 0 && series_add(&set, now.f, e) < 0)
			rc = tms_in_frame_at(s->in, now.at, e);
		frame_free(now.f);
		workers_end(s->workers, reading);
	}
	if (rc < 0)
		frame_free(next.f);
	else if (next.rc < 0)
		*e = next.error;
	if (rc == 0)
		rc = next.rc < 0 ? -1 : hand_over(s, &set, -1, e);
	series_release(&set);
	return rc;
}

int statistics_read(struct statistics *s, struct error *e)
{
	return s->in ? read_rows(s, e) : read_states(s, e);
}
