#include "wire.h"

#include <stdlib.h>
#include <string.h>

#include <msgpack.h>

#include "memory.h"

const char *wire_type_name(enum wire_type type)
{
	static const char *const names[] = {
		"nil", "a truth value", "a whole number", "a negative number", "a float", "a string",
		"a bin", "an extension", "an array", "a map",
	};
	return names[type];
}

static uint64_t big_endian(const uint8_t *p, int n)
{
	uint64_t v = 0;
	for (int i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

static double real(uint64_t bits, int n)
{
	union { uint64_t u; double d; } wide = { .u = bits };
	union { uint32_t u; float f; } narrow = { .u = (uint32_t)bits };
	return n == 4 ? (double)narrow.f : wide.d;
}

/* The heads 0xc0 to 0xdf: how many bytes follow the first, and what they say. */
static const struct {
	uint8_t type, n_bytes, n_more;  /* n_more: of the payload, where it is fixed */
} heads[32] = {
	[0x00] = { WIRE_NIL, 0, 0 },
	[0x02] = { WIRE_BOOL, 0, 0 }, [0x03] = { WIRE_BOOL, 0, 0 },
	[0x04] = { WIRE_BIN, 1, 0 }, [0x05] = { WIRE_BIN, 2, 0 }, [0x06] = { WIRE_BIN, 4, 0 },
	[0x07] = { WIRE_EXT, 1, 1 }, [0x08] = { WIRE_EXT, 2, 1 }, [0x09] = { WIRE_EXT, 4, 1 },
	[0x0a] = { WIRE_FLOAT, 4, 0 }, [0x0b] = { WIRE_FLOAT, 8, 0 },
	[0x0c] = { WIRE_UINT, 1, 0 }, [0x0d] = { WIRE_UINT, 2, 0 },
	[0x0e] = { WIRE_UINT, 4, 0 }, [0x0f] = { WIRE_UINT, 8, 0 },
	[0x10] = { WIRE_NEGATIVE, 1, 0 }, [0x11] = { WIRE_NEGATIVE, 2, 0 },
	[0x12] = { WIRE_NEGATIVE, 4, 0 }, [0x13] = { WIRE_NEGATIVE, 8, 0 },
	[0x14] = { WIRE_EXT, 0, 2 }, [0x15] = { WIRE_EXT, 0, 3 }, [0x16] = { WIRE_EXT, 0, 5 },
	[0x17] = { WIRE_EXT, 0, 9 }, [0x18] = { WIRE_EXT, 0, 17 },
	[0x19] = { WIRE_STR, 1, 0 }, [0x1a] = { WIRE_STR, 2, 0 }, [0x1b] = { WIRE_STR, 4, 0 },
	[0x1c] = { WIRE_ARRAY, 2, 0 }, [0x1d] = { WIRE_ARRAY, 4, 0 },
	[0x1e] = { WIRE_MAP, 2, 0 }, [0x1f] = { WIRE_MAP, 4, 0 },
};

static int short_head(uint8_t c, struct wire_value *v)
{
	if (c < 0x80) {
		v->type = WIRE_UINT;
		v->number = c;
	} else if (c < 0x90) {
		v->type = WIRE_MAP;
		v->n = c & 15;
	} else if (c < 0xa0) {
		v->type = WIRE_ARRAY;
		v->n = c & 15;
	} else if (c < 0xc0) {
		v->type = WIRE_STR;
		v->len = c & 31;
	} else {
		v->type = WIRE_NEGATIVE;
		v->negative = (int8_t)c;
	}
	return 1;
}

int wire_head(const uint8_t *p, size_t have, struct wire_value *v)
{
	if (!have)
		return 0;
	*v = (struct wire_value){ 0 };
	if (p[0] < 0xc0 || p[0] >= 0xe0)
		return short_head(p[0], v);
	if (p[0] == 0xc1)
		return -1;
	int n = heads[p[0] - 0xc0].n_bytes;
	if (have < 1 + (size_t)n)
		return 0;
	uint64_t said = big_endian(p + 1, n);
	v->type = heads[p[0] - 0xc0].type;
	switch (v->type) {
	case WIRE_UINT:
		v->number = said;
		break;
	case WIRE_NEGATIVE:
		/* A signed encoding may hold a number that isn't negative. */
		v->negative = (int64_t)(said << (64 - 8 * n)) >> (64 - 8 * n);
		if (v->negative >= 0) {
			v->type = WIRE_UINT;
			v->number = said;
		}
		break;
	case WIRE_STR:
	case WIRE_BIN:
	case WIRE_EXT:
		v->len = said + heads[p[0] - 0xc0].n_more;
		break;
	case WIRE_ARRAY:
	case WIRE_MAP:
		v->n = said;
		break;
	case WIRE_FLOAT:
		v->real = real(said, n);
		break;
	case WIRE_BOOL:
		v->number = p[0] & 1;
		break;
	case WIRE_NIL:
		break;
	}
	return 1 + n;
}

/* After a value has ended: steps out of every container that ended with it.  True: the outermost value has. */
static bool scan_step_out(struct wire_scan *s)
{
	while (s->depth && --s->left[s->depth - 1] == 0)
		s->depth--;
	return s->depth == 0;
}

int wire_scan(struct wire_scan *s, const uint8_t *p, size_t have, size_t limit, size_t *need, const char **why)
{
	while (!s->ended) {
		struct wire_value v;
		int n = s->at < have ? wire_head(p + s->at, have - s->at, &v) : 0;
		if (n < 0) {
			*why = "no MessagePack value begins so";
			return -1;
		}
		if (n == 0) {
			*need = (have > s->at ? have : s->at) + 1;
			if (*need <= limit)
				return 0;
			*why = "too large";
			return -1;
		}
		/* Every element has at least one byte, so a count is checked before anything trusts it. */
		uint64_t elements = v.type == WIRE_MAP ? 2 * v.n : v.type == WIRE_ARRAY ? v.n : 0;
		if (s->at + (size_t)n > limit || v.len > limit - s->at - (size_t)n ||
		    elements > limit - s->at - (size_t)n) {
			*why = "too large";
			return -1;
		}
		s->at += (size_t)n + v.len;
		if (elements) {
			if (s->depth == WIRE_DEPTH) {
				*why = "nested too deep";
				return -1;
			}
			s->left[s->depth++] = elements;
		} else {
			s->ended = scan_step_out(s);
		}
	}
	*need = s->at;
	return have >= s->at;
}

int wire_next(struct wire_cursor *c, struct wire_value *v)
{
	int n = wire_head(c->p, c->left, v);
	if (n <= 0 || v->len > c->left - (size_t)n)
		return -1;
	v->p = (const char *)c->p + n;
	c->p += (size_t)n + v->len;
	c->left -= (size_t)n + v->len;
	return 0;
}

int wire_skip(struct wire_cursor *c, const char **start, size_t *len)
{
	struct wire_scan s = { 0 };
	const char *why;
	if (wire_scan(&s, c->p, c->left, c->left, len, &why) != 1)
		return -1;
	*start = (const char *)c->p;
	c->p += *len;
	c->left -= *len;
	return 0;
}

void wire_raw(struct wire_buffer *b, const void *p, size_t len)
{
	if (!len)
		return;
	mem_grow((void **)&b->p, &b->capacity, b->len + len, 1);
	memcpy(b->p + b->len, p, len);
	b->len += len;
}

static int append(void *b, const char *p, size_t len)
{
	wire_raw(b, p, len);
	return 0;
}

void wire_map(struct wire_buffer *b, size_t n_pairs)
{
	msgpack_packer pk = { b, append };
	msgpack_pack_map(&pk, n_pairs);
}

void wire_array(struct wire_buffer *b, size_t n)
{
	msgpack_packer pk = { b, append };
	msgpack_pack_array(&pk, n);
}

void wire_uint(struct wire_buffer *b, uint64_t v)
{
	msgpack_packer pk = { b, append };
	msgpack_pack_uint64(&pk, v);
}

void wire_text(struct wire_buffer *b, const void *p, size_t len)
{
	msgpack_packer pk = { b, append };
	msgpack_pack_str(&pk, len);
	wire_raw(b, p, len);
}

void wire_string(struct wire_buffer *b, const char *s)
{
	wire_text(b, s, strlen(s));
}

void wire_bin_head(struct wire_buffer *b, size_t len)
{
	msgpack_packer pk = { b, append };
	msgpack_pack_bin(&pk, len);
}

void wire_bin(struct wire_buffer *b, const void *p, size_t len)
{
	wire_bin_head(b, len);
	wire_raw(b, p, len);
}

void wire_release(struct wire_buffer *b)
{
	free(b->p);
	*b = (struct wire_buffer){ 0 };
}
