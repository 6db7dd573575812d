#include "bpe_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "unicode.h"

#define MOST_MERGES ((size_t)1 << 24)

static bool printable(uint32_t c)
{
	return (c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xac) || (c >= 0xae && c <= 0xff);
}

/* The other 68 bytes follow U+0100 in order: 0..32, 127..160, 173. */
uint32_t bpe_byte_char(unsigned char byte)
{
	if (printable(byte))
		return byte;
	if (byte <= 32)
		return 0x100u + byte;
	return byte == 173 ? 0x143u : 0x121u + (byte - 127u);
}

int bpe_char_byte(uint32_t c)
{
	if (printable(c))
		return (int)c;
	if (c >= 0x100 && c <= 0x120)
		return (int)c - 0x100;
	if (c >= 0x121 && c <= 0x142)
		return (int)c - 0x121 + 127;
	return c == 0x143 ? 173 : -1;
}

/* The bytes that a token's printable characters stand for; false if some stand for none. */
static bool token_bytes(const char *s, size_t len, char *to, size_t *n)
{
	*n = 0;
	for (const char *p = s; p < s + len;) {
		int byte = bpe_char_byte(utf8_next(&p));
		if (byte < 0)
			return false;
		to[(*n)++] = (char)byte;
	}
	return true;
}

static int read_vocab(struct bpe *b, const struct json *object, struct error *e)
{
	const char *key;
	void *at = NULL;
	const struct json *v;
	vocab_init(&b->vocab, json_count(object));
	if (b->bytes)
		vocab_init(&b->spelled, json_count(object));
	char *bytes = NULL;
	size_t capacity = 0, n;
	int rc = 0;
	while (rc == 0 && (v = json_each(object, &at, &key)) != NULL) {
		int64_t id;
		size_t len = strlen(key);
		if (json_int(v, 0, UINT32_MAX, &id) < 0) {
			rc = error_set(e, "model.vocab: the id of '%.80s' is not a token id", key);
			break;
		}
		rc = vocab_add(&b->vocab, key, len, (uint64_t)id, e);
		mem_grow((void **)&bytes, &capacity, len + 1, 1);
		if (rc == 0 && b->bytes && token_bytes(key, len, bytes, &n))
			rc = vocab_add(&b->spelled, bytes, n, (uint64_t)id, e);
		if (rc < 0)
			error_in(e, "model.vocab");
	}
	free(bytes);
	b->word = b->bytes ? &b->spelled : &b->vocab;
	return rc;
}

static void find_singles(struct bpe *b)
{
	for (unsigned i = 0; i < 256; i++) {
		char c = (char)i, name[8];
		b->single[i] = b->bytes || i < 0x80 ? vocab_find(b->word, &c, 1) : VOCAB_NONE;
		snprintf(name, sizeof name, "<0x%02X>", i);
		b->fallback[i] = vocab_find(&b->vocab, name, 6);
	}
}

/* The two halves of a merge: "a b" or ["a", "b"].  0, or -1 without a message. */
static int halves(const struct json *m, const char *half[2], size_t len[2])
{
	if (json_kind(m) == JSON_KIND_ARRAY && json_count(m) == 2) {
		for (size_t i = 0; i < 2; i++)
			if ((half[i] = json_text(json_at(m, i), &len[i])) == NULL)
				return -1;
		return 0;
	}
	size_t n;
	const char *s = json_text(m, &n);
	const char *space = s == NULL ? NULL : memchr(s, ' ', n);
	if (space == NULL)
		return -1;
	half[0] = s;
	len[0] = (size_t)(space - s);
	half[1] = space + 1;
	len[1] = n - len[0] - 1;
	return memchr(half[1], ' ', len[1]) == NULL ? 0 : -1;
}

static void put_pair(struct bpe *b, uint64_t key, uint32_t rank, uint32_t id)
{
	size_t i = bpe_pair_slot(b, key);
	while (b->pair[i].key != key && b->pair[i].key != UINT64_MAX)
		i = (i + 1) & b->pair_mask;
	b->pair[i] = (struct bpe_pair){ key, { rank, id } };
}

/* Notes that a merge reaches over the place before a meta space. */
static void note_join(struct bpe *b, const char *left, size_t len, const char *right,
		      size_t right_len)
{
	if (right_len < 3 || memcmp(right, BPE_META, 3) != 0 || len == 0)
		return;
	const char *p = left + len - 1;
	while (p > left && !utf8_is_lead(*p))
		p--;
	uint32_t c = utf8_next(&p);
	b->joins[c / 8] |= (uint8_t)(1u << (c % 8));
}

static int read_merge(struct bpe *b, const struct json *m, size_t rank, bool *odd,
		      struct error *e)
{
	const char *half[2];
	size_t len[2];
	uint32_t id[2];
	if (halves(m, half, len) < 0)
		return error_set(e, "model.merges[%zu] is not two tokens", rank);
	for (size_t i = 0; i < 2; i++) {
		id[i] = vocab_find(&b->vocab, half[i], len[i]);
		if (id[i] == VOCAB_NONE)
			return error_set(e, "model.merges[%zu]: '%.*s' is not in the vocabulary",
					 rank, len[i] < 80 ? (int)len[i] : 80, half[i]);
		/* Symbols of unknown characters do not end in the text of their token. */
		if (id[i] == b->unknown ||
		    (len[i] == 6 && memcmp(half[i], "<0x", 3) == 0 && half[i][5] == '>'))
			*odd = true;
	}
	char *whole = mem_alloc(len[0] + len[1] + 1);
	memcpy(whole, half[0], len[0]);
	memcpy(whole + len[0], half[1], len[1]);
	uint32_t merged = vocab_find(&b->vocab, whole, len[0] + len[1]);
	free(whole);
	if (merged == VOCAB_NONE)
		return error_set(e, "model.merges[%zu]: '%.*s%.*s' is not in the vocabulary", rank,
				 len[0] < 80 ? (int)len[0] : 80, half[0],
				 len[1] < 80 ? (int)len[1] : 80, half[1]);
	put_pair(b, (uint64_t)id[0] << 32 | id[1], (uint32_t)rank, merged);
	if (b->joins != NULL)
		note_join(b, half[0], len[0], half[1], len[1]);
	return 0;
}

