#include "tms.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checksum.h"
#include "io.h"
#include "memory.h"
#include "source.h"
#include "tms_meta.h"
#include "zstd_rows.h"

/* Rows are read and summed in slices that stay in the cache between the two. */
#define SLICE_LEN ((size_t)512 << 10)
#define ALIGNMENT 64

struct tms_reader {
	struct source source;
	char *name;
	struct tms_header header;
	struct checksum *all;           /* everything but the rows */
	struct checksum *rows;          /* the rows bin at hand */
	uint64_t n_frames, n_rows;
	uint64_t number, frame_at;      /* of the frame begun last: 1 for the first, and its first byte */
	int layer;                      /* of the last frame that had one */
	bool ended, failed;
	bool skims;                     /* rows are passed over */

	struct frame *whole;            /* the frame at hand, without rows; NULL: between frames */
	struct stored stored;
	struct frame_cursor cursor;
	size_t bin_left;                /* bytes of its rows bin that have not been read */

	struct zstd_unpacker *unpacker;
	uint8_t *packed;                /* (packed_len), used up to packed_at */
	size_t packed_at, packed_len;
};

const struct tms_header *tms_header(const struct tms_reader *r)
{
	return &r->header;
}

const char *tms_name(const struct tms_reader *r)
{
	return r->name;
}

uint64_t tms_checksum(const struct tms_reader *r)
{
	return checksum_value(r->all);
}

uint64_t tms_frames(const struct tms_reader *r)
{
	return r->n_frames;
}

uint64_t tms_rows(const struct tms_reader *r)
{
	return r->n_rows;
}

bool tms_place_equal(const struct tms_place *a, const struct tms_place *b)
{
	return a->byte == b->byte && a->n_frames == b->n_frames && a->n_rows == b->n_rows && a->sum == b->sum;
}

struct tms_place tms_read_place(const struct tms_reader *r)
{
	return (struct tms_place){ r->source.offset, r->n_frames, r->n_rows, checksum_value(r->all) };
}

void tms_read_state(const struct tms_reader *r, struct checksum *all, int *layer)
{
	checksum_copy(all, r->all);
	*layer = r->layer;
}

struct tms_frame_place tms_frame_place(const struct tms_reader *r)
{
	return (struct tms_frame_place){ r->number, r->frame_at };
}

int tms_in_frame_at(const struct tms_reader *r, struct tms_frame_place at, struct error *e)
{
	return error_in(e, "%s: frame %" PRIu64 " at byte %" PRIu64, r->name, at.number, at.byte);
}

int tms_in_frame(const struct tms_reader *r, struct error *e)
{
	return tms_in_frame_at(r, tms_frame_place(r), e);
}

int tms_error(const struct tms_reader *r, struct error *e, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	vsnprintf(e->text, sizeof e->text, format, ap);
	va_end(ap);
	return tms_in_frame(r, e);
}

static int cut(const struct tms_reader *r, struct error *e)
{
	error_set(e, "the stream is cut at byte %" PRIu64 ": its writer did not finish, make it again",
	          r->source.offset + r->source.len);
	return tms_in_frame(r, e);
}

/* Bytes into view, or an error. */
static int need(struct tms_reader *r, size_t n, struct error *e)
{
	int rc = source_need(&r->source, n, e);
	return rc > 0 ? 0 : rc < 0 ? -1 : cut(r, e);
}

/* Bytes in view are taken as read. */
static void pass(struct tms_reader *r, size_t n)
{
	checksum_add(r->all, r->source.p, n);
	source_skip(&r->source, n);
}

/* Brings one value into view.  Its length, or -1. */
static ssize_t need_value(struct tms_reader *r, const char *what, struct error *e)
{
	struct wire_scan scan = { 0 };
	size_t n = 1;
	for (;;) {
		const char *why;
		if (need(r, n, e) < 0)
			return -1;
		int rc = wire_scan(&scan, r->source.p, r->source.len, FRAME_META_LIMIT, &n, &why);
		if (rc > 0)
			return (ssize_t)n;
		if (rc < 0) {
			error_set(e, "%s is damaged: %s", what, why);
			return tms_in_frame(r, e);
		}
	}
}

