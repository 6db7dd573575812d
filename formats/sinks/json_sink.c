#include <inttypes.h>
#include <stdlib.h>

#include "memory.h"
#include "sink.h"
#include "text_out.h"

struct json_sink {
	struct sink sink;
	struct text_out out;
	const struct tms_header *header;
};

static void put_member(struct text_out *t, const char *name, struct text v)
{
	if (!v.p)
		return;
	text_char(t, ',');
	text_json(t, name, strlen(name));
	text_char(t, ':');
	text_json(t, v.p, v.len);
}

static void put_number(struct text_out *t, const char *name, uint64_t v)
{
	text_char(t, ',');
	text_json(t, name, strlen(name));
	text_char(t, ':');
	text_uint(t, v);
}

static void put_tokens(struct text_out *t, const struct sample *s)
{
	if (!s->tokens)
		return;
	text_string(t, ",\"input_ids\":[");
	for (uint32_t i = 0; i < s->len; i++) {
		if (i)
			text_char(t, ',');
		text_uint(t, s->tokens[i]);
	}
	text_char(t, ']');
}

static void put_spans(struct text_out *t, const struct sample *s)
{
	if (!s->n_spans)
		return;
	text_string(t, ",\"span\":[");
	for (size_t i = 0; i < s->n_spans; i++) {
		text_string(t, i ? ",[" : "[");
		text_uint(t, s->spans[i].start);
		text_char(t, ',');
		text_uint(t, s->spans[i].end);
		text_char(t, ']');
	}
	text_char(t, ']');
}

/* The elements of one row as arrays inside arrays, as its shape says. */
static void put_row(struct text_out *t, const struct frame *f, int dim, size_t at)
{
	if (dim == f->n_dims) {
		text_value(t, f->rows, f->dtype, at, 1);
		return;
	}
	size_t step = 1;
	for (int i = dim + 1; i < f->n_dims; i++)
		step *= f->dim[i];
	text_char(t, '[');
	for (size_t i = 0; i < f->dim[dim]; i++) {
		if (i)
			text_char(t, ',');
		put_row(t, f, dim + 1, at + i * step);
	}
	text_char(t, ']');
}

static void put_rows(struct text_out *t, const struct frame *f, size_t row, size_t n)
{
	text_string(t, ",\"rows\":[");
	for (size_t i = 0; i < n; i++) {
		if (i)
			text_char(t, ',');
		put_row(t, f, 0, (row + i) * frame_width(f));
	}
	text_char(t, ']');
}

static void put_place(struct json_sink *s, const struct frame *f)
{
	struct text_out *t = &s->out;
	put_member(t, "site", f->site);
	if (f->layer >= 0)
		put_number(t, "layer", (uint64_t)f->layer);
	if (f->variant >= 0)
		put_member(t, "variant", text_of(s->header->variants[f->variant]));
	put_member(t, "name", f->name);
	put_member(t, "pool", f->pool);
}

static int json_frame(struct sink *sink, const struct frame *f, struct error *e)
{
	struct json_sink *s = (struct json_sink *)sink;
	struct text_out *t = &s->out;
	bool has_rows = f->dtype != DTYPE_NONE;
	size_t row = 0;
	for (size_t i = 0; i < f->n_samples; i++) {
		const struct sample *sample = &f->samples[i];
		text_string(t, "{\"id\":");
		text_json(t, sample->id.p, sample->id.len);
		put_member(t, "label", sample->label);
		if (!has_rows) {
			put_tokens(t, sample);
			put_spans(t, sample);
		} else {
			size_t n = frame_sample_rows(f, sample);
			put_place(s, f);
			put_number(t, "len", sample->len);
			put_number(t, "first", sample->first);
			put_number(t, "n", sample->n);
			put_rows(t, f, row, n);
			row += n;
		}
		text_wire_pairs(t, sample->extra, sample->extra_len, sample->n_extra);
		text_string(t, "}\n");
	}
	if (!f->n_samples && has_rows) {
		text_string(t, "{\"id\":null");
		put_place(s, f);
		put_rows(t, f, 0, frame_n_rows(f));
		text_string(t, "}\n");
	}
	if (t->failed)
		*e = t->error;
	return t->failed;
}

static int json_finish(struct sink *sink, struct error *e)
{
	struct json_sink *s = (struct json_sink *)sink;
	int rc = text_out_finish(&s->out, e);
	free(s);
	return rc;
}

static void json_abort(struct sink *sink)
{
	struct json_sink *s = (struct json_sink *)sink;
	text_out_abort(&s->out);
	free(s);
}

struct sink *json_sink(const char *path, const struct tms_header *h, struct error *e)
{
	struct json_sink *s = mem_zero(1, sizeof *s);
	s->sink = (struct sink){ json_frame, json_finish, json_abort };
	s->header = h;
	if (text_out_open(&s->out, path, e) == 0)
		return &s->sink;
	free(s);
	return NULL;
}
