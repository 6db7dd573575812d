#include "tensor_list.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aprt.h"
#include "forward.h"
#include "hub.h"
#include "io.h"
#include "memory.h"
#include "npy_read.h"
#include "site.h"

struct array_file {
	int fd;
	char *path;
};

static const char npy_magic[] = "\x93NUMPY";
static const char aprt_magic[] = "APRT";
static const char index_end[] = ".index.json";

/* The first bytes of a file; fewer where it is shorter.  0 or -1. */
static int first_bytes(const char *path, char head[8], size_t *n, struct error *e)
{
	int fd = io_open_input(path, e);
	if (fd < 0)
		return -1;
	ssize_t got = io_read_full(fd, head, 8, path, e);
	close(fd);
	*n = got < 0 ? 0 : (size_t)got;
	return got < 0 ? -1 : 0;
}

int tensor_list_is_stream(const char *path, struct error *e)
{
	struct stat st;
	if (!strcmp(path, "-"))
		return 1;
	/* What isn't there may be in the hub's cache. */
	if (stat(path, &st) < 0 || S_ISDIR(st.st_mode))
		return 0;
	if (!S_ISREG(st.st_mode))
		return 1;
	char head[8];
	size_t n;
	if (first_bytes(path, head, &n, e) < 0)
		return -1;
	return n >= 5 && ((unsigned char)head[0] & 0xf0) == 0x80 && memcmp(head + 1, "\xa3tms", 4) == 0;
}

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);
	return n >= m && !strcmp(text + n - m, end);
}

static struct listed *add(struct tensor_list *l, char *name, const char *type, enum dtype dtype, uint64_t len)
{
	l->tensor = mem_resize(l->tensor, l->n + 1, sizeof *l->tensor);
	struct listed *t = &l->tensor[l->n++];
	*t = (struct listed){ .name = name, .type = mem_string(type), .dtype = dtype ? dtype : DTYPE_U8, .opaque = !dtype };
	t->n = len / dtype_size(t->dtype);
	t->rank = forward_of_tensor(name, &t->layer);
	return t;
}

static void add_safetensors(struct tensor_list *l)
{
	for (size_t i = 0; i < l->files.n_tensors; i++) {
		const struct tensor *from = &l->files.tensor[i];
		struct listed *t = add(l, mem_string(from->is->name), from->is->type, from->is->dtype, from->is->len);
		t->n_dims = from->is->n_dims;
		memcpy(t->dim, from->is->dim, sizeof t->dim);
		t->fd = from->file->fd;
		t->path = from->file->path;
		t->offset = from->is->offset;
	}
}

/* One file outside a checkpoint. */
static int open_safetensors(struct tensor_list *l, const char *path, struct error *e)
{
	struct safetensors *f = safetensors_open(path, e);
	if (!f)
		return -1;
	l->files.file = mem_alloc(sizeof *l->files.file);
	l->files.file[0] = f;
	l->files.n_files = 1;
	l->files.tensor = mem_zero(f->n_tensors ? f->n_tensors : 1, sizeof *l->files.tensor);
	l->files.n_tensors = f->n_tensors;
	for (size_t i = 0; i < f->n_tensors; i++)
		l->files.tensor[i] = (struct tensor){ &f->tensor[i], f, 0, true };
	add_safetensors(l);
	return 0;
}

/* Opens a file of one tensor, which the list keeps.  The descriptor and the size, or -1. */
static int open_array(struct tensor_list *l, const char *path, uint64_t *size, struct error *e)
{
	struct stat st;
	int fd = io_open_input(path, e);
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) < 0) {
		close(fd);
		return error_errno(e, "%s", path);
	}
	*size = (uint64_t)st.st_size;
	l->array = mem_resize(l->array, l->n_arrays + 1, sizeof *l->array);
	l->array[l->n_arrays++] = (struct array_file){ fd, mem_string(path) };
	return fd;
}

/* A file's name without its directory and `end`; the caller's. */
static char *base_name(const char *path, const char *end)
{
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	return mem_slice(base, strlen(base) - (ends_with(base, end) ? strlen(end) : 0));
}

static int open_npy(struct tensor_list *l, const char *path, struct error *e)
{
	uint64_t size = 0;
	struct npy n;
	int fd = open_array(l, path, &size, e);
	if (fd < 0 || npy_read(&n, fd, size, path, e) < 0)
		return -1;
	struct listed *t = add(l, base_name(path, ".npy"), n.type, n.dtype, n.len);
	t->fortran = n.fortran && n.n_dims > 1;
	t->n_dims = n.n_dims;
	memcpy(t->dim, n.dim, sizeof n.dim);
	t->fd = fd;
	t->path = l->array[l->n_arrays - 1].path;
	t->offset = n.offset;
	if (t->fortran && n.n_dims > 2)
		return error_set(e, "%s: more than two dimensions in Fortran's order can't be compared; save "
		                 "numpy.ascontiguousarray() of it", path);
	return 0;
}

/* Named as tcat names its arrays, SITE.LAYER, by our name of the stage where there is one. */
static int open_aprt(struct tensor_list *l, const char *path, struct error *e)
{
	uint64_t size = 0;
	struct aprt a;
	int fd = open_array(l, path, &size, e);
	if (fd < 0 || aprt_read(&a, fd, size, path, e) < 0)
		return -1;
	char *stage = base_name(path, ".bin");
	enum site site = site_find(stage, strlen(stage));
	const char *name = site == SITE_NONE ? stage : site_name(site);
	struct listed *t = add(l, a.layer < 0 ? mem_string(name) : mem_format("%s.%d", name, a.layer), "F32", DTYPE_F32,
	                       (uint64_t)a.n * sizeof(float));
	free(stage);
	t->flat = true;
	t->n_dims = 1;
	t->dim[0] = a.n;
	t->fd = fd;
	t->path = l->array[l->n_arrays - 1].path;
	t->offset = APRT_HEADER_LEN;
	return 0;
}

