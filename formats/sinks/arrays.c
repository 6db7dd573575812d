#include "arrays.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checksum.h"
#include "memory.h"
#include "text_out.h"

char *array_name(const struct array *a)
{
	char layer[16] = "";
	if (a->layer >= 0)
		snprintf(layer, sizeof layer, "%d", a->layer);
	bool site = a->site.len, name = a->name.len;
	return mem_format("%s%s%s%s%s", site ? a->site.p : "", site && *layer ? "." : "", layer,
	                  (site || *layer) && name ? "." : "", name ? a->name.p : "");
}

static struct text own(struct text t)
{
	return t.p ? (struct text){ mem_slice(t.p, t.len), t.len } : t;
}

static void array_free(struct array *a)
{
	free((char *)a->site.p);
	free((char *)a->name.p);
	checksum_close(a->samples);
	free(a);
}

void arrays_release(struct arrays *s)
{
	for (size_t i = 0; i < s->n; i++)
		array_free(s->array[i]);
	free(s->array);
	free(s->converted);
	scratch_close(&s->ids.file);
	scratch_close(&s->labels.file);
	scratch_close(&s->variants.file);
	scratch_close(&s->offsets);
}

/* -------- texts of the samples */

static int texts_put(struct texts *t, struct text text, struct error *e)
{
	uint32_t len = (uint32_t)text.len;
	size_t characters = 0;
	for (size_t i = 0, n; i < text.len; i += n, characters++)
		text_character(text.p + i, text.len - i, &n);
	t->n++;
	t->any |= len > 0;
	if (characters > t->longest)
		t->longest = characters;
	if (len > t->longest_len)
		t->longest_len = len;
	return scratch_append(&t->file, &len, sizeof len, e) < 0 || scratch_append(&t->file, text.p, len, e) < 0 ? -1 : 0;
}

int texts_each(struct texts *t, int (*each)(void *context, const char *text, size_t len, struct error *e),
               void *context, struct error *e)
{
	char *text = NULL;
	size_t capacity = 0;
	uint64_t at = 0, end = scratch_len(&t->file);
	int rc = 0;
	while (rc == 0 && at < end) {
		uint32_t len;
		rc = scratch_read(&t->file, &len, sizeof len, at, e);
		if (rc == 0) {
			mem_grow((void **)&text, &capacity, (size_t)len + 1, 1);
			rc = scratch_read(&t->file, text, len, at + sizeof len, e);
		}
		if (rc == 0)
			rc = each(context, text, len, e);
		at += sizeof len + len;
	}
	free(text);
	return rc;
}

static int begin(struct arrays *s, struct error *e)
{
	if (s->begun)
		return 0;
	s->begun = true;
	if (scratch_open(&s->ids.file, NULL, e) < 0 || scratch_open(&s->labels.file, NULL, e) < 0 ||
	    scratch_open(&s->variants.file, NULL, e) < 0 || scratch_open(&s->offsets, NULL, e) < 0)
		return -1;
	uint64_t zero = 0;
	return scratch_append(&s->offsets, &zero, sizeof zero, e);
}

/* -------- arrays */

static bool same_dims(const struct array *a, const struct frame *f)
{
	return a->n_dims == f->n_dims && memcmp(a->dim, f->dim, (size_t)f->n_dims * sizeof *f->dim) == 0;
}

static int find_array(struct arrays *s, const struct frame *f, struct array **out, struct error *e)
{
	for (size_t i = s->n; i-- > 0;) {
		struct array *a = s->array[i];
		if (a->layer == f->layer && text_equal(a->site, f->site) && text_equal(a->name, f->name)) {
			*out = a;
			return 0;
		}
	}
	struct array *a = mem_zero(1, sizeof *a);
	a->site = own(f->site);
	a->name = own(f->name);
	a->layer = f->layer;
	a->dtype = f->dtype;
	a->n_dims = f->n_dims;
	memcpy(a->dim, f->dim, sizeof a->dim);
	a->unsampled = !f->n_samples && f->name.p;
	a->samples = checksum_open();
	if (s->open(s->context, a, e) < 0) {
		array_free(a);
		return -1;
	}
	mem_grow((void **)&s->array, &s->capacity, s->n + 1, sizeof *s->array);
	s->array[s->n++] = *out = a;
	return 0;
}

/* The array whose samples are written down; the others are compared with it. */
static const struct array *first_sampled(const struct arrays *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (!s->array[i]->unsampled)
			return s->array[i];
	return NULL;
}

