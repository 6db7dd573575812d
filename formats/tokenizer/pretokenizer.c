#include "pretokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "bpe.h"
#include "memory.h"
#include "pattern.h"
#include "unicode.h"

#define MOST_STAGES 32
#define DEEPEST 16

/* The expression that ByteLevel holds within. */
#define GPT2_WORDS "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|" \
		   "\\s+(?!\\S)|\\s+"

/* CUT: at a pattern; SPACE: ByteLevel's added space; META: Metaspace's rewriting; SPELL: bytes to
 * printable characters; UNSPELL: back. */
enum kind { CUT, SPACE, META, SPELL, UNSPELL };

enum behavior { REMOVED, ISOLATED, CONTIGUOUS, WITH_PREVIOUS, WITH_NEXT };

enum scheme { ALWAYS, FIRST, NEVER };

struct stage {
	enum kind kind;
	struct pattern pattern;
	enum behavior behavior;
	bool invert;
	enum scheme scheme;
	char meta[4];
	size_t meta_len;
};

struct pretokenizer {
	struct stage stage[MOST_STAGES];
	size_t n;
	bool bytes;
};

struct pretokenizer_scratch {
	struct buffer buffer[MOST_STAGES];
	struct pattern_scratch pattern[MOST_STAGES];
};

static int add_stage(struct pretokenizer *p, struct stage s, struct error *e)
{
	/* Two places are kept for SPELL and UNSPELL. */
	if (p->n + 2 >= MOST_STAGES) {
		pattern_close(&s.pattern);
		return error_set(e, "more than %d steps", MOST_STAGES - 2);
	}
	p->stage[p->n++] = s;
	return 0;
}

static int read_behavior(const struct json *j, enum behavior *out, struct error *e)
{
	static const char *const names[] = {
		[REMOVED] = "Removed", [ISOLATED] = "Isolated", [CONTIGUOUS] = "Contiguous",
		[WITH_PREVIOUS] = "MergedWithPrevious", [WITH_NEXT] = "MergedWithNext",
	};
	const char *name = NULL;
	if (json_get_text(j, "behavior", &name, NULL, e) < 0)
		return -1;
	if (name == NULL)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(name, names[i]) == 0) {
			*out = (enum behavior)i;
			return 0;
		}
	return error_set(e, "the behavior '%.80s' is not known", name);
}

static int read_split(const struct json *j, struct pretokenizer *p, struct error *e)
{
	struct stage s = { .kind = CUT, .behavior = ISOLATED };
	if (read_behavior(j, &s.behavior, e) < 0 || json_get_bool(j, "invert", &s.invert, e) < 0 ||
	    pattern_open(json_member(j, "pattern"), &s.pattern, e) < 0)
		return -1;
	return add_stage(p, s, e);
}

static int read_byte_level(const struct json *j, struct pretokenizer *p, struct error *e)
{
	bool space = true, regex = true;
	if (json_get_bool(j, "add_prefix_space", &space, e) < 0 ||
	    json_get_bool(j, "use_regex", &regex, e) < 0)
		return -1;
	if (p->bytes)
		return error_set(e, "a second ByteLevel is not read");
	if (space && add_stage(p, (struct stage){ .kind = SPACE }, e) < 0)
		return -1;
	if (regex) {
		struct stage s = { .kind = CUT, .behavior = ISOLATED };
		if (pattern_open_regex(GPT2_WORDS, &s.pattern, e) < 0 || add_stage(p, s, e) < 0)
			return -1;
	}
	p->bytes = true;
	return add_stage(p, (struct stage){ .kind = SPELL }, e);
}

static int read_digits(const struct json *j, struct pretokenizer *p, struct error *e)
{
	bool alone = false;
	if (json_get_bool(j, "individual_digits", &alone, e) < 0)
		return -1;
	return add_stage(p, (struct stage){ .kind = CUT, .pattern.kind = PATTERN_NUMBER,
					    .behavior = alone ? ISOLATED : CONTIGUOUS }, e);
}

static int read_punctuation(const struct json *j, struct pretokenizer *p, struct error *e)
{
	struct stage s = { .kind = CUT, .pattern.kind = PATTERN_PUNCTUATION, .behavior = ISOLATED };
	if (read_behavior(j, &s.behavior, e) < 0)
		return -1;
	return add_stage(p, s, e);
}

static int read_white_space(const struct json *j, struct pretokenizer *p, struct error *e)
{
	(void)j;
	return add_stage(p, (struct stage){ .kind = CUT, .pattern.kind = PATTERN_SPACE,
					    .behavior = REMOVED }, e);
}

static int read_bert(const struct json *j, struct pretokenizer *p, struct error *e)
{
	if (read_white_space(j, p, e) < 0)
		return -1;
	return add_stage(p, (struct stage){ .kind = CUT, .pattern.kind = PATTERN_PUNCTUATION,
					    .behavior = ISOLATED }, e);
}

