#include "vocab.h"

#include <stdlib.h>

#include "memory.h"

void vocab_init(struct vocab *v, size_t count)
{
	*v = (struct vocab){ 0 };
	size_t slots = 16;
	while (slots < 2 * count)
		slots *= 2;
	v->slot = mem_alloc(slots * sizeof *v->slot);
	memset(v->slot, 0xff, slots * sizeof *v->slot);
	v->mask = slots - 1;
}

/* Where the string is, or the empty slot where it belongs. */
static struct vocab_slot *place(const struct vocab *v, const char *s, size_t len)
{
	uint64_t h = vocab_hash(s, len);
	for (size_t i = h & v->mask;; i = (i + 1) & v->mask) {
		struct vocab_slot *slot = &v->slot[i];
		if (slot->id == VOCAB_NONE)
			return slot;
		const struct vocab_text *t = &v->text[slot->id];
		if (slot->tag == (uint32_t)(h >> 32) && t->len == len &&
		    memcmp(v->pool + t->at, s, len) == 0)
			return slot;
	}
}

static void grow(struct vocab *v)
{
	struct vocab bigger = *v;
	size_t slots = 2 * (v->mask + 1);
	bigger.slot = mem_alloc(slots * sizeof *v->slot);
	memset(bigger.slot, 0xff, slots * sizeof *v->slot);
	bigger.mask = slots - 1;
	for (size_t i = 0; i <= v->mask; i++) {
		uint32_t id = v->slot[i].id;
		if (id == VOCAB_NONE)
			continue;
		const struct vocab_text *t = &v->text[id];
		*place(&bigger, v->pool + t->at, t->len) = v->slot[i];
	}
	free(v->slot);
	*v = bigger;
}

int vocab_add(struct vocab *v, const char *s, size_t len, uint64_t id, struct error *e)
{
	if (id >= VOCAB_MOST_IDS)
		return error_set(e, "the token id %llu is not below %zu", (unsigned long long)id,
				 VOCAB_MOST_IDS);
	if (len > UINT32_MAX)
		return error_set(e, "a token of %zu bytes", len);
	if (2 * (v->count + 1) > v->mask)
		grow(v);
	if (id >= v->n_ids) {
		mem_grow((void **)&v->text, &v->text_capacity, (size_t)id + 1, sizeof *v->text);
		memset(v->text + v->n_ids, 0, ((size_t)id + 1 - v->n_ids) * sizeof *v->text);
		v->n_ids = (size_t)id + 1;
	}
	if (v->text[id].is)
		return error_set(e, "two tokens have the id %llu", (unsigned long long)id);
	struct vocab_slot *slot = place(v, s, len);
	if (slot->id != VOCAB_NONE)
		return error_set(e, "the token '%.*s' is there twice", len < 80 ? (int)len : 80, s);
	mem_grow((void **)&v->pool, &v->pool_capacity, v->pool_len + len, 1);
	if (len > 0)
		memcpy(v->pool + v->pool_len, s, len);
	v->text[id] = (struct vocab_text){ v->pool_len, (uint32_t)len, 1 };
	v->pool_len += len;
	*slot = (struct vocab_slot){ (uint32_t)(vocab_hash(s, len) >> 32), (uint32_t)id };
	v->count++;
	return 0;
}

uint32_t vocab_find(const struct vocab *v, const char *s, size_t len)
{
	return place(v, s, len)->id;
}

const char *vocab_text(const struct vocab *v, uint32_t id, size_t *len)
{
	if (id >= v->n_ids || !v->text[id].is)
		return NULL;
	*len = v->text[id].len;
	return v->pool + v->text[id].at;
}

void vocab_release(struct vocab *v)
{
	free(v->pool);
	free(v->text);
	free(v->slot);
	*v = (struct vocab){ 0 };
}
