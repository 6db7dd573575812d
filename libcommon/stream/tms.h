/*
 * The tensor stream, tms(5): header, frames, trailer.
 * A reader accepts nothing that is cut, flipped, unknown or joined by cat(1); a writer leaves
 * nothing under its final name unless it ended with its trailer.
 */
#ifndef TMS_H
#define TMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame.h"
#include "error.h"

enum tms_kind { TMS_TOKENS, TMS_RESID, TMS_ACTS, TMS_VECTORS, TMS_STATE, TMS_LOGITS };
const char *tms_kind_name(enum tms_kind kind);

enum tms_order { TMS_ORDER_LAYER, TMS_ORDER_ANY };

struct tms_header {
	enum tms_kind kind;
	char *model;            /* its name; NULL: none (tokens from ready-made ids) */
	char *fingerprint;      /* 16 hex digits; NULL: none */
	char *model_extra;      /* n_model_extra further pairs of the model's map, as they came */
	size_t model_extra_len, n_model_extra;
	char **variants;        /* (n_variants) names, as "alpha=-4" */
	size_t n_variants;
	enum tms_order order;
	char *history;          /* the elements of the history array, one MessagePack map after another */
	size_t history_len, n_history;
	char *extra;            /* n_extra further pairs, as they came */
	size_t extra_len, n_extra;
};

void tms_header_copy(struct tms_header *to, const struct tms_header *from);
void tms_header_release(struct tms_header *h);

/* -------- reading */

struct tms_reader;

/* Whether bytes begin as a tensor stream does: a map whose first key is "tms". */
bool tms_begins(const void *p, size_t len);

/* Opens a file ("-" or NULL: standard input) and reads its header.  NULL and e on anything but a stream this
 * program can read: a text file, a terminal, another version, a cut header. */
struct tms_reader *tms_open(const char *path, struct error *e) MUST_CHECK;

/* The same on an open descriptor, which is taken over (closed also on failure); name is for messages. */
struct tms_reader *tms_open_fd(int fd, const char *name, struct error *e) MUST_CHECK;

const struct tms_header *tms_header(const struct tms_reader *r);

/* The name for messages: the path, or "<stdin>". */
const char *tms_name(const struct tms_reader *r);

/*
 * The next frame, rows decompressed; a frame whose rows exceed FRAME_ROWS_LEN comes in pieces cut by
 * frame_cut, so memory never follows the input's frame size.  *f is the caller's, freed by frame_free.
 * 1: a frame; 0: the trailer was there, agreed with what was read, and nothing follows it; -1: e names the
 * file, the frame and its offset.  Rows of a piece are not proved by their checksum until the frame's last
 * piece has come: a consumer's output must not be committed before 0 was returned.
 */
int tms_next(struct tms_reader *r, struct frame **f, struct error *e) MUST_CHECK;

/* From now on frames come without their rows, which are passed over: unread in a file, and unproved. */
void tms_skim(struct tms_reader *r);

/* XXH3-64 of the stream's header, metas and sums: the trailer's checksum.  Valid once tms_next has returned 0. */
uint64_t tms_checksum(const struct tms_reader *r);

/* Frames and rows read so far. */
uint64_t tms_frames(const struct tms_reader *r);
uint64_t tms_rows(const struct tms_reader *r);

/* How far a stream is, between two frames: bytes, frames and rows before there, and the XXH3-64 of these bytes but the rows. */
struct tms_place {
	uint64_t byte, n_frames, n_rows, sum;
};
bool tms_place_equal(const struct tms_place *a, const struct tms_place *b);
/* Of what was read; within a frame that is cut, the bytes that were read for it. */
struct tms_place tms_read_place(const struct tms_reader *r);

/* What a reader or writer that goes on from tms_read_place has to know: the checksum of everything but the rows up to there, and the
 * last frame's layer. */
struct checksum;
void tms_read_state(const struct tms_reader *r, struct checksum *all, int *layer);

/* Goes on at a place further on in the reader's file, unread up to there, where the checksum had come to `all`; so the trailer is
 * checked as if all had been read.  0 or -1. */
int tms_seek(struct tms_reader *r, const struct tms_place *at, const struct checksum *all, struct error *e) MUST_CHECK;

