#include "plan_stream.h"

#include <stdlib.h>

#include "memory.h"
#include "plan_place.h"

struct walk {
	struct plan *p;
	const struct plan_frames *f;
	struct tap_len *taps;
	struct tms_writer *output, *spill;
	bool put_down;                  /* the stream rests between passes */
	bool spilling;
	double lengths;                 /* sum of the lengths of tokens' samples */
};

/* Keys that the queries before position `end` see, with a window of so many (0: all before them). */
static double keys_before(double end, double window)
{
	if (!window || end <= window)
		return end * (end + 1) / 2;
	return window * (window + 1) / 2 + (end - window) * window;
}

/* The first layer of the run that has this one's window. */
static size_t like_layer(const struct plan *p, size_t layer)
{
	size_t i = p->from;
	while (p->m->layer[i].window != p->m->layer[layer].window)
		i++;
	return i;
}

static void add_sample(struct walk *w, const struct sample *s)
{
	struct plan *p = w->p;
	struct plan_stream *t = &p->stream;
	t->longest = s->len > t->longest ? s->len : t->longest;
	w->lengths += (double)s->n * s->len;
	for (size_t layer = p->from; layer < p->to; layer++)
		if (like_layer(p, layer) == layer)
			t->pairs[layer] += keys_before((double)s->first + s->n, (double)p->m->layer[layer].window) -
			                   keys_before(s->first, (double)p->m->layer[layer].window);
}

/* As spill.c takes frames: those that fit are held, up to the first that doesn't. */
static int rest(struct walk *w, const struct frame *f, struct error *e)
{
	struct plan_stream *t = &w->p->stream;
	uint64_t len = frame_rows_len(f);
	if (!w->put_down)
		return 0;
	w->spilling |= t->held + len > w->p->ram;
	if (!w->spilling) {
		t->held += len;
		t->meta += frame_meta_len(f);
		return 0;
	}
	t->spilled += len;
	return tms_write(w->spill, f, e);
}

/* A frame as it goes through the layers. */
static int pass(struct walk *w, struct frame *f, struct error *e)
{
	struct plan_stream *t = &w->p->stream;
	if (tap_len_add(w->taps, f, e) < 0)
		return -1;
	f->dtype = w->f->resid;
	f->layer = (int)w->p->to;
	t->tokens += frame_n_rows(f);
	t->total += frame_rows_len(f);
	for (size_t i = 0; i < f->n_samples; i++) {
		t->samples += f->samples[i].first == 0 && f->variant <= 0;
		add_sample(w, &f->samples[i]);
	}
	if (w->output && tms_write(w->output, f, e) < 0)
		return -1;
	return rest(w, f, e);
}

static int walk_frame(struct walk *w, struct frame *f, struct error *e)
{
	bool copied = f->variant < 0 && w->f->hooks->n_variants;
	size_t copies = copied ? w->f->hooks->n_variants : 1;
	enum dtype from = f->dtype;
	int status = 0;
	free(f->rows);
	f->rows = NULL;
	w->p->stream.dtype = from;
	w->p->stream.frame = frame_rows_len(f) > w->p->stream.frame ? frame_rows_len(f) : w->p->stream.frame;
	for (size_t i = 0; i < copies && status == 0; i++) {
		f->dtype = from;
		f->variant = copied ? (int)i : f->variant;
		status = pass(w, f, e);
	}
	return status;
}

static int walk_frames(struct walk *w, struct error *e)
{
	struct frame *f;
	int more;
	tms_skim(w->f->in->in);
	while ((more = resid_input_next(w->f->in, &f, e)) > 0) {
		int status = walk_frame(w, f, e);
		frame_free(f);
		if (status < 0)
			return -1;
	}
	return more;
}

static int add_files(struct walk *w, struct error *e)
{
	struct plan *p = w->p;
	const struct plan_frames *f = w->f;
	int status = 0;
	if (w->output)
		status = plan_file_add(p, PLAN_STREAM, f->output, tms_measured(w->output), e);
	for (size_t i = 0; i < tap_len_n(w->taps) && status == 0; i++) {
		status = plan_file_add(p, PLAN_TAP, tap_len_target(w->taps, i), tap_len_bytes(w->taps, i), e);
		p->files[p->n_files - 1].dtype = tap_len_dtype(w->taps);
	}
	if (status == 0 && w->spilling) {
		p->stream.spill_file = tms_measured(w->spill);
		status = plan_file_add(p, PLAN_SPILL, p->spill, p->stream.spill_file, e);
	}
	return status;
}

static int walk(struct walk *w, struct error *e)
{
	const struct plan_frames *f = w->f;
	struct plan_stream *t = &w->p->stream;
	if (hooks_check(f->hooks, f->header, f->step, f->work, &w->taps, e) < 0)
		return -1;
	w->spill = tms_measure("--spill", f->header, NULL, e);
	w->output = w->spill && f->stream ? tms_measure("the output", f->header, f->step, e) : NULL;
	if (!w->spill || (f->stream && !w->output) || walk_frames(w, e) < 0)
		return -1;
	for (size_t layer = w->p->from; layer < w->p->to; layer++)
		t->pairs[layer] = t->pairs[like_layer(w->p, layer)];
	t->typical = t->tokens ? w->lengths / (double)t->tokens : 0;
	t->tap_held = tap_len_held(w->taps);
	t->n_taps = tap_len_n(w->taps);
	return add_files(w, e);
}

int plan_walk(struct plan *p, const struct plan_frames *f, struct error *e)
{
	struct walk w = { .p = p, .f = f, .put_down = plan_passes(p) > 1 };
	p->memory.now = mem_resident();
	p->stream.pairs = mem_zero(p->m->n_layers, sizeof *p->stream.pairs);
	int status = walk(&w, e);
	tap_len_close(w.taps);
	tms_abort(w.spill);
	tms_abort(w.output);
	return status;
}
