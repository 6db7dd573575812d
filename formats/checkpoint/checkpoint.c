#include "checkpoint.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "checksum.h"
#include "config.h"
#include "fetch.h"
#include "hub.h"
#include "io.h"
#include "layout.h"
#include "memory.h"
#include "pace.h"
#include "pieces.h"
#include "tensors.h"

enum {
	STAGING_LEN = 64 << 20,
	/* The staging memory holds so many pieces, so that one is read while another is put. */
	STAGING_PIECES = 4,
	/* Layers that processes in step may be apart, with the one that is read. */
	SHARED_LAYERS = PACE_AHEAD + 2
};

struct map {
	void *p;
	size_t len;
	const struct tensor *tensor;
};

struct checkpoint {
	char *path;
	struct config config;
	struct model model;
	struct tensors tensors;
	struct layout layout;
	bool transient;         /* what is read needn't stay in the page cache */
	struct map *map;        /* (n_maps) */
	size_t n_maps;
	_Atomic uint64_t n_read;
	struct pace *pace;      /* NULL: this process reads alone */
	size_t end;             /* the layer after its last */
	struct fetch_cold cold[SHARED_LAYERS]; /* of layer L in L mod SHARED_LAYERS: to be dropped when all have read it */
};

/* Bytes of the tensors of these parts; those of each dtype are added to by_type (DTYPE_COUNT). */
static size_t parts_len(const struct layout_parts *p, uint64_t *by_type)
{
	uint64_t len = 0;
	for (size_t i = 0; i < p->n; i++) {
		if (i && p->tensor[i] == p->tensor[i - 1])
			continue;
		len += p->tensor[i]->is->len;
		by_type[p->tensor[i]->is->dtype] += p->tensor[i]->is->len;
	}
	return (size_t)len;
}

static enum dtype most_of(const struct layout *l)
{
	uint64_t by_type[DTYPE_COUNT] = { 0 };
	for (size_t i = 0; i < l->n_layers; i++)
		parts_len(&l->layer[i], by_type);
	enum dtype most = DTYPE_F32;
	for (int i = 0; i < DTYPE_COUNT; i++)
		if (by_type[i] > by_type[most])
			most = (enum dtype)i;
	return most;
}

static int set_fingerprint(struct checkpoint *c, struct error *e)
{
	struct checksum *sum = checksum_open();
	checksum_start(sum);
	char *facts = config_facts(&c->config, &c->model);
	checksum_add(sum, facts, strlen(facts) + 1);
	free(facts);
	int r = tensors_hash(&c->tensors, sum, e);
	snprintf(c->model.fingerprint, sizeof c->model.fingerprint, "%016" PRIx64,
	         checksum_value(sum));
	checksum_close(sum);
	return r;
}

static int open_all(struct checkpoint *c, const char *model, struct error *e)
{
	c->path = hub_find(model, e);
	if (!c->path)
		return -1;
	char *path = mem_format("%s/config.json", c->path);
	int r = config_read(path, &c->config, &c->model, e);
	free(path);
	if (r < 0 || tensors_open(&c->tensors, c->path, e) < 0 ||
	    layout_init(&c->layout, &c->config, &c->model, &c->tensors, e) < 0)
		return -1;
	c->model.name = hub_name(model, c->path);
	c->model.dtype = most_of(&c->layout);
	c->transient = tensors_len(&c->tensors) > mem_available() / 2;
	return set_fingerprint(c, e);
}

struct checkpoint *checkpoint_open(const char *model, struct error *e)
{
	struct checkpoint *c = mem_zero(1, sizeof *c);
	if (open_all(c, model, e) < 0) {
		checkpoint_close(c);
		return NULL;
	}
	return c;
}

void checkpoint_close(struct checkpoint *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n_maps; i++)
		munmap(c->map[i].p, c->map[i].len);
	free(c->map);
	for (size_t i = 0; i < SHARED_LAYERS; i++)
		free(c->cold[i].range);
	pace_close(c->pace);
	layout_release(&c->layout);
	tensors_close(&c->tensors);
	model_release(&c->model);
	free(c->path);
	free(c);
}

const struct model *checkpoint_model(const struct checkpoint *c)
{
	return &c->model;
}

const char *checkpoint_path(const struct checkpoint *c)
{
	return c->path;
}

size_t checkpoint_layer_parts(const struct checkpoint *c, size_t layer, const struct part **parts)
{
	*parts = c->layout.layer[layer].part;
	return c->layout.layer[layer].n;
}

size_t checkpoint_outer_parts(const struct checkpoint *c, const struct part **parts)
{
	*parts = c->layout.outer.part;
	return c->layout.outer.n;
}

const struct part *checkpoint_part(const struct checkpoint *c, enum role role, bool bias)
{
	const struct layout_parts *p = &c->layout.outer;
	for (size_t i = 0; i < p->n; i++)
		if (p->part[i].role == role && p->part[i].bias == bias)
			return &p->part[i];
	return NULL;
}

size_t checkpoint_layer_len(const struct checkpoint *c, size_t layer)
{
	uint64_t by_type[DTYPE_COUNT] = { 0 };
	return parts_len(&c->layout.layer[layer], by_type);
}

uint64_t checkpoint_len(const struct checkpoint *c)
{
	return tensors_len(&c->tensors);
}

uint64_t checkpoint_bytes_read(const struct checkpoint *c)
{
	return atomic_load(&c->n_read);
}

