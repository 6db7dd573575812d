/*
 * Keys and values of samples whose rows are spread over several batches, for one layer.
 */
#ifndef CARRY_H
#define CARRY_H

#include <stdbool.h>

#include "ops.h"

struct carry {
	const struct ops *ops;
	struct device *device;
	struct carry_sample *samples;
	size_t n, capacity;
};

/* Points the segment's k and v at memory for the whole sample, where those of earlier batches already are.  row_len: bytes of
 * one row of keys.  -1: memory is short, or rows of the sample are missing before these. */
int carry_find(struct carry *c, struct segment *s, size_t row_len, struct error *e) MUST_CHECK;

/* Forgets samples that have had all their rows. */
void carry_forget_finished(struct carry *c);

/* Whether some sample's last rows haven't come. */
bool carry_unfinished(const struct carry *c);

void carry_release(struct carry *c);

#endif
