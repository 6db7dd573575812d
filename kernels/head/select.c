#include "select.h"

#include <stdlib.h>
#include <string.h>

#include "block.h"
#include "cuda_module.h"
#include "memory.h"

/* "cuda" or "cuda:N".  *index: N, or -1. */
static bool is_cuda(const char *name, int *index)
{
	*index = -1;
	if (strncmp(name, "cuda", 4) != 0 || (name[4] && name[4] != ':'))
		return false;
	if (!name[4])
		return true;
	char *end;
	long n = strtol(name + 5, &end, 10);
	*index = n < 1024 ? (int)n : 1024;
	return name[5] >= '0' && name[5] <= '9' && !*end;
}

struct wish {
	const struct model *m;          /* whose blocks are run, or NULL */
	struct device_choice choice;
	struct jobs jobs;
};

static int open_with(struct backend *b, const struct ops *ops, const struct wish *w, struct error *e)
{
	struct jobs jobs = w->jobs;
	if (w->m && block_can(ops, w->m, e) < 0)
		return -1;
	b->ops = ops;
	if (ops->one_thread)
		jobs.n = 1;
	b->workers = workers_open_jobs(jobs, e);
	b->device = b->workers ? ops->open(b->workers, &w->choice, e) : NULL;
	if (!b->device)
		return -1;
	b->name = mem_format("%s %s", ops->name, ops->unit(b->device));
	b->told = mem_string(b->name);
	return 0;
}

static int open_cuda(struct backend *b, const struct wish *w, struct error *e)
{
	const struct ops *ops = cuda_module_load(e);
	return ops ? open_with(b, ops, w, e) : -1;
}

static int open_auto(struct backend *b, const struct wish *w, struct error *e)
{
	struct error why;
	if (!cuda_module_exists())
		return open_with(b, &ops_cpu, w, e);
	if (open_cuda(b, w, &why) == 0)
		return 0;
	backend_close(b);
	if (open_with(b, &ops_cpu, w, e) < 0)
		return -1;
	free(b->told);
	b->told = mem_format("%s (not cuda: %s)", b->name, why.text);
	return 0;
}

int backend_open(struct backend *b, const struct model *m, const char *device, uint64_t vram, struct jobs jobs, struct error *e)
{
	struct wish w = { m, { .index = -1, .memory = vram }, jobs };
	*b = (struct backend){ 0 };
	if (!device || strcmp(device, "auto") == 0)
		return open_auto(b, &w, e);
	if (is_cuda(device, &w.choice.index))
		return open_cuda(b, &w, e) < 0 ? error_in(e, "--device %s", device) : 0;
	if (strcmp(device, "cpu") != 0 && strcmp(device, "ref") != 0)
		return error_set(e, "--device %s: isn't one of auto, cpu, cuda, cuda:N, ref", device);
	if (vram)
		return error_set(e, "--vram is the memory of a GPU; --device %s has none", device);
	return open_with(b, strcmp(device, "cpu") == 0 ? &ops_cpu : &ops_ref, &w, e);
}

struct workers *backend_host_workers(struct backend *b, struct jobs jobs, struct error *e)
{
	if (!b->ops->one_thread)
		return b->workers;
	if (!b->host_workers)
		b->host_workers = workers_open_jobs(jobs, e);
	return b->host_workers;
}

void backend_close(struct backend *b)
{
	if (b->device)
		b->ops->close(b->device);
	if (b->workers)
		workers_close(b->workers);
	workers_close(b->host_workers);
	free(b->name);
	free(b->told);
	*b = (struct backend){ 0 };
}
