#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "arrays.h"
#include "io.h"
#include "memory.h"
#include "sink.h"
#include "text_out.h"

/* Room for the header of any array here; a multiple of 64, so that the data can be mapped. */
#define NPY_HEADER_LEN 192

struct npy_file {
	struct output output;
	bool open;
};

struct npy_sink {
	struct sink sink;
	struct arrays arrays;
	char *dir;
};

static const char *const descriptions[DTYPE_COUNT] = {
	[DTYPE_F32] = "<f4", [DTYPE_F64] = "<f8", [DTYPE_F16] = "<f2", [DTYPE_I32] = "<i4", [DTYPE_U32] = "<u4",
	[DTYPE_U8] = "|u1",
};

/* "(3, 4)" or "(3,)" or "()": the rows before the shape of one, unless rows is negative. */
static void shape_text(char text[128], int64_t rows, const size_t *dim, int n_dims)
{
	size_t n = 0, parts = 0;
	text[n++] = '(';
	if (rows >= 0) {
		n += (size_t)sprintf(text + n, "%lld", (long long)rows);
		parts++;
	}
	for (int i = 0; i < n_dims; i++, parts++)
		n += (size_t)sprintf(text + n, "%s%zu", parts ? ", " : "", dim[i]);
	strcpy(text + n, parts == 1 ? ",)" : ")");
}

static void npy_header(char header[NPY_HEADER_LEN], const char *description, const char *shape)
{
	static const char magic[] = "\x93NUMPY\x01\x00";
	memset(header, ' ', NPY_HEADER_LEN);
	memcpy(header, magic, 8);
	header[8] = (char)(NPY_HEADER_LEN - 10);
	header[9] = 0;
	char text[NPY_HEADER_LEN];
	int n = snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", description, shape);
	memcpy(header + 10, text, (size_t)n);
	header[NPY_HEADER_LEN - 1] = '\n';
}

/* A file in the directory, with room for its header. */
static int begin_file(struct npy_sink *s, struct npy_file *f, const char *name, struct error *e)
{
	static const char room[NPY_HEADER_LEN];
	char *path = mem_format("%s/%s.npy", s->dir, name);
	int rc = output_open(&f->output, path, true, e);
	free(path);
	if (rc < 0)
		return -1;
	f->open = true;
	return output_write(&f->output, room, sizeof room, e);
}

static int end_file(struct npy_file *f, const char *description, const char *shape, struct error *e)
{
	char header[NPY_HEADER_LEN];
	npy_header(header, description, shape);
	if (io_write_at(f->output.fd, header, sizeof header, 0, f->output.name, e) < 0)
		return -1;
	f->open = false;
	return output_commit(&f->output, e);
}

static int npy_open(void *context, struct array *a, struct error *e)
{
	struct npy_sink *s = context;
	if (!descriptions[a->dtype])
		a->dtype = DTYPE_F32;
	char *name = array_name(a);
	struct npy_file *f = mem_zero(1, sizeof *f);
	int rc = 0;
	if (!*name || strchr(name, '/') || strlen(name) > 200)
		rc = error_set(e, "a site or name of '%s' can't be that of a file", name);
	else
		rc = begin_file(s, f, name, e);
	free(name);
	a->file = f;
	if (rc < 0 && f->open)
		output_abort(&f->output);
	if (rc < 0)
		free(f);
	return rc;
}

static int npy_put(void *context, struct array *a, const void *rows, size_t len, struct error *e)
{
	(void)context;
	struct npy_file *f = a->file;
	return output_write(&f->output, rows, len, e);
}

static int npy_frame(struct sink *sink, const struct frame *f, struct error *e)
{
	return arrays_add(&((struct npy_sink *)sink)->arrays, f, e);
}

/* -------- offsets and the samples' texts */

struct column {
	struct output *output;
	uint32_t *cell;
	size_t width;           /* characters of a cell */
};

static int put_cell(void *context, const char *text, size_t len, struct error *e)
{
	struct column *c = context;
	memset(c->cell, 0, c->width * sizeof *c->cell);
	for (size_t i = 0, k = 0, n; i < len; i += n)
		c->cell[k++] = text_character(text + i, len - i, &n);
	return output_write(c->output, c->cell, c->width * sizeof *c->cell, e);
}

