#include "archive_file.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>

#include "io.h"
#include "memory.h"
#include "unicode.h"

#define BLOCK 262144

struct archive_file {
	struct archive *archive;
	char *name;   /* for messages */
	char *member; /* the present one */
	int fd;       /* -1: none */
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

static int open_path(struct archive_file *f, const char *path, struct error *e)
{
	f->fd = io_open_input(path, e);
	if (f->fd < 0)
		return -1;
	if (archive_read_open_fd(f->archive, f->fd, BLOCK) != ARCHIVE_OK)
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
			return f->empty;
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
	free(f->name);
	free(f->member);
	free(f);
}
