#include "bpe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "bpe_model.h"
#include "unicode.h"

#define FEW 40           /* symbols that a plain search merges faster than a heap */
#define CACHE_SLOTS 131072u
#define CACHE_PROBES 4
#define CACHE_WORD 96    /* the longest word that is kept */
#define CACHE_BYTES ((size_t)4 << 20)
#define CACHE_TOKENS ((size_t)1 << 19)

struct symbol {
	uint32_t id, start, end;
	uint32_t previous, next; /* of the heap's list; NOWHERE at its ends */
};

#define NOWHERE UINT32_MAX

struct candidate {
	uint64_t order; /* rank, then place: the lowest and leftmost is merged first */
	uint32_t id;
};

struct cached {
	uint64_t hash;
	uint32_t key, token; /* offsets */
	uint16_t len, n;
	uint32_t used;
};

struct bpe_scratch {
	struct symbol *symbol;
	size_t n_symbols, symbol_capacity;
	struct candidate *heap;
	size_t n_heap, heap_capacity;
	struct cached *slot;
	char *keys;
	struct bpe_token *tokens;
	size_t n_keys, n_tokens;
};

struct bpe_scratch *bpe_scratch_open(void)
{
	struct bpe_scratch *s = mem_zero(1, sizeof *s);
	s->slot = mem_zero(CACHE_SLOTS, sizeof *s->slot);
	s->keys = mem_alloc(CACHE_BYTES);
	s->tokens = mem_alloc(CACHE_TOKENS * sizeof *s->tokens);
	return s;
}

void bpe_scratch_close(struct bpe_scratch *s)
{
	if (s == NULL)
		return;
	free(s->symbol);
	free(s->heap);
	free(s->slot);
	free(s->keys);
	free(s->tokens);
	free(s);
}

static void add_symbol(struct bpe_scratch *s, uint32_t id, size_t start, size_t end)
{
	mem_grow((void **)&s->symbol, &s->symbol_capacity, s->n_symbols + 1, sizeof *s->symbol);
	s->symbol[s->n_symbols++] = (struct symbol){ id, (uint32_t)start, (uint32_t)end, 0, 0 };
}

/* Characters that the vocabulary lacks and that wait to be written as one unknown token. */
struct unknown {
	bool waits;
	size_t start, end;
};

static void add_unknown(const struct bpe *b, struct bpe_scratch *s, struct unknown *u)
{
	if (u->waits)
		add_symbol(s, b->unknown, u->start, u->end);
	u->waits = false;
}

static void add_missing(const struct bpe *b, struct bpe_scratch *s, const char *spelled,
			size_t n_spelled, size_t start, size_t end, struct unknown *u)
{
	bool fall_back = b->byte_fallback;
	for (size_t i = 0; fall_back && i < n_spelled; i++)
		fall_back = b->fallback[(unsigned char)spelled[i]] != VOCAB_NONE;
	if (fall_back) {
		/* An unknown token that waits comes after these bytes, as in the library. */
		for (size_t i = 0; i < n_spelled; i++)
			add_symbol(s, b->fallback[(unsigned char)spelled[i]],
				   start + i < end ? start + i : end - 1,
				   start + i < end ? start + i + 1 : end);
		return;
	}
	if (b->unknown == VOCAB_NONE)
		return;
	if (u->waits && b->fuse_unknown) {
		u->end = end;
		return;
	}
	add_unknown(b, s, u);
	*u = (struct unknown){ true, start, end };
}

/* One symbol a byte or character. */
static void spell(const struct bpe *b, struct bpe_scratch *s, const char *word, size_t len)
{
	struct unknown u = { false, 0, 0 };
	s->n_symbols = 0;
	for (size_t i = 0; i < len;) {
		size_t n = b->bytes ? 1 : utf8_size(word[i]);
		uint32_t id = n == 1 ? b->single[(unsigned char)word[i]]
				     : vocab_find(b->word, word + i, n);
		if (id != VOCAB_NONE) {
			add_unknown(b, s, &u);
			add_symbol(s, id, i, i + n);
		} else if (b->bytes) {
			char spelled[4];
			size_t k = utf8_put(spelled, bpe_byte_char((unsigned char)word[i]));
			add_missing(b, s, spelled, k, i, i + 1, &u);
		} else {
			add_missing(b, s, word + i, n, i, i + n, &u);
		}
		i += n;
	}
	add_unknown(b, s, &u);
}

