#include "select.h"

#include <string.h>

const struct ops *ops_select(const char *name, struct error *e)
{
	if (!name || strcmp(name, "auto") == 0 || strcmp(name, "cpu") == 0)
		return &ops_cpu;
	if (strcmp(name, "ref") == 0)
		return &ops_ref;
	if (strncmp(name, "cuda", 4) == 0 && (!name[4] || name[4] == ':'))
		error_set(e, "--device %s: this build has no CUDA back end; use --device cpu", name);
	else
		error_set(e, "--device %s: isn't one of auto, cpu, ref", name);
	return NULL;
}