/* NumPy strings of the longest one's width. */
static int write_texts(struct npy_sink *s, const char *name, struct texts *t, struct error *e)
{
	struct npy_file f = { .open = false };
	struct column c = { &f.output, NULL, t->longest ? t->longest : 1 };
	char description[32], shape[32];
	snprintf(description, sizeof description, "<U%zu", c.width);
	snprintf(shape, sizeof shape, "(%llu,)", (unsigned long long)t->n);
	c.cell = mem_zero(c.width, sizeof *c.cell);
	int rc = begin_file(s, &f, name, e);
	if (rc == 0)
		rc = texts_each(t, put_cell, &c, e);
	if (rc == 0)
		rc = end_file(&f, description, shape, e);
	if (rc < 0 && f.open)
		output_abort(&f.output);
	free(c.cell);
	return rc;
}

static int copy_offsets(struct npy_sink *s, struct npy_file *f, struct error *e)
{
	char block[8192];
	uint64_t len = scratch_len(&s->arrays.offsets);
	for (uint64_t at = 0; at < len;) {
		size_t n = len - at < sizeof block ? (size_t)(len - at) : sizeof block;
		if (scratch_read(&s->arrays.offsets, block, n, at, e) < 0 || output_write(&f->output, block, n, e) < 0)
			return -1;
		at += n;
	}
	return 0;
}

static int write_offsets(struct npy_sink *s, struct error *e)
{
	struct npy_file f = { .open = false };
	char shape[32];
	snprintf(shape, sizeof shape, "(%llu,)", (unsigned long long)(scratch_len(&s->arrays.offsets) / 8));
	int rc = begin_file(s, &f, "offsets", e);
	if (rc == 0)
		rc = copy_offsets(s, &f, e);
	if (rc == 0)
		rc = end_file(&f, "<i8", shape, e);
	if (rc < 0 && f.open)
		output_abort(&f.output);
	return rc;
}

static int write_samples(struct npy_sink *s, struct error *e)
{
	if (write_offsets(s, e) < 0 || write_texts(s, "ids", &s->arrays.ids, e) < 0)
		return -1;
	if (s->arrays.labels.any && write_texts(s, "labels", &s->arrays.labels, e) < 0)
		return -1;
	return s->arrays.variants.any ? write_texts(s, "variants", &s->arrays.variants, e) : 0;
}

static int end_arrays(struct npy_sink *s, struct error *e)
{
	bool sampled = s->arrays.n == 0;
	if (arrays_end(&s->arrays, e) < 0)
		return -1;
	for (size_t i = 0; i < s->arrays.n; i++) {
		struct array *a = s->arrays.array[i];
		char shape[128];
		bool alone = a->unsampled && a->n_rows == 1;
		sampled |= !a->unsampled;
		shape_text(shape, alone ? -1 : (int64_t)a->n_rows, a->dim, a->n_dims);
		if (end_file(a->file, descriptions[a->dtype], shape, e) < 0)
			return -1;
	}
	return sampled ? write_samples(s, e) : 0;
}

static void npy_abort(struct sink *sink)
{
	struct npy_sink *s = (struct npy_sink *)sink;
	for (size_t i = 0; i < s->arrays.n; i++) {
		struct npy_file *f = s->arrays.array[i]->file;
		if (f->open)
			output_abort(&f->output);
		free(f);
	}
	arrays_release(&s->arrays);
	free(s->dir);
	free(s);
}

static int npy_finish(struct sink *sink, struct error *e)
{
	int rc = end_arrays((struct npy_sink *)sink, e);
	npy_abort(sink);
	return rc;
}

struct sink *npy_sink(const char *path, const struct tms_header *h, struct error *e)
{
	struct stat st;
	if (mkdir(path, 0777) < 0 && (errno != EEXIST || stat(path, &st) < 0 || !S_ISDIR(st.st_mode))) {
		error_errno(e, "--npy %s: no directory can be made there", path);
		return NULL;
	}
	/* Every (site, layer) is a file that stays open to the end: the usual 1,024 are soon used up. */
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)!setrlimit(RLIMIT_NOFILE, &files);
	}
	struct npy_sink *s = mem_zero(1, sizeof *s);
	s->sink = (struct sink){ npy_frame, npy_finish, npy_abort };
	s->arrays.header = h;
	s->arrays.open = npy_open;
	s->arrays.put = npy_put;
	s->arrays.context = s;
	s->dir = mem_string(path);
	return &s->sink;
}