static int read_merges(struct bpe *b, const struct json *merges, struct error *e)
{
	size_t n = json_count(merges), slots = 16;
	if (n > MOST_MERGES)
		return error_set(e, "model.merges has %zu entries, at most %zu are read", n,
				 MOST_MERGES);
	while (slots < 2 * n)
		slots *= 2;
	b->pair = mem_alloc(slots * sizeof *b->pair);
	b->pair_mask = slots - 1;
	for (size_t i = 0; i < slots; i++)
		b->pair[i] = (struct bpe_pair){ UINT64_MAX, { BPE_NEVER, BPE_NEVER } };
	/* Without the meta space in the vocabulary it would be an unknown character itself. */
	if (!b->bytes && vocab_find(&b->vocab, BPE_META, 3) != VOCAB_NONE)
		b->joins = mem_zero(UNICODE_N / 8, 1);
	bool odd = false;
	size_t rank = 0;
	for (size_t i = 0; i < n; i++) {
		const struct json *m = json_at(merges, i);
		const char *line = json_text(m, NULL);
		if (line != NULL && strncmp(line, "#version", 8) == 0)
			continue;
		if (read_merge(b, m, rank++, &odd, e) < 0)
			return -1;
	}
	if (odd) {
		free(b->joins);
		b->joins = NULL;
	}
	return 0;
}

static int read_unknown(struct bpe *b, const struct json *model, struct error *e)
{
	const char *name = NULL;
	size_t len;
	b->unknown = VOCAB_NONE;
	if (json_get_text(model, "unk_token", &name, &len, e) < 0)
		return -1;
	if (name == NULL)
		return 0;
	b->unknown = vocab_find(&b->vocab, name, len);
	if (b->unknown == VOCAB_NONE)
		return error_set(e, "model.unk_token '%.80s' is not in the vocabulary", name);
	return 0;
}

/* Options that change the tokens and that no language model's file sets. */
static int refuse_unread(const struct json *model, struct error *e)
{
	const char *type = NULL, *text = NULL;
	double dropout = 0;
	if (json_get_text(model, "type", &type, NULL, e) < 0)
		return -1;
	if (type != NULL && strcmp(type, "BPE") != 0)
		return error_set(e, "model.type is '%.80s'; only BPE is read", type);
	if (json_get_double(model, "dropout", &dropout, e) < 0)
		return -1;
	if (dropout != 0)
		return error_set(e, "model.dropout is %g; tokens would be random", dropout);
	static const char *const affixes[] = { "continuing_subword_prefix", "end_of_word_suffix" };
	for (size_t i = 0; i < ARRAY_LEN(affixes); i++) {
		if (json_get_text(model, affixes[i], &text, NULL, e) < 0)
			return -1;
		if (text != NULL && text[0] != '\0')
			return error_set(e, "model.%s is '%.80s'; only an empty one is read",
					 affixes[i], text);
	}
	return 0;
}

static int read_model(struct bpe *b, const struct json *model, struct error *e)
{
	const struct json *vocab = NULL, *merges = NULL;
	if (json_kind(model) != JSON_KIND_OBJECT)
		return error_set(e, "'model' is %s where an object is due", json_kind_name(model));
	if (refuse_unread(model, e) < 0 ||
	    json_get(model, "vocab", JSON_KIND_OBJECT, &vocab, e) < 0 ||
	    json_get(model, "merges", JSON_KIND_ARRAY, &merges, e) < 0 ||
	    json_get_bool(model, "byte_fallback", &b->byte_fallback, e) < 0 ||
	    json_get_bool(model, "fuse_unk", &b->fuse_unknown, e) < 0 ||
	    json_get_bool(model, "ignore_merges", &b->ignore_merges, e) < 0)
		return error_in(e, "model");
	if (vocab == NULL || merges == NULL)
		return error_set(e, "model has no '%s'", vocab == NULL ? "vocab" : "merges");
	if (read_vocab(b, vocab, e) < 0 || read_unknown(b, model, e) < 0)
		return -1;
	find_singles(b);
	return read_merges(b, merges, e);
}

int bpe_open(const struct json *model, bool bytes, struct bpe **out, struct error *e)
{
	struct bpe *b = mem_zero(1, sizeof *b);
	b->bytes = bytes;
	if (read_model(b, model, e) < 0) {
		bpe_close(b);
		return -1;
	}
	*out = b;
	return 0;
}

void bpe_close(struct bpe *b)
{
	if (b == NULL)
		return;
	vocab_release(&b->vocab);
	vocab_release(&b->spelled);
	free(b->pair);
	free(b->joins);
	free(b);
}

const struct vocab *bpe_vocab(const struct bpe *b)
{
	return &b->vocab;
}
