#include "state.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checksum.h"
#include "memory.h"
#include "series.h"

/* -------- writing */

/* The arrays after the digest, one at a time: twice the same, for their digest and for the stream. */
struct put {
	struct checksum *sum;           /* NULL: written to w */
	struct tms_writer *w;
	const struct place *place;
};

static int put(const struct put *p, const char *name, int n_dims, const size_t *dim, const double *values, struct error *e)
{
	size_t n = 1;
	for (int i = 0; i < n_dims; i++)
		n *= dim[i];
	if (!p->sum)
		return vectors_put(p->w, p->place, name, n_dims, dim, values, e);
	checksum_add(p->sum, values, n * sizeof *values);
	return 0;
}

static int put_rows(const struct put *p, const struct scatter *s, double *at, struct error *e)
{
	size_t classes = s->kind.n_classes, width = s->width;
	for (size_t c = 0; c < classes; c++)
		at[c] = (double)s->n[c];
	if (put(p, "n", 1, &classes, at, e) < 0)
		return -1;
	for (size_t c = 0; c < classes; c++)
		for (size_t i = 0; i < width; i++)
			at[c * width + i] = s->total[c].sum[i] + s->total[c].lost[i];
	if (put(p, "sum", 2, (size_t[]){ classes, width }, at, e) < 0)
		return -1;
	if (!s->kind.matrix) {
		scatter_diagonal(s, at);
		return put(p, "diagonal", 1, &width, at, e);
	}
	for (size_t i = 0; i < scatter_n_panels(s); i++) {
		char name[32];
		snprintf(name, sizeof name, "scatter.%zu", i);
		size_t n = scatter_panel(s, i, at);
		if (put(p, name, 1, &n, at, e) < 0)
			return -1;
	}
	return 0;
}

static int put_all(const struct put *p, const struct scatter *s, double *at, struct error *e)
{
	if (put_rows(p, s, at, e) < 0)
		return -1;
	if (!s->kind.range)
		return 0;
	memcpy(at, s->min, s->width * sizeof *at);
	memcpy(at + s->width, s->max, s->width * sizeof *at);
	double norm = s->norm + s->norm_lost;
	if (put(p, "range", 2, (size_t[]){ 2, s->width }, at, e) < 0)
		return -1;
	return put(p, "norm", 1, (size_t[]){ 1 }, &norm, e);
}

int state_write(struct tms_writer *w, const struct place *place, const char *about, const struct scatter *s, struct error *e)
{
	double *at = mem_try((SCATTER_PANEL + 2) * (s->width + 2) * sizeof *at, "a state", e);
	if (!at)
		return -1;
	struct put p = { checksum_open(), w, place };
	int rc = put_all(&p, s, at, e);
	uint64_t digest = checksum_value(p.sum);
	checksum_close(p.sum);
	p.sum = NULL;
	if (rc == 0)
		rc = vectors_put_bytes(w, place, "about", about, strlen(about), e);
	if (rc == 0)
		rc = vectors_put_bytes(w, place, "digest", &digest, sizeof digest, e);
	if (rc == 0)
		rc = put_all(&p, s, at, e);
	free(at);
	return rc;
}

/* -------- reading */

/* The next frame, which must be that array of the place at hand.  1 and the caller's frame, 0 at the end, -1 and e. */
static int next(struct state_input *s, const char *name, enum dtype type, int n_dims, struct frame **f, struct error *e)
{
	int rc = tms_next(s->in, f, e);
	if (rc <= 0)
		return rc;
	struct place place = place_of(*f);
	if (vectors_is(*f, name, type, n_dims) && (!s->begun || place_compare(&place, &s->place) == 0))
		return 1;
	frame_free(*f);
	*f = NULL;
	return tms_error(s->in, e, "'%s' of a state is due here; it was not made by this program", name);
}

/* The same array of dim[0..n_dims-1] numbers, none of them NaN, copied to `to`. */
static int take(struct state_input *s, const char *name, int n_dims, const size_t *dim, double *to, struct error *e)
{
	struct frame *f;
	int rc = next(s, name, DTYPE_F64, n_dims, &f, e);
	if (rc <= 0)
		return rc < 0 ? -1 : error_set(e, "%s: ends within a state", tms_name(s->in));
	bool same = true;
	for (int i = 0; i < n_dims; i++)
		same &= f->dim[i] == dim[i];
	size_t n = frame_width(f);
	if (same)
		memcpy(to, f->rows, n * sizeof *to);
	frame_free(f);
	if (!same)
		return tms_error(s->in, e, "'%s' of a state has not the size that the others make", name);
	for (size_t i = 0; i < n; i++)
		if (isnan(to[i]))
			return tms_error(s->in, e, "'%s' of a state has a NaN", name);
	return 0;
}

