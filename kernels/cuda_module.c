#include "cuda_module.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cuda_abi.inc"
#include "memory.h"

#define NAME "onelayer-cuda.so"

/* The directory of the program's file, freed by the caller. */
static char *program_directory(void)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
	path[n > 0 ? n : 0] = '\0';
	char *slash = strrchr(path, '/');
	return mem_slice(path, slash ? (size_t)(slash - path) : 0);
}

/* The file, freed by the caller; NULL if there is none. */
static char *find(void)
{
	const char *named = getenv("ONELAYER_CUDA_MODULE");
	if (named)
		return mem_string(named);
	static const char *const places[] = { "", "/../lib/onelayer" };
	char *directory = program_directory(), *path = NULL;
	for (size_t i = 0; !path && i < ARRAY_LEN(places); i++) {
		path = mem_format("%s%s/" NAME, directory, places[i]);
		if (access(path, F_OK) != 0) {
			free(path);
			path = NULL;
		}
	}
	free(directory);
	return path;
}

bool cuda_module_exists(void)
{
	char *path = find();
	bool exists = path != NULL;
	free(path);
	return exists;
}

static const struct ops *load(const char *path, struct error *e)
{
	void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	const struct cuda_module *m = handle ? dlsym(handle, "onelayer_cuda") : NULL;
	if (!m) {
		error_set(e, "the CUDA module can't be loaded: %s", dlerror());
		return NULL;
	}
	if (m->abi == CUDA_ABI)
		return m->ops;
	error_set(e, "%s belongs to another build of onelayer (%s; this is " VERSION "): build and install both together", path,
	          m->version);
	return NULL;
}

const struct ops *cuda_module_load(struct error *e)
{
	char *path = find();
	if (!path) {
		char *directory = program_directory();
		error_set(e, "there is no CUDA module: neither %s/" NAME " nor %s/../lib/onelayer/" NAME " is there.  make builds it where "
		          "it finds nvcc; else use --device cpu", directory, directory);
		free(directory);
		return NULL;
	}
	const struct ops *ops = load(path, e);
	free(path);
	return ops;
}