/* -------- the header */

bool tms_begins(const void *p, size_t len)
{
	struct wire_value v;
	int n = wire_head(p, len, &v);
	return n > 0 && v.type == WIRE_MAP && len >= (size_t)n + 4 && memcmp((const char *)p + n, "\xa3tms", 4) == 0;
}

static int not_a_stream(const struct tms_reader *r, struct error *e)
{
	const uint8_t *p = r->source.p;
	size_t n = r->source.len < 64 ? r->source.len : 64, ascii = 0, control = 0;
	for (size_t i = 0; i < n; i++) {
		bool space = p[i] >= '\t' && p[i] <= '\r';
		control += p[i] == 127 || (p[i] < ' ' && !space);
		ascii += p[i] < 127;
	}
	if (!n)
		return error_set(e, "%s: is empty, not even a header: its writer failed or never ran", r->name);
	if (!control && ascii > n / 2)
		return error_set(e, "%s: is text, not a tensor stream; tok makes one of text", r->name);
	if (n >= 4 && memcmp(p, "\x28\xb5\x2f\xfd", 4) == 0)
		return error_set(e, "%s: is compressed as a whole; unpack it with zstd -dc", r->name);
	if (n >= 2 && memcmp(p, "\x1f\x8b", 2) == 0)
		return error_set(e, "%s: is compressed as a whole; unpack it with gzip -dc", r->name);
	return error_set(e, "%s: is not a tensor stream (see tms(5))", r->name);
}

static int read_header(struct tms_reader *r, struct error *e)
{
	for (size_t n = 1; n <= 9 && !tms_begins(r->source.p, r->source.len); n++) {
		int rc = source_need(&r->source, n, e);
		if (rc < 0)
			return -1;
		if (rc == 0)
			break;
	}
	if (!tms_begins(r->source.p, r->source.len))
		return not_a_stream(r, e);
	struct wire_scan scan = { 0 };
	size_t n = 1;
	for (int rc = 0; rc <= 0;) {
		const char *why;
		rc = source_need(&r->source, n, e);
		if (rc < 0)
			return -1;
		if (rc == 0)
			return error_set(e, "%s: the header is cut at byte %zu: its writer did not finish, make it again",
			                 r->name, r->source.len);
		rc = wire_scan(&scan, r->source.p, r->source.len, FRAME_META_LIMIT, &n, &why);
		if (rc < 0)
			return error_set(e, "%s: header at byte %zu: is damaged: %s", r->name, scan.at, why);
	}
	size_t at;
	if (meta_read_header(r->source.p, n, &r->header, &at, e) < 0)
		return error_in(e, "%s: header at byte %zu", r->name, at);
	pass(r, n);
	return 0;
}

struct tms_reader *tms_open(const char *path, struct error *e)
{
	int fd = io_open_input(path, e);
	return fd < 0 ? NULL : tms_open_fd(fd, io_input_name(path), e);
}

struct tms_reader *tms_open_fd(int fd, const char *name, struct error *e)
{
	struct tms_reader *r = mem_zero(1, sizeof *r);
	r->name = mem_string(name);
	source_init(&r->source, fd, r->name);
	r->all = checksum_open();
	r->rows = checksum_open();
	r->layer = -1;
	int rc = isatty(fd) ? error_set(e, "%s: is a terminal; a tensor stream comes from a file or a pipe", r->name)
	                    : read_header(r, e);
	if (rc < 0) {
		tms_close(r);
		return NULL;
	}
	return r;
}

