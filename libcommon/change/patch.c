#include "patch.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "checksum.h"
#include "io.h"
#include "memory.h"
#include "progress.h"
#include "ranges.h"

struct spec {
	char *text;             /* for messages */
	char *file;
	enum site site;
	bool *layers;           /* (n_layers) */
	struct ranges pos, head;        /* n == 0: all */
	int variant;            /* the only one that it changes; -1: every one */
	bool found;             /* some rows of its file */
};

/* Rows of consecutive positions of one sample. */
struct entry {
	const struct spec *spec;
	enum site site;
	int layer;
	uint64_t hash;          /* of id */
	char *id;
	size_t id_len;
	int variant;            /* of the file's frame; -1: none */
	uint32_t first, n;
	enum dtype dtype;
	size_t width;
	char *rows;             /* (n, width) */
	atomic_uchar *used;     /* (n) */
	size_t order;           /* a later one's rows take the place of an earlier one's */
};

struct patches {
	const struct model *m;
	const char *program;
	struct spec *specs;
	size_t n_specs, spec_capacity;
	struct entry *entries;  /* sorted by hash once loaded */
	size_t n, capacity;
	uint64_t identity;
	char *foreign;          /* another model that rows come from; NULL: none */
};

struct patches *patches_open(const struct model *m, const char *program)
{
	struct patches *p = mem_zero(1, sizeof *p);
	p->m = m;
	p->program = program;
	return p;
}

/* A LIST of the command line or a field of a table; nothing, or "-" there, is all. */
static int list_parse(struct ranges *r, const char *text, struct error *e)
{
	if (!text || !*text || strcmp(text, "-") == 0)
		return 0;
	if (ranges_parse(r, text, e) < 0)
		return -1;
	if (ranges_all(r))
		ranges_release(r);
	return 0;
}

static bool list_has(const struct ranges *r, size_t i, size_t count)
{
	return r->n == 0 || ranges_have(r, (uint32_t)count, (uint32_t)i);
}

/* -------- what is to be patched */

static int spec_site(struct patches *p, struct spec *s, const char *site, const char *layers, struct error *e)
{
	struct selection selection;
	char *text = layers && *layers && strcmp(layers, "-") ? mem_format("%s@%s", site, layers) : mem_string(site);
	int status = selection_parse(&selection, text, p->program, e);
	if (status < 0) {
		free(text);
		return -1;
	}
	s->layers = mem_zero(p->m->n_layers + 1, sizeof *s->layers);
	status = selection_layers(&selection, p->m, s->layers, e);
	size_t count = 0;
	for (enum site i = 0; i < SITE_COUNT; i++) {
		count += selection.site[i];
		s->site = selection.site[i] ? i : s->site;
	}
	selection_release(&selection);
	free(text); /* which the selection and its messages borrowed */
	if (status == 0 && count != 1)
		status = error_set(e, "one site is patched by one patch");
	if (status == 0 && s->site == SITE_EXPERT_IDX)
		status = error_set(e, "expert_idx follows router_logits; patch those");
	return status;
}

static int spec_heads(struct patches *p, struct spec *s, struct error *e)
{
	size_t dim[FRAME_DIMS];
	if (s->head.n == 0)
		return 0;
	int n = site_shape(s->site, p->m, dim);
	if (n != 2)
		return error_set(e, "%s has no heads", site_name(s->site));
	bool any = false;
	for (size_t h = 0; h < dim[0]; h++)
		any |= list_has(&s->head, h, dim[0]);
	return any ? 0 : error_set(e, "%s has heads 0 to %zu", site_name(s->site), dim[0] - 1);
}

static int spec_add(struct patches *p, const char *text, const char *const field[5], int variant, struct error *e)
{
	mem_grow((void **)&p->specs, &p->spec_capacity, p->n_specs + 1, sizeof *p->specs);
	struct spec *s = &p->specs[p->n_specs++];
	*s = (struct spec){ .text = mem_string(text), .variant = variant };
	if (!field[4] || !*field[4])
		return error_set(e, "%s: needs a FILE", text);
	s->file = mem_string(field[4]);
	if (spec_site(p, s, field[0], field[1], e) < 0 || list_parse(&s->pos, field[2], e) < 0 ||
	    list_parse(&s->head, field[3], e) < 0 || spec_heads(p, s, e) < 0)
		return error_in(e, "%s", text);
	return 0;
}

