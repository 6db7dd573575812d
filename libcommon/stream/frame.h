/*
 * A frame: what travels between programs.  Whole samples (or a long sample's next rows), their rows,
 * and what is known of them.  tms(5) says how it lies on the wire.
 */
#ifndef FRAME_H
#define FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "dtype.h"
#include "error.h"

/* The most rows' bytes that our programs put in one frame; a sample above it continues in the next frame. */
#define FRAME_ROWS_LEN ((size_t)16 << 20)
/* The most that a reader accepts. */
#define FRAME_ROWS_LIMIT ((size_t)1 << 30)
#define FRAME_META_LIMIT ((size_t)16 << 20)

struct text {           /* a string that may hold NUL; also closed by a NUL that len doesn't count */
	const char *p;  /* NULL: absent */
	size_t len;
};

static inline struct text text_of(const char *s)
{
	return (struct text){ s, s ? strlen(s) : 0 };
}

/* Both absent, or the same bytes. */
static inline bool text_equal(struct text a, struct text b)
{
	return !a.p == !b.p && a.len == b.len && (!a.len || memcmp(a.p, b.p, a.len) == 0);
}

struct span {           /* token positions start..end-1 */
	uint32_t start, end;
};

struct sample {
	struct text id, label;
	uint64_t seq;           /* place in the data set */
	uint32_t len;           /* tokens of the whole sample */
	uint32_t first, n;      /* the positions whose rows are here: first..first+n-1 */
	const uint32_t *tokens; /* (len): all of the sample's token ids; NULL: not known */
	const struct span *spans;
	size_t n_spans;
	const char *extra;      /* n_extra further pairs of the sample's map, as they came (MessagePack) */
	size_t extra_len, n_extra;
};

enum { FRAME_DIMS = 4 };

struct frame {
	struct text site;       /* "resid_pre"; absent in a stream of tokens */
	int layer;              /* -1: outside the block */
	enum dtype dtype;       /* DTYPE_NONE: no rows (tokens) */
	size_t dim[FRAME_DIMS]; /* shape of one row */
	int n_dims;
	int variant;            /* index into the header's variants; -1: none */
	struct text pool;       /* absent: a row a position.  Else one row a sample, over its positions first..first+n-1 */
	struct text name;       /* of a named vector, such as "components_" */
	struct sample *samples; /* (n_samples) */
	size_t n_samples;
	void *rows;             /* (frame_rows, width) little-endian, end to end; 64-byte aligned; NULL when there are none */
	const char *extra;      /* n_extra further pairs of the meta map, as they came */
	size_t extra_len, n_extra;
	void *memory;           /* what the pointers above point into; owned */
};

/* Elements of one row; 1 for no dims. */
size_t frame_width(const struct frame *f);
/* Rows of one sample of the frame: n, or with a pool 1 (0 where n = 0). */
size_t frame_sample_rows(const struct frame *f, const struct sample *s);
/*
 * Rows in the frame: those of its samples.  A frame with a name and without samples holds one row, the named
 * array of that shape ("components_" is one row of shape [k, width]).  0 without a dtype.
 */
size_t frame_n_rows(const struct frame *f);
/* Bytes in memory of all that is not rows. */
size_t frame_meta_len(const struct frame *f);
/* Bytes of all rows. */
size_t frame_rows_len(const struct frame *f);

/* A new frame with copies of every sample and text of `like` but without rows; the caller sets site, dtype, dims and rows. */
struct frame *frame_like(const struct frame *like);

/* A copy with its rows.  Out of memory ends the program: its rows are those of a frame that was read. */
struct frame *frame_copy(const struct frame *f);

/* Takes rows of `len` bytes (64-byte aligned, uninitialised) for a frame, in place of what it had.  -1 and e if memory is short. */
int frame_take_rows(struct frame *f, size_t len, struct error *e) MUST_CHECK;

/* Frees a frame of frame_like, tms_next or pooler_add with its rows.  NULL is allowed. */
void frame_free(struct frame *f);

/*
 * Where a frame has to be cut so that no piece's rows exceed FRAME_ROWS_LEN at row_len bytes a row, nor its
 * samples' meta half of FRAME_META_LIMIT: the rule by which all programs frame, so that framing depends on
 * nothing but the input's frames and the row's size.  Samples are kept whole where they fit a piece alone.
 * Copies into *piece the samples (n_samples, first and n adjusted; texts and tokens borrowed from f) that
 * follow *cursor, and moves *cursor on.  1: a piece; 0: nothing left.  Start with an all-zero cursor and
 * finish with frame_cut_release.  A frame without samples gives one piece.
 * piece->rows is f's rows at the piece's first row if row_len is the size of f's own rows, else NULL.
 */
struct frame_cursor {
	size_t sample;
	uint32_t offset;
	size_t row;
	int started;
	struct sample *samples;
	size_t capacity;
};
int frame_cut(const struct frame *f, size_t row_len, struct frame_cursor *cursor, struct frame *piece);
void frame_cut_release(struct frame_cursor *cursor);

/*
 * The samples of rows first..first+n-1 of a frame of a row a position, first and n adjusted, texts and tokens borrowed; samples
 * without rows go with the rows before them.  *n_samples receives their number; the caller frees the array.
 */
struct sample *frame_slice(const struct frame *f, size_t first, size_t n, size_t *n_samples);

#endif
