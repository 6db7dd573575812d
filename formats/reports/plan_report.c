#include "plan_report.h"

#include <stdio.h>
#include <string.h>

#include "text_out.h"

enum { SIZE = 16 };

/* -------- for people */

/* "2.15 TFLOP", "148 GFLOP/s". */
static const char *operations(char text[SIZE], double n)
{
	static const char *const unit[] = { "FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP" };
	size_t i = 0;
	for (; n >= 999.5 && i + 1 < ARRAY_LEN(unit); i++)
		n /= 1000;
	snprintf(text, SIZE, "%.3g %s", n, unit[i]);
	return text;
}

static const char *time_of(char text[SIZE], double s)
{
	unsigned long n = s < 1e9 ? (unsigned long)(s + 0.5) : 1000000000;
	if (s < 99.95)
		snprintf(text, SIZE, s < 0.995 ? "%.2f s" : "%.1f s", s);
	else
		snprintf(text, SIZE, n < 3600 ? "%lu:%02lu" : "%lu:%02lu:%02lu", n < 3600 ? n / 60 : n / 3600,
		         n < 3600 ? n % 60 : n / 60 % 60, n % 60);
	return text;
}

static void put_stream(struct text_out *t, const struct plan *p)
{
	const struct plan_stream *s = &p->stream;
	char total[SIZE], held[SIZE], spilled[SIZE];
	text_printf(t, "run        layers %zu to %zu of %zu of %.200s, %zu at a time; ", p->from, p->to, p->m->n_layers,
	            p->m->name, p->hold);
	text_printf(t, "%.200s, %zu %s\n", p->device, p->threads, p->threads == 1 ? "thread" : "threads");
	text_printf(t, "stream     %llu tokens in %llu samples, the longest %u; %s between layers", (unsigned long long)s->tokens,
	            (unsigned long long)s->samples, s->longest, plan_size(total, (double)s->total));
	if (s->spilled)
		text_printf(t, ", %s in memory (--ram), %s in the spill", plan_size(held, (double)s->held),
		            plan_size(spilled, (double)s->spilled));
	text_char(t, '\n');
}

static void put_rate(struct text_out *t, const char *what, double rate)
{
	char text[SIZE];
	if (rate > 0)
		text_printf(t, ", %s %s/s", what, plan_size(text, rate));
}

static void put_weights(struct text_out *t, const struct plan *p)
{
	const struct plan_weights *w = &p->weights;
	char all[SIZE], layer[SIZE];
	text_printf(t, "weights    %s, a layer %s, %.0f%% in the page cache", plan_size(all, (double)w->total),
	            plan_size(layer, (double)w->layer), 100 * w->cached);
	put_rate(t, "disk", w->disk);
	put_rate(t, "cache", w->cache);
	put_rate(t, "prepared at", p->work.put_rate);
	text_char(t, '\n');
}

static void put_work(struct text_out *t, const struct plan *p)
{
	const struct plan_work *w = &p->work;
	char flops[2][SIZE], rate[2][SIZE];
	text_printf(t, "work       %s of products", operations(flops[0], w->product_flops));
	if (w->product_rate > 0)
		text_printf(t, " at %s/s", operations(rate[0], w->product_rate));
	text_printf(t, ", %s of attention", operations(flops[1], w->attend_flops));
	if (w->attend_rate > 0)
		text_printf(t, " at %s/s", operations(rate[1], w->attend_rate));
	text_char(t, '\n');
}