/* SITE[@LAYERS][/pos:LIST][/head:LIST]=FILE, cut up in place. */
static int patch_add(struct patches *p, const char *text, struct error *e)
{
	const char *field[5] = { NULL };
	char *copy = mem_string(text), *equals = strchr(copy, '=');
	int status = equals ? 0 : error_set(e, "--patch %s: needs =FILE", text);
	if (equals) {
		*equals = 0;
		field[4] = equals + 1;
	}
	char *rest = NULL, *part = strtok_r(copy, "/", &rest);
	field[0] = part ? part : "";
	while (status == 0 && (part = strtok_r(NULL, "/", &rest))) {
		if (strcmp(part, "pos:") == 0 || strcmp(part, "head:") == 0)
			status = error_set(e, "--patch %s: /%s lists nothing; leave it out to take all", text, part);
		else if (strncmp(part, "pos:", 4) == 0)
			field[2] = part + 4;
		else if (strncmp(part, "head:", 5) == 0)
			field[3] = part + 5;
		else
			status = error_set(e, "--patch %s: /%s is neither /pos:LIST nor /head:LIST", text, part);
	}
	char *at = status == 0 ? strchr(copy, '@') : NULL;
	if (at) {
		*at = 0;
		field[1] = at + 1;
	}
	char *name = mem_format("--patch %s", text);
	if (status == 0)
		status = spec_add(p, name, field, -1, e);
	free(name);
	free(copy);
	return status;
}

int patches_add(struct patches *p, const struct option_list *list, struct error *e)
{
	for (size_t i = 0; i < list->n; i++)
		if (patch_add(p, list->item[i], e) < 0)
			return -1;
	return 0;
}

/* -------- sweeps */

enum { COLUMNS = 6 };
static const char *const column_names[COLUMNS] = { "site", "layers", "pos", "head", "file", "variant" };

/* Which field of a line each column is. */
static int read_columns(char *line, int column[COLUMNS], struct error *e)
{
	int at = 0;
	for (int i = 0; i < COLUMNS; i++)
		column[i] = -1;
	for (char *rest = line, *name; (name = strsep(&rest, "\t")); at++)
		for (int i = 0; i < COLUMNS; i++)
			if (strcmp(name, column_names[i]) == 0)
				column[i] = at;
	if (column[0] < 0 || column[4] < 0 || column[5] < 0)
		return error_set(e, "the first line has to name the columns variant, site and file, and may name layers, pos and head");
	return 0;
}

static int variant_of(const char *name, char ***names, size_t *n)
{
	for (size_t i = 0; i < *n; i++)
		if (strcmp((*names)[i], name) == 0)
			return (int)i;
	*names = mem_resize(*names, *n + 1, sizeof **names);
	(*names)[*n] = mem_string(name);
	return (int)(*n)++;
}

static int sweep_line(struct patches *p, const char *where, char *line, const int column[COLUMNS], char ***names, size_t *n,
                      struct error *e)
{
	const char *field[COLUMNS] = { NULL };
	int at = 0;
	for (char *rest = line, *text; (text = strsep(&rest, "\t")); at++)
		for (int i = 0; i < COLUMNS; i++)
			if (column[i] == at)
				field[i] = text;
	if (!field[0] || !field[4] || !field[5] || !*field[5])
		return error_set(e, "%s: a line needs its variant, site and file", where);
	/* "-" for a file would be standard input, which has the stream. */
	return spec_add(p, where, field, variant_of(field[5], names, n), e);
}

