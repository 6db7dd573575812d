#include <stdio.h>
#include <stdlib.h>

#include "memory.h"
#include "sink.h"
#include "text_out.h"

/* Layers of one site that are alike in all that a line of the summary tells. */
struct group {
	struct text site, pool, name;   /* owned copies */
	enum dtype dtype;
	size_t dim[FRAME_DIMS];
	int n_dims;
	bool ragged_shape;              /* the shapes of its frames differ */
	struct place *place;
	size_t n_places, capacity;
};

/* One sequence of samples: a layer and variant. */
struct place {
	int layer, variant;
	uint64_t n_samples, n_rows, len;
	uint64_t last_seq;
	uint32_t next;                  /* the position after the last row: a sample goes on there */
};

struct summary_sink {
	struct sink sink;
	struct text_out out;
	const struct tms_header *header;
	int json;
	uint64_t n_frames;
	struct group *group;
	size_t n_groups, capacity;
};

static struct text own(struct text t)
{
	return t.p ? (struct text){ mem_slice(t.p, t.len), t.len } : t;
}

static struct group *find_group(struct summary_sink *s, const struct frame *f)
{
	for (size_t i = 0; i < s->n_groups; i++) {
		struct group *g = &s->group[i];
		if (text_equal(g->site, f->site) && text_equal(g->pool, f->pool) && text_equal(g->name, f->name) &&
		    g->dtype == f->dtype && g->n_dims == f->n_dims)
			return g;
	}
	mem_grow((void **)&s->group, &s->capacity, s->n_groups + 1, sizeof *s->group);
	struct group *g = &s->group[s->n_groups++];
	*g = (struct group){ own(f->site), own(f->pool), own(f->name), f->dtype, { 0 }, f->n_dims, false, NULL, 0, 0 };
	memcpy(g->dim, f->dim, sizeof g->dim);
	return g;
}

static struct place *find_place(struct group *g, const struct frame *f)
{
	for (size_t i = g->n_places; i-- > 0;)
		if (g->place[i].layer == f->layer && g->place[i].variant == f->variant)
			return &g->place[i];
	mem_grow((void **)&g->place, &g->capacity, g->n_places + 1, sizeof *g->place);
	g->place[g->n_places] = (struct place){ .layer = f->layer, .variant = f->variant };
	return &g->place[g->n_places++];
}

static int summary_frame(struct sink *sink, const struct frame *f, struct error *e)
{
	(void)e;
	struct summary_sink *s = (struct summary_sink *)sink;
	struct group *g = find_group(s, f);
	struct place *p = find_place(g, f);
	g->ragged_shape |= memcmp(g->dim, f->dim, (size_t)f->n_dims * sizeof *f->dim) != 0;
	s->n_frames++;
	p->n_rows += frame_n_rows(f);
	p->len += frame_rows_len(f);
	for (size_t i = 0; i < f->n_samples; i++) {
		const struct sample *sample = &f->samples[i];
		bool goes_on = p->n_samples && sample->first && sample->seq == p->last_seq && sample->first == p->next;
		p->n_samples += !goes_on;
		p->last_seq = sample->seq;
		p->next = sample->first + sample->n;
		if (f->dtype == DTYPE_NONE)
			p->n_rows += sample->len;
	}
	return 0;
}

static int compare_places(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	return x->layer != y->layer ? x->layer - y->layer : x->variant - y->variant;
}

/* "0-15,20" of the places' layers; nothing outside the block. */
static void put_layers(struct text_out *t, const struct group *g)
{
	const char *comma = "";
	for (size_t i = 0; i < g->n_places;) {
		int first = g->place[i].layer, last = first;
		for (; i < g->n_places && g->place[i].layer <= last + 1; i++)
			last = g->place[i].layer;
		if (first < 0 && last < 0)
			continue;
		text_string(t, comma);
		text_uint(t, (uint64_t)(first < 0 ? 0 : first));
		if (last > first && last > 0) {
			text_char(t, '-');
			text_uint(t, (uint64_t)last);
		}
		comma = ",";
	}
}

static void put_shape(struct text_out *t, const struct group *g, const char *between)
{
	for (int i = 0; i < g->n_dims; i++) {
		if (i)
			text_string(t, between);
		text_uint(t, g->dim[i]);
	}
}

static void put_texts(struct text_out *t, const char *title, const char *value)
{
	text_string(t, title);
	text_field(t, value, strlen(value));
	text_char(t, '\n');
}

/* The same samples come in every layer and variant: the place that has most of them has all. */
static void people_group(struct text_out *t, const struct group *g)
{
	uint64_t samples = 0, rows = 0, len = 0;
	for (size_t i = 0; i < g->n_places; i++) {
		if (samples < g->place[i].n_samples)
			samples = g->place[i].n_samples;
		rows += g->place[i].n_rows;
		len += g->place[i].len;
	}
	text_char(t, '\n');
	text_field(t, g->site.p ? g->site.p : "-", g->site.p ? g->site.len : 1);
	text_char(t, '\t');
	put_layers(t, g);
	text_char(t, '\t');
	text_string(t, dtype_name(g->dtype));
	text_char(t, '\t');
	put_shape(t, g, "x");
	text_string(t, g->ragged_shape ? "...\t" : "\t");
	text_field(t, g->pool.p, g->pool.len);
	text_char(t, '\t');
	text_field(t, g->name.p, g->name.len);
	text_char(t, '\t');
	text_uint(t, samples);
	text_char(t, '\t');
	text_uint(t, rows);
	text_char(t, '\t');
	text_uint(t, len);
}

