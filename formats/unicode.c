#include "unicode.h"

#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "memory.h"
#include "unicode_tables.h"

#define HANGUL_FIRST 0xac00u
#define HANGUL_LAST 0xd7a3u
#define MOST_PARTS 64 /* code points of one full decomposition; the longest known has 18 */

/* Per code point, under one normal form. */
#define STARTS 1u  /* never joins or passes what stands before it */
#define CHANGES 2u /* alone, it becomes something else */
#define INERT 4u   /* newer than the form's Unicode */

struct unicode_normal {
	enum unicode_form form;
	uint8_t is[UNICODE_N];
};

size_t utf8_check(const char *text, size_t len)
{
	const unsigned char *u = (const unsigned char *)text;
	size_t i = 0;
	while (i < len) {
		uint64_t word;
		if (len - i >= sizeof word) {
			memcpy(&word, u + i, sizeof word);
			if ((word & 0x8080808080808080u) == 0) {
				i += sizeof word;
				continue;
			}
		}
		if (u[i] < 0x80) {
			i++;
			continue;
		}
		size_t n = u[i] < 0xc2 || u[i] > 0xf4 ? 0 : utf8_size(text[i]);
		if (n == 0 || n > len - i)
			return i;
		unsigned lo = u[i] == 0xe0 ? 0xa0 : u[i] == 0xf0 ? 0x90 : 0x80;
		unsigned hi = u[i] == 0xed ? 0x9f : u[i] == 0xf4 ? 0x8f : 0xbf;
		if (u[i + 1] < lo || u[i + 1] > hi)
			return i;
		for (size_t k = 2; k < n; k++)
			if ((u[i + k] & 0xc0) != 0x80)
				return i;
		i += n;
	}
	return len;
}

size_t utf8_put(char to[4], uint32_t c)
{
	if (c < 0x80) {
		to[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		to[0] = (char)(0xc0 | c >> 6);
		to[1] = (char)(0x80 | (c & 63));
		return 2;
	}
	if (c < 0x10000) {
		to[0] = (char)(0xe0 | c >> 12);
		to[1] = (char)(0x80 | (c >> 6 & 63));
		to[2] = (char)(0x80 | (c & 63));
		return 3;
	}
	to[0] = (char)(0xf0 | c >> 18);
	to[1] = (char)(0x80 | (c >> 12 & 63));
	to[2] = (char)(0x80 | (c >> 6 & 63));
	to[3] = (char)(0x80 | (c & 63));
	return 4;
}

bool unicode_run(size_t i, uint32_t *start, uint32_t *end, unsigned *properties)
{
	if (i >= unicode_n_runs)
		return false;
	*start = unicode_runs[i] >> 11;
	*end = i + 1 < unicode_n_runs ? unicode_runs[i + 1] >> 11 : UNICODE_N;
	*properties = unicode_runs[i] & 0x7ff;
	return true;
}

unsigned unicode_properties(uint32_t c)
{
	size_t lo = 0, hi = unicode_n_runs;
	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;
		if (unicode_runs[mid] >> 11 <= c)
			lo = mid;
		else
			hi = mid;
	}
	return unicode_runs[lo] & 0x7ff;
}

