/*
 * The maps of a tensor stream and the structures they become.  What is on the wire is written down in
 * tms(5) and, in code, here and nowhere else.
 */
#ifndef TMS_META_H
#define TMS_META_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tms.h"
#include "wire.h"

/* What a meta map says of how its rows are stored. */
struct stored {
	bool has_sum, has_zstd;
	uint64_t sum;           /* XXH3-64 of the rows bin */
	uint64_t zstd;          /* bytes of the rows once unpacked */
};

/* The header's map in p[0..len-1].  0 and a header for tms_header_release; or -1, e without the file's name, and in *at the
 * byte behind the last pair that it knows and took: len where one is missing. */
int meta_read_header(const uint8_t *p, size_t len, struct tms_header *h, size_t *at, struct error *e) MUST_CHECK;

/* A frame's meta map; all of the frame but its rows, checked against the header and in itself. */
int meta_read_frame(const uint8_t *p, size_t len, const struct tms_header *h, struct frame **f,
                    struct stored *stored, struct error *e) MUST_CHECK;

void meta_write_header(struct wire_buffer *b, const struct tms_header *h);
void meta_write_frame(struct wire_buffer *b, const struct frame *f, const struct stored *stored);

/* The trailer: its size is fixed. */
enum { TRAILER_LEN = 31 };
void meta_write_trailer(uint8_t p[TRAILER_LEN], uint64_t n_frames, uint64_t n_rows, uint64_t sum);
/* 0, or -1: these are not a trailer's bytes. */
int meta_read_trailer(const uint8_t p[TRAILER_LEN], uint64_t *n_frames, uint64_t *n_rows, uint64_t *sum) MUST_CHECK;

#endif
