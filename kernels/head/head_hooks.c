#include "head_hooks.h"

#include <stdlib.h>

#include "memory.h"
#include "resid.h"

static int add_positions(struct head_hooks *h, const struct option_list *list, struct error *e)
{
	if (positions_of_taps(list, "unembed", h->at + h->n_at, h->reads, e) < 0)
		return -1;
	h->n_at += list->n;
	return 0;
}

static int open_output(struct head_hooks *h, const struct hook_options *o, const char *text, const struct model *m,
                       const struct tms_header *in, const struct tms_step *step, struct error *e)
{
	const struct option_list list = { &text, 1 };
	enum dtype dtype;
	struct tms_header header;
	if (resid_dtype("--tap-dtype", o->tap_dtype, h->work, &dtype, e) < 0 || add_positions(h, &list, e) < 0)
		return -1;
	tms_header_copy(&header, in);
	header.kind = TMS_LOGITS;
	h->output = taps_open(&list, "unembed", m, &header, step, dtype, NULL, e);
	tms_header_release(&header);
	return h->output ? 0 : -1;
}

int head_hooks_open(struct head_hooks *h, const struct hook_options *o, const char *output, const struct model *m,
                    const struct tms_header *in, const char *in_name, const char *backend, enum dtype work, struct error *e)
{
	const struct tms_step step = { backend, -1, -1 };
	h->work = work;
	h->at = mem_zero(o->taps.n + 1, sizeof *h->at);
	if (hooks_open(&h->hooks, o, "unembed", m, in, in_name, e) < 0 || add_positions(h, &o->taps, e) < 0 ||
	    hooks_start(&h->hooks, in, &step, work, e) < 0)
		return -1;
	patches_wanted(h->hooks.patches, -1, h->patched);
	filters_wanted(h->hooks.filters, -1, h->filtered);
	for (enum site site = 0; site < SITE_COUNT; site++)
		h->reads[site] |= h->patched[site] || h->filtered[site];
	return output ? open_output(h, o, output, m, in, &step, e) : 0;
}

bool head_hooks_want(const struct head_hooks *h, const struct sample *s, uint32_t position)
{
	for (size_t i = 0; i < h->n_at; i++)
		if (positions_have(&h->at[i], s, position))
			return true;
	return false;
}

bool head_hooks_change_any(const struct head_hooks *h)
{
	return patches_any(h->hooks.patches) || filters_any(h->hooks.filters);
}

int head_hooks_change(struct head_hooks *h, enum site site, const struct frame *f, size_t first, size_t n, void *rows,
                      size_t width, struct error *e)
{
	if (!h->patched[site] && !h->filtered[site])
		return 0;
	struct frame piece = { .layer = -1, .variant = f->variant };
	char *at = rows;
	int status = 0;
	piece.samples = frame_slice(f, first, n, &piece.n_samples);
	for (size_t i = 0; i < piece.n_samples && h->patched[site]; i++) {
		const struct sample *s = &piece.samples[i];
		patches_apply(h->hooks.patches, site, -1, s, f->variant, s->first, s->n, at, width, width, h->work);
		at += s->n * width * dtype_size(h->work);
	}
	if (h->filtered[site])
		status = filters_run(h->hooks.filters, site, -1, &piece, h->work, rows, e);
	free(piece.samples);
	return status;
}

int head_hooks_pass(struct head_hooks *h, const struct frame *f, size_t first, size_t n, const void *normed, const void *logits,
                    struct error *e)
{
	struct tap_rows rows = { .work = h->work };
	rows.at[SITE_FINAL_NORM] = normed;
	rows.at[SITE_LOGITS] = logits;
	if (taps_put(h->hooks.taps, -1, f, first, n, &rows, e) < 0)
		return -1;
	return h->output ? taps_put(h->output, -1, f, first, n, &rows, e) : 0;
}

int head_hooks_finish(struct head_hooks *h, int status, struct error *e)
{
	struct taps *output = h->output;
	status = hooks_finish(&h->hooks, status, 0, 0, e);
	if (status == 0 && output) {
		output = NULL;
		status = taps_finish(h->output, e);
	}
	taps_abort(output);
	free(h->at);
	return status;
}
