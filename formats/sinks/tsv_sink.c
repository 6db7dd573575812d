#include <stdlib.h>

#include "memory.h"
#include "sink.h"
#include "text_out.h"

struct tsv_sink {
	struct sink sink;
	struct text_out out;
	const struct tms_header *header;
	bool titled;
};

/* The first line: names of the columns, as many as the first frame's rows have. */
static void put_title(struct tsv_sink *s, const struct frame *f)
{
	text_string(&s->out, "id\tlabel\tvariant\tsite\tlayer\tpos\ttoken");
	size_t width = f->dtype == DTYPE_NONE ? 0 : frame_width(f);
	for (size_t i = 0; i < width; i++) {
		text_string(&s->out, "\tv");
		text_uint(&s->out, i);
	}
	text_char(&s->out, '\n');
	s->titled = true;
}

/* Position and token of a row; of a row pooled from several positions the first and the last one. */
static void put_position(struct text_out *t, const struct frame *f, const struct sample *sample, uint32_t position)
{
	if (!sample) {
		text_char(t, '\t');
		return;
	}
	text_uint(t, position);
	if (f->pool.p && sample->n > 1) {
		text_char(t, '-');
		text_uint(t, sample->first + sample->n - 1);
		text_char(t, '\t');
		return;
	}
	text_char(t, '\t');
	if (sample->tokens)
		text_uint(t, sample->tokens[position]);
}

static void put_line(struct tsv_sink *s, const struct frame *f, const struct sample *sample, uint32_t position,
                     size_t row)
{
	struct text_out *t = &s->out;
	/* A named array has no sample: its name stands in the first column. */
	struct text id = sample ? sample->id : f->name;
	text_field(t, id.p, id.len);
	text_char(t, '\t');
	if (sample)
		text_field(t, sample->label.p, sample->label.len);
	text_char(t, '\t');
	if (f->variant >= 0)
		text_field(t, s->header->variants[f->variant], strlen(s->header->variants[f->variant]));
	text_char(t, '\t');
	text_field(t, f->site.p, f->site.len);
	text_char(t, '\t');
	if (f->layer >= 0)
		text_uint(t, (uint64_t)f->layer);
	text_char(t, '\t');
	put_position(t, f, sample, position);
	size_t width = f->dtype == DTYPE_NONE ? 0 : frame_width(f);
	for (size_t i = 0; i < width; i++) {
		text_char(t, '\t');
		text_value(t, f->rows, f->dtype, row * width + i, 0);
	}
	text_char(t, '\n');
}

static int tsv_frame(struct sink *sink, const struct frame *f, struct error *e)
{
	struct tsv_sink *s = (struct tsv_sink *)sink;
	if (!s->titled)
		put_title(s, f);
	size_t row = 0;
	for (size_t i = 0; i < f->n_samples; i++) {
		const struct sample *sample = &f->samples[i];
		size_t n = f->dtype == DTYPE_NONE ? sample->len : frame_sample_rows(f, sample);
		for (size_t k = 0; k < n; k++)
			put_line(s, f, sample, sample->first + (uint32_t)k, row++);
	}
	if (!f->n_samples && frame_n_rows(f))
		put_line(s, f, NULL, 0, 0);
	if (s->out.failed)
		*e = s->out.error;
	return s->out.failed;
}

static int tsv_finish(struct sink *sink, struct error *e)
{
	struct tsv_sink *s = (struct tsv_sink *)sink;
	int rc = text_out_finish(&s->out, e);
	free(s);
	return rc;
}

static void tsv_abort(struct sink *sink)
{
	struct tsv_sink *s = (struct tsv_sink *)sink;
	text_out_abort(&s->out);
	free(s);
}

struct sink *tsv_sink(const char *path, const struct tms_header *h, struct error *e)
{
	struct tsv_sink *s = mem_zero(1, sizeof *s);
	s->sink = (struct sink){ tsv_frame, tsv_finish, tsv_abort };
	s->header = h;
	if (text_out_open(&s->out, path, e) == 0)
		return &s->sink;
	free(s);
	return NULL;
}