void tms_close(struct tms_reader *r)
{
	if (!r)
		return;
	source_release(&r->source);
	tms_header_release(&r->header);
	checksum_close(r->all);
	checksum_close(r->rows);
	frame_free(r->whole);
	frame_cut_release(&r->cursor);
	zstd_unpacker_close(r->unpacker);
	free(r->packed);
	free(r->name);
	free(r);
}

void tms_skim(struct tms_reader *r)
{
	r->skims = true;
}

/* -------- the trailer */

static int read_trailer(struct tms_reader *r, struct error *e)
{
	uint64_t n_frames, n_rows, sum;
	if (need(r, TRAILER_LEN, e) < 0)
		return -1;
	if (meta_read_trailer(r->source.p, &n_frames, &n_rows, &sum) < 0)
		return error_set(e, "%s: the trailer at byte %" PRIu64 " is damaged", r->name, r->frame_at);
	if (n_frames != r->n_frames || n_rows != r->n_rows)
		return error_set(e, "%s: the trailer at byte %" PRIu64 " counts %" PRIu64 " frames and %" PRIu64
		                 " rows where %" PRIu64 " and %" PRIu64 " were read: the stream is damaged",
		                 r->name, r->frame_at, n_frames, n_rows, r->n_frames, r->n_rows);
	if (sum != checksum_value(r->all))
		return error_set(e, "%s: the trailer's checksum at byte %" PRIu64 " is not that of the stream: "
		                 "its header or a frame's meta is damaged", r->name, r->frame_at);
	source_skip(&r->source, TRAILER_LEN);
	int rc = source_need(&r->source, 1, e);
	if (rc > 0)
		return error_set(e, "%s: bytes follow the trailer, at byte %" PRIu64 ": were two streams joined by "
		                 "cat(1)? tcat joins them", r->name, r->source.offset);
	r->ended = rc == 0;
	return rc;
}

/* -------- a frame */

/* The head of a bin, of at most `limit` bytes, taken as read.  0 or -1. */
static int read_bin_head(struct tms_reader *r, const char *what, size_t limit, size_t *len, struct error *e)
{
	struct wire_value v;
	int n;
	for (size_t have = 1; have <= 5; have++) {
		if (need(r, have, e) < 0)
			return -1;
		n = wire_head(r->source.p, r->source.len, &v);
		if (n)
			break;
	}
	if (n <= 0 || v.type != WIRE_BIN)
		error_set(e, "%s is not a bin: the stream is damaged", what);
	else if (v.len > limit)
		error_set(e, "%s is of %zu bytes, at most %zu are allowed", what, v.len, limit);
	else {
		pass(r, (size_t)n);
		*len = v.len;
		return 0;
	}
	return tms_in_frame(r, e);
}

static int read_pad(struct tms_reader *r, struct error *e)
{
	size_t len;
	if (read_bin_head(r, "the pad", ALIGNMENT - 1, &len, e) < 0 || need(r, len, e) < 0)
		return -1;
	for (size_t i = 0; i < len; i++) {
		if (r->source.p[i]) {
			error_set(e, "the pad is not all zeros: the stream is damaged");
			return tms_in_frame(r, e);
		}
	}
	pass(r, len);
	return 0;
}

static int read_meta(struct tms_reader *r, struct error *e)
{
	ssize_t n = need_value(r, "the meta", e);
	if (n < 0)
		return -1;
	if (meta_read_frame(r->source.p, (size_t)n, &r->header, &r->whole, &r->stored, e) < 0)
		return tms_in_frame(r, e);
	pass(r, (size_t)n);
	int layer = r->whole->layer;
	if (layer >= 0 && layer < r->layer && r->header.order == TMS_ORDER_LAYER) {
		error_set(e, "layer %d after layer %d in a stream that says it goes layer by layer", layer, r->layer);
		return tms_in_frame(r, e);
	}
	r->layer = layer >= 0 ? layer : r->layer;
	return 0;
}

