/* Labels of samples from a table: a line a sample, id TAB label, further columns ignored; \t \n \r \\ as tcat --tsv writes them. */
#ifndef LABELS_H
#define LABELS_H

#include <stddef.h>

#include "error.h"
#include "frame.h"

struct labels;

/* NULL and e: no such file, a line without a tab, an id twice with different labels.  At most 1 GiB. */
struct labels *labels_read(const char *path, struct error *e) MUST_CHECK;

/* The label of an id; absent if the table doesn't have it. */
struct text labels_find(const struct labels *l, struct text id);

void labels_free(struct labels *l);

#endif