static void put_memory(struct text_out *t, const struct plan *p)
{
	const struct plan_memory *m = &p->memory;
	const struct { const char *name; uint64_t len; } parts[] = {
		{ "weights", m->layers + m->staging }, { "stream", m->stream }, { "batch", m->batch }, { "taps", m->taps },
		{ "samples", m->samples },
	};
	char text[SIZE];
	text_printf(t, "memory     %s of", plan_size(text, (double)p->peak));
	text_printf(t, " %s:", plan_size(text, (double)(m->now + m->available)));
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		if (parts[i].len)
			text_printf(t, " %s %s,", parts[i].name, plan_size(text, (double)parts[i].len));
	text_printf(t, " program %s\n", plan_size(text, (double)m->now));
	if (p->vram.need)
		text_printf(t, "device     %s of its memory", plan_size(text, (double)p->vram.need));
	if (p->vram.need)
		text_printf(t, ", of which %s may be used", plan_size(text, (double)p->vram.left));
	if (p->vram.need)
		text_printf(t, "; %s of weights cross over to it\n", plan_size(text, (double)p->vram.copied));
}

static void put_files(struct text_out *t, const struct plan *p)
{
	static const char *const use[] = { [PLAN_STREAM] = "output", [PLAN_TAP] = "tap", [PLAN_SPILL] = "spill" };
	char len[SIZE], room[SIZE];
	for (size_t i = 0; i < p->n_files; i++) {
		const struct plan_file *f = &p->files[i];
		text_printf(t, "%-11s%s to ", use[f->use], plan_size(len, (double)f->len));
		text_field(t, f->name, strlen(f->name));
		if (f->directory)
			text_printf(t, ", %s free there", plan_size(room, (double)p->places[f->place].free));
		if (f->directory && p->places[f->place].write > 0)
			text_printf(t, ", %s/s", plan_size(room, p->places[f->place].write));
		text_char(t, '\n');
	}
}

static void put_time(struct text_out *t, const struct plan *p)
{
	char text[SIZE];
	if (!(p->work.product_rate > 0) && p->stream.tokens && p->from < p->to) {
		text_printf(t, "time       not known: the device has no memory for a probe\n");
		return;
	}
	text_printf(t, "time       about %s", time_of(text, p->total));
	for (enum plan_bound b = 0, any = 0; b < PLAN_BOUNDS; b++)
		if (p->seconds[b] > 0)
			text_printf(t, "%s %s %s", any++ ? "," : ":", plan_bound_name(b), time_of(text, p->seconds[b]));
	if (p->seconds[p->bound] > 0)
		text_printf(t, "; bound by %s", plan_bound_name(p->bound));
	if (p->break_even > 0)
		text_printf(t, ", %s from %.0f tokens on", p->bound == PLAN_ARITHMETIC ? "as" : "by arithmetic", p->break_even);
	text_char(t, '\n');
}

static void put_text(struct text_out *t, const struct plan *p)
{
	put_stream(t, p);
	put_weights(t, p);
	put_work(t, p);
	put_memory(t, p);
	put_files(t, p);
	put_time(t, p);
	for (size_t i = 0; i < p->n_problems; i++) {
		text_string(t, "impossible ");
		text_string(t, p->problems[i]);
		text_char(t, '\n');
	}
}

/* -------- JSON */

static void json_text(struct text_out *t, const char *key, const char *value)
{
	text_printf(t, "\"%s\":", key);
	if (value)
		text_json(t, value, strlen(value));
	else
		text_string(t, "null");
}

/* A measured rate; null: it wasn't. */
static void json_rate(struct text_out *t, const char *key, double rate)
{
	if (rate > 0)
		text_printf(t, ",\"%s\":%.0f", key, rate);
	else
		text_printf(t, ",\"%s\":null", key);
}

static void json_count(struct text_out *t, const char *key, uint64_t n)
{
	text_printf(t, ",\"%s\":%llu", key, (unsigned long long)n);
}

static void json_stream(struct text_out *t, const struct plan *p)
{
	const struct plan_stream *s = &p->stream;
	json_text(t, "model", p->m->name);
	text_printf(t, ",\"layers\":[%zu,%zu],\"hold\":%zu,", p->from, p->to, p->hold);
	json_text(t, "device", p->device);
	text_printf(t, ",\"threads\":%zu,\"tokens\":%llu,\"samples\":%llu,\"longest\":%u,\"passes\":%zu", p->threads,
	            (unsigned long long)s->tokens, (unsigned long long)s->samples, s->longest, plan_passes(p));
}

