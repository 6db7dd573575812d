#include "npy_read.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io.h"
#include "memory.h"

enum { HEADER_LIMIT = 1 << 20 };

struct cursor {
	const char *p, *end;
};

static void skip_space(struct cursor *c)
{
	while (c->p < c->end && (*c->p == ' ' || *c->p == '\n' || *c->p == ','))
		c->p++;
}

static bool take(struct cursor *c, const char *word)
{
	size_t len = strlen(word);
	skip_space(c);
	if ((size_t)(c->end - c->p) < len || memcmp(c->p, word, len) != 0)
		return false;
	c->p += len;
	return true;
}

/* 'text' into to, cut to what fits.  False: there is none. */
static bool take_string(struct cursor *c, char *to, size_t to_len)
{
	skip_space(c);
	if (c->p == c->end || (*c->p != '\'' && *c->p != '"'))
		return false;
	char quote = *c->p++;
	const char *close = memchr(c->p, quote, (size_t)(c->end - c->p));
	if (!close)
		return false;
	snprintf(to, to_len, "%.*s", (int)(close - c->p), c->p);
	c->p = close + 1;
	return true;
}

static int take_shape(struct cursor *c, struct npy *n)
{
	if (!take(c, "("))
		return -1;
	while (!take(c, ")")) {
		uint64_t v = 0;
		const char *start = c->p;
		for (; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++)
			if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
			    __builtin_add_overflow(v, (uint64_t)(*c->p - '0'), &v))
				return -1;
		if (c->p == start || n->n_dims == NPY_DIMS)
			return -1;
		n->dim[n->n_dims++] = v;
	}
	return 0;
}

static int parse_header(struct npy *n, struct cursor c)
{
	bool have_type = false, have_order = false, have_shape = false;
	if (!take(&c, "{"))
		return -1;
	while (!take(&c, "}")) {
		char key[16];
		if (!take_string(&c, key, sizeof key) || !take(&c, ":"))
			return -1;
		if (!strcmp(key, "descr")) {
			have_type = take_string(&c, n->type, sizeof n->type);
		} else if (!strcmp(key, "fortran_order")) {
			n->fortran = take(&c, "True");
			have_order = n->fortran || take(&c, "False");
		} else if (!strcmp(key, "shape")) {
			have_shape = take_shape(&c, n) == 0;
		} else {
			return -1;
		}
	}
	return have_type && have_order && have_shape ? 0 : -1;
}

static int read_type(struct npy *n)
{
	static const struct {
		const char *name;
		enum dtype dtype;
	} types[] = {
		{ "f4", DTYPE_F32 }, { "f8", DTYPE_F64 }, { "f2", DTYPE_F16 }, { "V2", DTYPE_BF16 }, { "i4", DTYPE_I32 },
		{ "u4", DTYPE_U32 }, { "u1", DTYPE_U8 },
	};
	const char *t = n->type;
	if (*t != '<' && *t != '|')
		return -1;
	t++;
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (!strcmp(t, types[i].name))
			n->dtype = types[i].dtype;
	char *end;
	n->item_len = *t ? strtoul(t + 1, &end, 10) : 0;
	if (!*t || !strchr("fiubcUSV", *t) || *end || !n->item_len || n->item_len > 1 << 20)
		return -1;
	if (*t == 'U')
		n->item_len *= 4;
	return 0;
}

static int check_len(struct npy *n, uint64_t size, const char *path, struct error *e)
{
	uint64_t len = n->item_len;
	for (int i = 0; i < n->n_dims; i++)
		if (__builtin_mul_overflow(len, n->dim[i], &len))
			return error_set(e, "%s: its shape is too large for any file", path);
	n->len = len;
	if (len != size - n->offset)
		return error_set(e, "%s: its shape needs %" PRIu64 " bytes, the file has %" PRIu64 "; it is %s", path, len,
		                 size - n->offset, len > size - n->offset ? "cut short" : "damaged");
	return 0;
}

int npy_read(struct npy *n, int fd, uint64_t size, const char *path, struct error *e)
{
	unsigned char head[12];
	*n = (struct npy){ 0 };
	size_t prefix = 10;
	if (size < sizeof head || io_read_at(fd, head, sizeof head, 0, path, e) < 0)
		return size < sizeof head ? error_set(e, "%s: too short for a NumPy file", path) : -1;
	if (memcmp(head, "\x93NUMPY", 6) != 0 || head[6] < 1 || head[6] > 3)
		return error_set(e, "%s: not a NumPy file of version 1, 2 or 3", path);
	uint64_t len = (uint64_t)head[8] | (uint64_t)head[9] << 8;
	if (head[6] > 1) {
		len |= (uint64_t)head[10] << 16 | (uint64_t)head[11] << 24;
		prefix = 12;
	}
	if (len > HEADER_LIMIT || len > size - prefix)
		return error_set(e, "%s: its header of %" PRIu64 " bytes doesn't fit the file; it is cut short or damaged",
		                 path, len);
	char *text = mem_try(len + 1, path, e);
	if (!text)
		return -1;
	int rc = io_read_at(fd, text, len, prefix, path, e);
	if (rc == 0 && parse_header(n, (struct cursor){ text, text + len }) < 0)
		rc = error_set(e, "%s: its header can't be read; a plain array is needed, not a table or objects", path);
	else if (rc == 0 && read_type(n) < 0)
		rc = error_set(e, "%s: arrays of '%s' can't be read; little-endian numbers can", path, n->type);
	free(text);
	n->offset = prefix + len;
	return rc < 0 ? -1 : check_len(n, size, path, e);
}
