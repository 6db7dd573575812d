#include "hooks.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "parting.h"
#include "resid.h"

bool hooks_take_stdout(const struct hook_options *o)
{
	for (size_t i = 0; i < o->taps.n; i++) {
		const char *target = strchr(o->taps.item[i], '=');
		if (target && strcmp(target, "=-") == 0)
			return true;
	}
	return false;
}

static int read_sweep(struct hooks *h, const struct tms_header *in, const char *in_name, struct error *e)
{
	if (!h->options->sweep)
		return 0;
	if (patches_sweep(h->patches, h->options->sweep, &h->variants, &h->n_variants, e) < 0)
		return -1;
	if (in->n_variants && in->n_variants != h->n_variants)
		return error_set(e, "--sweep %s: names %zu variants, and %s has %zu", h->options->sweep, h->n_variants, in_name,
		                 in->n_variants);
	return 0;
}

/* The history tells what the files held in place of their names. */
static void record(const struct hooks *h)
{
	char *identity = patches_identity(h->patches);
	for (size_t i = 0; i < h->options->patches.n; i++) {
		const char *text = h->options->patches.item[i];
		char *told = mem_format("%.*s=%s", (int)strcspn(text, "="), text, identity);
		option_history_set(&h->options->patches.item[i], told);
		free(told);
	}
	if (h->options->sweep)
		option_history_set(&h->options->sweep, identity);
	free(identity);
}

int hooks_open(struct hooks *h, const struct hook_options *o, const char *program, const struct model *m,
               const struct tms_header *in, const char *in_name, struct error *e)
{
	*h = (struct hooks){ .options = o, .m = m, .program = program };
	h->patches = patches_open(m, program);
	h->taps = taps_plan(&o->taps, program, m, e);
	if (!h->taps || patches_add(h->patches, &o->patches, e) < 0 || read_sweep(h, in, in_name, e) < 0 ||
	    patches_load(h->patches, e) < 0)
		return -1;
	record(h);
	return 0;
}

int hooks_last_tapped(const struct hooks *h)
{
	return taps_last_layer(h->taps);
}

void hooks_name_variants(const struct hooks *h, struct tms_header *header)
{
	if (!h->n_variants)
		return;
	for (size_t i = 0; i < header->n_variants; i++)
		free(header->variants[i]);
	header->variants = mem_resize(header->variants, h->n_variants, sizeof *header->variants);
	header->n_variants = h->n_variants;
	for (size_t i = 0; i < h->n_variants; i++)
		header->variants[i] = mem_string(h->variants[i]);
}

int hooks_filter(struct hooks *h, const struct tms_header *header, const struct tms_step *step, struct error *e)
{
	h->filters = filters_open(&h->options->filters, h->program, h->m, header, step, e);
	return h->filters ? 0 : -1;
}

int hooks_tap(struct hooks *h, const struct tms_header *header, const struct tms_step *step, enum dtype work, struct error *e)
{
	enum dtype dtype;
	if (resid_dtype("--tap-dtype", h->options->tap_dtype, work, &dtype, e) < 0)
		return -1;
	taps_abort(h->taps);
	h->taps = taps_open(&h->options->taps, h->program, h->m, header, step, dtype, h->state, e);
	return h->taps ? 0 : -1;
}

int hooks_start(struct hooks *h, const struct tms_header *header, const struct tms_step *step, enum dtype work,
                struct error *e)
{
	return hooks_filter(h, header, step, e) < 0 ? -1 : hooks_tap(h, header, step, work, e);
}

int hooks_check(struct hooks *h, const struct tms_header *header, const struct tms_step *step, enum dtype work,
                struct tap_len **lens, struct error *e)
{
	enum dtype dtype;
	if (resid_dtype("--tap-dtype", h->options->tap_dtype, work, &dtype, e) < 0)
		return -1;
	h->filters = filters_check(&h->options->filters, h->program, h->m, header, step, e);
	*lens = h->filters ? tap_len_open(h->taps, header, step, dtype, work, e) : NULL;
	return *lens ? 0 : -1;
}

int hooks_finish(struct hooks *h, int status, size_t from, size_t to, struct error *e)
{
	struct filters *filters = h->filters;
	struct taps *taps = h->taps;
	if (status == 0 && filters) {
		filters = NULL;
		status = filters_finish(h->filters, e);
	}
	if (status == 0) {
		status = patches_check(h->patches, from, to, e);
		if (status < 0)
			parting_clear();        /* however often the run ends, it ends so */
	}
	if (status == 0 && h->state)
		status = run_state_finish(h->state, e);
	if (status == 0 && taps) {
		taps = NULL;
		status = taps_finish(h->taps, e);
	}
	filters_abort(filters);
	taps_abort(taps);
	patches_close(h->patches);
	for (size_t i = 0; i < h->n_variants; i++)
		free(h->variants[i]);
	free(h->variants);
	return status;
}
