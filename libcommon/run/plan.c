#include "plan.h"

#include <stdio.h>
#include <stdlib.h>

#include "memory.h"
#include "plan_place.h"

/* Of what is available a part is left over in advice: it is another number a second later. */
enum { SPARE_PART = 16 };
/* Two generations of the spill overlap by what is given back at a time (spill.c). */
#define OVERLAP ((uint64_t)192 << 20)

const char *plan_bound_name(enum plan_bound b)
{
	static const char *const name[PLAN_BOUNDS] = { "arithmetic", "weights", "spill", "output" };
	return name[b];
}

size_t plan_passes(const struct plan *p)
{
	return (p->to - p->from + p->hold - 1) / p->hold;
}

static void problem(struct plan *p, char *text)
{
	p->problems = mem_resize(p->problems, p->n_problems + 1, sizeof *p->problems);
	p->problems[p->n_problems++] = text;
}

/* -------- time */

static double over(double amount, double rate)
{
	return amount > 0 && rate > 0 ? amount / rate : 0;
}

static double slower(double a, double b)
{
	return a > 0 && (a < b || !(b > 0)) ? a : b;
}

static double weights_seconds(const struct plan *p, uint64_t len)
{
	const struct plan_weights *w = &p->weights;
	double disk = slower(w->disk > 0 ? w->disk : w->cache, p->work.put_rate);
	double cache = slower(w->cache > 0 ? w->cache : w->disk, p->work.put_rate);
	return over((double)len * (1 - w->cached), disk) + over((double)len * w->cached, cache);
}

static double files_seconds(const struct plan *p, bool spill)
{
	double seconds = 0;
	for (size_t i = 0; i < p->n_files; i++) {
		const struct plan_file *f = &p->files[i];
		if (!f->directory || (f->use == PLAN_SPILL) != spill)
			continue;
		const struct plan_place *place = &p->places[f->place];
		seconds += spill ? over((double)p->written, place->write) + over((double)p->read, place->read)
		                 : over((double)f->len, place->write);
	}
	return seconds;
}

/* Layers are loaded beside the work on those before them; the first ones before any. */
static void judge_time(struct plan *p)
{
	double *s = p->seconds, flops = p->work.product_flops + p->work.attend_flops;
	size_t n = p->to - p->from, first = n && p->hold < n ? p->hold : n;
	uint64_t down = plan_passes(p) > 1 ? plan_passes(p) - 1 : 0;
	p->written = p->read = down * p->stream.spilled;
	s[PLAN_ARITHMETIC] = over(p->work.product_flops, p->work.product_rate) + over(p->work.attend_flops, p->work.attend_rate);
	s[PLAN_WEIGHTS] = weights_seconds(p, p->weights.total);
	s[PLAN_SPILLING] = files_seconds(p, true);
	s[PLAN_OUTPUT] = files_seconds(p, false);
	double before = n ? s[PLAN_WEIGHTS] * (double)first / (double)n : 0, beside = s[PLAN_WEIGHTS] - before;
	double work = s[PLAN_ARITHMETIC] + s[PLAN_SPILLING] + s[PLAN_OUTPUT];
	p->total = before + (work > beside ? work : beside);
	p->bound = PLAN_ARITHMETIC;
	for (enum plan_bound b = 0; b < PLAN_BOUNDS; b++)
		p->bound = s[b] > s[p->bound] ? b : p->bound;
	/* Tokens / F = weights / D; with two operations a parameter that is (bytes a parameter / 2) F / D. */
	if (flops > 0 && s[PLAN_ARITHMETIC] > 0)
		p->break_even = s[PLAN_WEIGHTS] * (double)p->stream.tokens / s[PLAN_ARITHMETIC];
}

/* -------- room */

static uint64_t memory_coming(const struct plan_memory *m)
{
	return m->layers + m->staging + m->stream + m->batch + m->taps + m->samples;
}