int patches_sweep(struct patches *p, const char *path, char ***variants, size_t *n, struct error *e)
{
	size_t len;
	int column[COLUMNS], status = 0;
	unsigned long number = 0;
	char *text = io_slurp(path, (size_t)256 << 20, &len, e);
	*variants = NULL;
	*n = 0;
	if (!text)
		return -1;
	for (char *rest = text, *line; status == 0 && (line = strsep(&rest, "\n"));) {
		char *where = mem_format("--sweep %s: line %lu", path, ++number);
		if (number == 1 && read_columns(line, column, e) < 0)
			status = error_in(e, "%s", where);
		else if (number > 1 && *line)
			status = sweep_line(p, where, line, column, variants, n, e);
		free(where);
	}
	free(text);
	if (status == 0 && *n == 0)
		status = error_set(e, "--sweep %s: no patch in it", path);
	return status;
}

/* -------- rows of the files */

/* The place that resid_post of a layer and resid_pre of the next both name. */
static void normal_place(enum site *s, int *layer)
{
	if (*s == SITE_RESID_POST) {
		*s = SITE_RESID_PRE;
		++*layer;
	}
}

/* The layer at which a spec patches with rows of that place; -2: none. */
static int layer_for(const struct patches *p, const struct spec *s, enum site site, int layer)
{
	enum site wanted = s->site;
	int shift = 0;
	if (!site_in_block(wanted))
		return site == wanted ? -1 : -2;
	normal_place(&wanted, &shift);
	normal_place(&site, &layer);
	int at = layer - shift;
	return site == wanted && at >= 0 && (size_t)at < p->m->n_layers && s->layers[at] ? at : -2;
}

static void add_entry(struct patches *p, const struct spec *s, const struct frame *f, const struct sample *sample, int layer,
                      uint32_t first, uint32_t n, const char *rows)
{
	size_t width = frame_width(f), len = n * width * dtype_size(f->dtype);
	mem_grow((void **)&p->entries, &p->capacity, p->n + 1, sizeof *p->entries);
	struct entry *x = &p->entries[p->n++];
	*x = (struct entry){ .spec = s, .site = s->site, .layer = layer, .hash = checksum(sample->id.p, sample->id.len),
	                     .id = mem_slice(sample->id.p, sample->id.len), .id_len = sample->id.len,
	                     .variant = f->variant, .first = first, .n = n, .dtype = f->dtype, .width = width,
	                     .order = (size_t)(s - p->specs) };
	x->rows = mem_slice(rows, len);
	x->used = mem_zero(n, sizeof *x->used);
}

/* Runs of positions that the spec selects. */
static int take_sample(struct patches *p, struct spec *s, const struct frame *f, const struct sample *sample, int layer,
                       const char *rows, struct error *e)
{
	size_t row_len = frame_width(f) * dtype_size(f->dtype);
	if (f->pool.p && sample->n > 1)
		return error_set(e, "sample %s: a row pooled over %u positions has no place", sample->id.p, sample->n);
	for (uint32_t i = 0, n; i < sample->n; i += n ? n : 1) {
		for (n = 0; i + n < sample->n && list_has(&s->pos, sample->first + i + n, sample->len); n++)
			;
		if (n)
			add_entry(p, s, f, sample, layer, sample->first + i, n, rows + i * row_len);
		s->found |= n > 0;
	}
	return 0;
}

static int take_frame(struct patches *p, struct spec *s, const struct frame *f, struct error *e)
{
	size_t dim[FRAME_DIMS], width = 1, at = 0;
	enum site site = f->site.p ? site_find(f->site.p, f->site.len) : SITE_NONE;
	int layer = site == SITE_NONE ? -2 : layer_for(p, s, site, f->layer);
	if (layer == -2)
		return 0;
	int n = site_shape(s->site, p->m, dim);
	for (int i = 0; i < n; i++)
		width *= dim[i] ? dim[i] : f->n_samples ? f->samples[0].len : 0; /* scores: as long as their sample */
	if (frame_width(f) != width || !dtype_is_float(f->dtype))
		return error_set(e, "rows of %zu values, and %s has %zu", frame_width(f), site_name(s->site), width);
	for (size_t i = 0; i < f->n_samples; i++) {
		const struct sample *sample = &f->samples[i];
		const char *rows = (const char *)f->rows + at * width * dtype_size(f->dtype);
		if (take_sample(p, s, f, sample, layer, rows, e) < 0)
			return -1;
		at += frame_sample_rows(f, sample);
	}
	return 0;
}

