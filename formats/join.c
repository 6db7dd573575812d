#include "join.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "history.h"
#include "memory.h"

/* What --merge may hold of one input: its sites arrive in turn, and one may wait for the others. */
#define HELD_LIMIT (64 * FRAME_ROWS_LEN)

struct held {
	struct held *next;
	struct frame *frame;
	size_t sample, row;     /* the first that has not been given out */
};

struct input {
	struct tms_reader *reader;
	int *variant;           /* (its variants) their places in the joined header */
	struct frame *head;     /* read, but of a layer whose turn has not come */
	bool ended;
	struct held *first, **last;
	size_t held_len;
};

struct join {
	struct input *input;
	size_t n;
	struct tms_header header;
	bool merge;
	int layer;              /* whose frames come now */
	size_t current;         /* the input that gave the last frame */
	struct held *spent;     /* given out, but still pointed at */
	struct sample *samples; /* of the frame being merged */
	size_t sample_capacity;
	const char **rows;      /* of each of these samples */
	size_t rows_capacity;
};

const struct tms_header *join_header(const struct join *j)
{
	return &j->header;
}

int join_in_frame(const struct join *j, struct error *e)
{
	return tms_in_frame(j->input[j->current].reader, e);
}

/* -------- headers */

static int same_model(const struct join *j, const struct tms_reader *r, struct error *e)
{
	const struct tms_header *a = &j->header, *b = tms_header(r);
	if (a->kind != b->kind)
		return error_set(e, "%s: holds %s where %s holds %s; they can't be one stream", tms_name(r),
		                 tms_kind_name(b->kind), tms_name(j->input[0].reader), tms_kind_name(a->kind));
	if (a->fingerprint && b->fingerprint && strcmp(a->fingerprint, b->fingerprint) != 0)
		return error_set(e, "%s: comes from another model (%s, %s) than %s (%s, %s)", tms_name(r),
		                 b->model ? b->model : "?", b->fingerprint, tms_name(j->input[0].reader),
		                 a->model ? a->model : "?", a->fingerprint);
	return 0;
}

static void join_variants(struct join *j, struct input *in)
{
	const struct tms_header *h = tms_header(in->reader);
	in->variant = mem_zero(h->n_variants, sizeof *in->variant);
	for (size_t i = 0; i < h->n_variants; i++) {
		size_t k = in == j->input ? i : 0;
		while (k < j->header.n_variants && strcmp(j->header.variants[k], h->variants[i]) != 0)
			k++;
		if (k == j->header.n_variants) {
			j->header.n_variants++;
			j->header.variants = mem_resize(j->header.variants, k + 1, sizeof *j->header.variants);
			j->header.variants[k] = mem_string(h->variants[i]);
		}
		in->variant[i] = (int)k;
	}
}

static int join_headers(struct join *j, struct error *e)
{
	const struct tms_header **all = mem_zero(j->n, sizeof *all);
	tms_header_copy(&j->header, tms_header(j->input[0].reader));
	int rc = 0;
	for (size_t i = 0; i < j->n && rc == 0; i++) {
		const struct tms_header *h = all[i] = tms_header(j->input[i].reader);
		rc = same_model(j, j->input[i].reader, e);
		if (!j->header.model)
			j->header.model = mem_string(h->model);
		if (!j->header.fingerprint)
			j->header.fingerprint = mem_string(h->fingerprint);
		if (h->order == TMS_ORDER_ANY)
			j->header.order = TMS_ORDER_ANY;
		if (rc == 0 && j->merge && j->n > 1 && h->order == TMS_ORDER_ANY)
			rc = error_set(e, "%s: doesn't go layer by layer, so it can't be merged; join it without --merge",
			               tms_name(j->input[i].reader));
		join_variants(j, &j->input[i]);
	}
	if (rc == 0)
		history_join(&j->header, all, j->n);
	free(all);
	return rc;
}

static int standard_once(char **files, size_t n, struct error *e)
{
	size_t times = 0;
	for (size_t i = 0; i < n; i++)
		times += strcmp(files[i], "-") == 0;
	return times > 1 ? error_set(e, "-: standard input can be read only once") : 0;
}

struct join *join_open(char **files, size_t n, bool merge, struct error *e)
{
	struct join *j = mem_zero(1, sizeof *j);
	j->input = mem_zero(n ? n : 1, sizeof *j->input);
	j->merge = merge;
	int rc = standard_once(files, n, e);
	for (size_t i = 0; i < (n ? n : 1) && rc == 0; i++) {
		struct input *in = &j->input[j->n];
		in->last = &in->first;
		in->reader = tms_open(n ? files[i] : NULL, e);
		j->n += in->reader != NULL;
		rc = in->reader ? 0 : -1;
	}
	if (rc == 0)
		rc = join_headers(j, e);
	j->layer = j->header.order == TMS_ORDER_ANY ? INT_MAX : -1;
	if (rc == 0)
		return j;
	join_close(j);
	return NULL;
}