static int read_metaspace(const struct json *j, struct pretokenizer *p, struct error *e)
{
	struct stage s = { .kind = META, .scheme = ALWAYS };
	const char *scheme = NULL, *meta = "\xe2\x96\x81";
	bool add = true, split = true;
	s.meta_len = 3;
	if (json_get_text(j, "replacement", &meta, &s.meta_len, e) < 0 ||
	    json_get_text(j, "prepend_scheme", &scheme, NULL, e) < 0 ||
	    json_get_bool(j, "add_prefix_space", &add, e) < 0 ||
	    json_get_bool(j, "split", &split, e) < 0)
		return -1;
	if (s.meta_len == 0 || s.meta_len != utf8_size(meta[0]))
		return error_set(e, "'replacement' is not one character");
	memcpy(s.meta, meta, s.meta_len);
	if (scheme != NULL && strcmp(scheme, "first") == 0)
		s.scheme = FIRST;
	else if ((scheme != NULL && strcmp(scheme, "never") == 0) || !add)
		s.scheme = NEVER;
	else if (scheme != NULL && strcmp(scheme, "always") != 0)
		return error_set(e, "the prepend_scheme '%.80s' is not known", scheme);
	if (add_stage(p, s, e) < 0)
		return -1;
	if (!split)
		return 0;
	struct stage cut = { .kind = CUT, .behavior = WITH_NEXT };
	cut.pattern = (struct pattern){ .kind = PATTERN_STRING, .len = s.meta_len,
					.string = mem_slice(s.meta, s.meta_len) };
	return add_stage(p, cut, e);
}

static const struct {
	const char *type;
	int (*read)(const struct json *j, struct pretokenizer *p, struct error *e);
	bool after_bytes; /* may stand after a ByteLevel */
} types[] = {
	{ "Split", read_split, true },
	{ "ByteLevel", read_byte_level, true },
	{ "Digits", read_digits, true },
	{ "Punctuation", read_punctuation, true },
	{ "WhitespaceSplit", read_white_space, false },
	{ "BertPreTokenizer", read_bert, false },
	{ "Metaspace", read_metaspace, false },
};

static int read_stages(const struct json *j, struct pretokenizer *p, int depth, struct error *e)
{
	if (json_kind(j) == JSON_KIND_NULL)
		return 0;
	const char *type = json_text(json_member(j, "type"), NULL);
	if (type == NULL)
		return error_set(e, "an entry without a type");
	if (strcmp(type, "Sequence") == 0) {
		const struct json *list = json_member(j, "pretokenizers");
		if (json_kind(list) != JSON_KIND_ARRAY || depth == DEEPEST)
			return error_set(e, "a Sequence that cannot be read");
		for (size_t i = 0; i < json_count(list); i++)
			if (read_stages(json_at(list, i), p, depth + 1, e) < 0)
				return -1;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		if (strcmp(type, types[i].type) != 0)
			continue;
		if (p->bytes && !types[i].after_bytes)
			return error_set(e, "%s after ByteLevel is not read", type);
		return types[i].read(j, p, e);
	}
	return error_set(e, "the type '%.80s' is not read", type);
}

int pretokenizer_open(const struct json *j, struct pretokenizer **out, struct error *e)
{
	struct pretokenizer *p = mem_zero(1, sizeof *p);
	if (read_stages(j, p, 0, e) < 0) {
		pretokenizer_close(p);
		return error_in(e, "pre_tokenizer");
	}
	/* The model takes bytes: characters are spelled only where a later stage looks. */
	if (p->bytes && p->stage[p->n - 1].kind == SPELL)
		p->n--;
	else if (p->bytes)
		p->stage[p->n++] = (struct stage){ .kind = UNSPELL };
	*out = p;
	return 0;
}

void pretokenizer_close(struct pretokenizer *p)
{
	if (p == NULL)
		return;
	for (size_t i = 0; i < p->n; i++)
		pattern_close(&p->stage[i].pattern);
	free(p);
}

bool pretokenizer_bytes(const struct pretokenizer *p)
{
	return p->bytes;
}

struct pretokenizer_scratch *pretokenizer_scratch_open(void)
{
	return mem_zero(1, sizeof(struct pretokenizer_scratch));
}

void pretokenizer_scratch_close(struct pretokenizer_scratch *s)
{
	if (s == NULL)
		return;
	for (size_t i = 0; i < MOST_STAGES; i++) {
		buffer_release(&s->buffer[i]);
		pattern_scratch_release(&s->pattern[i]);
	}
	free(s);
}

struct run {
	const struct pretokenizer *p;
	struct pretokenizer_scratch *s;
	const struct pretokenizer_sink *sink;
	bool mapped;
	struct error *e;
};

static int run_stage(const struct run *r, size_t k, const struct slice *in);

/* The pieces of one text on their way from a pattern to the next stage. */
struct cutter {
	const struct run *r;
	size_t next_stage;
	const struct slice *in;
	enum behavior behavior;
	size_t start, end; /* a piece that may still grow */
	bool held, match;  /* there is one; the last piece seen was a match */
};