/* Rows of another model are no error: a base model's, say, in one that was trained further. */
static void check_model(struct patches *p, const struct tms_reader *r)
{
	const struct tms_header *h = tms_header(r);
	if (!h->fingerprint || strcmp(h->fingerprint, p->m->fingerprint) == 0)
		return;
	progress_warn("%s: comes from another model: %s (%s), and -m is %s (%s); its rows are taken as they are", tms_name(r),
	              h->model ? h->model : "unnamed", h->fingerprint, p->m->name, p->m->fingerprint);
	free(p->foreign);
	p->foreign = mem_string(h->fingerprint);
}

static int load_file(struct patches *p, size_t first, struct error *e)
{
	const char *file = p->specs[first].file;
	struct tms_reader *r = tms_open(file, e);
	struct frame *f;
	int more = r ? 1 : -1;
	if (r && (tms_header(r)->kind == TMS_TOKENS || tms_header(r)->kind == TMS_VECTORS || tms_header(r)->kind == TMS_STATE))
		more = error_set(e, "%s: %s: holds %s, which have no rows to take; give activations or a residual stream",
		                 p->specs[first].text, tms_name(r), tms_kind_name(tms_header(r)->kind));
	if (more > 0)
		check_model(p, r);
	while (more > 0 && (more = tms_next(r, &f, e)) > 0) {
		for (size_t i = first; i < p->n_specs && more > 0; i++)
			if (strcmp(p->specs[i].file, file) == 0 && take_frame(p, &p->specs[i], f, e) < 0)
				more = error_in(e, "%s", p->specs[i].text);
		frame_free(f);
	}
	if (more == 0) {
		uint64_t both[2] = { p->identity, tms_checksum(r) };
		p->identity = checksum(both, sizeof both);
	}
	tms_close(r);
	return more;
}

static int by_hash(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	if (x->hash != y->hash)
		return x->hash > y->hash ? 1 : -1;
	return (x->order > y->order) - (x->order < y->order);
}

int patches_load(struct patches *p, struct error *e)
{
	for (size_t i = 0; i < p->n_specs; i++) {
		bool loaded = false;
		for (size_t j = 0; j < i; j++)
			loaded |= strcmp(p->specs[i].file, p->specs[j].file) == 0;
		if (!loaded && load_file(p, i, e) < 0)
			return -1;
	}
	for (size_t i = 0; i < p->n_specs; i++)
		if (!p->specs[i].found)
			return error_set(e, "%s: %s has no rows that it selects", p->specs[i].text, p->specs[i].file);
	if (p->n)
		qsort(p->entries, p->n, sizeof *p->entries, by_hash);
	return 0;
}

char *patches_identity(const struct patches *p)
{
	return mem_format("%016llx%s%s", (unsigned long long)p->identity, p->foreign ? " of another model, " : "",
	                  p->foreign ? p->foreign : "");
}

/* -------- the run */

bool patches_any(const struct patches *p)
{
	return p->n_specs > 0;
}

void patches_wanted(const struct patches *p, int layer, bool wanted[SITE_COUNT])
{
	for (size_t i = 0; i < p->n_specs; i++) {
		const struct spec *s = &p->specs[i];
		bool here = site_in_block(s->site) ? layer >= 0 && s->layers[layer] && site_exists(s->site, p->m, (size_t)layer)
		                                   : layer < 0;
		wanted[s->site] |= here;
	}
}

int patches_last_layer(const struct patches *p)
{
	int last = -1;
	for (size_t i = 0; i < p->n; i++)
		last = p->entries[i].layer > last ? p->entries[i].layer : last;
	return last;
}

static void put_row(const struct patches *p, const struct entry *x, const char *from, char *to, enum dtype work)
{
	size_t dim[FRAME_DIMS];
	if (!x->spec->head.n) {
		dtype_convert(to, work, from, x->dtype, x->width);
		return;
	}
	site_shape(x->site, p->m, dim);
	dim[1] = x->width / dim[0];
	for (size_t h = 0; h < dim[0]; h++)
		if (list_has(&x->spec->head, h, dim[0]))
			dtype_convert(to + h * dim[1] * dtype_size(work), work, from + h * dim[1] * dtype_size(x->dtype), x->dtype,
			              dim[1]);
}

