#include "select.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

static const struct ops *select_ops(const char *name, struct error *e)
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

int backend_open(struct backend *b, const char *device, size_t jobs, struct error *e)
{
	*b = (struct backend){ .ops = select_ops(device, e) };
	if (!b->ops)
		return -1;
	const struct device_choice choice = { .index = -1 };
	b->workers = workers_open(b->ops->one_thread ? 1 : jobs, e);
	b->device = b->workers ? b->ops->open(b->workers, &choice, e) : NULL;
	if (!b->device)
		return -1;
	b->name = mem_format("%s %s", b->ops->name, b->ops->unit(b->device));
	return 0;
}

void backend_close(struct backend *b)
{
	if (b->device)
		b->ops->close(b->device);
	if (b->workers)
		workers_close(b->workers);
	free(b->name);
	*b = (struct backend){ 0 };
}
