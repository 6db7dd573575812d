/*
 * Strengths of single samples: a table with tabs, a line ID alpha [positions].  It is held in memory; the stream is not.
 */
#ifndef STRENGTHS_H
#define STRENGTHS_H

#include <stdbool.h>
#include <stddef.h>

#include "frame.h"
#include "ranges.h"

struct strength {
	struct text id;         /* owned */
	double alpha;
	struct ranges positions;
	size_t line;            /* in the file, from 1 */
	bool used;              /* the caller's: a row was found for it */
};

struct strengths {
	char *name;             /* of the file, for messages */
	struct strength *strength; /* (n), by id and then line */
	size_t n;
	char identity[17];      /* XXH3-64 of the file, in hexadecimal */
};

/* A finite number, nothing before or behind it.  0, or -1 without a message. */
int strength_parse(const char *text, double *alpha) MUST_CHECK;

/*
 * Reads a file.  A first line whose second field is "alpha" names the columns.  Without positions a line holds for all; in
 * an id \t \n \r and \\ stand for what tcat --tsv writes so.  NULL and e, naming file and line.
 */
struct strengths *strengths_open(const char *path, struct error *e) MUST_CHECK;
void strengths_close(struct strengths *s);

/* The lines of an id, in the file's order: *n of them. */
struct strength *strengths_of(const struct strengths *s, struct text id, size_t *n);

#endif