static void apply_entry(struct entry *x, const struct patches *p, uint32_t first, size_t n, char *rows, size_t stride,
                        enum dtype work)
{
	for (uint32_t i = 0; i < x->n; i++) {
		uint32_t position = x->first + i;
		if (position < first || position - first >= n)
			continue;
		put_row(p, x, x->rows + i * x->width * dtype_size(x->dtype),
		        rows + (position - first) * stride * dtype_size(work), work);
		atomic_store_explicit(&x->used[i], 1, memory_order_relaxed);
	}
}

void patches_apply(struct patches *p, enum site site, int layer, const struct sample *s, int variant, uint32_t first,
                   size_t n, void *rows, size_t width, size_t stride, enum dtype work)
{
	uint64_t hash = checksum(s->id.p, s->id.len);
	size_t low = 0, high = p->n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (p->entries[middle].hash < hash)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < p->n && p->entries[low].hash == hash; low++) {
		struct entry *x = &p->entries[low];
		bool here = x->site == site && x->layer == layer && x->width == width && x->id_len == s->id.len &&
		            memcmp(x->id, s->id.p, s->id.len) == 0;
		bool ours = (x->spec->variant < 0 || x->spec->variant == variant) && (x->variant < 0 || x->variant == variant);
		if (here && ours)
			apply_entry(x, p, first, n, rows, stride, work);
	}
}

int patches_check(const struct patches *p, size_t from, size_t to, struct error *e)
{
	for (size_t i = 0; i < p->n; i++) {
		const struct entry *x = &p->entries[i];
		for (uint32_t j = 0; j < x->n; j++) {
			if (atomic_load_explicit(&x->used[j], memory_order_relaxed))
				continue;
			if (x->layer < 0)
				return error_set(e, "%s: sample %s, position %u of %s has no place among the rows of this run",
				                 x->spec->text, x->id, x->first + j, x->spec->file);
			return error_set(e, "%s: sample %s, position %u of %s has no place in layers %zu to %zu of this stream",
			                 x->spec->text, x->id, x->first + j, x->spec->file, from, to ? to - 1 : 0);
		}
	}
	return 0;
}

static size_t n_rows(const struct patches *p)
{
	size_t n = 0;
	for (size_t i = 0; i < p->n; i++)
		n += p->entries[i].n;
	return n;
}

uint8_t *patches_used(const struct patches *p, size_t *len)
{
	*len = (n_rows(p) + 7) / 8;
	uint8_t *used = mem_zero(*len, 1);
	size_t at = 0;
	for (size_t i = 0; i < p->n; i++)
		for (uint32_t j = 0; j < p->entries[i].n; j++, at++)
			used[at / 8] |= (uint8_t)(atomic_load_explicit(&p->entries[i].used[j], memory_order_relaxed) << at % 8);
	return used;
}

int patches_set_used(struct patches *p, const uint8_t *used, size_t len)
{
	if (len != (n_rows(p) + 7) / 8)
		return -1;
	size_t at = 0;
	for (size_t i = 0; i < p->n; i++)
		for (uint32_t j = 0; j < p->entries[i].n; j++, at++)
			atomic_store_explicit(&p->entries[i].used[j], used[at / 8] >> at % 8 & 1, memory_order_relaxed);
	return 0;
}

void patches_close(struct patches *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n_specs; i++) {
		free(p->specs[i].text);
		free(p->specs[i].file);
		free(p->specs[i].layers);
		ranges_release(&p->specs[i].pos);
		ranges_release(&p->specs[i].head);
	}
	for (size_t i = 0; i < p->n; i++) {
		free(p->entries[i].id);
		free(p->entries[i].rows);
		free(p->entries[i].used);
	}
	free(p->specs);
	free(p->entries);
	free(p->foreign);
	free(p);
}