static void free_held(struct held *h)
{
	while (h) {
		struct held *next = h->next;
		frame_free(h->frame);
		free(h);
		h = next;
	}
}

void join_close(struct join *j)
{
	if (!j)
		return;
	for (size_t i = 0; i < j->n; i++) {
		tms_close(j->input[i].reader);
		frame_free(j->input[i].head);
		free_held(j->input[i].first);
		free(j->input[i].variant);
	}
	free_held(j->spent);
	tms_header_release(&j->header);
	free(j->samples);
	free(j->rows);
	free(j->input);
	free(j);
}

/* -------- one after the other */

/* Reads the input's next frame into its head, if there is none.  0 or -1. */
static int look(struct join *j, struct input *in, struct error *e)
{
	if (in->head || in->ended)
		return 0;
	j->current = (size_t)(in - j->input);
	int rc = tms_next(in->reader, &in->head, e);
	if (rc < 0)
		return -1;
	in->ended = rc == 0;
	if (in->head && in->head->variant >= 0)
		in->head->variant = in->variant[in->head->variant];
	return 0;
}

/* Nothing more comes from this input before the layer changes. */
static bool waits(const struct join *j, const struct input *in)
{
	return in->ended || (in->head && in->head->layer > j->layer);
}

/* The smallest layer of all heads becomes the one whose turn it is.  False: every input has ended. */
static bool next_layer(struct join *j)
{
	bool any = false;
	for (size_t i = 0; i < j->n; i++) {
		const struct frame *head = j->input[i].head;
		if (head && (!any || head->layer < j->layer)) {
			j->layer = head->layer;
			any = true;
		}
	}
	return any;
}

static int next_in_turn(struct join *j, struct frame **f, struct error *e)
{
	for (size_t i = j->current;;) {
		struct input *in = &j->input[i];
		if (look(j, in, e) < 0)
			return -1;
		j->current = i;
		if (!waits(j, in)) {
			*f = in->head;
			in->head = NULL;
			return 1;
		}
		if (++i == j->n) {
			if (!next_layer(j))
				return 0;
			i = 0;
		}
	}
}

/* -------- by the order of the data set */

static bool same_sequence(const struct frame *a, const struct frame *b)
{
	return a->layer == b->layer && a->variant == b->variant && text_equal(a->site, b->site) &&
	       text_equal(a->name, b->name) && text_equal(a->pool, b->pool);
}

static bool same_shape(const struct frame *a, const struct frame *b)
{
	return a->dtype == b->dtype && a->n_dims == b->n_dims &&
	       memcmp(a->dim, b->dim, (size_t)a->n_dims * sizeof *a->dim) == 0;
}

static struct held **find_held(struct input *in, const struct frame *like)
{
	for (struct held **h = &in->first; *h; h = &(*h)->next)
		if (same_sequence((*h)->frame, like))
			return h;
	return NULL;
}

/* Holds the input's next frame of this layer.  1; 0: there is none; -1. */
static int hold(struct join *j, struct input *in, struct error *e)
{
	if (look(j, in, e) < 0)
		return -1;
	if (waits(j, in))
		return 0;
	struct held *h = mem_zero(1, sizeof *h);
	h->frame = in->head;
	in->head = NULL;
	*in->last = h;
	in->last = &h->next;
	in->held_len += frame_rows_len(h->frame) + 4096;
	if (in->held_len > HELD_LIMIT)
		return tms_error(in->reader, e, "its sites are not those of the other inputs; --select the common ones first");
	return 1;
}

static void let_go(struct join *j, struct input *in, struct held **at)
{
	struct held *h = *at;
	*at = h->next;
	if (in->last == &h->next)
		in->last = at;
	in->held_len -= frame_rows_len(h->frame) + 4096;
	h->next = j->spent;
	j->spent = h;
}

/*
 * The input whose next sample of the sequence is the first in the data set.  *blocked: an input that has to be
 * read on before that can be said (then NULL), or NULL.
 */
static struct held **first_of(struct join *j, const struct frame *like, struct input **from, struct input **blocked)
{
	struct held **first = NULL;
	*blocked = NULL;
	for (size_t i = 0; i < j->n; i++) {
		struct input *in = &j->input[i];
		struct held **h = find_held(in, like);
		if (!h && !waits(j, in)) {
			*blocked = in;
			return NULL;
		}
		if (h && (!first || (*h)->frame->samples[(*h)->sample].seq < (*first)->frame->samples[(*first)->sample].seq)) {
			first = h;
			*from = in;
		}
	}
	return first;
}

