/*
 * How strongly steer(1) works on which rows: the strengths of --alpha, one or one a variant; the positions; and a table of
 * single samples, which is held in memory.
 */
#ifndef STRENGTHS_H
#define STRENGTHS_H

#include <stdbool.h>
#include <stddef.h>

#include "frame.h"
#include "ranges.h"
#include "tms.h"

/* A line of the table: ID alpha [positions]. */
struct strength {
	struct text id;         /* owned */
	double alpha;
	struct ranges positions;
	size_t line;            /* in the file, from 1 */
	bool used;              /* a row was found for it */
};

struct strengths {
	const char *spelled;    /* --alpha as typed; NULL: it wasn't given */
	char **text;            /* (n) */
	double *alpha;          /* (n) */
	size_t n;
	bool fan_out;           /* every sample becomes n variants */
	struct ranges positions;
	char *table_name;       /* of the file, for messages; NULL: no table */
	struct strength *table; /* (n_lines), by id and then line */
	size_t n_lines;
	char identity[17];      /* XXH3-64 of the table, in hexadecimal */
	uint64_t n_rows, n_named; /* rows seen, rows that were named */
};

/* --alpha (NULL: a single 1) and --positions (NULL: all).  0 or -1. */
int strengths_parse(struct strengths *s, const char *alpha, const char *positions, struct error *e) MUST_CHECK;

/*
 * --strengths: a table with tabs.  A first line whose second field is "alpha" names the columns.  Without positions a
 * line holds for all; in an id \t \n \r and \\ stand for what tcat --tsv writes so.  0 or -1.
 */
int strengths_table(struct strengths *s, const char *path, struct error *e) MUST_CHECK;

/*
 * Names the variants of what is written: one strength leaves h as it is.  Several make variants "alpha=A" where there are
 * none (fan_out); where there are, they must be as many, and variant "x" becomes "x+alpha=A", one named by its number
 * alone "alpha=A".  name: of the stream, for messages.  0 or -1.
 */
int strengths_variants(struct strengths *s, struct tms_header *h, const char *name, struct error *e) MUST_CHECK;

/* The table's lines of a sample, in the file's order: *n of them; NULL and 0 without a table. */
struct strength *strengths_of(const struct strengths *s, struct text id, size_t *n);

/*
 * Whether the row of a position is named, and *factor, by which its alpha is multiplied: 1, or with a table that of the last
 * of the sample's lines which names the position.  Counts the row.
 */
bool strengths_name(struct strengths *s, struct strength *line, size_t n_lines, const struct sample *sample,
                    uint32_t position, double *factor);

/* Whether any choice of positions is made by --positions or these lines. */
bool strengths_choose(const struct strengths *s, const struct strength *line, size_t n_lines);

/* After the last row.  A line without a row, or positions that no sample has, is an error.  0 or -1. */
int strengths_check(const struct strengths *s, const char *name, struct error *e) MUST_CHECK;

void strengths_release(struct strengths *s);

#endif
