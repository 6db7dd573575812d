#include "steerer.h"

#include <stdlib.h>
#include <string.h>

#include "directions.h"
#include "memory.h"
#include "progress.h"
#include "site.h"
#include "steering.h"
#include "strengths.h"

/* What is done at one place of the model. */
struct here {
	const struct direction *vector;
	struct steering steering;
};

struct steerer {
	struct steer_options o, told;
	char *vector;           /* told.vector, owned */
	enum steer_mode mode;
	struct strengths strengths;
	struct directions *vectors;
	struct here *here;
	size_t n_here, here_capacity;
	double *scratch;
	size_t scratch_capacity;
};

/* -------- opening */

static int read_options(struct steerer *s, bool piped, struct error *e)
{
	const struct steer_options *o = &s->o;
	s->mode = steer_mode_find(o->mode ? o->mode : "add");
	if (s->mode == STEER_MODES)
		return error_set(e, "--mode %s: is none of add, ablate, project, clamp, set, zero", o->mode);
	if (!o->alpha && !o->strengths && !steer_mode_has_default(s->mode))
		return error_set(e, "--mode %s needs --alpha: how strongly?", steer_mode_name(s->mode));
	if (strengths_parse(&s->strengths, o->alpha, o->positions, e) < 0)
		return -1;
	if (s->mode == STEER_ZERO && (o->vector || o->name || o->component || o->unit))
		return error_set(e, "--mode zero takes no vector");
	if (s->mode != STEER_ZERO && !o->vector)
		return error_set(e, "--vector FILE is needed: which direction?");
	if (o->vector && strcmp(o->vector, "-") == 0 && piped)
		return error_set(e, "--vector -: standard input is the stream; name one of the two as a file");
	if (!o->strengths)
		return 0;
	s->told.strengths = s->strengths.identity;
	return strengths_table(&s->strengths, o->strengths, e);
}

struct steerer *steerer_open(const struct steer_options *o, bool piped, struct error *e)
{
	struct steerer *s = mem_zero(1, sizeof *s);
	s->o = s->told = *o;
	int status = read_options(s, piped, e);
	if (status == 0 && o->vector) {
		s->vectors = directions_open(o->vector, o->name, e);
		status = s->vectors ? 0 : error_in(e, "--vector");
	}
	if (status == 0)
		return s;
	steerer_close(s);
	return NULL;
}

int steerer_begin(struct steerer *s, struct tms_header *h, const char *name, struct error *e)
{
	const struct directions *v = s->vectors;
	if (v && v->fingerprint && h->fingerprint && strcmp(v->fingerprint, h->fingerprint) != 0) {
		const char *whose = v->model ? v->model : "unnamed";
		progress_warn("%s: is of another model: %s (%s), and the stream is of %s (%s)", v->path, whose, v->fingerprint,
		              h->model ? h->model : "unnamed", h->fingerprint);
		s->vector = mem_format("%s of %s %s", v->identity, whose, v->fingerprint);
	} else if (v) {
		s->vector = mem_string(v->identity);
	}
	s->told.vector = s->vector;
	return strengths_variants(&s->strengths, h, name, e);
}

size_t steerer_fan_out(const struct steerer *s)
{
	return s->strengths.fan_out ? s->strengths.n : 1;
}

const struct steer_options *steerer_told(const struct steerer *s)
{
	return &s->told;
}

/* -------- what is done where */

static int prepare(struct steerer *s, const struct direction *v, size_t width, struct steering *to, struct error *e)
{
	const char *component = s->o.component, *path = s->vectors->path;
	size_t n = direction_rows(v, width);
	bool *set = component ? mem_zero(n ? n : 1, sizeof *set) : NULL;
	double *values = NULL;
	int status = 0;
	if (set && n && layers_parse(component, strlen(component), n, set, e) < 0)
		status = error_set(e, "--component %s: %s has components 0 to %zu", component, path, n - 1);
	if (status == 0)
		values = direction_values(s->vectors, v, width, n ? set : NULL, &n, e);
	if (values && n > 1 && !steer_mode_takes_basis(s->mode))
		status = error_set(e, "%s: --mode %s takes one vector and these are %zu; choose one with --component", path,
		                   steer_mode_name(s->mode), n);
	else if (values && steering_init(to, s->mode, values, n, width, s->o.unit, e) < 0)
		status = error_in(e, "%s", path);
	free(values);
	free(set);
	return values ? status : -1;
}