static int end_sample(struct arrays *s, struct array *a, struct error *e)
{
	if (!a->n_samples)
		return 0;
	checksum_add(a->samples, &a->sample_rows, sizeof a->sample_rows);
	if (a != first_sampled(s))
		return 0;
	return scratch_append(&s->offsets, &a->n_rows, sizeof a->n_rows, e);
}

static int begin_sample(struct arrays *s, struct array *a, const struct frame *f, const struct sample *sample,
                        struct error *e)
{
	uint64_t facts[] = { sample->seq, (uint64_t)(f->variant + 1), sample->id.len };
	if (end_sample(s, a, e) < 0)
		return -1;
	checksum_add(a->samples, facts, sizeof facts);
	checksum_add(a->samples, sample->id.p, sample->id.len);
	a->n_samples++;
	a->sample_rows = 0;
	a->last_seq = sample->seq;
	a->last_variant = f->variant;
	if (a != first_sampled(s))
		return 0;
	struct text variant = text_of(f->variant < 0 ? "" : s->header->variants[f->variant]);
	return texts_put(&s->ids, sample->id, e) < 0 || texts_put(&s->labels, sample->label, e) < 0 ||
	       texts_put(&s->variants, variant, e) < 0 ? -1 : 0;
}

static int add_samples(struct arrays *s, struct array *a, const struct frame *f, struct error *e)
{
	for (size_t i = 0; i < f->n_samples; i++) {
		const struct sample *sample = &f->samples[i];
		bool goes_on = a->n_samples && sample->first && sample->seq == a->last_seq &&
		               sample->first == a->next && f->variant == a->last_variant;
		if (!goes_on && begin_sample(s, a, f, sample, e) < 0)
			return -1;
		size_t n = frame_sample_rows(f, sample);
		a->sample_rows += n;
		a->n_rows += n;
		a->next = sample->first + sample->n;
	}
	if (!f->n_samples)
		a->n_rows += frame_n_rows(f);
	return 0;
}

static int add_rows(struct arrays *s, struct array *a, const struct frame *f, struct error *e)
{
	size_t n = frame_n_rows(f) * frame_width(f), len = n * dtype_size(a->dtype);
	if (!n)
		return 0;
	if (a->dtype == f->dtype)
		return s->put(s->context, a, f->rows, len, e);
	mem_grow(&s->converted, &s->converted_capacity, len, 1);
	dtype_convert(s->converted, a->dtype, f->rows, f->dtype, n);
	return s->put(s->context, a, s->converted, len, e);
}

/* Tokens as rows: an array of one number a position. */
static int add_tokens(struct arrays *s, const struct frame *f, struct error *e)
{
	for (size_t i = 0; i < f->n_samples; i++) {
		struct sample sample = f->samples[i];
		if (!sample.tokens)
			return error_set(e, "sample '%s' has no token ids", sample.id.p);
		sample.first = 0;
		sample.n = sample.len;
		struct frame one = {
			.site = text_of("tokens"), .layer = -1, .variant = -1, .dtype = DTYPE_U32,
			.samples = &sample, .n_samples = 1, .rows = (void *)sample.tokens,
		};
		if (arrays_add(s, &one, e) < 0)
			return -1;
	}
	return 0;
}

int arrays_add(struct arrays *s, const struct frame *f, struct error *e)
{
	struct array *a;
	if (begin(s, e) < 0)
		return -1;
	if (f->dtype == DTYPE_NONE)
		return add_tokens(s, f, e);
	if (find_array(s, f, &a, e) < 0)
		return -1;
	char *name = array_name(a);
	int rc = 0;
	if (!same_dims(a, f))
		rc = error_set(e, "%s: rows of different shapes can't be one array; --select --ids one sample", name);
	else if (a->unsampled != (!f->n_samples && f->name.p))
		rc = error_set(e, "%s: has rows with and without samples", name);
	free(name);
	return rc < 0 || add_rows(s, a, f, e) < 0 || add_samples(s, a, f, e) < 0 ? -1 : 0;
}

int arrays_end(struct arrays *s, struct error *e)
{
	if (begin(s, e) < 0)
		return -1;
	const struct array *first = first_sampled(s);
	for (size_t i = 0; i < s->n; i++) {
		struct array *a = s->array[i];
		if (a->unsampled)
			continue;
		if (end_sample(s, a, e) < 0)
			return -1;
		if (a->n_samples == first->n_samples && checksum_value(a->samples) == checksum_value(first->samples))
			continue;
		char *x = array_name(first), *y = array_name(a);
		error_set(e, "%s and %s differ in samples or in their lengths; write them to two places with --select", x, y);
		free(x);
		free(y);
		return -1;
	}
	return 0;
}