static void judge_memory(struct plan *p)
{
	const struct plan_memory *m = &p->memory;
	char need[16], has[16], layers[16], rows[16];
	uint64_t coming = memory_coming(m), others = coming - p->stream.held, likely = m->available - m->available / SPARE_PART;
	p->peak = m->now + coming;
	if (coming <= m->available)
		return;
	plan_size(need, (double)coming);
	plan_size(has, (double)m->available);
	plan_size(layers, (double)m->layers);
	if (others < likely) {
		uint64_t mib = (likely - others) >> 20;
		plan_size(rows, (double)(p->stream.total - (mib << 20)));
		problem(p, mem_format("memory: %s are needed and %s available; --ram %lluM would do, with %s of rows in the spill", need,
		                      has, (unsigned long long)mib, rows));
	} else {
		bool less = coming - m->layers + m->layers_least <= m->available && p->hold > 1;
		problem(p, mem_format("memory: %s are needed and %s available; weights take %s: %s would do", need, has, layers,
		                      less ? "--hold 1" : "only a machine with more"));
	}
}

/* At its largest: where nothing can be given back, the rows that come and those that go lie there side by side. */
static uint64_t file_need(const struct plan *p, const struct plan_file *f)
{
	if (f->use != PLAN_SPILL || plan_passes(p) < 3)
		return f->len;
	bool punches = p->places[f->place].punches && f->len > OVERLAP;
	return f->len + (punches ? OVERLAP : f->len);
}

/* What would make the file smaller, or put it elsewhere. */
static char *file_change(const struct plan *p, const struct plan_file *f, uint64_t missing)
{
	char less[16];
	if (f->use == PLAN_SPILL)
		return mem_format("--ram %lluM would do if there is as much memory, or --spill on another file system",
		                  (unsigned long long)((p->stream.held + missing) >> 20) + 1);
	if (f->use == PLAN_STREAM)
		return mem_format("write the stream (%s) elsewhere, or only taps (-n)", plan_size(less, (double)f->len));
	double pooled = p->stream.tokens ? (double)p->stream.samples / (double)p->stream.tokens : 1;
	plan_size(less, (double)f->len * pooled);
	if (f->dtype != DTYPE_NONE && dtype_size(f->dtype) > 2)
		return mem_format("%s pooled (SITE/last) would take about %s, and with --tap-dtype bf16 %d%% of it as it is", f->name, less,
		                  100 * 2 / (int)dtype_size(f->dtype));
	return mem_format("%s pooled (SITE/last) would take about %s", f->name, less);
}

static void judge_place(struct plan *p, size_t i)
{
	struct plan_place *place = &p->places[i];
	const struct plan_file *most = NULL;
	char need[16], has[16];
	place->need = 0;
	for (size_t k = 0; k < p->n_files; k++) {
		const struct plan_file *f = &p->files[k];
		if (!f->directory || f->place != i)
			continue;
		place->need += file_need(p, f);
		most = !most || file_need(p, f) > file_need(p, most) ? f : most;
	}
	if (place->need <= place->free)
		return;
	char *change = file_change(p, most, place->need - place->free);
	plan_size(need, (double)place->need);
	plan_size(has, (double)place->free);
	problem(p, mem_format("%s: %s will be written there and %s are free; %s", place->directory, need, has, change));
	free(change);
}

int plan_judge(struct plan *p, struct error *e)
{
	if (plan_places_measure(p, e) < 0)
		return -1;
	judge_time(p);
	if (*p->vram.refused.text)
		problem(p, mem_string(p->vram.refused.text));
	judge_memory(p);
	for (size_t i = 0; i < p->n_places; i++)
		judge_place(p, i);
	return 0;
}

char *plan_size(char text[16], double bytes)
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	size_t i = 0;
	for (; bytes >= 1000 && i + 1 < ARRAY_LEN(unit); i++)
		bytes /= 1024;
	snprintf(text, 16, i && bytes < 99.95 ? "%.1f %s" : "%.0f %s", bytes, unit[i]);
	return text;
}

void plan_release(struct plan *p)
{
	free(p->stream.pairs);
	for (size_t i = 0; i < p->n_files; i++) {
		free(p->files[i].name);
		free(p->files[i].path);
		free(p->files[i].directory);
	}
	for (size_t i = 0; i < p->n_problems; i++)
		free(p->problems[i]);
	free(p->files);
	free(p->places);
	free(p->problems);
}
