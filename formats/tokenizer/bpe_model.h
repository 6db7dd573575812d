/*
 * The tables of one byte pair encoding: filled by bpe_model.c, used by bpe.c alone.
 */
#ifndef BPE_MODEL_H
#define BPE_MODEL_H

#include "bpe.h"

#define BPE_NEVER UINT32_MAX
#define BPE_META "\xe2\x96\x81" /* U+2581, SentencePiece's space */

struct bpe_merge {
	uint32_t rank, id; /* rank BPE_NEVER: the two do not merge */
};

struct bpe_pair {
	uint64_t key; /* left id << 32 | right id; all ones in an empty slot */
	struct bpe_merge merge;
};

struct bpe {
	bool bytes, byte_fallback, fuse_unknown, ignore_merges;
	struct vocab vocab;         /* as the file spells it */
	struct vocab spelled;       /* with `bytes`: the same tokens as the bytes that they mean */
	const struct vocab *word;   /* the one that words are looked up in */
	uint32_t unknown;           /* or VOCAB_NONE */
	uint32_t single[256];       /* the token of one byte (with `bytes`) or ASCII character */
	uint32_t fallback[256];     /* <0x00> to <0xFF>, or VOCAB_NONE */
	struct bpe_pair *pair;
	size_t pair_mask;
	uint8_t *joins; /* NULL, or a bit a code point: some merge joins it to a meta space */
};

static inline size_t bpe_pair_slot(const struct bpe *b, uint64_t key)
{
	uint64_t h = key * 0x9e3779b97f4a7c15u;
	return (size_t)(h ^ h >> 32) & b->pair_mask;
}

static inline struct bpe_merge bpe_merge_of(const struct bpe *b, uint32_t left, uint32_t right)
{
	uint64_t key = (uint64_t)left << 32 | right;
	size_t i = bpe_pair_slot(b, key);
	while (b->pair[i].key != key && b->pair[i].key != UINT64_MAX)
		i = (i + 1) & b->pair_mask;
	return b->pair[i].merge;
}

#endif
