#include "profile.h"

#include <string.h>

#include "memory.h"

char *profile_line(const struct sweep *s, const char *kind, const struct sweep_times *t, const struct traffic *all,
                   struct traffic *before)
{
	const struct traffic none = { 0 }, *since = strcmp(kind, "total") == 0 ? &none : before;
	const struct traffic bytes = { all->weights, all->spill_written - since->spill_written, all->spill_read - since->spill_read };
	*before = *all;
	double threads = (double)workers_count(s->workers), busy = t->seconds * threads;
	double wait = (s->ops->lap ? t->seconds : t->compute * threads) - (t->block.product + t->block.attend + t->block.norm + t->block.rest);
	return mem_format(
		"{\"%s\":[%zu,%zu],\"device\":\"%s %s\",\"threads\":%.0f,\"rows\":%llu,\"seconds\":%.6f,"
		"\"tokens_per_second\":%.1f,\"compute\":%.6f,\"frames\":%.6f,\"taps\":%.6f,\"stall\":%.6f,"
		"\"read\":%.6f,\"read_bytes\":%llu,\"spill_written\":%llu,\"spill_read\":%llu,"
		"\"thread_seconds\":{\"product\":%.6f,\"attend\":%.6f,\"norm\":%.6f,\"rest\":%.6f,\"wait\":%.6f},"
		"\"product_gflops\":%.1f,\"product_share\":%.4f}\n",
		kind, t->from, t->to, s->ops->name, s->ops->unit(s->device), threads, (unsigned long long)t->rows,
		t->seconds, t->seconds > 0 ? (double)t->rows / t->seconds : 0, t->compute, t->frames, t->taps, t->stall,
		t->read, (unsigned long long)bytes.weights, (unsigned long long)bytes.spill_written,
		(unsigned long long)bytes.spill_read, t->block.product, t->block.attend, t->block.norm, t->block.rest,
		wait > 0 ? wait : 0,
		t->seconds > 0 ? t->block.product_flops / t->seconds / 1e9 : 0, busy > 0 ? t->block.product / busy : 0);
}