/* Collects samples of one sequence as far as it goes; their number.  Rows stay in the inputs' frames. */
static size_t collect(struct join *j, const struct frame *like, struct input **blocked)
{
	size_t n = 0, len = 0;
	struct input *from = NULL;
	struct held **at;
	while (len < FRAME_ROWS_LEN && n < 65536 && (at = first_of(j, like, &from, blocked))) {
		struct held *h = *at;
		const struct sample *s = &h->frame->samples[h->sample];
		/* A long sample's next rows stay in a frame of their own. */
		if (!same_shape(h->frame, like) || (n && s->seq == j->samples[n - 1].seq && s->first))
			break;
		mem_grow((void **)&j->samples, &j->sample_capacity, n + 1, sizeof *j->samples);
		mem_grow((void **)&j->rows, &j->rows_capacity, n + 1, sizeof *j->rows);
		size_t row_len = frame_width(h->frame) * dtype_size(h->frame->dtype);
		j->samples[n] = *s;
		h->sample++;
		j->rows[n] = (const char *)h->frame->rows + h->row * row_len;
		size_t n_rows = h->frame->dtype == DTYPE_NONE ? 0 : frame_sample_rows(h->frame, &j->samples[n]);
		h->row += n_rows;
		len += n_rows * row_len;
		n++;
		if (h->sample == h->frame->n_samples)
			let_go(j, from, at);
	}
	return n;
}

static int build(struct join *j, const struct frame *like, size_t n, struct frame **out, struct error *e)
{
	struct frame f = *like;
	f.samples = j->samples;
	f.n_samples = n;
	*out = frame_like(&f);
	size_t len = frame_rows_len(&f), row_len = frame_width(&f) * dtype_size(f.dtype);
	if (f.dtype != DTYPE_NONE && frame_take_rows(*out, len, e) < 0) {
		frame_free(*out);
		return -1;
	}
	char *to = (*out)->rows;
	for (size_t i = 0; i < n && to; i++) {
		size_t part = frame_sample_rows(&f, &f.samples[i]) * row_len;
		if (part)
			memcpy(to, j->rows[i], part);
		to += part;
	}
	return 1;
}

static void free_spent(struct join *j)
{
	free_held(j->spent);
	j->spent = NULL;
}

/* One more frame of every input that has none held.  0 or -1; *any: at least one input holds a frame. */
static int fill(struct join *j, bool *any, struct error *e)
{
	*any = false;
	for (size_t i = 0; i < j->n; i++) {
		struct input *in = &j->input[i];
		if (!in->first && hold(j, in, e) < 0)
			return -1;
		*any |= in->first != NULL;
	}
	return 0;
}

/* A frame without samples has no place in the data set: it goes before those that have. */
static bool take_unsampled(struct join *j, struct frame **out)
{
	for (size_t i = 0; i < j->n; i++) {
		for (struct held **h = &j->input[i].first; *h; h = &(*h)->next) {
			if ((*h)->frame->n_samples)
				continue;
			struct held *gone = *h;
			let_go(j, &j->input[i], h);
			*out = gone->frame;
			gone->frame = NULL;
			j->spent = gone->next;
			free(gone);
			return true;
		}
	}
	return false;
}

static int next_merged(struct join *j, struct frame **out, struct error *e)
{
	free_spent(j);
	for (;;) {
		bool any;
		if (fill(j, &any, e) < 0)
			return -1;
		if (!any) {
			if (!next_layer(j))
				return 0;
			continue;
		}
		if (take_unsampled(j, out))
			return 1;
		struct input *wanting = NULL;
		for (size_t i = 0; i < j->n; i++) {
			for (struct held *h = j->input[i].first; h; h = h->next) {
				/* Collecting may let h go, but not free it before the frame is built. */
				struct input *blocked;
				const struct frame *like = h->frame;
				size_t n = collect(j, like, &blocked);
				if (n)
					return build(j, like, n, out, e);
				if (blocked && !wanting)
					wanting = blocked;
			}
		}
		/* Shapes that differ within a sequence: the sample that comes first decides, and is some held frame's. */
		if (wanting && hold(j, wanting, e) < 0)
			return -1;
	}
}

int join_next(struct join *j, struct frame **f, struct error *e)
{
	return j->merge && j->n > 1 ? next_merged(j, f, e) : next_in_turn(j, f, e);
}