static void json_weights(struct text_out *t, const struct plan *p)
{
	text_printf(t, ",\"weights\":{\"bytes\":%llu", (unsigned long long)p->weights.total);
	json_count(t, "layer", p->weights.layer);
	text_printf(t, ",\"cached\":%.3f", p->weights.cached);
	json_rate(t, "disk_rate", p->weights.disk);
	json_rate(t, "cache_rate", p->weights.cache);
	json_rate(t, "prepare_rate", p->work.put_rate);
	text_printf(t, "},\"work\":{\"product_flops\":%.0f,\"attention_flops\":%.0f", p->work.product_flops, p->work.attend_flops);
	json_rate(t, "product_rate", p->work.product_rate);
	json_rate(t, "attention_rate", p->work.attend_rate);
	text_char(t, '}');
}

static void json_memory(struct text_out *t, const struct plan *p)
{
	const struct plan_memory *m = &p->memory;
	text_printf(t, ",\"memory\":{\"peak\":%llu", (unsigned long long)p->peak);
	json_count(t, "program", m->now);
	json_count(t, "layers", m->layers);
	json_count(t, "staging", m->staging);
	json_count(t, "stream", m->stream);
	json_count(t, "batch", m->batch);
	json_count(t, "taps", m->taps);
	json_count(t, "samples", m->samples);
	json_count(t, "available", m->available);
	text_printf(t, "},\"device_memory\":{\"bytes\":%llu", (unsigned long long)p->vram.need);
	json_count(t, "available", p->vram.left);
	json_count(t, "copied", p->vram.copied);
	text_printf(t, "},\"spill\":{\"held\":%llu", (unsigned long long)p->stream.held);
	json_count(t, "rows", p->stream.spilled);
	json_count(t, "written", p->written);
	json_count(t, "read", p->read);
	text_char(t, '}');
}

static void json_files(struct text_out *t, const struct plan *p)
{
	static const char *const use[] = { [PLAN_STREAM] = "output", [PLAN_TAP] = "tap", [PLAN_SPILL] = "spill" };
	text_string(t, ",\"files\":[");
	for (size_t i = 0; i < p->n_files; i++) {
		const struct plan_file *f = &p->files[i];
		text_printf(t, "%s{\"use\":\"%s\",", i ? "," : "", use[f->use]);
		json_text(t, "name", f->name);
		json_count(t, "bytes", f->len);
		if (f->directory) {
			json_count(t, "free", p->places[f->place].free);
			json_rate(t, "write_rate", p->places[f->place].write);
		}
		text_char(t, '}');
	}
	text_char(t, ']');
}

static void put_json(struct text_out *t, const struct plan *p)
{
	text_char(t, '{');
	json_stream(t, p);
	json_weights(t, p);
	json_memory(t, p);
	json_files(t, p);
	text_string(t, ",\"seconds\":{");
	for (enum plan_bound b = 0; b < PLAN_BOUNDS; b++)
		text_printf(t, "\"%s\":%.3f,", plan_bound_name(b), p->seconds[b]);
	text_printf(t, "\"total\":%.3f},\"bound\":\"%s\",\"break_even\":%.0f,\"possible\":%s,\"problems\":[", p->total,
	            plan_bound_name(p->bound), p->break_even, p->n_problems ? "false" : "true");
	for (size_t i = 0; i < p->n_problems; i++) {
		text_string(t, i ? "," : "");
		text_json(t, p->problems[i], strlen(p->problems[i]));
	}
	text_string(t, "]}\n");
}

int plan_report(const struct plan *p, bool json, struct error *e)
{
	struct text_out t;
	if (text_out_open(&t, NULL, e) < 0)
		return -1;
	if (json)
		put_json(&t, p);
	else
		put_text(&t, p);
	return text_out_finish(&t, e);
}
