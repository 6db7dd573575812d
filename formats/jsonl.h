/*
 * One line of JSON lines: an object whose numbers keep their spelling.
 */
#ifndef JSONL_H
#define JSONL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

struct jsonl_span {
	uint64_t start, end;
};

/* A string member, or a number as it is spelled.  NULL: absent or null. */
struct jsonl_string {
	const char *text; /* closed with a NUL that len does not count; may hold NULs */
	size_t len;
};

struct jsonl_line {
	struct jsonl_string id, label, target, foil, text;
	bool has_ids;
	const uint32_t *ids;
	size_t n_ids;
	const struct jsonl_span *span;
	size_t n_spans;
};

struct jsonl; /* room for the members of one line */

struct jsonl *jsonl_open(void); /* never NULL */
void jsonl_close(struct jsonl *j);

/*
 * Reads the object in line[0..len), which must be valid UTF-8.  Members: id, label, target, foil
 * (string, number, null), span ([[start, end], ...]), input_ids (array of token ids), and the
 * string named `field`; others are checked and passed over.  A member that is read may be there
 * once.  *out lives until the next call.  Returns 0, or -1 with the reason and its column.
 */
int jsonl_read(struct jsonl *j, const char *line, size_t len, const char *field,
	       struct jsonl_line *out, struct error *e) MUST_CHECK;

#endif