bool unicode_space(uint32_t c)
{
	return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 ||
	       (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
	       c == 0x205f || c == 0x3000;
}

uint32_t unicode_lower(uint32_t c)
{
	return (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
}

uint32_t unicode_upper(uint32_t c)
{
	return (uint32_t)utf8proc_toupper((utf8proc_int32_t)c);
}

static unsigned combining(utf8proc_int32_t c)
{
	return (unsigned)utf8proc_get_property(c)->combining_class;
}

static size_t decompose(const struct unicode_normal *n, uint32_t c, utf8proc_int32_t *to)
{
	bool compatible = n->form == UNICODE_NFKC || n->form == UNICODE_NFKD;
	int how = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0);
	int boundary = 0;
	utf8proc_ssize_t parts = utf8proc_decompose_char((utf8proc_int32_t)c, to, MOST_PARTS,
							 (utf8proc_option_t)how, &boundary);
	if (parts >= 1 && parts <= MOST_PARTS)
		return (size_t)parts;
	to[0] = (utf8proc_int32_t)c;
	return 1;
}

static size_t compose(const struct unicode_normal *n, utf8proc_int32_t *c, size_t count)
{
	if (n->form == UNICODE_NFD || n->form == UNICODE_NFKD)
		return count;
	return (size_t)utf8proc_normalize_utf32(c, (utf8proc_ssize_t)count,
						UTF8PROC_STABLE | UTF8PROC_COMPOSE);
}

static void classify(struct unicode_normal *n, uint32_t c)
{
	utf8proc_int32_t part[MOST_PARTS];
	size_t count = decompose(n, c, part);
	bool same = count == 1 && (uint32_t)part[0] == c;
	if (combining(part[0]) != 0)
		n->is[c] &= (uint8_t)~STARTS;
	if (same)
		return;
	/* All but the first part of something that composes may join what stands before. */
	utf8proc_int32_t whole[MOST_PARTS];
	memcpy(whole, part, count * sizeof *part);
	if (compose(n, whole, count) == 1 && (uint32_t)whole[0] == c) {
		for (size_t i = 1; i < count; i++)
			n->is[part[i]] &= (uint8_t)~STARTS;
		return;
	}
	n->is[c] |= CHANGES;
}

struct unicode_normal *unicode_normal_open(enum unicode_form form)
{
	struct unicode_normal *n = mem_alloc(sizeof *n);
	n->form = form;
	memset(n->is, STARTS, sizeof n->is);
	for (uint32_t c = 0xa0; c < 0x30000; c++)
		if (c < 0xd800 || c > 0xdfff)
			classify(n, c);
	/* What changes into something that joins does join (U+314F becomes a vowel jamo). */
	for (uint32_t c = 0xa0; c < 0x30000; c++) {
		utf8proc_int32_t part[MOST_PARTS];
		if (n->is[c] & CHANGES && decompose(n, c, part) > 0 && !(n->is[part[0]] & STARTS))
			n->is[c] &= (uint8_t)~STARTS;
	}
	for (size_t i = 0; i < unicode_n_inert; i++)
		for (uint32_t c = unicode_inert[i][0]; c <= unicode_inert[i][1]; c++)
			n->is[c] = STARTS | INERT;
	return n;
}

void unicode_normal_close(struct unicode_normal *n)
{
	free(n);
}

/* The end of the stretch that begins at p and that no later character can reach into. */
static const char *stretch(const struct unicode_normal *n, const char *p, const char *end,
			   bool *plain)
{
	uint32_t c = utf8_next(&p);
	*plain = n->is[c] == STARTS || (n->is[c] & INERT);
	if (n->is[c] & INERT)
		return p;
	while (p < end) {
		const char *next = p;
		c = utf8_next(&next);
		if (n->is[c] & STARTS)
			return p;
		*plain = false;
		p = next;
	}
	return p;
}

/* A mark that follows an inert character has nothing to join, but marks still change order. */
bool unicode_is_normal(const struct unicode_normal *n, const struct slice *in)
{
	const char *p = in->text, *end = p + in->len;
	while (p < end) {
		if ((unsigned char)*p < 0x80) {
			p++;
			continue;
		}
		if (n->is[utf8_next(&p)] == STARTS)
			continue;
		return false;
	}
	return true;
}

static void sort_marks(utf8proc_int32_t *c, size_t n, utf8proc_int32_t *spare)
{
	size_t at[257] = { 0 };
	for (size_t i = 0; i < n; i++)
		at[combining(c[i]) + 1]++;
	for (size_t i = 1; i < 257; i++)
		at[i] += at[i - 1];
	for (size_t i = 0; i < n; i++)
		spare[at[combining(c[i])]++] = c[i];
	memcpy(c, spare, n * sizeof *c);
}

/* Counting keeps equal classes in order and a hostile run of marks linear. */
static void order_marks(utf8proc_int32_t *c, size_t n, utf8proc_int32_t *spare)
{
	for (size_t i = 0; i < n;) {
		size_t k = i;
		bool sorted = true;
		for (; k < n && combining(c[k]) != 0; k++)
			if (k > i && combining(c[k]) < combining(c[k - 1]))
				sorted = false;
		if (!sorted)
			sort_marks(c + i, k - i, spare);
		i = k + (k == i);
	}
}

static void normalize_stretch(const struct unicode_normal *n, const struct slice *in, size_t start,
			      size_t end, struct buffer *out)
{
	size_t capacity = 0, count = 0;
	utf8proc_int32_t small[4 * MOST_PARTS], *c = NULL;
	const char *p = in->text + start;
	bool fits = (end - start) / 2 <= 1;
	while (p < in->text + end) {
		if (!fits)
			mem_grow((void **)&c, &capacity, 2 * (count + MOST_PARTS), sizeof *c);
		count += decompose(n, utf8_next(&p), (fits ? small : c) + count);
	}
	utf8proc_int32_t *at = fits ? small : c;
	order_marks(at, count, at + count);
	count = compose(n, at, count);
	struct origin from = slice_origin(in, start, end);
	for (size_t i = 0; i < count; i++) {
		char bytes[4];
		buffer_put(out, bytes, utf8_put(bytes, (uint32_t)at[i]), from);
	}
	free(c);
}

void unicode_normalize(const struct unicode_normal *n, const struct slice *in, struct buffer *out)
{
	const char *p = in->text, *end = p + in->len, *copied = p;
	while (p < end) {
		bool plain;
		const char *next = stretch(n, p, end, &plain);
		if (!plain) {
			buffer_copy(out, in, (size_t)(copied - in->text), (size_t)(p - in->text));
			normalize_stretch(n, in, (size_t)(p - in->text),
					  (size_t)(next - in->text), out);
			copied = next;
		}
		p = next;
	}
	buffer_copy(out, in, (size_t)(copied - in->text), in->len);
}