static int pass(struct cutter *c, size_t start, size_t end)
{
	if (start == end)
		return 0;
	struct slice part = slice_part(c->in, start, end);
	return run_stage(c->r, c->next_stage, &part);
}

static int flush(struct cutter *c)
{
	if (!c->held)
		return 0;
	c->held = false;
	return pass(c, c->start, c->end);
}

/* One piece, a match or a gap.  Whether it joins the piece before it is the behavior's affair. */
static int cut_piece(struct cutter *c, size_t start, size_t end, bool match)
{
	bool was = c->match, join = false;
	c->match = match;
	switch (c->behavior) {
	case REMOVED:
		return match ? 0 : pass(c, start, end);
	case ISOLATED:
		return pass(c, start, end);
	case CONTIGUOUS:
		join = c->held && match == was;
		break;
	case WITH_PREVIOUS:
		join = c->held && match && !was;
		break;
	case WITH_NEXT:
		join = c->held && !match && was;
		break;
	}
	if (!join) {
		if (flush(c) < 0)
			return -1;
		c->start = start;
	}
	c->end = end;
	c->held = true;
	return 0;
}

static int run_cut(const struct run *r, size_t k, const struct slice *in)
{
	const struct stage *s = &r->p->stage[k];
	struct cutter c = { .r = r, .next_stage = k + 1, .in = in, .behavior = s->behavior };
	struct pattern_walk w;
	size_t start, end, done = 0;
	int rc;
	pattern_start(&w, &s->pattern, &r->s->pattern[k], in);
	while ((rc = pattern_next(&w, &start, &end, r->e)) > 0) {
		if (done != start && cut_piece(&c, done, start, s->invert) < 0)
			return -1;
		if (cut_piece(&c, start, end, !s->invert) < 0)
			return -1;
		done = end;
	}
	if (rc < 0 || (done != in->len && cut_piece(&c, done, in->len, s->invert) < 0))
		return -1;
	return flush(&c);
}

static void rewrite_meta(const struct stage *s, const struct slice *in, struct buffer *b)
{
	bool there = in->text[0] == ' ' ||
		     (in->len >= s->meta_len && memcmp(in->text, s->meta, s->meta_len) == 0);
	if (!there && (s->scheme == ALWAYS || (s->scheme == FIRST && in->first)))
		buffer_put(b, s->meta, s->meta_len, slice_origin(in, 0, 1));
	size_t done = 0;
	const char *space;
	while ((space = memchr(in->text + done, ' ', in->len - done)) != NULL) {
		size_t at = (size_t)(space - in->text);
		buffer_copy(b, in, done, at);
		buffer_put(b, s->meta, s->meta_len, slice_origin(in, at, at + 1));
		done = at + 1;
	}
	buffer_copy(b, in, done, in->len);
}

static void spell(const struct slice *in, struct buffer *b)
{
	for (size_t i = 0; i < in->len; i++) {
		char bytes[4];
		size_t n = utf8_put(bytes, bpe_byte_char((unsigned char)in->text[i]));
		buffer_put(b, bytes, n, slice_origin(in, i, i + 1));
	}
}

static void unspell(const struct slice *in, struct buffer *b)
{
	for (const char *p = in->text; p < in->text + in->len;) {
		size_t start = (size_t)(p - in->text);
		char byte = (char)bpe_char_byte(utf8_next(&p));
		buffer_put(b, &byte, 1, slice_origin(in, start, (size_t)(p - in->text)));
	}
}

static int run_stage(const struct run *r, size_t k, const struct slice *in)
{
	if (k == r->p->n)
		return r->sink->word(r->sink->closure, in, r->e);
	const struct stage *s = &r->p->stage[k];
	struct buffer *b = &r->s->buffer[k];
	switch (s->kind) {
	case CUT:
		return run_cut(r, k, in);
	case SPACE:
		if (in->text[0] == ' ')
			return run_stage(r, k + 1, in);
		buffer_reset(b, r->mapped);
		buffer_put(b, " ", 1, slice_origin(in, 0, 1));
		buffer_copy(b, in, 0, in->len);
		break;
	case META:
		buffer_reset(b, r->mapped);
		rewrite_meta(s, in, b);
		break;
	case SPELL:
		buffer_reset(b, r->mapped);
		spell(in, b);
		break;
	case UNSPELL:
		buffer_reset(b, r->mapped);
		unspell(in, b);
		break;
	}
	struct slice out = buffer_slice(b, in);
	return run_stage(r, k + 1, &out);
}

int pretokenizer_run(const struct pretokenizer *p, struct pretokenizer_scratch *s,
		     const struct slice *in, bool mapped, const struct pretokenizer_sink *sink,
		     struct error *e)
{
	struct run r = { p, s, sink, mapped, e };
	return in->len == 0 ? 0 : run_stage(&r, 0, in);
}
