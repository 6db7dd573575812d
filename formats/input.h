/*
 * The samples of a data set, one by one: from standard input, files, and the members of .tar and
 * .zip archives (also compressed; see archive_file.h), which are read as files.  Memory holds
 * one sample, never a whole file.
 *
 * The formats:
 *   text   every line is a text, an empty one too.  A line ends at \n only, and a last line needs
 *          none; \r and U+0000 are text.
 *   jsonl  every line is a JSON object with the text in `field`, and maybe id, label, span, target,
 *          foil (see jsonl.h); lines of white space are passed over.
 *   ids    every line is a JSON object with input_ids (and the same other members), or token ids
 *          separated by white space; an empty line is a sample of no tokens.
 *   doc    every file or member is one text; its path is the id.
 *   auto   for each file or member: by the end of its name, .jsonl and .ndjson are jsonl, .ids is
 *          ids, .txt is text (after .gz, .bz2, .xz, .zst or .lz4 is taken off); else by its first
 *          line: one that begins with a brace must be an object, and is jsonl where it has `field`,
 *          ids where it has input_ids, an error where it has neither; all else is text.
 */
#ifndef INPUT_H
#define INPUT_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "jsonl.h"

#define INPUT_MOST_BYTES ((size_t)1 << 30) /* a longer line or document is refused */

enum input_format { INPUT_AUTO, INPUT_TEXT, INPUT_JSONL, INPUT_IDS, INPUT_DOC };

struct input_options {
	enum input_format format;
	const char *field;        /* NULL: "text" */
	const char *const *paths; /* "-" is standard input; borrowed */
	size_t n_paths;           /* 0: standard input alone */
};

/* One sample; what it points to lives until the next call. */
struct input_sample {
	uint64_t seq;               /* its place in the data set, from 0 */
	struct jsonl_string id;     /* never NULL: without one in the data, seq in decimal */
	struct jsonl_string label;  /* text NULL: none; the same for these two */
	struct jsonl_string target, foil;
	struct jsonl_string text;   /* valid UTF-8; text NULL: the sample has ids instead */
	const uint32_t *ids;
	size_t n_ids;
	const struct jsonl_span *span; /* within the text's characters or the ids' positions */
	size_t n_spans;
	const char *where;          /* "file: line 7", for messages */
};

struct input;

/* "auto", "text", ...: returns 0, or -1 with a message that lists them. */
int input_format_of(const char *name, enum input_format *out, struct error *e) MUST_CHECK;

struct input *input_open(const struct input_options *o); /* never NULL; opens no file yet */

/* The same over len bytes as the only file. */
struct input *input_open_bytes(const struct input_options *o, const void *bytes, size_t len);

/*
 * The next sample.  Returns 1, 0 after the last, or -1: a file that cannot be read, a line that is
 * not what its format says, invalid UTF-8, a lone surrogate; the message names file and line.
 */
int input_next(struct input *in, struct input_sample *out, struct error *e) MUST_CHECK;

void input_close(struct input *in);

#endif
