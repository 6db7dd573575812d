#include "tms.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checksum.h"
#include "history.h"
#include "io.h"
#include "memory.h"
#include "tms_meta.h"
#include "zstd_rows.h"

#define ALIGNMENT 64
/* Rows up to this size are copied behind their meta: one write(2) is cheaper than two. */
#define JOIN_LEN ((size_t)64 << 10)

static const struct tms_options as_it_is = { .plain_history = true };

struct tms_writer {
	struct output output;
	bool measures;                  /* nothing is written */
	enum tms_order order;
	size_t n_variants;
	int layer;                      /* of the last frame that had one */
	struct checksum *all;           /* everything but the rows */
	uint64_t offset, n_frames, n_rows;
	struct wire_buffer head;        /* what comes before the rows */
	struct zstd_packer *packer;     /* NULL: rows as they are */
	bool ended;                     /* the trailer is written */
};

static int emit(struct tms_writer *w, const void *p, size_t len, struct error *e)
{
	w->offset += len;
	return len && !w->measures ? output_write(&w->output, p, len, e) : 0;
}

static int write_header(struct tms_writer *w, const struct tms_header *h, const struct tms_step *step,
                        const struct tms_options *options, struct error *e)
{
	struct tms_header own;
	tms_header_copy(&own, h);
	if (!options || !options->plain_history)
		history_add(&own, step);
	meta_write_header(&w->head, &own);
	tms_header_release(&own);
	if (w->head.len > FRAME_META_LIMIT)
		return error_set(e, "%s: the header would be larger than 16 MiB", w->output.name);
	checksum_add(w->all, w->head.p, w->head.len);
	return emit(w, w->head.p, w->head.len, e);
}