static int read_rows_head(struct tms_reader *r, struct error *e)
{
	if (read_bin_head(r, "the rows bin", FRAME_ROWS_LIMIT, &r->bin_left, e) < 0)
		return -1;
	size_t due = frame_rows_len(r->whole);
	if (!r->stored.has_zstd && r->bin_left != due)
		error_set(e, "%zu bytes of rows where the samples and the shape make %zu", r->bin_left, due);
	else if (r->bin_left && r->source.offset % ALIGNMENT)
		error_set(e, "the rows begin at byte %" PRIu64 ", which is no multiple of %d", r->source.offset, ALIGNMENT);
	else
		return 0;
	return tms_in_frame(r, e);
}

/* 1: a frame is at hand; 0: the trailer; -1. */
static int begin_frame(struct tms_reader *r, struct error *e)
{
	r->frame_at = r->source.offset;
	r->number = r->n_frames + 1;
	int rc = source_need(&r->source, 1, e);
	if (rc < 0)
		return -1;
	if (rc == 0)
		return error_set(e, "%s: the stream ends at byte %" PRIu64 " after %" PRIu64 " frames, without its "
		                 "trailer: its writer did not finish, make it again", r->name, r->frame_at, r->n_frames);
	if (r->source.p[0] == 0x81)
		return read_trailer(r, e);
	/* An array of three, in whichever of its encodings. */
	struct wire_value v;
	ssize_t n = 0;
	for (size_t have = 1; have <= 5 && !n; have++) {
		if (need(r, have, e) < 0)
			return -1;
		n = wire_head(r->source.p, r->source.len, &v);
	}
	if (n > 0 && v.type == WIRE_MAP && need(r, (size_t)n + 4, e) == 0 && tms_begins(r->source.p, r->source.len))
		return error_set(e, "%s: a second header at byte %" PRIu64 ", before the trailer", r->name, r->frame_at);
	if (n <= 0 || v.type != WIRE_ARRAY || v.n != 3) {
		error_set(e, "neither a frame nor the trailer begins here: the stream is damaged");
		return tms_in_frame(r, e);
	}
	pass(r, (size_t)n);
	if (read_meta(r, e) < 0 || read_pad(r, e) < 0 || read_rows_head(r, e) < 0)
		return -1;
	r->cursor.sample = r->cursor.row = r->cursor.offset = 0;
	r->cursor.started = 0;
	r->packed_at = r->packed_len = 0;
	checksum_start(r->rows);
	if (r->stored.has_zstd) {
		if (!r->unpacker) {
			r->unpacker = zstd_unpacker_open();
			r->packed = mem_alloc(SLICE_LEN);
		}
		zstd_unpack_start(r->unpacker);
	}
	return 1;
}

/* -------- rows */

static int take_rows(struct tms_reader *r, void *to, size_t len, struct error *e)
{
	for (size_t at = 0; at < len;) {
		size_t n = len - at < SLICE_LEN ? len - at : SLICE_LEN;
		int rc = source_take(&r->source, (char *)to + at, n, e);
		if (rc <= 0)
			return rc < 0 ? -1 : cut(r, e);
		checksum_add(r->rows, (char *)to + at, n);
		at += n;
	}
	r->bin_left -= len;
	return 0;
}

/* What is left of the bin. */
static int pass_rows(struct tms_reader *r, struct error *e)
{
	int rc = source_pass(&r->source, r->bin_left, e);
	r->bin_left = 0;
	return rc > 0 ? 0 : rc < 0 ? -1 : cut(r, e);
}

