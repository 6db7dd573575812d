#include "archive_file.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>

#include "io.h"
#include "memory.h"
#include "unicode.h"

#define BLOCK 262144
#define TAR_BLOCK 512
/* The last record of a zip archive, and the longest comment that may follow it. */
#define ZIP_END 22
#define ZIP_COMMENT 65535
#define ZIP_TAIL ((size_t)ZIP_END + ZIP_COMMENT)

struct archive_file {
	struct archive *archive;
	char *name;   /* for messages */
	char *member; /* the present one */
	int fd;       /* -1: none */
	bool piped;   /* can't be looked at from its end: the last bytes are kept as they pass */
	unsigned char *block, *tail;
	size_t tail_len;
	bool begun;   /* some header was asked for */
	bool empty;   /* a file of no bytes: one member of none */
};

static int trouble(struct archive_file *f, struct error *e)
{
	const char *why = archive_error_string(f->archive);
	return error_set(e, "%s: %s%s%s", f->name, f->member == NULL ? "" : f->member,
			 f->member == NULL ? "" : ": ", why == NULL ? "cannot be read" : why);
}

/* No filter that runs a program, and none (uuencode) that takes plain text for its own. */
static struct archive *new_archive(void)
{
	struct archive *a = archive_read_new();
	if (a == NULL)
		return NULL;
	archive_read_support_filter_gzip(a);
	archive_read_support_filter_bzip2(a);
	archive_read_support_filter_xz(a);
	archive_read_support_filter_zstd(a);
	archive_read_support_filter_lz4(a);
	archive_read_support_format_tar(a);
	archive_read_support_format_zip(a);
	archive_read_support_format_empty(a);
	archive_read_support_format_raw(a);
	return a;
}

static struct archive_file *new_file(const char *name, struct error *e)
{
	struct archive_file *f = mem_zero(1, sizeof *f);
	f->name = mem_string(name);
	f->fd = -1;
	f->archive = new_archive();
	if (f->archive == NULL) {
		error_set(e, "%s: no memory to read it", name);
		archive_file_close(f);
		return NULL;
	}
	return f;
}

static void keep_tail(struct archive_file *f, const unsigned char *p, size_t n)
{
	size_t more = n < ZIP_TAIL ? n : ZIP_TAIL, stay = f->tail_len < ZIP_TAIL - more ? f->tail_len : ZIP_TAIL - more;
	memmove(f->tail, f->tail + f->tail_len - stay, stay);
	memcpy(f->tail + stay, p + n - more, more);
	f->tail_len = stay + more;
}

/* What came, not a full block: whoever types a line is answered. */
static ssize_t read_piped(struct archive_file *f, struct error *e)
{
	ssize_t n = io_read_some(f->fd, f->block, BLOCK, f->name, e);
	if (n > 0)
		keep_tail(f, f->block, (size_t)n);
	return n;
}

static la_ssize_t next_block(struct archive *a, void *context, const void **block)
{
	struct archive_file *f = context;
	struct error e;
	ssize_t n = read_piped(f, &e);
	if (n < 0)
		archive_set_error(a, errno, "%s", strerror(errno));
	*block = f->block;
	return n;
}

static int open_path(struct archive_file *f, const char *path, struct error *e)
{
	struct stat st;
	f->fd = io_open_input(path, e);
	if (f->fd < 0)
		return -1;
	f->piped = fstat(f->fd, &st) < 0 || !S_ISREG(st.st_mode);
	if (f->piped) {
		f->block = mem_alloc(BLOCK);
		f->tail = mem_alloc(ZIP_TAIL);
	}
	if ((f->piped ? archive_read_open(f->archive, f, NULL, next_block, NULL)
	              : archive_read_open_fd(f->archive, f->fd, BLOCK)) != ARCHIVE_OK)
		return trouble(f, e);
	return 0;
}

int archive_file_open(const char *path, struct archive_file **out, struct error *e)
{
	struct archive_file *f = new_file(io_input_name(path), e);
	if (f == NULL)
		return -1;
	if (open_path(f, path, e) < 0) {
		archive_file_close(f);
		return -1;
	}
	*out = f;
	return 0;
}

int archive_file_open_bytes(const void *bytes, size_t len, struct archive_file **out,
			    struct error *e)
{
	struct archive_file *f = new_file("bytes", e);
	if (f == NULL)
		return -1;
	if (archive_read_open_memory(f->archive, bytes, len) != ARCHIVE_OK) {
		trouble(f, e);
		archive_file_close(f);
		return -1;
	}
	*out = f;
	return 0;
}

