/*
 * MessagePack values: packing them in their smallest encodings, and reading them from bytes that
 * nobody vouches for.  Reading takes no memory.
 */
#ifndef WIRE_H
#define WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

enum wire_type {
	WIRE_NIL, WIRE_BOOL, WIRE_UINT, WIRE_NEGATIVE, WIRE_FLOAT, WIRE_STR, WIRE_BIN, WIRE_EXT,
	WIRE_ARRAY, WIRE_MAP
};

struct wire_value {
	enum wire_type type;
	uint64_t number;        /* of WIRE_UINT, WIRE_BOOL */
	int64_t negative;       /* of WIRE_NEGATIVE */
	double real;            /* of WIRE_FLOAT */
	const char *p;          /* (len) of WIRE_STR, WIRE_BIN; borrowed */
	size_t len;             /* bytes that follow the head: of STR, BIN, EXT */
	uint64_t n;             /* elements of an array, pairs of a map */
};

/* "a string", "a map", ...: for messages. */
const char *wire_type_name(enum wire_type type);

/*
 * Reads the head of the value at p, of which `have` bytes are there: all of a number, the length or count of
 * the rest.  Returns the head's bytes, 0 if more have to be there, -1 if no value begins so.
 */
int wire_head(const uint8_t *p, size_t have, struct wire_value *v);

/* -------- where a value ends */

enum { WIRE_DEPTH = 32 };       /* deeper nesting is refused */

/* All zero to begin with. */
struct wire_scan {
	size_t at;
	uint64_t left[WIRE_DEPTH];
	int depth;
	bool ended;
};

/*
 * Goes on looking for the end of the value that begins at p, of which `have` bytes are there.
 * 1: it is p[0..*need-1]; 0: call again when *need bytes are there; -1: no value, one nested too deep, or one of
 * more than `limit` bytes, as *why says.
 */
int wire_scan(struct wire_scan *s, const uint8_t *p, size_t have, size_t limit, size_t *need, const char **why);

/* -------- reading values one after another */

struct wire_cursor {
	const uint8_t *p;
	size_t left;
};

/* The next value, with the bytes of a string or bin; of an array or map its head only.  0, or -1: cut or no value. */
int wire_next(struct wire_cursor *c, struct wire_value *v) MUST_CHECK;

/* Steps over the next value with all that is in it; *start, *len receive its bytes.  0 or -1. */
int wire_skip(struct wire_cursor *c, const char **start, size_t *len) MUST_CHECK;

/* -------- packing */

/* All zero to begin with; len = 0 starts afresh. */
struct wire_buffer {
	char *p;
	size_t len, capacity;
};

void wire_map(struct wire_buffer *b, size_t n_pairs);
void wire_array(struct wire_buffer *b, size_t n);
void wire_uint(struct wire_buffer *b, uint64_t v);
void wire_text(struct wire_buffer *b, const void *p, size_t len);
void wire_string(struct wire_buffer *b, const char *s);
void wire_bin(struct wire_buffer *b, const void *p, size_t len);
/* The head of a bin whose bytes the caller writes elsewhere. */
void wire_bin_head(struct wire_buffer *b, size_t len);
/* Bytes that are values already. */
void wire_raw(struct wire_buffer *b, const void *p, size_t len);
void wire_release(struct wire_buffer *b);

#endif