size_t checkpoint_staging_len(const struct checkpoint *c)
{
	size_t largest = 0, unit = 0;
	for (size_t i = 0; i < c->layout.n_layers; i++) {
		/* Each tensor may begin up to 63 bytes later than the one before it ended. */
		size_t len = checkpoint_layer_len(c, i) + 64 * c->layout.layer[i].n;
		size_t u = pieces_unit_max(&c->layout.layer[i]);
		largest = len > largest ? len : largest;
		unit = u > unit ? u : unit;
	}
	size_t len = largest < STAGING_LEN ? largest : STAGING_LEN;
	if (len < 2 * unit)
		len = 2 * unit;
	return (len + 63) / 64 * 64;
}

struct layer_read {
	struct checkpoint *c;
	const struct layout_parts *parts;
	struct piece *piece;
	checkpoint_put *put;
	void *context;
};

static int put_piece(void *context, size_t i, const void *bytes, struct error *e)
{
	struct layer_read *r = context;
	const struct piece *piece = &r->piece[i];
	atomic_fetch_add(&r->c->n_read, piece->len);
	for (size_t k = piece->first_part; k < piece->first_part + piece->n_parts; k++) {
		struct part part;
		if (piece_part(piece, &r->parts->part[k], bytes, &part) &&
		    r->put(r->context, &part, e) < 0)
			return -1;
	}
	return 0;
}

int checkpoint_share(struct checkpoint *c, const char *path, size_t end, struct error *e)
{
	c->pace = pace_open(path, c->model.fingerprint, e);
	c->end = end;
	return c->pace ? 0 : -1;
}

/* Waits for the others, and drops what all of them have read. */
static void enter_layer(struct checkpoint *c, size_t layer)
{
	pace_enter(c->pace, layer);
	size_t done = pace_done(c->pace);
	for (size_t i = 1; i < SHARED_LAYERS && i <= layer; i++)
		if (layer - i < done)
			fetch_drop(&c->cold[(layer - i) % SHARED_LAYERS]);
}

/* The caller frees them. */
static struct fetch_range *ranges_of(const struct piece *piece, size_t n)
{
	struct fetch_range *range = mem_zero(n, sizeof *range);
	for (size_t i = 0; i < n; i++) {
		const struct piece *p = &piece[i];
		const struct safetensors *file = p->tensor->file;
		uint64_t offset = p->tensor->is->offset + p->at;
		range[i] = (struct fetch_range){ file->fd, file->path, offset, (size_t)p->len };
	}
	return range;
}

size_t checkpoint_piece_len(size_t staging_len)
{
	return staging_len / STAGING_PIECES;
}

struct fetch_range *checkpoint_layer_ranges(const struct checkpoint *c, size_t layer, size_t piece_len, size_t *n)
{
	struct piece *piece = pieces_cut(&c->layout.layer[layer], piece_len, n);
	struct fetch_range *range = ranges_of(piece, *n);
	free(piece);
	return range;
}

int checkpoint_read_layer(struct checkpoint *c, size_t layer, void *staging, size_t staging_len,
                          checkpoint_put *put, void *context, struct error *e)
{
	struct layer_read r = { c, &c->layout.layer[layer], NULL, put, context };
	size_t n;
	r.piece = pieces_cut(r.parts, checkpoint_piece_len(staging_len), &n);
	struct fetch_range *range = ranges_of(r.piece, n);
	struct fetch_cold *cold = NULL;
	if (c->pace) {
		enter_layer(c, layer);
		cold = &c->cold[layer % SHARED_LAYERS];
	}
	int result = fetch_run(range, n, staging, staging_len, c->transient, cold, put_piece, &r, e);
	if (c->pace && layer + 1 == c->end)
		pace_leave(c->pace);
	free(range);
	free(r.piece);
	return result;
}

static const struct tensor *tensor_of(const struct checkpoint *c, const struct part *part)
{
	return c->layout.outer.tensor[part - c->layout.outer.part];
}

int checkpoint_read_part(struct checkpoint *c, const struct part *part, size_t first, size_t n,
                         void *to, struct error *e)
{
	const struct tensor *t = tensor_of(c, part);
	size_t row = part->view.k * dtype_size(part->view.dtype);
	if (first > part->view.n || n > part->view.n - first)
		return error_set(e,
		                 "%s: tensor '%s' has %zu rows, %zu from row %zu on were asked for",
		                 t->file->path, part->name, part->view.n, n, first);
	atomic_fetch_add(&c->n_read, n * row);
	return io_read_at(t->file->fd, to, n * row, t->is->offset + first * row, t->file->path, e);
}

const void *checkpoint_map(struct checkpoint *c, const struct part *part, struct error *e)
{
	const struct tensor *t = tensor_of(c, part);
	size_t skip = (size_t)(t->is->offset % (uint64_t)sysconf(_SC_PAGESIZE));
	for (size_t i = 0; i < c->n_maps; i++)
		if (c->map[i].tensor == t)
			return (const char *)c->map[i].p + skip;
	size_t len = (size_t)t->is->len + skip;
	off_t from = (off_t)(t->is->offset - skip);
	void *p = mmap(NULL, len, PROT_READ, MAP_SHARED, t->file->fd, from);
	if (p == MAP_FAILED) {
		error_errno(e, "%s: tensor '%s' cannot be mapped", t->file->path, part->name);
		return NULL;
	}
	c->map = mem_resize(c->map, c->n_maps + 1, sizeof *c->map);
	c->map[c->n_maps++] = (struct map){ p, len, t };
	return (const char *)p + skip;
}
