/* Rows compressed with zstd: one zstd frame a rows bin. */
#ifndef ZSTD_ROWS_H
#define ZSTD_ROWS_H

#include <stddef.h>

#include "error.h"

enum { ZSTD_ROWS_LEVEL = 3 };

struct zstd_packer;
/* level: 1 to 19. */
struct zstd_packer *zstd_packer_open(int level);
/* Compresses n bytes.  *packed is the packer's until its next call.  1; 0 if they don't get smaller; -1 and e. */
int zstd_pack(struct zstd_packer *z, const void *p, size_t n, const void **packed, size_t *packed_len,
              struct error *e) MUST_CHECK;
void zstd_packer_close(struct zstd_packer *z);

struct zstd_unpacker;
struct zstd_unpacker *zstd_unpacker_open(void);
/* Begins a new rows bin. */
void zstd_unpack_start(struct zstd_unpacker *z);
/*
 * Unpacks from in[*in_at..in_len-1] to out[*out_at..out_len-1] until one of the two ends; moves both on.
 * 0, or -1: these are not the bytes of a zstd frame.
 */
int zstd_unpack(struct zstd_unpacker *z, const void *in, size_t in_len, size_t *in_at, void *out, size_t out_len,
                size_t *out_at, struct error *e) MUST_CHECK;
/* The zstd frame ended with the last byte unpacked. */
int zstd_unpack_ended(const struct zstd_unpacker *z);
void zstd_unpacker_close(struct zstd_unpacker *z);

#endif