/* 1: it is one of aprender's.  0, or -1 and e. */
static int is_aprt(const char *path, struct error *e)
{
	char head[8];
	size_t n;
	if (first_bytes(path, head, &n, e) < 0)
		return -1;
	return n >= 4 && memcmp(head, aprt_magic, 4) == 0;
}

static int open_arrays(struct tensor_list *l, const char *dir, bool below, struct error *e);

/* What a directory of arrays may hold; else nothing is done. */
static int open_entry(struct tensor_list *l, const char *path, const char *name, bool below, struct error *e)
{
	struct stat st;
	if (*name == '.' || stat(path, &st) < 0)
		return 0;
	if (S_ISDIR(st.st_mode))
		return !below && !strncmp(name, "layer-", 6) ? open_arrays(l, path, true, e) : 0;
	if (ends_with(name, ".npy"))
		return open_npy(l, path, e);
	if (!S_ISREG(st.st_mode) || !ends_with(name, ".bin"))
		return 0;
	int is = is_aprt(path, e);
	return is > 0 ? open_aprt(l, path, e) : is;
}

/* below: of aprender's directories of layers, which have none of their own. */
static int open_arrays(struct tensor_list *l, const char *dir, bool below, struct error *e)
{
	DIR *d = opendir(dir);
	if (!d)
		return error_errno(e, "%s", dir);
	int rc = 0;
	for (struct dirent *entry; rc == 0 && (entry = readdir(d));) {
		char *path = mem_format("%s/%s", dir, entry->d_name);
		rc = open_entry(l, path, entry->d_name, below, e);
		free(path);
	}
	closedir(d);
	return rc;
}

/* Their files stay open, and may be more than a process has by default. */
static int open_array_directory(struct tensor_list *l, const char *dir, struct error *e)
{
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)!setrlimit(RLIMIT_NOFILE, &files);
	}
	if (open_arrays(l, dir, false, e) < 0)
		return -1;
	return l->n ? 0 : error_set(e, "%s: there is neither model.safetensors, nor model.safetensors.index.json, nor a .npy "
	                            "file, nor an APRT file in it", dir);
}

static bool has_file(const char *dir, const char *name)
{
	char *path = mem_format("%s/%s", dir, name);
	struct stat st;
	bool there = stat(path, &st) == 0;
	free(path);
	return there;
}

static int open_directory(struct tensor_list *l, const char *dir, struct error *e)
{
	if (!has_file(dir, "model.safetensors") && !has_file(dir, "model.safetensors.index.json"))
		return open_array_directory(l, dir, e);
	l->checkpoint = true;
	if (tensors_open(&l->files, dir, e) < 0)
		return -1;
	add_safetensors(l);
	return 0;
}

static int open_file(struct tensor_list *l, const char *path, struct error *e)
{
	char head[8];
	size_t n;
	if (first_bytes(path, head, &n, e) < 0)
		return -1;
	if (n >= 6 && memcmp(head, npy_magic, 6) == 0)
		return open_npy(l, path, e);
	if (n >= 4 && memcmp(head, aprt_magic, 4) == 0)
		return open_aprt(l, path, e);
	return open_safetensors(l, path, e);
}

static int by_order(const void *a, const void *b)
{
	const struct listed *x = a, *y = b;
	return x->rank != y->rank ? x->rank < y->rank ? -1 : 1 : strcmp(x->name, y->name);
}

static int open_path(struct tensor_list *l, const char *path, struct error *e)
{
	struct stat st;
	if (stat(path, &st) < 0) {
		l->path = hub_find(path, e);
		return l->path ? open_directory(l, l->path, e) : -1;
	}
	if (S_ISREG(st.st_mode) && ends_with(path, index_end)) {
		const char *slash = strrchr(path, '/');
		l->path = slash ? mem_slice(path, (size_t)(slash - path)) : mem_string(".");
		return open_directory(l, l->path, e);
	}
	l->path = mem_string(path);
	return S_ISDIR(st.st_mode) ? open_directory(l, path, e) : open_file(l, path, e);
}

int tensor_list_open(struct tensor_list *l, const char *path, struct error *e)
{
	*l = (struct tensor_list){ 0 };
	if (open_path(l, path, e) < 0) {
		tensor_list_close(l);
		return -1;
	}
	if (l->n)
		qsort(l->tensor, l->n, sizeof *l->tensor, by_order);
	return 0;
}

void tensor_list_close(struct tensor_list *l)
{
	for (size_t i = 0; i < l->n_arrays; i++) {
		close(l->array[i].fd);
		free(l->array[i].path);
	}
	for (size_t i = 0; i < l->n; i++) {
		free(l->tensor[i].name);
		free(l->tensor[i].type);
	}
	free(l->array);
	free(l->tensor);
	free(l->path);
	tensors_close(&l->files);
	*l = (struct tensor_list){ 0 };
}

const struct listed *tensor_list_find(const struct tensor_list *l, const struct listed *like)
{
	return l->n ? bsearch(like, l->tensor, l->n, sizeof *l->tensor, by_order) : NULL;
}
