#include "input.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive_file.h"
#include "io.h"
#include "memory.h"
#include "tms.h"
#include "unicode.h"

#define BLOCK ((size_t)262144)

struct input {
	struct input_options o;
	const void *bytes; /* instead of files */
	size_t n_bytes;
	size_t next_path;
	struct archive_file *file; /* open, or NULL */
	const char *path;
	const char *member;        /* NULL: the file is no archive */
	bool in_member;
	enum input_format format;  /* of this member */
	char *buffer;              /* bytes that are read: [start, end) are not yet given out */
	size_t start, end, capacity;
	bool ended;                /* the member has no more bytes */
	uint64_t line, seq;
	struct jsonl *jsonl;
	uint32_t *ids;
	size_t n_ids, id_capacity;
	char ordinal[24];
	char *where;
};

static const char *const format_names[] = {
	[INPUT_AUTO] = "auto", [INPUT_TEXT] = "text", [INPUT_JSONL] = "jsonl",
	[INPUT_IDS] = "ids", [INPUT_DOC] = "doc",
};

int input_format_of(const char *name, enum input_format *out, struct error *e)
{
	for (size_t i = 0; i < ARRAY_LEN(format_names); i++)
		if (strcmp(name, format_names[i]) == 0) {
			*out = (enum input_format)i;
			return 0;
		}
	return error_set(e, "%s: not a format; auto, text, jsonl, ids or doc", name);
}

struct input *input_open(const struct input_options *o)
{
	struct input *in = mem_zero(1, sizeof *in);
	in->o = *o;
	if (in->o.field == NULL)
		in->o.field = "text";
	in->jsonl = jsonl_open();
	mem_grow((void **)&in->buffer, &in->capacity, BLOCK, 1);
	return in;
}

struct input *input_open_bytes(const struct input_options *o, const void *bytes, size_t len)
{
	struct input *in = input_open(o);
	in->bytes = bytes;
	in->n_bytes = len;
	return in;
}

void input_close(struct input *in)
{
	if (in == NULL)
		return;
	archive_file_close(in->file);
	jsonl_close(in->jsonl);
	free(in->buffer);
	free(in->ids);
	free(in->where);
	free(in);
}

/* Where this sample or mistake is: file, member, line. */
static const char *set_where(struct input *in)
{
	const char *file = io_input_name(in->path);
	const char *member = in->member;
	free(in->where);
	if (in->format == INPUT_DOC)
		in->where = mem_format("%s%s%s", file, member == NULL ? "" : ": ",
				       member == NULL ? "" : member);
	else
		in->where = mem_format("%s%s%s: line %llu", file, member == NULL ? "" : ": ",
				       member == NULL ? "" : member, (unsigned long long)in->line);
	return in->where;
}

static bool ends_in(const char *name, size_t len, const char *end)
{
	size_t n = strlen(end);
	return len > n && memcmp(name + len - n, end, n) == 0;
}

static enum input_format format_by_name(const char *name)
{
	static const char *const squeezed[] = { ".gz", ".bz2", ".xz", ".zst", ".lz4" };
	static const struct {
		const char *end;
		enum input_format format;
	} ends[] = { { ".jsonl", INPUT_JSONL }, { ".ndjson", INPUT_JSONL }, { ".ids", INPUT_IDS },
		     { ".txt", INPUT_TEXT } };
	size_t len = strlen(name);
	for (size_t i = 0; i < ARRAY_LEN(squeezed); i++)
		if (ends_in(name, len, squeezed[i])) {
			len -= strlen(squeezed[i]);
			break;
		}
	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		if (ends_in(name, len, ends[i].end))
			return ends[i].format;
	return INPUT_AUTO;
}

/* Moves to the next member of this file or the first of the next.  1, 0 or -1. */
static int next_member(struct input *in, struct error *e)
{
	size_t n = in->bytes != NULL || in->o.n_paths == 0 ? 1 : in->o.n_paths;
	for (;;) {
		if (in->file == NULL) {
			if (in->next_path == n)
				return 0;
			in->path = in->o.n_paths == 0 ? "-" : in->o.paths[in->next_path];
			in->next_path++;
			int rc = in->bytes != NULL ? archive_file_open_bytes(in->bytes, in->n_bytes,
									     &in->file, e)
						   : archive_file_open(in->path, &in->file, e);
			if (rc < 0)
				return -1;
		}
		int rc = archive_file_next(in->file, &in->member, e);
		if (rc < 0)
			return -1;
		if (rc > 0)
			break;
		archive_file_close(in->file);
		in->file = NULL;
	}
	in->in_member = true;
	in->ended = false;
	in->start = in->end = 0;
	in->line = 0;
	in->format = in->o.format;
	if (in->format == INPUT_AUTO)
		in->format = format_by_name(in->member != NULL ? in->member : in->path);
	return 1;
}

