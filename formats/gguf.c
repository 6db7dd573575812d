#include "gguf.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io.h"
#include "memory.h"

#define HEAD_LIMIT ((uint64_t)64 << 20)
#define ALIGNMENT 32
#define ARRAY_DEPTH 8

/* Types of values. */
enum { UINT8, INT8, UINT16, INT16, UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY, UINT64, INT64, FLOAT64, VALUE_TYPES };
static const unsigned char value_len[VALUE_TYPES] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };

struct cursor {
	const unsigned char *p;
	size_t left;
	uint64_t at;
	const char *wrong;      /* what ended the reading; NULL: nothing */
};

static const void *take(struct cursor *c, uint64_t len)
{
	if (c->wrong || len > c->left) {
		c->wrong = c->wrong ? c->wrong : "ends too early";
		return NULL;
	}
	const void *p = c->p;
	c->p += len;
	c->left -= (size_t)len;
	c->at += len;
	return p;
}

static uint32_t take_u32(struct cursor *c)
{
	uint32_t n = 0;
	const void *p = take(c, sizeof n);
	if (p)
		memcpy(&n, p, sizeof n);
	return n;
}

static uint64_t take_u64(struct cursor *c)
{
	uint64_t n = 0;
	const void *p = take(c, sizeof n);
	if (p)
		memcpy(&n, p, sizeof n);
	return n;
}

/* A copy, or NULL where it is cut or has a NUL. */
static char *take_string(struct cursor *c)
{
	uint64_t len = take_u64(c);
	const char *p = take(c, len);
	if (!p)
		return NULL;
	if (memchr(p, 0, (size_t)len)) {
		c->wrong = "has a name with a NUL";
		return NULL;
	}
	return mem_slice(p, (size_t)len);
}

static void skip_value(struct cursor *c, uint32_t type, int depth)
{
	if (type >= VALUE_TYPES || depth > ARRAY_DEPTH) {
		c->wrong = "has a value of an unknown type";
	} else if (type == STRING) {
		take(c, take_u64(c));
	} else if (type == ARRAY) {
		uint32_t inner = take_u32(c);
		uint64_t n = take_u64(c);
		if (inner < VALUE_TYPES && value_len[inner]) {
			take(c, n > HEAD_LIMIT ? UINT64_MAX : n * value_len[inner]);
			return;
		}
		while (n-- && !c->wrong)
			skip_value(c, inner, depth + 1);
	} else {
		take(c, value_len[type]);
	}
}

static void keep(char **to, char *text)
{
	free(*to);
	*to = text;
}

static void read_pair(struct gguf *g, struct cursor *c, uint32_t *alignment)
{
	char *key = take_string(c);
	uint32_t type = take_u32(c);
	if (!key || c->wrong)
		;
	else if (type == STRING && strcmp(key, "general.architecture") == 0)
		keep(&g->architecture, take_string(c));
	else if (type == STRING && strcmp(key, "controlvector.model_hint") == 0)
		keep(&g->model_hint, take_string(c));
	else if (type == UINT32 && strcmp(key, "general.alignment") == 0)
		*alignment = take_u32(c);
	else
		skip_value(c, type, 0);
	free(key);
}

static void read_tensor(struct gguf_tensor *t, struct cursor *c)
{
	t->name = take_string(c);
	uint32_t n = take_u32(c);
	if (!c->wrong && n > GGUF_DIMS)
		c->wrong = "has a tensor of more than 4 dimensions";
	for (uint32_t i = 0; i < n && !c->wrong; i++)
		t->dim[i] = take_u64(c);
	t->n_dims = (int)n;
	uint32_t type = take_u32(c);
	t->dtype = type == 0 ? DTYPE_F32 : type == 1 ? DTYPE_F16 : type == 30 ? DTYPE_BF16 : type == 28 ? DTYPE_F64 :
	           DTYPE_NONE;
	t->offset = take_u64(c);
}

static int place(struct gguf *g, struct gguf_tensor *t, uint64_t data, struct error *e)
{
	t->len = dtype_size(t->dtype);
	for (int i = 0; i < t->n_dims; i++)
		if (__builtin_mul_overflow(t->len, t->dim[i], &t->len))
			return error_set(e, "%s: tensor '%.200s' has an impossible shape", g->path, t->name);
	if (__builtin_add_overflow(t->offset, data, &t->offset) || t->offset > g->size || t->len > g->size - t->offset)
		return error_set(e, "%s: tensor '%.200s' lies outside the file, which is cut or damaged", g->path, t->name);
	return 0;
}

static int read_head(struct gguf *g, struct cursor *c, struct error *e)
{
	const void *magic = take(c, 4);
	if (!magic || memcmp(magic, "GGUF", 4) != 0)
		return error_set(e, "%s: isn't a GGUF file", g->path);
	uint32_t version = take_u32(c), alignment = ALIGNMENT;
	if (version != 2 && version != 3)
		return error_set(e, "%s: GGUF version %u, and 2 and 3 are read here", g->path, version);
	uint64_t n_tensors = take_u64(c), n_pairs = take_u64(c);
	for (uint64_t i = 0; i < n_pairs && !c->wrong; i++)
		read_pair(g, c, &alignment);
	/* A tensor takes 24 bytes at least. */
	if (!c->wrong && n_tensors > c->left / 24)
		c->wrong = "ends too early";
	if (!c->wrong && (!alignment || alignment % 8))
		c->wrong = "has an impossible alignment";
	g->tensor = mem_zero(c->wrong ? 1 : (size_t)n_tensors, sizeof *g->tensor);
	while (g->n_tensors < n_tensors && !c->wrong)
		read_tensor(&g->tensor[g->n_tensors++], c);
	if (c->wrong)
		return error_set(e, "%s: the head %s at byte %llu; the file is cut or damaged", g->path, c->wrong,
		                 (unsigned long long)c->at);
	uint64_t data = c->at + (alignment - c->at % alignment) % alignment;
	for (size_t i = 0; i < g->n_tensors; i++)
		if (place(g, &g->tensor[i], data, e) < 0)
			return -1;
	return 0;
}

static int read_file(struct gguf *g, struct error *e)
{
	struct stat st;
	if (fstat(g->fd, &st) < 0)
		return error_errno(e, "%s", g->path);
	if (!S_ISREG(st.st_mode))
		return error_set(e, "%s: not a regular file", g->path);
	g->size = (uint64_t)st.st_size;
	/* Where the head ends is known once it has been read; what follows it in the buffer is data. */
	size_t len = (size_t)(g->size < HEAD_LIMIT ? g->size : HEAD_LIMIT);
	unsigned char *head = mem_try(len, g->path, e);
	if (!head)
		return -1;
	struct cursor c = { .p = head, .left = len };
	int status = io_read_at(g->fd, head, len, 0, g->path, e);
	if (status == 0)
		status = read_head(g, &c, e);
	free(head);
	return status;
}

struct gguf *gguf_open(const char *path, struct error *e)
{
	struct gguf *g = mem_zero(1, sizeof *g);
	g->path = mem_string(path);
	g->fd = io_open_input(path, e);
	if (g->fd >= 0 && read_file(g, e) == 0)
		return g;
	gguf_close(g);
	return NULL;
}

void gguf_close(struct gguf *g)
{
	if (!g)
		return;
	if (g->fd >= 0)
		close(g->fd);
	for (size_t i = 0; i < g->n_tensors; i++)
		free(g->tensor[i].name);
	free(g->tensor);
	free(g->architecture);
	free(g->model_hint);
	free(g->path);
	free(g);
}
