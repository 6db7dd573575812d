/*
 * Sites: the named places of the model where rows can be read, filtered and patched.  A site is a row of
 * site.c's table; aliases of other tools are rows of aliases.tsv.
 */
#ifndef SITE_H
#define SITE_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"

struct model;

/* In the order of the forward pass. */
enum site {
	SITE_EMBED,
	SITE_RESID_PRE, SITE_ATTN_NORM, SITE_Q, SITE_K, SITE_V, SITE_Q_ROT, SITE_K_ROT,
	SITE_ATTN_SCORES, SITE_ATTN_PROBS, SITE_ATTN_CTX, SITE_ATTN_PROJ, SITE_ATTN_OUT, SITE_RESID_MID,
	SITE_MLP_NORM, SITE_MLP_GATE, SITE_MLP_UP, SITE_MLP_ACT,
	SITE_ROUTER_LOGITS, SITE_ROUTER_WEIGHTS, SITE_EXPERT_IDX, SITE_EXPERT_OUT,
	SITE_MLP_OUT, SITE_RESID_POST,
	SITE_FINAL_NORM, SITE_LOGITS,
	SITE_COUNT,
	SITE_NONE = SITE_COUNT
};

const char *site_name(enum site s);

/* By our name or, failing that, an alias (an alias never shadows one of our names); SITE_NONE if unknown. */
enum site site_find(const char *name, size_t len);

/* The program that owns the site: "embed", "layer-run" or "unembed". */
const char *site_program(enum site s);

/* Inside the block, so that it has a layer. */
bool site_in_block(enum site s);

/* Whether the model has it in that layer (layer is ignored outside the block). */
bool site_exists(enum site s, const struct model *m, size_t layer);

/* Rows of this site are as long as their sample: attn_scores, attn_probs. */
bool site_by_length(enum site s);

/* The shape of one row: at most FRAME_DIMS dims into dim, their number returned.  A dimension that is the
 * sample's length (attn_scores, attn_probs) is given as 0. */
int site_shape(enum site s, const struct model *m, size_t dim[]);
/* Elements of one row; 0 where the sample's length is a dimension. */
size_t site_width(enum site s, const struct model *m);

/* -------- what the command line says: SITE[,SITE...][@LAYERS][/POOL]=FILE */

/* LAYERS: 3  0-5  0-30:5  3,7,-1  all.  set (n_layers) receives true for each one named. */
int layers_parse(const char *text, size_t len, size_t n_layers, bool *set, struct error *e) MUST_CHECK;

struct selection {              /* one --tap, --filter or --select */
	const char *text;       /* as typed, for messages */
	bool site[SITE_COUNT];
	const char *layers;     /* LAYERS as typed, owned; NULL: all */
	char *pool;             /* POOL as typed, owned; NULL: none */
	char *target;           /* FILE, "-", "|command" or the filter's command, owned; NULL without "=" */
};

/* Splits and checks the spelling.  A site that `program` doesn't own is an error that names its program; program
 * NULL takes every site. */
int selection_parse(struct selection *s, const char *text, const char *program, struct error *e) MUST_CHECK;

/* Checks against a model: every (site, layer) named must exist (with `all`, in at least one layer); set
 * (n_layers) gets the layers. */
int selection_layers(const struct selection *s, const struct model *m, bool *set, struct error *e) MUST_CHECK;

/* Warns where nothing of it lies in layers from..to-1 of the block, which are those that will be run; set: from
 * selection_layers; option: "--tap".  from < 0: the program runs none, and says nothing. */
void selection_warn_unreached(const struct selection *s, const char *option, const struct model *m, const bool *set, int from,
                              int to);

void selection_release(struct selection *s);

#endif