/* Repeatedly the lowest rank, leftmost first, by looking at all pairs. */
static void merge_few(const struct bpe *b, struct bpe_scratch *s)
{
	struct symbol *y = s->symbol;
	size_t n = s->n_symbols;
	struct bpe_merge merge[FEW];
	for (size_t i = 0; i + 1 < n; i++)
		merge[i] = bpe_merge_of(b, y[i].id, y[i + 1].id);
	while (n > 1) {
		size_t best = 0;
		for (size_t i = 1; i + 1 < n; i++)
			if (merge[i].rank < merge[best].rank)
				best = i;
		if (merge[best].rank == BPE_NEVER)
			break;
		y[best].id = merge[best].id;
		y[best].end = y[best + 1].end;
		n--;
		memmove(y + best + 1, y + best + 2, (n - best - 1) * sizeof *y);
		if (best + 1 < n) {
			memmove(merge + best + 1, merge + best + 2,
				(n - best - 2) * sizeof *merge);
			merge[best] = bpe_merge_of(b, y[best].id, y[best + 1].id);
		}
		if (best > 0)
			merge[best - 1] = bpe_merge_of(b, y[best - 1].id, y[best].id);
	}
	s->n_symbols = n;
}

static void push(struct bpe_scratch *s, const struct bpe *b, uint32_t at)
{
	uint32_t next = s->symbol[at].next;
	if (next == NOWHERE)
		return;
	struct bpe_merge m = bpe_merge_of(b, s->symbol[at].id, s->symbol[next].id);
	if (m.rank == BPE_NEVER)
		return;
	struct candidate c = { (uint64_t)m.rank << 32 | at, m.id };
	mem_grow((void **)&s->heap, &s->heap_capacity, s->n_heap + 1, sizeof *s->heap);
	size_t i = s->n_heap++;
	for (; i > 0 && s->heap[(i - 1) / 2].order > c.order; i = (i - 1) / 2)
		s->heap[i] = s->heap[(i - 1) / 2];
	s->heap[i] = c;
}

static struct candidate pop(struct bpe_scratch *s)
{
	struct candidate top = s->heap[0], c = s->heap[--s->n_heap];
	size_t i = 0;
	for (size_t child = 1; child < s->n_heap; child = 2 * i + 1) {
		if (child + 1 < s->n_heap && s->heap[child + 1].order < s->heap[child].order)
			child++;
		if (c.order <= s->heap[child].order)
			break;
		s->heap[i] = s->heap[child];
		i = child;
	}
	s->heap[i] = c;
	return top;
}

/* The same through a heap.  An entry is stale unless its pair still gives its token. */
static void merge_many(const struct bpe *b, struct bpe_scratch *s)
{
	size_t n = s->n_symbols;
	for (size_t i = 0; i < n; i++) {
		s->symbol[i].previous = i == 0 ? NOWHERE : (uint32_t)i - 1;
		s->symbol[i].next = i + 1 == n ? NOWHERE : (uint32_t)i + 1;
	}
	s->n_heap = 0;
	for (size_t i = 0; i + 1 < n; i++)
		push(s, b, (uint32_t)i);
	while (s->n_heap > 0) {
		struct candidate c = pop(s);
		uint32_t at = (uint32_t)c.order;
		struct symbol *left = &s->symbol[at];
		if (left->id == VOCAB_NONE || left->next == NOWHERE)
			continue;
		struct symbol *right = &s->symbol[left->next];
		if (bpe_merge_of(b, left->id, right->id).rank == BPE_NEVER ||
		    bpe_merge_of(b, left->id, right->id).id != c.id)
			continue;
		left->id = c.id;
		left->end = right->end;
		left->next = right->next;
		right->id = VOCAB_NONE;
		if (left->next != NOWHERE)
			s->symbol[left->next].previous = at;
		if (left->previous != NOWHERE)
			push(s, b, left->previous);
		push(s, b, at);
	}
	size_t kept = 0;
	for (size_t i = 0; i < n; i++)
		if (s->symbol[i].id != VOCAB_NONE)
			s->symbol[kept++] = s->symbol[i];
	s->n_symbols = kept;
}

static void append(struct bpe_tokens *out, const struct bpe_token *t, size_t n)
{
	mem_grow((void **)&out->token, &out->capacity, out->n + n, sizeof *t);
	memcpy(out->token + out->n, t, n * sizeof *t);
	out->n += n;
}