/* Places come back frame after frame, so what is done at one is made once. */
static int find_steering(struct steerer *s, const struct frame *f, struct steering *found, struct error *e)
{
	const size_t width = frame_width(f);
	bool elsewhere;
	*found = (struct steering){ .mode = STEER_ZERO, .width = width };
	if (!s->vectors)
		return 0;
	const struct direction *v = directions_find(s->vectors, f->site, f->layer, &elsewhere, e);
	if (!v)
		return -1;
	for (size_t i = 0; i < s->n_here; i++) {
		*found = s->here[i].steering;
		if (s->here[i].vector == v && found->width == width)
			return 0;
	}
	if (elsewhere)
		progress_warn("%s: its one vector is of %s of layer %d; it is used at %s of layer %d", s->vectors->path, v->site,
		              v->layer, f->site.p, f->layer);
	if (prepare(s, v, width, found, e) < 0)
		return -1;
	mem_grow((void **)&s->here, &s->here_capacity, s->n_here + 1, sizeof *s->here);
	s->here[s->n_here++] = (struct here){ v, *found };
	return 0;
}

int steerer_expect(struct steerer *s, const struct frame *f, struct error *e)
{
	struct steering found;
	return find_steering(s, f, &found, e);
}

/* -------- rows */

static int change_rows(struct steerer *s, const struct steering *steering, double alpha, struct frame *f, struct error *e)
{
	size_t row_len = steering->width * dtype_size(f->dtype);
	char *row = f->rows;
	for (size_t i = 0; i < f->n_samples; i++) {
		const struct sample *sample = &f->samples[i];
		size_t n = frame_sample_rows(f, sample), n_lines;
		struct strength *line = strengths_of(&s->strengths, sample->id, &n_lines);
		if (f->pool.p && strengths_choose(&s->strengths, line, n_lines))
			return error_set(e, "its rows are pooled, and have no positions to choose from");
		for (size_t k = 0; k < n; k++, row += row_len) {
			double factor;
			if (strengths_name(&s->strengths, line, n_lines, sample, sample->first + (uint32_t)k, &factor))
				steering_rows(steering, alpha * factor, row, f->dtype, 1, steering->width, s->scratch);
		}
	}
	return 0;
}

int steerer_change(struct steerer *s, struct frame *f, struct error *e)
{
	struct steering steering;
	if (!dtype_is_float(f->dtype))
		return error_set(e, "its rows are %s, which can't be steered", dtype_name(f->dtype));
	if (f->name.p && !f->n_samples)
		return error_set(e, "'%s' has no samples; a vector isn't steered", f->name.p);
	if (s->strengths.n > 1 && f->variant < 0)
		return error_set(e, "isn't one of the variants, so it has no strength");
	if (find_steering(s, f, &steering, e) < 0)
		return -1;
	mem_grow((void **)&s->scratch, &s->scratch_capacity, steering_scratch(&steering), sizeof *s->scratch);
	return change_rows(s, &steering, s->strengths.alpha[s->strengths.n > 1 ? f->variant : 0], f, e);
}

/* -------- the end */

uint64_t steerer_rows(const struct steerer *s)
{
	return s->strengths.n_rows;
}

int steerer_check(const struct steerer *s, const char *name, struct error *e)
{
	return strengths_check(&s->strengths, name, e);
}

void steerer_close(struct steerer *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_here; i++)
		steering_release(&s->here[i].steering);
	free(s->here);
	free(s->scratch);
	strengths_release(&s->strengths);
	directions_close(s->vectors);
	free(s->vector);
	free(s);
}
