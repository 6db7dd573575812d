#include "tensors.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io.h"
#include "json.h"
#include "memory.h"

enum {
	SHARDS_MAX = 10000,
	SAMPLES = 4096,         /* tensors whose first bytes are hashed */
	SAMPLE_LEN = 64
};

static const char index_name[] = "model.safetensors.index.json";

static int by_name(const void *a, const void *b)
{
	const struct tensor *x = a, *y = b;
	int order = strcmp(x->is->name, y->is->name);
	return order                             ? order
	       : x->file_number < y->file_number ? -1
	                                         : x->file_number > y->file_number;
}

/* Takes over the file. */
static void add_file(struct tensors *t, struct safetensors *file)
{
	t->file = mem_resize(t->file, t->n_files + 1, sizeof *t->file);
	t->file[t->n_files] = file;
	t->tensor = mem_resize(t->tensor, t->n_tensors + file->n_tensors, sizeof *t->tensor);
	for (size_t i = 0; i < file->n_tensors; i++)
		t->tensor[t->n_tensors++] =
			(struct tensor){ &file->tensor[i], file, t->n_files, false };
	t->n_files++;
}

static int open_file(struct tensors *t, const char *dir, const char *name, struct error *e)
{
	char *path = mem_format("%s/%s", dir, name);
	struct safetensors *file = safetensors_open(path, e);
	free(path);
	if (!file)
		return -1;
	add_file(t, file);
	return 0;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names of the shards, each once, sorted; the caller frees the list. */
static int list_shards(const struct json *map, const char ***out, size_t *n, const char *path,
                       struct error *e)
{
	const char **names = mem_zero(json_count(map), sizeof *names);
	size_t found = 0;
	void *at = NULL;
	const char *key;
	for (const struct json *v; (v = json_each(map, &at, &key));) {
		size_t len = 0;
		const char *name = json_text(v, &len);
		if (!name || !len || strlen(name) != len || strchr(name, '/') || *name == '.') {
			free(names);
			return error_set(
				e,
				"%s: tensor '%.200s' is in '%.200s', which is not the name of a "
				"file beside the index",
				path, key, name ? name : "");
		}
		names[found++] = name;
	}
	if (found)
		qsort(names, found, sizeof *names, by_text);
	*n = 0;
	for (size_t i = 0; i < found; i++)
		if (!i || strcmp(names[i], names[i - 1]))
			names[(*n)++] = names[i];
	*out = names;
	if (*n > SHARDS_MAX) {
		free(names);
		return error_set(e, "%s: it names %zu files, at most %d are read", path, *n,
		                 SHARDS_MAX);
	}
	return 0;
}

/* The first entry of that name, and how many follow each other. */
static struct tensor *find_all(const struct tensors *t, const char *name, size_t *n)
{
	size_t lo = 0, hi = t->n_tensors;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (strcmp(t->tensor[mid].is->name, name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (*n = 0; lo + *n < t->n_tensors && !strcmp(t->tensor[lo + *n].is->name, name);)
		++*n;
	return t->tensor + lo;
}

static int mark_listed(struct tensors *t, const struct json *map, const char *const *names,
                       const char *path, struct error *e)
{
	void *at = NULL;
	const char *key;
	for (const struct json *v; (v = json_each(map, &at, &key));) {
		size_t n;
		struct tensor *same = find_all(t, key, &n);
		bool found = false;
		for (size_t i = 0; i < n; i++)
			if (!strcmp(names[same[i].file_number], json_text(v, NULL)))
				found = same[i].listed = true;
		if (!found)
			return error_set(e,
			                 "%s: tensor '%.200s' is not in %s, where the index has it",
			                 path, key, json_text(v, NULL));
	}
	return 0;
}

/* Leaves each name once. */
static int drop_doubles(struct tensors *t, const char *path, struct error *e)
{
	size_t kept = 0;
	for (size_t i = 0, n; i < t->n_tensors; i += n) {
		const struct tensor *same = t->tensor + i;
		size_t choice = 0;
		for (n = 0; i + n < t->n_tensors && !strcmp(same[n].is->name, same->is->name); n++)
			if (same[n].listed)
				choice = n;
		if (n > 1 && !same[choice].listed)
			return error_set(
				e, "%s: tensor '%.200s' is in %s and %s, and not in the index",
				path, same->is->name, same[0].file->path, same[1].file->path);
		t->tensor[kept++] = same[choice];
	}
	t->n_tensors = kept;
	return 0;
}

static int open_shards(struct tensors *t, const struct json *map, const char *dir, const char *path,
                       struct error *e)
{
	const char **names = NULL;
	size_t n = 0;
	if (list_shards(map, &names, &n, path, e) < 0)
		return -1;
	int r = 0;
	for (size_t i = 0; i < n && r == 0; i++)
		r = open_file(t, dir, names[i], e);
	if (r == 0) {
		if (t->n_tensors)
			qsort(t->tensor, t->n_tensors, sizeof *t->tensor, by_name);
		r = mark_listed(t, map, names, path, e);
	}
	free(names);
	return r < 0 ? -1 : drop_doubles(t, path, e);
}

static int open_index(struct tensors *t, const char *dir, const char *path, struct error *e)
{
	struct json *json = json_read(path, JSON_UNIQUE_KEYS, e);
	if (!json)
		return -1;
	const struct json *map = NULL;
	int found = json_get(json, "weight_map", JSON_KIND_OBJECT, &map, e);
	int r;
	if (found > 0)
		r = open_shards(t, map, dir, path, e);
	else
		r = found < 0 ? error_in(e, "%s", path)
		              : error_set(e, "%s: 'weight_map' is missing", path);
	json_free(json);
	return r;
}

int tensors_open(struct tensors *t, const char *dir, struct error *e)
{
	*t = (struct tensors){ .dir = mem_string(dir) };
	char *single = mem_format("%s/model.safetensors", dir);
	char *index = mem_format("%s/%s", dir, index_name);
	struct stat st;
	int r;
	if (stat(single, &st) == 0) {
		r = open_file(t, dir, "model.safetensors", e);
		if (r == 0 && t->n_tensors)
			qsort(t->tensor, t->n_tensors, sizeof *t->tensor, by_name);
	} else if (stat(index, &st) == 0) {
		r = open_index(t, dir, index, e);
	} else {
		r = error_set(
			e,
			"%s: there is neither model.safetensors nor %s; other formats have to "
			"be converted",
			dir, index_name);
	}
	free(single);
	free(index);
	if (r < 0)
		tensors_close(t);
	return r;
}

void tensors_close(struct tensors *t)
{
	for (size_t i = 0; i < t->n_files; i++)
		safetensors_close(t->file[i]);
	free(t->file);
	free(t->tensor);
	free(t->dir);
	*t = (struct tensors){ 0 };
}

const struct tensor *tensors_find(const struct tensors *t, const char *name)
{
	size_t n;
	const struct tensor *found = find_all(t, name, &n);
	return n ? found : NULL;
}

uint64_t tensors_len(const struct tensors *t)
{
	uint64_t len = 0;
	for (size_t i = 0; i < t->n_tensors; i++)
		len += t->tensor[i].is->len;
	return len;
}

int tensors_hash(const struct tensors *t, struct checksum *sum, struct error *e)
{
	for (size_t i = 0; i < t->n_tensors; i++) {
		const struct safetensor *x = t->tensor[i].is;
		checksum_add(sum, x->name, strlen(x->name) + 1);
		checksum_add(sum, x->type, strlen(x->type) + 1);
		uint64_t n_dims = (uint64_t)x->n_dims;
		checksum_add(sum, &n_dims, sizeof n_dims);
		checksum_add(sum, x->dim, (size_t)x->n_dims * sizeof *x->dim);
	}
	size_t n = t->n_tensors < SAMPLES ? t->n_tensors : SAMPLES;
	/* All are asked for before one is waited for: a cold disk answers them together. */
	for (size_t i = 0; i < n; i++) {
		const struct tensor *x = &t->tensor[i * t->n_tensors / n];
		(void)posix_fadvise(x->file->fd, (off_t)x->is->offset, SAMPLE_LEN,
		                    POSIX_FADV_WILLNEED);
	}
	for (size_t i = 0; i < n; i++) {
		const struct tensor *x = &t->tensor[i * t->n_tensors / n];
		unsigned char bytes[SAMPLE_LEN];
		size_t len = x->is->len < SAMPLE_LEN ? (size_t)x->is->len : SAMPLE_LEN;
		if (io_read_at(x->file->fd, bytes, len, x->is->offset, x->file->path, e) < 0)
			return -1;
		checksum_add(sum, bytes, len);
	}
	return 0;
}
