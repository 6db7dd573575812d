/* The table of a block's steps (block_steps.c), for block.c to take. */
#ifndef BLOCK_STEPS_H
#define BLOCK_STEPS_H

#include "block_tile.h"

enum { STEP_SITES = 3 };

/* Done by tile, or at once for the whole batch: one of the two is NULL. */
struct step {
	unsigned when;                  /* the step is taken if the layer has all that this names */
	void (*tile)(const struct tile *t);
	int (*batch)(struct block *b, struct error *e);
	enum site site[STEP_SITES];     /* whose rows it leaves behind, closed by SITE_NONE or the end */
};

extern const struct step block_steps[];
extern const size_t block_n_steps;

/* Whether this layer takes the step. */
bool block_takes(const struct block *b, const struct step *s);

/* (T, A D) turned queries, and what attention is to know, of this layer. */
struct rows block_queries(const struct block *b);
struct attention block_attention(const struct block *b);

#endif
