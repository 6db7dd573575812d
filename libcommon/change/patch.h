/*
 * Patches: --patch SITE[@LAYERS][/pos:LIST][/head:LIST]=FILE.  Rows of a stream take the place of those at a site, by sample
 * id, position and layer.
 */
#ifndef PATCH_H
#define PATCH_H

#include "dtype.h"
#include "model.h"
#include "option.h"
#include "site.h"
#include "tms.h"

struct patches;

struct patches *patches_open(const struct model *m, const char *program);

/* Takes --patch's texts.  0 or -1. */
int patches_add(struct patches *p, const struct option_list *list, struct error *e) MUST_CHECK;

/*
 * Takes a --sweep table: a header line naming the columns (variant site layers pos head file, tab-separated), then a patch a
 * line; an empty field or "-" is all.  *variants receives their names in the order met, (*n), the caller's.
 */
int patches_sweep(struct patches *p, const char *path, char ***variants, size_t *n, struct error *e) MUST_CHECK;

/* Reads the files: what the patches select of them stays in memory.  Once, after all were taken.  0 or -1. */
int patches_load(struct patches *p, struct error *e) MUST_CHECK;

bool patches_any(const struct patches *p);

/* Adds the sites that are patched in that layer (-1: outside the block). */
void patches_wanted(const struct patches *p, int layer, bool wanted[SITE_COUNT]);
int patches_last_layer(const struct patches *p);

/* The streams' checksums in the order of the patches, and the model that they come from if it is another one, for the history:
 * as text, freed by the caller. */
char *patches_identity(const struct patches *p);

/*
 * Rows of consecutive positions of one sample, first.. (n of them), `width` elements of type `work` each, row r at r * stride
 * elements: those that a patch names are replaced, by the last patch that names them.  Any thread.
 */
void patches_apply(struct patches *p, enum site site, int layer, const struct sample *s, int variant, uint32_t first,
                   size_t n, void *rows, size_t width, size_t stride, enum dtype work);

/* After the run: every row of every file must have found its place in layers from..to-1.  0, or -1 naming the first that
 * didn't. */
int patches_check(const struct patches *p, size_t from, size_t to, struct error *e) MUST_CHECK;

/* Which rows have found their place so far, a bit each, in memory of the caller's.  Another process that reads the same files
 * may take them over; -1: they are of other files. */
uint8_t *patches_used(const struct patches *p, size_t *len);
int patches_set_used(struct patches *p, const uint8_t *used, size_t len) MUST_CHECK;

void patches_close(struct patches *p);

#endif