/* Reads on; what is not given out moves to the front. */
static int fill(struct input *in, struct error *e)
{
	if (in->start > 0) {
		memmove(in->buffer, in->buffer + in->start, in->end - in->start);
		in->end -= in->start;
		in->start = 0;
	}
	if (in->end > INPUT_MOST_BYTES) {
		in->line++;
		return error_set(e, "%s: longer than %zu bytes; cut it", set_where(in),
				 INPUT_MOST_BYTES);
	}
	mem_grow((void **)&in->buffer, &in->capacity, in->end + BLOCK, 1);
	ssize_t got = archive_file_read(in->file, in->buffer + in->end, BLOCK, e);
	if (got < 0)
		return -1;
	in->ended = got == 0;
	in->end += (size_t)got;
	return 0;
}

/* The next line without its end, in the buffer.  1, 0 or -1. */
static int next_line(struct input *in, char **line, size_t *len, struct error *e)
{
	size_t looked = 0;
	for (;;) {
		char *from = in->buffer + in->start;
		size_t there = in->end - in->start;
		char *end = there == looked ? NULL : memchr(from + looked, '\n', there - looked);
		if (end != NULL || (in->ended && there > 0)) {
			*line = from;
			*len = end != NULL ? (size_t)(end - from) : there;
			in->start += *len + (end != NULL);
			from[*len] = '\0';
			in->line++;
			return 1;
		}
		if (in->ended)
			return 0;
		looked = there;
		if (fill(in, e) < 0)
			return -1;
	}
}

static int check_text(struct input *in, const char *text, size_t len, struct error *e)
{
	size_t good = utf8_check(text, len);
	if (good == len)
		return 0;
	if (tms_begins(text, len))
		return error_set(e, "%s: is a tensor stream, not text; tok -d makes text of one of tokens, tcat --json of any",
				 in->member == NULL ? io_input_name(in->path) : set_where(in));
	return error_set(e, "%s: byte %zu is not valid UTF-8; convert the file, as with iconv(1)",
			 set_where(in), good + 1);
}

static void start_sample(struct input *in, struct input_sample *out)
{
	*out = (struct input_sample){ .seq = in->seq++, .where = set_where(in) };
	int n = snprintf(in->ordinal, sizeof in->ordinal, "%llu", (unsigned long long)out->seq);
	out->id = (struct jsonl_string){ in->ordinal, (size_t)n };
}

static bool blank(const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (memchr(" \t\r\n", line[i], 4) == NULL)
			return false;
	return true;
}

static int check_spans(const struct input_sample *s, struct error *e)
{
	size_t most = s->n_ids;
	if (s->n_spans > 0 && s->text.text != NULL) {
		most = 0;
		for (size_t i = 0; i < s->text.len; i++)
			most += utf8_is_lead(s->text.text[i]);
	}
	for (size_t i = 0; i < s->n_spans; i++)
		if (s->span[i].end > most)
			return error_set(e, "%s: the span %llu to %llu ends after the last of %zu"
					    " %s", s->where, (unsigned long long)s->span[i].start,
					 (unsigned long long)s->span[i].end, most,
					 s->text.text != NULL ? "characters" : "ids");
	return 0;
}

static int json_sample(struct input *in, const char *line, size_t len, struct input_sample *out,
		       struct error *e)
{
	struct jsonl_line j;
	start_sample(in, out);
	if (jsonl_read(in->jsonl, line, len, in->o.field, &j, e) < 0)
		return error_in(e, "%s", out->where);
	if (j.id.text != NULL)
		out->id = j.id;
	out->label = j.label;
	out->target = j.target;
	out->foil = j.foil;
	out->span = j.span;
	out->n_spans = j.n_spans;
	if (in->format == INPUT_IDS) {
		if (!j.has_ids)
			return error_set(e, "%s: no 'input_ids'", out->where);
		out->ids = j.ids;
		out->n_ids = j.n_ids;
	} else if (j.text.text == NULL) {
		return error_set(e, "%s: no '%s'; %s", out->where, in->o.field,
				 j.has_ids ? "its input_ids are read with -f ids"
					   : "--field names the member with the text");
	} else {
		out->text = j.text;
	}
	return check_spans(out, e);
}