static void put_people(struct summary_sink *s)
{
	struct text_out *t = &s->out;
	const struct tms_header *h = s->header;
	put_texts(t, "kind     ", tms_kind_name(h->kind));
	if (h->model)
		put_texts(t, "model    ", h->model);
	if (h->fingerprint)
		put_texts(t, "weights  ", h->fingerprint);
	put_texts(t, "order    ", h->order == TMS_ORDER_LAYER ? "layer" : "any");
	for (size_t i = 0; i < h->n_variants; i++)
		put_texts(t, i ? "         " : "variants ", h->variants[i]);
	struct wire_cursor c = { (const uint8_t *)h->history, h->history_len };
	for (size_t i = 0; i < h->n_history; i++) {
		text_string(t, i ? "         " : "history  ");
		text_wire(t, &c);
		text_char(t, '\n');
	}
	text_string(t, "frames   ");
	text_uint(t, s->n_frames);
	text_string(t, "\n\nsite\tlayers\tdtype\tshape\tpool\tname\tsamples\trows\tbytes");
	for (size_t i = 0; i < s->n_groups; i++)
		people_group(t, &s->group[i]);
	text_char(t, '\n');
}

static void json_text_member(struct text_out *t, const char *name, struct text v)
{
	text_string(t, name);
	if (v.p)
		text_json(t, v.p, v.len);
	else
		text_string(t, "null");
}

static void json_place(struct summary_sink *s, const struct group *g, const struct place *p)
{
	struct text_out *t = &s->out;
	json_text_member(t, "{\"site\":", g->site);
	text_string(t, ",\"layer\":");
	if (p->layer < 0)
		text_string(t, "null");
	else
		text_uint(t, (uint64_t)p->layer);
	json_text_member(t, ",\"variant\":", text_of(p->variant < 0 ? NULL : s->header->variants[p->variant]));
	json_text_member(t, ",\"pool\":", g->pool);
	json_text_member(t, ",\"name\":", g->name);
	json_text_member(t, ",\"dtype\":", text_of(dtype_name(g->dtype)));
	text_string(t, ",\"shape\":[");
	put_shape(t, g, ",");
	text_string(t, "],\"samples\":");
	text_uint(t, p->n_samples);
	text_string(t, ",\"rows\":");
	text_uint(t, p->n_rows);
	text_string(t, ",\"bytes\":");
	text_uint(t, p->len);
	text_char(t, '}');
}

static void put_json(struct summary_sink *s)
{
	struct text_out *t = &s->out;
	const struct tms_header *h = s->header;
	json_text_member(t, "{\"kind\":", text_of(tms_kind_name(h->kind)));
	json_text_member(t, ",\"model\":", text_of(h->model));
	json_text_member(t, ",\"fingerprint\":", text_of(h->fingerprint));
	json_text_member(t, ",\"order\":", text_of(h->order == TMS_ORDER_LAYER ? "layer" : "any"));
	text_string(t, ",\"variants\":[");
	for (size_t i = 0; i < h->n_variants; i++)
		json_text_member(t, i ? "," : "", text_of(h->variants[i]));
	text_string(t, "],\"history\":[");
	struct wire_cursor c = { (const uint8_t *)h->history, h->history_len };
	for (size_t i = 0; i < h->n_history; i++) {
		text_string(t, i ? "," : "");
		text_wire(t, &c);
	}
	text_string(t, "],\"frames\":");
	text_uint(t, s->n_frames);
	text_string(t, ",\"arrays\":[");
	for (size_t i = 0, n = 0; i < s->n_groups; i++) {
		for (size_t k = 0; k < s->group[i].n_places; k++, n++) {
			text_string(t, n ? "," : "");
			json_place(s, &s->group[i], &s->group[i].place[k]);
		}
	}
	text_string(t, "]}\n");
}

static void release(struct summary_sink *s)
{
	for (size_t i = 0; i < s->n_groups; i++) {
		free((char *)s->group[i].site.p);
		free((char *)s->group[i].pool.p);
		free((char *)s->group[i].name.p);
		free(s->group[i].place);
	}
	free(s->group);
	free(s);
}

static int summary_finish(struct sink *sink, struct error *e)
{
	struct summary_sink *s = (struct summary_sink *)sink;
	for (size_t i = 0; i < s->n_groups; i++)
		qsort(s->group[i].place, s->group[i].n_places, sizeof *s->group[i].place, compare_places);
	if (s->json)
		put_json(s);
	else
		put_people(s);
	int rc = text_out_finish(&s->out, e);
	release(s);
	return rc;
}

static void summary_abort(struct sink *sink)
{
	struct summary_sink *s = (struct summary_sink *)sink;
	text_out_abort(&s->out);
	release(s);
}

struct sink *summary_sink(const char *path, const struct tms_header *h, int json, struct error *e)
{
	struct summary_sink *s = mem_zero(1, sizeof *s);
	s->sink = (struct sink){ summary_frame, summary_finish, summary_abort };
	s->header = h;
	s->json = json;
	if (text_out_open(&s->out, path, e) == 0)
		return &s->sink;
	free(s);
	return NULL;
}
