#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "io.h"
#include "memory.h"
#include "sink.h"
#include "site.h"
#include "wire.h"

#define ALIGNMENT 32

/* Types of values and tensors. */
enum { UINT32 = 4, STRING = 8, F32 = 0 };

struct control {
	int layer;
	size_t width;
	float *values;
};

struct gguf_sink {
	struct sink sink;
	const struct tms_header *header;
	struct output output;
	struct control *control; /* (n), by layer */
	size_t n, capacity;
};

/* The layer behind which a vector of that place is added; -1: it is of another place. */
static int layer_of(const struct frame *f)
{
	enum site site = f->site.p ? site_find(f->site.p, f->site.len) : SITE_NONE;
	if (site == SITE_RESID_PRE && f->layer > 0)
		return f->layer - 1;
	return site == SITE_RESID_POST ? f->layer : -1;
}

static int add(struct gguf_sink *s, const struct frame *f, int layer, struct error *e)
{
	size_t width = frame_width(f), at = s->n;
	if (layer == 0)
		return error_set(e, "--gguf: llama.cpp takes no direction of layer 0; leave it out with --select "
		                 "resid_post@1-N");
	if (s->n && s->control[0].width != width)
		return error_set(e, "--gguf: directions of %zu and of %zu values", s->control[0].width, width);
	while (at && s->control[at - 1].layer >= layer)
		at--;
	if (at < s->n && s->control[at].layer == layer)
		return error_set(e, "--gguf: two directions of layer %d; choose one", layer);
	float *values = mem_try(width * sizeof *values, "a direction", e);
	if (!values)
		return -1;
	dtype_convert(values, DTYPE_F32, f->rows, f->dtype, width);
	mem_grow((void **)&s->control, &s->capacity, s->n + 1, sizeof *s->control);
	memmove(s->control + at + 1, s->control + at, (s->n - at) * sizeof *s->control);
	s->control[at] = (struct control){ layer, width, values };
	s->n++;
	return 0;
}

/* Everything but directions is passed over: a control vector has no place for it. */
static int gguf_frame(struct sink *sink, const struct frame *f, struct error *e)
{
	if (f->n_samples || !f->name.p || strcmp(f->name.p, "direction") != 0)
		return 0;
	int layer = layer_of(f);
	if (layer < 0)
		return error_set(e, "--gguf: a control vector is added to resid_post, and a direction is of %s; choose with "
		                 "--select", f->site.p ? f->site.p : "no site");
	return add((struct gguf_sink *)sink, f, layer, e);
}

static void put_u32(struct wire_buffer *b, uint32_t n)
{
	wire_raw(b, &n, sizeof n);
}

static void put_u64(struct wire_buffer *b, uint64_t n)
{
	wire_raw(b, &n, sizeof n);
}

static void put_string(struct wire_buffer *b, const char *s)
{
	put_u64(b, strlen(s));
	wire_raw(b, s, strlen(s));
}

static void put_text_pair(struct wire_buffer *b, const char *key, const char *value)
{
	put_string(b, key);
	put_u32(b, STRING);
	put_string(b, value);
}

static void put_pad(struct wire_buffer *b)
{
	static const char zeros[ALIGNMENT];
	wire_raw(b, zeros, (ALIGNMENT - b->len % ALIGNMENT) % ALIGNMENT);
}

/* The keys that llama.cpp and repeng look for, then the tensors' places, then their values. */
static int put_file(struct gguf_sink *s, struct wire_buffer *b, struct error *e)
{
	size_t len = s->control[0].width * sizeof(float), step = len + (ALIGNMENT - len % ALIGNMENT) % ALIGNMENT;
	wire_raw(b, "GGUF", 4);
	put_u32(b, 3);
	put_u64(b, s->n);
	put_u64(b, s->header->model ? 3 : 2);
	put_text_pair(b, "general.architecture", "controlvector");
	if (s->header->model)
		put_text_pair(b, "controlvector.model_hint", s->header->model);
	put_string(b, "controlvector.layer_count");
	put_u32(b, UINT32);
	put_u32(b, (uint32_t)s->n);
	for (size_t i = 0; i < s->n; i++) {
		char *name = mem_format("direction.%d", s->control[i].layer);
		put_string(b, name);
		put_u32(b, 1);
		put_u64(b, s->control[i].width);
		put_u32(b, F32);
		put_u64(b, i * step);
		free(name);
	}
	put_pad(b);
	int status = output_write(&s->output, b->p, b->len, e);
	for (size_t i = 0; i < s->n && status == 0; i++) {
		b->len = 0;
		wire_raw(b, s->control[i].values, len);
		put_pad(b);
		status = output_write(&s->output, b->p, b->len, e);
	}
	return status;
}

static void release(struct gguf_sink *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->control[i].values);
	free(s->control);
	free(s);
}

static void gguf_abort(struct sink *sink)
{
	struct gguf_sink *s = (struct gguf_sink *)sink;
	output_abort(&s->output);
	release(s);
}

static int gguf_finish(struct sink *sink, struct error *e)
{
	struct gguf_sink *s = (struct gguf_sink *)sink;
	struct wire_buffer b = { 0 };
	int status = s->n ? put_file(s, &b, e)
	                  : error_set(e, "--gguf: the stream has no direction; diffmean makes one");
	wire_release(&b);
	if (status == 0)
		status = output_commit(&s->output, e);
	else
		output_abort(&s->output);
	release(s);
	return status;
}

struct sink *gguf_sink(const char *path, const struct tms_header *h, struct error *e)
{
	struct gguf_sink *s = mem_zero(1, sizeof *s);
	s->sink = (struct sink){ gguf_frame, gguf_finish, gguf_abort };
	s->header = h;
	if (output_open(&s->output, path, true, e) == 0)
		return &s->sink;
	free(s);
	return NULL;
}
