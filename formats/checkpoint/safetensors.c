#include "safetensors.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io.h"
#include "json.h"
#include "memory.h"

/* Bits, for the types of less than a byte. */
static const struct {
	const char *name;
	unsigned bits;
	enum dtype dtype;
} types[] = {
	{ "F32", 32, DTYPE_F32 }, { "BF16", 16, DTYPE_BF16 }, { "F16", 16, DTYPE_F16 },
	{ "F64", 64, DTYPE_F64 }, { "F8_E4M3", 8, DTYPE_F8E4M3 }, { "I32", 32, DTYPE_I32 },
	{ "U32", 32, DTYPE_U32 }, { "U8", 8, DTYPE_U8 }, { "BOOL", 8, DTYPE_NONE },
	{ "I8", 8, DTYPE_NONE }, { "I16", 16, DTYPE_NONE }, { "U16", 16, DTYPE_NONE },
	{ "I64", 64, DTYPE_NONE }, { "U64", 64, DTYPE_NONE }, { "C64", 64, DTYPE_NONE },
	{ "F8_E5M2", 8, DTYPE_NONE }, { "F8_E8M0", 8, DTYPE_NONE }, { "F6_E2M3", 6, DTYPE_NONE },
	{ "F6_E3M2", 6, DTYPE_NONE }, { "F4", 4, DTYPE_NONE },
};

void safetensors_shape(char *to, size_t to_len, const uint64_t *dim, int n_dims)
{
	size_t used = (size_t)snprintf(to, to_len, "[");
	for (int i = 0; i < n_dims && used < to_len; i++)
		used += (size_t)snprintf(to + used, to_len - used, "%s%" PRIu64, i ? ", " : "",
		                         dim[i]);
	if (used < to_len)
		snprintf(to + used, to_len - used, "]");
}

static int read_type(struct safetensor *t, unsigned *bits, const struct json *v, struct error *e)
{
	const char *name;
	size_t len;
	int found = json_get_text(v, "dtype", &name, &len, e);
	if (found <= 0)
		return found < 0 ? -1 : error_set(e, "'dtype' is missing");
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (strlen(types[i].name) == len && !memcmp(types[i].name, name, len)) {
			t->type = types[i].name;
			t->dtype = types[i].dtype;
			*bits = types[i].bits;
			return 0;
		}
	return error_set(e, "dtype '%.40s' is unknown", name);
}

/* The bytes that dtype and shape ask for. */
static int read_shape(struct safetensor *t, unsigned bits, const struct json *v, uint64_t *len,
                      struct error *e)
{
	const struct json *shape;
	int found = json_get(v, "shape", JSON_KIND_ARRAY, &shape, e);
	if (found <= 0)
		return found < 0 ? -1 : error_set(e, "'shape' is missing");
	if (json_count(shape) > SAFETENSORS_DIMS)
		return error_set(e, "it has %zu dimensions, at most %d are read", json_count(shape),
		                 SAFETENSORS_DIMS);
	t->n_dims = (int)json_count(shape);
	uint64_t n = bits;
	for (int i = 0; i < t->n_dims; i++) {
		int64_t dim;
		if (json_int(json_at(shape, (size_t)i), 0, INT64_MAX, &dim) < 0)
			return error_set(e, "dimension %d of its shape is no size", i);
		t->dim[i] = (uint64_t)dim;
		if (__builtin_mul_overflow(n, (uint64_t)dim, &n))
			return error_set(e, "its shape is too large for any file");
	}
	if (n % 8)
		return error_set(e, "its %s elements don't fill whole bytes", t->type);
	*len = n / 8;
	return 0;
}

static int read_tensor(struct safetensor *t, const struct json *v, uint64_t data_len,
                       struct error *e)
{
	if (json_kind(v) != JSON_KIND_OBJECT)
		return error_set(e, "it is described by %s where an object is due",
		                 json_kind_name(v));
	unsigned bits = 0;
	uint64_t len = 0;
	if (read_type(t, &bits, v, e) < 0 || read_shape(t, bits, v, &len, e) < 0)
		return -1;
	const struct json *offsets;
	int found = json_get(v, "data_offsets", JSON_KIND_ARRAY, &offsets, e);
	if (found <= 0)
		return found < 0 ? -1 : error_set(e, "'data_offsets' is missing");
	int64_t begin, end;
	if (json_count(offsets) != 2 || json_int(json_at(offsets, 0), 0, INT64_MAX, &begin) < 0 ||
	    json_int(json_at(offsets, 1), begin, INT64_MAX, &end) < 0)
		return error_set(e, "'data_offsets' is not a begin and an end");
	if ((uint64_t)end > data_len)
		return error_set(e, "it ends at byte %" PRId64 " of the data, the file has %" PRIu64
		                 "; the file is cut short or damaged", end, data_len);
	t->offset = (uint64_t)begin;
	t->len = (uint64_t)(end - begin);
	if (t->len != len) {
		char shape[128];
		safetensors_shape(shape, sizeof shape, t->dim, t->n_dims);
		return error_set(e, "%s %s needs %" PRIu64 " bytes, its data_offsets give %" PRIu64,
		                 t->type, shape, len, t->len);
	}
	return 0;
}