/* Goes to the next place, or ends. */
static int begin(struct state_input *s, struct error *e)
{
	struct frame *f;
	struct place before = s->place;
	char *about = NULL;
	bool begun = s->begun;
	s->begun = false;
	int rc = next(s, "about", DTYPE_U8, 1, &f, e);
	if (rc > 0) {
		struct place place = place_of(f);
		about = mem_slice(f->rows ? f->rows : "", frame_width(f));
		s->place = place_copy(&place);
		s->begun = true;
		if (begun && place_compare(&before, &s->place) >= 0)
			rc = tms_error(s->in, e, "its states are not in order; it was not made by this program");
		frame_free(f);
	}
	if (begun)
		place_release(&before);
	free(s->about);
	s->about = about;
	if (rc <= 0) {
		s->ended = true;
		return rc;
	}
	rc = next(s, "digest", DTYPE_U8, 1, &f, e);
	if (rc > 0 && frame_width(f) != sizeof s->digest)
		rc = tms_error(s->in, e, "the digest of a state is damaged");
	else if (rc > 0)
		memcpy(s->digest, f->rows, sizeof s->digest);
	else if (rc == 0)
		rc = error_set(e, "%s: ends within a state", tms_name(s->in));
	if (f)
		frame_free(f);
	return rc < 0 ? -1 : 0;
}

int state_open(struct state_input *s, const char *path, struct error *e)
{
	*s = (struct state_input){ .in = tms_open(path, e) };
	if (!s->in)
		return -1;
	if (tms_header(s->in)->kind != TMS_STATE)
		return error_set(e, "%s: holds %s; --merge joins states, which --partial writes", tms_name(s->in),
		                 tms_kind_name(tms_header(s->in)->kind));
	return begin(s, e);
}

static int take_counts(struct state_input *s, const struct scatter_kind *kind, uint64_t *n, struct error *e)
{
	double counts[SCATTER_CLASSES];
	if (take(s, "n", 1, &kind->n_classes, counts, e) < 0)
		return -1;
	for (size_t c = 0; c < kind->n_classes; c++) {
		if (!(counts[c] >= 0 && counts[c] < 0x1p53 && counts[c] == floor(counts[c])))
			return tms_error(s->in, e, "a state of %g rows", counts[c]);
		n[c] = (uint64_t)counts[c];
	}
	return 0;
}

/* The sums say how wide the rows are. */
static int take_sums(struct state_input *s, const struct scatter_kind *kind, struct scatter **out, struct error *e)
{
	struct frame *f;
	int rc = next(s, "sum", DTYPE_F64, 2, &f, e);
	if (rc <= 0)
		return rc < 0 ? -1 : error_set(e, "%s: ends within a state", tms_name(s->in));
	size_t width = f->dim[1], len = scatter_len(kind, width);
	uint64_t room = mem_available();
	if (f->dim[0] != kind->n_classes || !width)
		rc = tms_error(s->in, e, "'sum' of a state has not the size that the others make");
	else if (len == SIZE_MAX || len > room)
		rc = series_no_room(e, tms_name(s->in), len, room);
	else
		rc = (*out = scatter_open(kind, width, e)) ? 0 : -1;
	for (size_t c = 0; rc == 0 && c < kind->n_classes; c++)
		memcpy((*out)->total[c].sum, (double *)f->rows + c * width, width * sizeof(double));
	if (rc == 0 && scatter_not_finite(f->rows, DTYPE_F64, kind->n_classes * width) < kind->n_classes * width)
		rc = tms_error(s->in, e, "'sum' of a state has NaN or infinity");
	frame_free(f);
	return rc;
}

static int take_scatter(struct state_input *s, struct scatter *to, double *at, struct error *e)
{
	if (!to->kind.matrix)
		return take(s, "diagonal", 1, &to->width, to->s.sum, e);
	for (size_t i = 0; i < scatter_n_panels(to); i++) {
		char name[32];
		snprintf(name, sizeof name, "scatter.%zu", i);
		size_t n = scatter_panel(to, i, NULL);
		if (take(s, name, 1, &n, at, e) < 0)
			return -1;
		scatter_take_panel(to, i, at);
	}
	return 0;
}

static int take_range(struct state_input *s, struct scatter *to, double *at, struct error *e)
{
	if (!to->kind.range)
		return 0;
	if (take(s, "range", 2, (size_t[]){ 2, to->width }, at, e) < 0)
		return -1;
	memcpy(to->min, at, to->width * sizeof *at);
	memcpy(to->max, at + to->width, to->width * sizeof *at);
	return take(s, "norm", 1, (size_t[]){ 1 }, &to->norm, e);
}

int state_take(struct state_input *s, const struct scatter_kind *kind, struct scatter **out, struct error *e)
{
	uint64_t n[SCATTER_CLASSES] = { 0 };
	struct scatter *to = NULL;
	*out = NULL;
	if (take_counts(s, kind, n, e) < 0 || take_sums(s, kind, &to, e) < 0) {
		scatter_close(to);
		return -1;
	}
	memcpy(to->n, n, sizeof n);
	double *at = mem_try((SCATTER_PANEL + 2) * (to->width + 2) * sizeof *at, "a state", e);
	int rc = at ? take_scatter(s, to, at, e) : -1;
	if (rc == 0)
		rc = take_range(s, to, at, e);
	free(at);
	if (rc == 0)
		rc = begin(s, e);
	if (rc < 0)
		scatter_close(to);
	*out = rc < 0 ? NULL : to;
	return rc;
}

void state_close(struct state_input *s)
{
	tms_close(s->in);
	if (s->begun)
		place_release(&s->place);
	free(s->about);
	*s = (struct state_input){ .ended = true };
}