/* Unpacks `len` bytes; the last piece must use up the bin and end the zstd frame. */
static int unpack_rows(struct tms_reader *r, void *to, size_t len, bool last, struct error *e)
{
	size_t at = 0;
	for (;;) {
		if (r->packed_at == r->packed_len && r->bin_left) {
			r->packed_len = r->bin_left < SLICE_LEN ? r->bin_left : SLICE_LEN;
			r->packed_at = 0;
			if (take_rows(r, r->packed, r->packed_len, e) < 0)
				return -1;
		}
		size_t in_was = r->packed_at, out_was = at;
		if (zstd_unpack(r->unpacker, r->packed, r->packed_len, &r->packed_at, to, len, &at, e) < 0)
			return tms_in_frame(r, e);
		bool used = r->packed_at == r->packed_len && !r->bin_left;
		if (at == len && (!last || (used && zstd_unpack_ended(r->unpacker))))
			return 0;
		if (used || (r->packed_at == in_was && at == out_was))
			break;
	}
	error_set(e, "the compressed rows are damaged: they are not %zu bytes once unpacked", (size_t)r->stored.zstd);
	return tms_in_frame(r, e);
}

/* The next piece of the frame at hand; *last: nothing is left of it. */
static int read_piece(struct tms_reader *r, struct frame **out, bool *last, struct error *e)
{
	struct frame piece;
	bool first = !r->cursor.started;
	/* There is a piece: a frame at hand is dropped with its last one. */
	frame_cut(r->whole, frame_width(r->whole) * dtype_size(r->whole->dtype), &r->cursor, &piece);
	*last = r->cursor.sample >= r->whole->n_samples;
	struct frame *f = first && *last ? r->whole : frame_like(&piece);
	size_t len = frame_rows_len(f);
	int rc = 0;
	if (r->skims) {
		rc = *last ? pass_rows(r, e) : 0;
	} else if (f->dtype != DTYPE_NONE && (len || r->stored.has_zstd)) {
		rc = frame_take_rows(f, len, e);
		if (rc < 0)
			tms_in_frame(r, e);
		else
			rc = r->stored.has_zstd ? unpack_rows(r, f->rows, len, *last, e) : take_rows(r, f->rows, len, e);
	}
	if (rc < 0) {
		if (f != r->whole)
			frame_free(f);
		return -1;
	}
	*out = f;
	return 0;
}

/* With its last piece the frame at hand is done. */
static int end_frame(struct tms_reader *r, struct error *e)
{
	if (!r->skims && r->stored.has_sum && r->stored.sum != checksum_value(r->rows)) {
		error_set(e, "the rows' checksum is wrong: the stream is damaged, make it again");
		return tms_in_frame(r, e);
	}
	r->n_frames++;
	return 0;
}

static int next(struct tms_reader *r, struct frame **out, struct error *e)
{
	if (!r->whole) {
		int rc = begin_frame(r, e);
		if (rc <= 0)
			return rc;
	}
	struct frame *f;
	bool last;
	if (read_piece(r, &f, &last, e) < 0)
		return -1;
	r->n_rows += frame_n_rows(f);
	int rc = last ? end_frame(r, e) : 0;
	if (last) {
		if (f != r->whole)
			frame_free(r->whole);
		r->whole = NULL;
	}
	if (rc < 0) {
		frame_free(f);
		return -1;
	}
	*out = f;
	return 1;
}

/* -------- moving on without reading */

int tms_seek(struct tms_reader *r, const struct tms_place *at, const struct checksum *all, struct error *e)
{
	if (at->byte < r->source.offset || r->whole)
		return error_set(e, "%s: can't go back to byte %" PRIu64, r->name, at->byte);
	if (at->byte == r->source.offset)
		return 0;
	r->n_frames = at->n_frames;
	r->n_rows = at->n_rows;
	checksum_copy(r->all, all);
	int rc = source_pass(&r->source, at->byte - r->source.offset, e);
	return rc ? rc < 0 ? -1 : 0 : error_set(e, "%s: ends before byte %" PRIu64, r->name, at->byte);
}

int tms_next(struct tms_reader *r, struct frame **out, struct error *e)
{
	*out = NULL;
	if (r->ended)
		return 0;
	if (r->failed)
		return error_set(e, "%s: can't be read on after an error", r->name);
	int rc = next(r, out, e);
	r->failed = rc < 0;
	return rc;
}