void tms_close(struct tms_reader *r);

/* An error in the frame read last, in the reader's own words: "FILE: frame 3 at byte 4096: what". Returns -1. */
int tms_error(const struct tms_reader *r, struct error *e, const char *format, ...) PRINTF_LIKE(3, 4);

/* Puts the same words before the sentence already there.  Returns -1. */
int tms_in_frame(const struct tms_reader *r, struct error *e);

/* Where the frame read last is, to be kept by who reads on before he is done with it; and the same words for it. */
struct tms_frame_place {
	uint64_t number, byte;  /* 1 for the first; of the stream */
};
struct tms_frame_place tms_frame_place(const struct tms_reader *r);
int tms_in_frame_at(const struct tms_reader *r, struct tms_frame_place at, struct error *e);

/* -------- writing */

/* What this program adds to the history: one map.  backend and layers may be absent. */
struct tms_step {
	const char *backend;    /* "cpu avx512 avx512_bf16"; NULL: no arithmetic that depends on one */
	int from, to;           /* layer-run's range from..to-1; from < 0: none */
};

struct tms_writer;

struct tms_options {
	int zstd_level;         /* 0: rows as they are */
	bool plain_history;     /* copy the header's history without adding this program (a format conversion) */
};

/*
 * Opens an output (see output_open: NULL or "-", a file, "|command") and writes the header: `h`, with this
 * program, its version, `step` and the options marked in its table added to the history.  Neighbouring
 * layer-run entries that differ only in contiguous ranges become one.  Refuses a terminal.  NULL and e.
 */
struct tms_writer *tms_create(const char *path, const struct tms_header *h, const struct tms_step *step,
                              const struct tms_options *options, struct error *e) MUST_CHECK;

/* A stream on an open descriptor, which is taken over (closed also on failure): header as it is, no history added, nothing
 * renamed.  name is for messages. */
struct tms_writer *tms_create_fd(int fd, const char *name, const struct tms_header *h, struct error *e) MUST_CHECK;

struct output;

/*
 * A stream on an output, which is taken over (aborted also on failure), begun as tms_create does, or with `at` gone on with: what
 * the output's file holds up to there, a stream whose header is `h`'s, is kept, and what follows it is cut off.  The file is then
 * open for reading too, and another place found there is an error.
 */
struct tms_writer *tms_create_on(struct output *output, const struct tms_header *h, const struct tms_step *step,
                                 const struct tms_options *options, const struct tms_place *at, struct error *e) MUST_CHECK;

/* Of what was written. */
struct tms_place tms_written_place(const struct tms_writer *w);

/* What was written is on the disk.  0 or -1. */
int tms_sync(struct tms_writer *w, struct error *e) MUST_CHECK;

/* Writes the trailer ahead of tms_finish.  0 or -1. */
int tms_end(struct tms_writer *w, struct error *e) MUST_CHECK;

/*
 * A stream that is only measured: nothing is written anywhere, and frames need no rows.  step NULL: the header as it is, with no
 * history added.  Ended by tms_abort.  tms_measured: bytes of the stream if it ended here.
 */
struct tms_writer *tms_measure(const char *name, const struct tms_header *h, const struct tms_step *step, struct error *e)
	MUST_CHECK;
uint64_t tms_measured(const struct tms_writer *w);

/* Writes one frame (cut by frame_cut where it is too large); flushed at once into a pipe.  0 or -1. */
int tms_write(struct tms_writer *w, const struct frame *f, struct error *e) MUST_CHECK;

/* The reading command at the other end of a "|command" went away with exit 0: what is written is dropped. */
bool tms_ended_early(const struct tms_writer *w);

/* Writes the trailer, commits the output and frees.  0 or -1 (then nothing is left under the final name). */
int tms_finish(struct tms_writer *w, struct error *e) MUST_CHECK;

/* Frees without a trailer; nothing is left under the final name.  NULL is allowed. */
void tms_abort(struct tms_writer *w);

/* The one where status is 0, else the other, and status is returned; so it is for NULL. */
int tms_settle(struct tms_writer *w, int status, struct error *e) MUST_CHECK;

#endif