/* Walks over the frames that are there up to `at`, which leaves a reader with what the writer must know. */
static int walk_to(struct tms_writer *w, const struct tms_place *at, struct error *e)
{
	struct stat st;
	const char *name = w->output.name;
	if (fstat(w->output.fd, &st) < 0)
		return error_errno(e, "%s", name);
	if ((uint64_t)st.st_size < at->byte)
		return error_set(e, "%s: has %ju bytes where %" PRIu64 " were written", name, (uintmax_t)st.st_size, at->byte);
	int fd = fcntl(w->output.fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return error_errno(e, "%s", name);
	struct tms_reader *r = tms_open_fd(fd, name, e);
	struct tms_place found = { 0 };
	int more = r ? 1 : -1;
	if (r)
		tms_skim(r);
	while (more > 0 && (found = tms_read_place(r)).byte < at->byte) {
		struct frame *f;
		more = tms_next(r, &f, e);
		frame_free(f);
	}
	if (more >= 0 && !tms_place_equal(&found, at))
		more = error_set(e, "%s: isn't what was written up to byte %" PRIu64, name, at->byte);
	if (more >= 0)
		tms_read_state(r, w->all, &w->layer);
	tms_close(r);
	return more < 0 ? -1 : 0;
}

static int go_on(struct tms_writer *w, const struct tms_place *at, struct error *e)
{
	if (walk_to(w, at, e) < 0)
		return -1;
	w->offset = at->byte;
	w->n_frames = at->n_frames;
	w->n_rows = at->n_rows;
	if (ftruncate(w->output.fd, (off_t)at->byte) < 0 || lseek(w->output.fd, (off_t)at->byte, SEEK_SET) < 0)
		return error_errno(e, "%s", w->output.name);
	return 0;
}

static struct tms_writer *create(struct output output, bool measures, const struct tms_header *h, const struct tms_step *step,
                                 const struct tms_options *options, const struct tms_place *at, struct error *e)
{
	struct tms_writer *w = mem_zero(1, sizeof *w);
	w->output = output;
	w->measures = measures;
	w->order = h->order;
	w->n_variants = h->n_variants;
	w->layer = -1;
	w->all = checksum_open();
	if (options && options->zstd_level)
		w->packer = zstd_packer_open(options->zstd_level);
	if ((at ? go_on(w, at, e) : write_header(w, h, step, options, e)) < 0) {
		tms_abort(w);
		return NULL;
	}
	return w;
}

struct tms_writer *tms_create_on(struct output *output, const struct tms_header *h, const struct tms_step *step,
                                 const struct tms_options *options, const struct tms_place *at, struct error *e)
{
	return create(*output, false, h, step, options, at, e);
}

struct tms_writer *tms_create(const char *path, const struct tms_header *h, const struct tms_step *step,
                              const struct tms_options *options, struct error *e)
{
	struct output output;
	if (output_open(&output, path, true, e) < 0)
		return NULL;
	return create(output, false, h, step, options, NULL, e);
}

struct tms_writer *tms_create_fd(int fd, const char *name, const struct tms_header *h, struct error *e)
{
	struct output output;
	output_from_fd(&output, fd, name);
	return create(output, false, h, NULL, &as_it_is, NULL, e);
}

struct tms_writer *tms_measure(const char *name, const struct tms_header *h, const struct tms_step *step, struct error *e)
{
	struct output output;
	output_from_fd(&output, -1, name);
	return create(output, true, h, step, step ? NULL : &as_it_is, NULL, e);
}

uint64_t tms_measured(const struct tms_writer *w)
{
	return w->offset + TRAILER_LEN;
}

static int check_piece(struct tms_writer *w, const struct frame *f, size_t len, struct error *e)
{
	if (len > FRAME_ROWS_LIMIT)
		return error_set(e, "%s: a row of %zu bytes can't be written, 1 GiB is the most", w->output.name, len);
	if (len && !f->rows && !w->measures)
		return error_set(e, "%s: a frame without its rows", w->output.name);
	if (f->variant >= 0 && (size_t)f->variant >= w->n_variants)
		return error_set(e, "%s: variant %d where the header names %zu", w->output.name, f->variant, w->n_variants);
	if (f->layer >= 0 && f->layer < w->layer && w->order == TMS_ORDER_LAYER)
		return error_set(e, "%s: layer %d after layer %d in a stream that goes layer by layer", w->output.name,
		                 f->layer, w->layer);
	w->layer = f->layer >= 0 ? f->layer : w->layer;
	return 0;
}

/* Meta, pad and the head of the rows bin, so that the rows begin at a multiple of 64. */
static int pack_head(struct tms_writer *w, const struct frame *f, const struct stored *stored, size_t len,
                     struct error *e)
{
	static const char zeros[ALIGNMENT];
	w->head.len = 0;
	wire_array(&w->head, 3);
	meta_write_frame(&w->head, f, stored);
	if (w->head.len > FRAME_META_LIMIT)
		return error_set(e, "%s: a sample's texts and token ids take more than 16 MiB; cut it", w->output.name);
	size_t bin_head = len < 256 ? 2 : len < 65536 ? 3 : 5;
	uint64_t at = w->offset + w->head.len + 2 + bin_head;
	wire_bin(&w->head, zeros, len ? (ALIGNMENT - at % ALIGNMENT) % ALIGNMENT : 0);
	wire_bin_head(&w->head, len);
	checksum_add(w->all, w->head.p, w->head.len);
	return 0;
}

static int write_piece(struct tms_writer *w, const struct frame *f, struct error *e)
{
	size_t len = frame_rows_len(f);
	const void *rows = f->rows;
	if (check_piece(w, f, len, e) < 0)
		return -1;
	struct stored stored = { .has_sum = f->dtype != DTYPE_NONE, .zstd = len };
	if (w->packer && len) {
		int rc = zstd_pack(w->packer, rows, len, &rows, &len, e);
		if (rc < 0)
			return -1;
		stored.has_zstd = rc > 0;
	}
	/* Nearly every sum takes as many bytes as the largest. */
	if (stored.has_sum)
		stored.sum = w->measures ? UINT64_MAX : checksum(rows, len);
	if (pack_head(w, f, &stored, len, e) < 0)
		return -1;
	w->n_frames++;
	w->n_rows += frame_n_rows(f);
	if (w->measures)
		return emit(w, NULL, w->head.len + len, e);
	if (len <= JOIN_LEN) {
		wire_raw(&w->head, rows, len);
		return emit(w, w->head.p, w->head.len, e);
	}
	return emit(w, w->head.p, w->head.len, e) < 0 ? -1 : emit(w, rows, len, e);
}

int tms_write(struct tms_writer *w, const struct frame *f, struct error *e)
{
	struct frame_cursor cursor = { 0 };
	struct frame piece;
	int rc = 0;
	while (rc == 0 && frame_cut(f, frame_width(f) * dtype_size(f->dtype), &cursor, &piece))
		rc = write_piece(w, &piece, e);
	frame_cut_release(&cursor);
	return rc;
}

bool tms_ended_early(const struct tms_writer *w)
{
	return w->output.closed_early;
}

static void release(struct tms_writer *w)
{
	checksum_close(w->all);
	wire_release(&w->head);
	zstd_packer_close(w->packer);
	free(w);
}

struct tms_place tms_written_place(const struct tms_writer *w)
{
	return (struct tms_place){ w->offset, w->n_frames, w->n_rows, checksum_value(w->all) };
}

int tms_sync(struct tms_writer *w, struct error *e)
{
	return io_sync(w->output.fd, w->output.name, e);
}

int tms_end(struct tms_writer *w, struct error *e)
{
	uint8_t trailer[TRAILER_LEN];
	if (w->ended)
		return 0;
	w->ended = true;
	meta_write_trailer(trailer, w->n_frames, w->n_rows, checksum_value(w->all));
	return emit(w, trailer, sizeof trailer, e);
}

int tms_finish(struct tms_writer *w, struct error *e)
{
	int rc = tms_end(w, e);
	if (rc == 0)
		rc = output_commit(&w->output, e);
	else
		output_abort(&w->output);
	release(w);
	return rc;
}

void tms_abort(struct tms_writer *w)
{
	if (!w)
		return;
	output_abort(&w->output);
	release(w);
}

int tms_settle(struct tms_writer *w, int status, struct error *e)
{
	if (w && status == 0)
		return tms_finish(w, e);
	tms_abort(w);
	return status;
}
