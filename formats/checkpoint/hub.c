#include "hub.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io.h"
#include "memory.h"

static bool is_directory(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static char *cache_directory(void)
{
	const char *dir = getenv("HF_HUB_CACHE");
	if (dir && *dir)
		return mem_string(dir);
	dir = getenv("HF_HOME");
	if (dir && *dir)
		return mem_format("%s/hub", dir);
	dir = getenv("XDG_CACHE_HOME");
	if (dir && *dir)
		return mem_format("%s/huggingface/hub", dir);
	dir = getenv("HOME");
	return mem_format("%s/.cache/huggingface/hub", dir ? dir : "");
}

/* "[org/]name" or "[org/]name@revision": nothing that could climb out of the cache. */
static bool is_repository(const char *model)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
	const char *p = model;
	int parts = 0;
	do {
		size_t n = strspn(p, letters);
		if (!n || *p == '.' || ++parts > 2)
			return false;
		p += n;
	} while (*p++ == '/');
	p--;
	return !*p || (*p == '@' && p[1] && p[1] != '/' && !strstr(p, ".."));
}

/* models--org--name; *revision receives what follows "@", or NULL. */
static char *repository_directory(const char *cache, const char *model, const char **revision)
{
	const char *at = strchr(model, '@');
	*revision = at ? at + 1 : NULL;
	size_t len = at ? (size_t)(at - model) : strlen(model);
	const char *slash = memchr(model, '/', len);
	if (!slash)
		return mem_format("%s/models--%.*s", cache, (int)len, model);
	return mem_format("%s/models--%.*s--%.*s", cache, (int)(slash - model), model,
	                  (int)(len - (size_t)(slash + 1 - model)), slash + 1);
}

/* What refs/REVISION says, less the white space at its end, or NULL. */
static char *read_ref(const char *dir, const char *revision)
{
	struct error ignored;
	char *path = mem_format("%s/refs/%s", dir, revision);
	size_t len;
	char *hash = io_slurp(path, 256, &len, &ignored);
	free(path);
	if (!hash)
		return NULL;
	hash[strcspn(hash, " \t\r\n")] = 0;
	if (!*hash || strchr(hash, '/') || strstr(hash, "..")) {
		free(hash);
		return NULL;
	}
	return hash;
}

/* The name of the only directory in dir/snapshots, or NULL; *n receives how many there are. */
static char *only_snapshot(const char *dir, size_t *n)
{
	*n = 0;
	char *path = mem_format("%s/snapshots", dir);
	DIR *d = opendir(path);
	char *name = NULL;
	for (struct dirent *entry; d && (entry = readdir(d));) {
		if (entry->d_name[0] == '.')
			continue;
		free(name);
		name = mem_string(entry->d_name);
		++*n;
	}
	if (d)
		closedir(d);
	free(path);
	if (*n == 1)
		return name;
	free(name);
	return NULL;
}

static char *find_snapshot(const char *model, const char *dir, const char *revision,
                           struct error *e)
{
	char *hash = read_ref(dir, revision ? revision : "main");
	size_t n = 0;
	if (!hash)
		hash = revision ? mem_string(revision) : only_snapshot(dir, &n);
	if (!hash) {
		error_set(e,
		          "%s: %s/refs/main is missing and %s/snapshots has %zu snapshots; choose "
		          "one with %s@REVISION",
		          model, dir, dir, n, model);
		return NULL;
	}
	char *path = mem_format("%s/snapshots/%s", dir, hash);
	free(hash);
	if (is_directory(path))
		return path;
	error_set(e, "%s: there is no directory %s; download the model again, or give a directory",
	          model, path);
	free(path);
	return NULL;
}

char *hub_find(const char *model, struct error *e)
{
	if (is_directory(model))
		return mem_string(model);
	struct stat st;
	if (stat(model, &st) == 0) {
		error_set(e, "%s: not a directory; give the directory that holds config.json",
		          model);
		return NULL;
	}
	if (!is_repository(model)) {
		error_set(e, "%s: no such directory", model);
		return NULL;
	}
	char *cache = cache_directory();
	const char *revision;
	char *dir = repository_directory(cache, model, &revision);
	char *path = NULL;
	if (is_directory(dir))
		path = find_snapshot(model, dir, revision, e);
	else
		error_set(e,
		          "%s: neither a directory nor a model in the hub cache (there is no %s); "
		          "download it, or give its directory",
		          model, dir);
	free(dir);
	free(cache);
	return path;
}

char *hub_name(const char *model, const char *path)
{
	if (strcmp(model, path))
		return mem_slice(model, strcspn(model, "@"));
	size_t len = strlen(path);
	while (len > 1 && path[len - 1] == '/')
		len--;
	const char *slash = memrchr(path, '/', len);
	const char *last = slash ? slash + 1 : path;
	size_t last_len = len - (size_t)(last - path);
	if (last_len && strncmp(last, ".", last_len) && strncmp(last, "..", last_len))
		return mem_slice(last, last_len);
	/* "." and ".." have no name of their own. */
	char *real = realpath(path, NULL);
	slash = real ? strrchr(real, '/') : NULL;
	char *name = mem_string(slash && slash[1] ? slash + 1 : path);
	free(real);
	return name;
}
