#include "processors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cgroup.h"
#include "memory.h"
#include "ranges.h"

int processors_get(struct processors *p)
{
	return sched_getaffinity(0, sizeof p->set, p->set);
}

static size_t count_allowed(void)
{
	struct processors p;
	if (processors_get(&p) == 0)
		return (size_t)CPU_COUNT_S(sizeof p.set, p.set);
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	return n > 0 ? (size_t)n : 1;
}

/* More threads than a quota pays for would all stand still for the rest of every period. */
size_t processors_count(void)
{
	size_t allowed = count_allowed(), quota = cgroup_processors("");
	return quota < allowed ? quota : allowed;
}

void processors_only(struct processors *p, int processor)
{
	CPU_ZERO_S(sizeof p->set, p->set);
	CPU_SET_S((size_t)processor, sizeof p->set, p->set);
}

struct place {
	int processor, before;  /* processors of its core that come earlier */
};

static int by_place(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	return x->before != y->before ? x->before - y->before : x->processor - y->processor;
}

/* The system's list of a core's threads is written as ranges are: "0,32" or "0-1". */
static int count_before(const struct processors *p, int processor)
{
	char path[96], line[256] = "";
	snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", processor);
	FILE *f = fopen(path, "re");
	if (f && !fgets(line, sizeof line, f))
		*line = 0;
	if (f)
		fclose(f);
	line[strcspn(line, "\n")] = 0;
	struct ranges siblings;
	struct error ignored;
	if (!*line || ranges_parse(&siblings, line, &ignored) < 0)
		return 0;
	int n = 0;
	for (int i = 0; i < processor; i++)
		n += CPU_ISSET_S((size_t)i, sizeof p->set, p->set) && ranges_have(&siblings, UINT32_MAX, (uint32_t)i);
	ranges_release(&siblings);
	return n;
}

int *processors_list(size_t *n, struct error *e)
{
	struct processors p;
	if (processors_get(&p) < 0) {
		error_errno(e, "which processors this process may use");
		return NULL;
	}
	size_t all = (size_t)CPU_COUNT_S(sizeof p.set, p.set), at = 0;
	if (*n > all) {
		error_set(e, "%zu threads can't have a processor each: this process may use %zu", *n, all);
		return NULL;
	}
	struct place *place = mem_zero(all, sizeof *place);
	for (int i = 0; at < all; i++)
		if (CPU_ISSET_S((size_t)i, sizeof p.set, p.set))
			place[at++] = (struct place){ i, count_before(&p, i) };
	qsort(place, all, sizeof *place, by_place);
	*n = *n ? *n : processors_count();
	*n = *n < all ? *n : all;
	int *list = mem_zero(*n, sizeof *list);
	for (size_t i = 0; i < *n; i++)
		list[i] = place[i].processor;
	free(place);
	return list;
}
