/*
 * A stream's rows gathered into one array a (site, layer, name), and what tells whose rows they are: offsets,
 * ids, labels and variants of the samples.  Ragged: sample i has the rows offsets[i]..offsets[i+1]-1 of every
 * array.  Memory doesn't grow with the samples.
 */
#ifndef ARRAYS_H
#define ARRAYS_H

#include <stddef.h>
#include <stdint.h>

#include "frame.h"
#include "scratch.h"
#include "tms.h"

struct checksum;

struct array {
	struct text site, name; /* owned */
	int layer;
	enum dtype dtype;       /* as kept: what `open` made of the stream's */
	size_t dim[FRAME_DIMS];
	int n_dims;
	uint64_t n_rows;
	void *file;             /* open's */
	bool unsampled;         /* a named array: it has no samples */
	/* Its samples, to compare with the first array's; the last one may go on. */
	uint64_t n_samples, sample_rows, last_seq;
	uint32_t next;
	int last_variant;
	struct checksum *samples;
};

/* Texts of the samples, in order. */
struct texts {
	struct scratch file;    /* u32 length and bytes of each */
	uint64_t n;
	size_t longest;         /* in characters */
	size_t longest_len;     /* in bytes */
	bool any;               /* one that isn't empty */
};

struct arrays {
	const struct tms_header *header;
	/* Begins a's file and may settle a->dtype.  0 or -1. */
	int (*open)(void *context, struct array *a, struct error *e);
	/* Appends rows, converted to a->dtype.  0 or -1. */
	int (*put)(void *context, struct array *a, const void *rows, size_t len, struct error *e);
	void *context;
	struct array **array;
	size_t n, capacity;
	bool begun;             /* the files below are open */
	struct texts ids, labels, variants;
	struct scratch offsets; /* u64, one more than the samples once arrays_end was called */
	void *converted;
	size_t converted_capacity;
};

/* header, open, put and context set, the rest zero.  Tokens become an array "tokens". */
int arrays_add(struct arrays *s, const struct frame *f, struct error *e) MUST_CHECK;

/* After the last frame: all arrays must have the same samples.  0 or -1. */
int arrays_end(struct arrays *s, struct error *e) MUST_CHECK;

/* Calls each(context, text, len) for every text.  0 or -1. */
int texts_each(struct texts *t, int (*each)(void *context, const char *text, size_t len, struct error *e),
               void *context, struct error *e) MUST_CHECK;

/* "SITE.LAYER.NAME" with what there is of it.  Caller frees. */
char *array_name(const struct array *a);

void arrays_release(struct arrays *s);

#endif