static int by_place(const void *a, const void *b)
{
	const struct safetensor *x = a, *y = b;
	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	/* Empty tensors stand before the one that begins at the same byte. */
	return x->len != y->len ? x->len < y->len ? -1 : 1 : 0;
}

static int check_places(struct safetensors *s, uint64_t data, struct error *e)
{
	uint64_t at = 0;
	if (s->n_tensors)
		qsort(s->tensor, s->n_tensors, sizeof *s->tensor, by_place);
	for (size_t i = 0; i < s->n_tensors; i++) {
		struct safetensor *t = &s->tensor[i];
		if (t->offset != at)
			return error_set(e, "%s: tensor '%s': its bytes %s, the file is damaged",
			                 s->path, t->name,
			                 t->offset < at ? "overlap those of another tensor"
			                                : "follow a hole");
		at += t->len;
		t->offset += data;
	}
	if (at != s->size - data)
		return error_set(e,
		                 "%s: %" PRIu64
		                 " bytes follow the last tensor, the file is damaged",
		                 s->path, s->size - data - at);
	return 0;
}

static int read_tensors(struct safetensors *s, const struct json *header, uint64_t data,
                        struct error *e)
{
	if (json_kind(header) != JSON_KIND_OBJECT)
		return error_set(e, "%s: the header is %s where an object is due", s->path,
		                 json_kind_name(header));
	s->tensor = mem_zero(json_count(header), sizeof *s->tensor);
	size_t names_len = 0;
	void *at = NULL;
	const char *key;
	while (json_each(header, &at, &key))
		names_len += strlen(key) + 1;
	s->names = mem_alloc(names_len);
	char *name = s->names;
	at = NULL;
	for (const struct json *v; (v = json_each(header, &at, &key));) {
		if (!strcmp(key, "__metadata__"))
			continue;
		struct safetensor *t = &s->tensor[s->n_tensors++];
		t->name = strcpy(name, key);
		name += strlen(key) + 1;
		if (read_tensor(t, v, s->size - data, e) < 0)
			return error_in(e, "%s: tensor '%.200s'", s->path, key);
	}
	return check_places(s, data, e);
}

static int read_header(struct safetensors *s, struct error *e)
{
	struct stat st;
	if (fstat(s->fd, &st) < 0)
		return error_errno(e, "%s", s->path);
	if (!S_ISREG(st.st_mode))
		return error_set(e, "%s: not a regular file", s->path);
	s->size = (uint64_t)st.st_size;
	unsigned char prefix[8];
	if (s->size < sizeof prefix)
		return error_set(e, "%s: %" PRIu64 " bytes are no .safetensors file", s->path,
		                 s->size);
	if (io_read_at(s->fd, prefix, sizeof prefix, 0, s->path, e) < 0)
		return -1;
	uint64_t len = 0;
	for (int i = 7; i >= 0; i--)
		len = len << 8 | prefix[i];
	if (len > SAFETENSORS_HEADER_LIMIT)
		return error_set(e, "%s: is no .safetensors file, or a damaged one: its header would have %" PRIu64
		                 " bytes, and %d are the most", s->path, len, SAFETENSORS_HEADER_LIMIT);
	if (len > s->size - sizeof prefix)
		return error_set(e, "%s: the header is %" PRIu64 " bytes long, the file %" PRIu64
		                 "; it is cut short", s->path, len, s->size);
	char *text = mem_try(len + 1, s->path, e);
	if (!text)
		return -1;
	struct json *header = NULL;
	if (io_read_at(s->fd, text, len, sizeof prefix, s->path, e) == 0)
		header = json_parse(text, len, JSON_UNIQUE_KEYS, s->path, e);
	free(text);
	if (!header)
		return -1;
	int r = read_tensors(s, header, sizeof prefix + len, e);
	json_free(header);
	return r;
}

struct safetensors *safetensors_open(const char *path, struct error *e)
{
	struct safetensors *s = mem_zero(1, sizeof *s);
	s->path = mem_string(path);
	s->fd = io_open_input(path, e);
	if (s->fd < 0 || read_header(s, e) < 0) {
		safetensors_close(s);
		return NULL;
	}
	return s;
}

void safetensors_close(struct safetensors *s)
{
	if (!s)
		return;
	if (s->fd >= 0)
		close(s->fd);
	free(s->tensor);
	free(s->names);
	free(s->path);
	free(s);
}