static int number_sample(struct input *in, const char *line, size_t len, struct input_sample *out,
			 struct error *e)
{
	start_sample(in, out);
	in->n_ids = 0;
	for (size_t i = 0; i < len;) {
		if (memchr(" \t\r\v\f", line[i], 5) != NULL) {
			i++;
			continue;
		}
		uint64_t v = 0;
		size_t from = i;
		for (; i < len && line[i] >= '0' && line[i] <= '9' && v < UINT32_MAX; i++)
			v = v * 10 + (uint64_t)(line[i] - '0');
		if (i == from || v >= UINT32_MAX ||
		    (i < len && memchr(" \t\r\v\f", line[i], 5) == NULL))
			return error_set(e, "%s: column %zu: not a token id", out->where, from + 1);
		mem_grow((void **)&in->ids, &in->id_capacity, in->n_ids + 1, sizeof *in->ids);
		in->ids[in->n_ids++] = (uint32_t)v;
	}
	out->ids = in->ids;
	out->n_ids = in->n_ids;
	return 0;
}

/* What the first line of a member says it is.  A brace that opens no object is a mistake to be
 * told, not a text to be taken. */
static int format_by_line(struct input *in, const char *line, size_t len, struct error *e)
{
	struct jsonl_line j;
	size_t i = 0;
	in->format = INPUT_TEXT;
	while (i < len && memchr(" \t\r", line[i], 3) != NULL)
		i++;
	if (i == len || line[i] != '{')
		return 0;
	if (jsonl_read(in->jsonl, line, len, in->o.field, &j, e) < 0) {
		error_in(e, "%s", set_where(in));
	} else if (j.text.text != NULL || j.has_ids) {
		in->format = j.text.text != NULL ? INPUT_JSONL : INPUT_IDS;
		return 0;
	} else {
		error_set(e, "%s: an object without '%s'; --field names the member with the text",
			  set_where(in), in->o.field);
	}
	struct error why = *e;
	return error_set(e, "%.900s (-f text takes lines as they are)", why.text);
}

/* One line; 0 where it holds no sample. */
static int line_sample(struct input *in, char *line, size_t len, struct input_sample *out,
		       struct error *e)
{
	if (len > INPUT_MOST_BYTES)
		return error_set(e, "%s: longer than %zu bytes; cut it", set_where(in),
				 INPUT_MOST_BYTES);
	if (check_text(in, line, len, e) < 0)
		return -1;
	if (in->format == INPUT_AUTO && format_by_line(in, line, len, e) < 0)
		return -1;
	if (in->format == INPUT_TEXT) {
		start_sample(in, out);
		out->text = (struct jsonl_string){ line, len };
		return 1;
	}
	if (in->format == INPUT_JSONL && blank(line, len))
		return 0;
	size_t i = 0;
	while (i < len && memchr(" \t\r", line[i], 3) != NULL)
		i++;
	if (in->format == INPUT_IDS && (i == len || line[i] != '{'))
		return number_sample(in, line, len, out, e) < 0 ? -1 : 1;
	return json_sample(in, line, len, out, e) < 0 ? -1 : 1;
}

static int document(struct input *in, struct input_sample *out, struct error *e)
{
	while (!in->ended)
		if (fill(in, e) < 0)
			return -1;
	size_t len = in->end;
	mem_grow((void **)&in->buffer, &in->capacity, len + 1, 1);
	if (len > INPUT_MOST_BYTES)
		return error_set(e, "%s: longer than %zu bytes; cut it", set_where(in),
				 INPUT_MOST_BYTES);
	if (check_text(in, in->buffer, len, e) < 0)
		return -1;
	start_sample(in, out);
	in->buffer[len] = '\0';
	const char *id = in->member != NULL ? in->member : in->path;
	out->id = (struct jsonl_string){ id, strlen(id) };
	out->text = (struct jsonl_string){ in->buffer, len };
	in->in_member = false;
	return 1;
}

int input_next(struct input *in, struct input_sample *out, struct error *e)
{
	for (;;) {
		if (!in->in_member) {
			int rc = next_member(in, e);
			if (rc <= 0)
				return rc;
		}
		if (in->format == INPUT_DOC)
			return document(in, out, e);
		char *line;
		size_t len;
		int rc = next_line(in, &line, &len, e);
		if (rc > 0) {
			rc = line_sample(in, line, len, out, e);
			if (rc != 0)
				return rc;
			continue;
		}
		if (rc < 0)
			return -1;
		in->in_member = false;
	}
}