static int set_member(struct archive_file *f, struct archive_entry *entry, struct error *e)
{
	const char *path = archive_entry_pathname_utf8(entry);
	if (path == NULL)
		path = archive_entry_pathname(entry);
	if (path == NULL || utf8_check(path, strlen(path)) != strlen(path))
		return error_set(e, "%s: the name of a member is not valid UTF-8", f->name);
	f->member = mem_string(path);
	return 0;
}

/* Whether a zip archive's last record is among these bytes, whole, with its comment. */
static bool has_zip_end(const unsigned char *p, size_t len)
{
	for (; len >= ZIP_END; p++, len--)
		if (memcmp(p, "PK\5\6", 4) == 0 && len - ZIP_END >= (size_t)(p[20] | p[21] << 8))
			return true;
	return false;
}

/* The file's last bytes, at most ZIP_TAIL.  What a pipe still holds is read to its end. */
static int read_tail(struct archive_file *f, struct error *e)
{
	struct stat st;
	ssize_t n;
	if (f->piped) {
		while ((n = read_piped(f, e)) > 0)
			continue;
		return (int)n;
	}
	if (fstat(f->fd, &st) < 0)
		return error_errno(e, "%s", f->name);
	f->tail_len = (uint64_t)st.st_size < ZIP_TAIL ? (size_t)st.st_size : ZIP_TAIL;
	free(f->tail);
	f->tail = mem_alloc(f->tail_len + 1);
	return io_read_at(f->fd, f->tail, f->tail_len, (uint64_t)st.st_size - f->tail_len, f->name, e);
}

/* Only of a file that isn't compressed once more are these the archive's last bytes. */
static int check_zip(struct archive_file *f, struct error *e)
{
	if (f->fd < 0 || archive_filter_count(f->archive) > 1)
		return 0;
	if (read_tail(f, e) < 0)
		return -1;
	return has_zip_end(f->tail, f->tail_len) ? 0 :
	       error_set(e, "%s: is cut: the record that ends a zip archive is missing", f->name);
}

/*
 * libarchive takes a tar file's end for the archive's, whether or not the blocks of zeros stand there, and reads a zip file
 * without its directory member by member.
 */
static int check_end(struct archive_file *f, struct error *e)
{
	switch (archive_format(f->archive) & ARCHIVE_FORMAT_BASE_MASK) {
	case ARCHIVE_FORMAT_TAR:
		if (archive_filter_bytes(f->archive, 0) >= archive_read_header_position(f->archive) + TAR_BLOCK)
			return 0;
		return error_set(e, "%s: is cut: the blocks of zeros that end a tar archive are missing", f->name);
	case ARCHIVE_FORMAT_ZIP:
		return check_zip(f, e);
	default:
		return 0;
	}
}

int archive_file_next(struct archive_file *f, const char **member, struct error *e)
{
	for (;;) {
		struct archive_entry *entry;
		free(f->member);
		f->member = NULL;
		int rc = f->empty ? ARCHIVE_EOF : archive_read_next_header(f->archive, &entry);
		f->empty = !f->begun && rc == ARCHIVE_EOF &&
			   archive_format(f->archive) == ARCHIVE_FORMAT_EMPTY;
		f->begun = true;
		*member = NULL;
		if (rc == ARCHIVE_EOF)
			return f->empty ? 1 : check_end(f, e);
		if (rc == ARCHIVE_RETRY)
			continue;
		if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN)
			return trouble(f, e);
		if (archive_format(f->archive) == ARCHIVE_FORMAT_RAW)
			return 1;
		if (archive_entry_filetype(entry) != AE_IFREG ||
		    archive_entry_hardlink(entry) != NULL)
			continue;
		if (set_member(f, entry, e) < 0)
			return -1;
		if (archive_entry_is_encrypted(entry))
			return error_set(e, "%s: %s: is encrypted", f->name, f->member);
		*member = f->member;
		return 1;
	}
}

ssize_t archive_file_read(struct archive_file *f, void *to, size_t n, struct error *e)
{
	la_ssize_t got;
	if (f->empty)
		return 0;
	do
		got = archive_read_data(f->archive, to, n);
	while (got == ARCHIVE_RETRY);
	/* Also a warning: it is about data, such as a checksum that differs. */
	return got >= 0 ? got : trouble(f, e);
}

void archive_file_close(struct archive_file *f)
{
	if (f == NULL)
		return;
	archive_read_free(f->archive);
	if (f->fd >= 0)
		close(f->fd);
	free(f->block);
	free(f->tail);
	free(f->name);
	free(f->member);
	free(f);
}
