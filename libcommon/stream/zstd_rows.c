#include "zstd_rows.h"

#include <stdlib.h>

#include <zstd.h>

#include "memory.h"

struct zstd_packer {
	ZSTD_CCtx *context;
	void *buffer;
	size_t capacity;
};

struct zstd_unpacker {
	ZSTD_DCtx *context;
	int ended;
};

static void *or_exit(void *p)
{
	if (!p)
		mem_exhausted();
	return p;
}

struct zstd_packer *zstd_packer_open(int level)
{
	struct zstd_packer *z = mem_zero(1, sizeof *z);
	z->context = or_exit(ZSTD_createCCtx());
	ZSTD_CCtx_setParameter(z->context, ZSTD_c_compressionLevel, level);
	return z;
}

int zstd_pack(struct zstd_packer *z, const void *p, size_t n, const void **packed, size_t *packed_len, struct error *e)
{
	if (n > z->capacity) {
		free(z->buffer);
		z->buffer = mem_try(n, "compressed rows", e);
		z->capacity = z->buffer ? n : 0;
		if (!z->buffer)
			return -1;
	}
	/* A buffer of n - 1 bytes: what would not fit is not worth compressing. */
	size_t got = n ? ZSTD_compress2(z->context, z->buffer, n - 1, p, n) : 0;
	if (!n || ZSTD_isError(got))
		return 0;
	*packed = z->buffer;
	*packed_len = got;
	return 1;
}

void zstd_packer_close(struct zstd_packer *z)
{
	if (!z)
		return;
	ZSTD_freeCCtx(z->context);
	free(z->buffer);
	free(z);
}

struct zstd_unpacker *zstd_unpacker_open(void)
{
	struct zstd_unpacker *z = mem_zero(1, sizeof *z);
	z->context = or_exit(ZSTD_createDCtx());
	/* A window of 2^27 bytes: what levels 1 to 19 use, and a bound on the memory a stream can ask for. */
	ZSTD_DCtx_setParameter(z->context, ZSTD_d_windowLogMax, 27);
	return z;
}

void zstd_unpack_start(struct zstd_unpacker *z)
{
	ZSTD_DCtx_reset(z->context, ZSTD_reset_session_only);
	z->ended = 0;
}

int zstd_unpack(struct zstd_unpacker *z, const void *in, size_t in_len, size_t *in_at, void *out, size_t out_len,
                size_t *out_at, struct error *e)
{
	ZSTD_inBuffer from = { in, in_len, *in_at };
	ZSTD_outBuffer to = { out, out_len, *out_at };
	while (!z->ended && (from.pos < from.size || to.pos < to.size)) {
		size_t in_was = from.pos, out_was = to.pos;
		size_t got = ZSTD_decompressStream(z->context, &to, &from);
		if (ZSTD_isError(got))
			return error_set(e, "the compressed rows are damaged (%s)", ZSTD_getErrorName(got));
		z->ended = got == 0;
		if (from.pos == in_was && to.pos == out_was)
			break;
	}
	*in_at = from.pos;
	*out_at = to.pos;
	return 0;
}

int zstd_unpack_ended(const struct zstd_unpacker *z)
{
	return z->ended;
}

void zstd_unpacker_close(struct zstd_unpacker *z)
{
	if (!z)
		return;
	ZSTD_freeDCtx(z->context);
	free(z);
}