/* Tokens of word[0..len), which begins `base` bytes into what the caller calls the word. */
static void encode_new(const struct bpe *b, struct bpe_scratch *s, const char *word, size_t len,
		       struct bpe_tokens *out)
{
	spell(b, s, word, len);
	if (s->n_symbols <= FEW)
		merge_few(b, s);
	else
		merge_many(b, s);
	mem_grow((void **)&out->token, &out->capacity, out->n + s->n_symbols, sizeof *out->token);
	for (size_t i = 0; i < s->n_symbols; i++)
		out->token[out->n++] = (struct bpe_token){ s->symbol[i].id, s->symbol[i].start,
							   s->symbol[i].end };
}

static void cache_clear(struct bpe_scratch *s)
{
	memset(s->slot, 0, CACHE_SLOTS * sizeof *s->slot);
	s->n_keys = s->n_tokens = 0;
}

/* Keeps what was just found; a crowded place loses what it held. */
static void cache_add(struct bpe_scratch *s, const char *word, size_t len, uint64_t hash,
		      const struct bpe_token *t, size_t n)
{
	if (s->n_keys + len > CACHE_BYTES || s->n_tokens + n > CACHE_TOKENS)
		cache_clear(s);
	struct cached *c = NULL;
	for (unsigned i = 0; i < CACHE_PROBES; i++) {
		c = &s->slot[(hash + i) % CACHE_SLOTS];
		if (!c->used)
			break;
	}
	*c = (struct cached){ hash, (uint32_t)s->n_keys, (uint32_t)s->n_tokens, (uint16_t)len,
			      (uint16_t)n, 1 };
	memcpy(s->keys + s->n_keys, word, len);
	memcpy(s->tokens + s->n_tokens, t, n * sizeof *t);
	s->n_keys += len;
	s->n_tokens += n;
}

static const struct cached *cache_find(const struct bpe_scratch *s, const char *word, size_t len,
				       uint64_t hash)
{
	for (unsigned i = 0; i < CACHE_PROBES; i++) {
		const struct cached *c = &s->slot[(hash + i) % CACHE_SLOTS];
		if (c->hash == hash && c->len == len &&
		    memcmp(s->keys + c->key, word, len) == 0 && c->used)
			return c;
	}
	return NULL;
}

/* A word, or a part of one at whose ends nothing merges. */
static void encode_part(const struct bpe *b, struct bpe_scratch *s, const char *word, size_t len,
			struct bpe_tokens *out)
{
	if (len > CACHE_WORD) {
		encode_new(b, s, word, len, out);
		return;
	}
	uint64_t hash = vocab_hash(word, len);
	const struct cached *c = cache_find(s, word, len, hash);
	if (c != NULL) {
		append(out, s->tokens + c->token, c->n);
		return;
	}
	size_t before = out->n;
	encode_new(b, s, word, len, out);
	if (out->n > before)
		cache_add(s, word, len, hash, out->token + before, out->n - before);
}

/* The end of the part that begins at `start`: before the next meta space that nothing merges
 * with on its left. */
static size_t part_end(const struct bpe *b, const char *word, size_t len, size_t start)
{
	for (size_t i = start + 1; i + 3 <= len; i++) {
		if (memcmp(word + i, BPE_META, 3) != 0)
			continue;
		size_t before = i - 1;
		while (before > start && !utf8_is_lead(word[before]))
			before--;
		const char *p = word + before;
		uint32_t c = utf8_next(&p);
		if (!(b->joins[c / 8] >> (c % 8) & 1))
			return i;
	}
	return len;
}

void bpe_encode(const struct bpe *b, struct bpe_scratch *s, const char *word, size_t len,
		struct bpe_tokens *out)
{
	if (b->ignore_merges) {
		uint32_t id = vocab_find(b->word, word, len);
		if (id != VOCAB_NONE) {
			append(out, &(struct bpe_token){ id, 0, (uint32_t)len }, 1);
			return;
		}
	}
	if (b->joins == NULL) {
		encode_part(b, s, word, len, out);
		return;
	}
	for (size_t start = 0; start < len;) {
		size_t end = part_end(b, word, len, start), before = out->n;
		encode_part(b, s, word + start, end - start, out);
		for (size_t i = before; i < out->n; i++) {
			out->token[i].start += (uint32_t)start;
			out->token[i].end += (uint32_t)start;
		}
		start = end;
	}
}
