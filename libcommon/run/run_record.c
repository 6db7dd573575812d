#include "run_record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checksum.h"
#include "io.h"
#include "memory.h"
#include "meta_map.h"

enum { VERSION_NUMBER = 2 };
#define RECORD_LIMIT ((size_t)64 << 20)

enum {
	KEY_VERSION, KEY_RUN, KEY_FINISHED, KEY_COMMITS, KEY_PASSES, KEY_LAYER, KEY_ROWS, KEY_HOLD, KEY_TAKEN, KEY_SOURCE, KEY_SUM,
	KEY_TARGET, KEY_OUTPUTS, KEY_PATCHED, KEY_COUNT
};
static const char *const keys[] = {
	"layer-run state", "run", "finished", "commits", "passes", "layer", "rows", "hold", "taken", "source", "source_sum", "target",
	"outputs", "patched", NULL
};

void run_record_release(struct run_record *r)
{
	for (size_t i = 0; i < r->n_run; i++)
		free(r->run[i]);
	free(r->run);
	free(r->outputs);
	free(r->patched);
	*r = (struct run_record){ 0 };
}

/* -------- reading */

static int read_run(struct map *m, struct run_record *r, struct error *e)
{
	uint64_t n;
	if (map_array(m, KEY_RUN, m->c->left, &n, e) < 0)
		return -1;
	r->run = mem_zero(n, sizeof *r->run);
	for (; r->n_run < n; r->n_run++) {
		struct wire_value v;
		if (map_bytes(m, KEY_RUN, WIRE_STR, &v, e) < 0)
			return -1;
		r->run[r->n_run] = mem_slice(v.p, v.len);
	}
	return 0;
}

static int read_place(struct map *m, int key, struct tms_place *p, struct error *e)
{
	uint64_t n, *member[] = { &p->byte, &p->n_frames, &p->n_rows, &p->sum };
	if (map_array(m, key, ARRAY_LEN(member), &n, e) < 0)
		return -1;
	if (n != ARRAY_LEN(member))
		return error_set(e, "'%s' of %s has %ju elements", m->keys[key], m->what, (uintmax_t)n);
	for (size_t i = 0; i < n; i++)
		if (map_uint(m, key, UINT64_MAX, member[i], e) < 0)
			return -1;
	return 0;
}

static int read_outputs(struct map *m, struct run_record *r, struct error *e)
{
	uint64_t n;
	if (map_array(m, KEY_OUTPUTS, m->c->left / 5, &n, e) < 0) /* a place has no fewer bytes */
		return -1;
	r->outputs = mem_zero(n, sizeof *r->outputs);
	for (; r->n_outputs < n; r->n_outputs++)
		if (read_place(m, KEY_OUTPUTS, &r->outputs[r->n_outputs], e) < 0)
			return -1;
	return 0;
}

static int read_sum(struct map *m, struct run_record *r, struct error *e)
{
	struct wire_value v;
	if (map_bytes(m, KEY_SUM, WIRE_BIN, &v, e) < 0)
		return -1;
	if (v.len && v.len != sizeof r->sum)
		return error_set(e, "'%s' of %s is of %zu bytes", m->keys[KEY_SUM], m->what, v.len);
	memcpy(r->sum, v.p, v.len);
	r->has_sum = v.len > 0;
	return 0;
}

static int read_patched(struct map *m, struct run_record *r, struct error *e)
{
	struct wire_value v;
	if (map_bytes(m, KEY_PATCHED, WIRE_BIN, &v, e) < 0)
		return -1;
	r->patched = (uint8_t *)mem_slice(v.p, v.len);
	r->n_patched = v.len;
	return 0;
}

static int read_value(struct map *m, int key, struct run_record *r, struct error *e)
{
	uint64_t version, *const number[KEY_COUNT] = {
		[KEY_VERSION] = &version, [KEY_FINISHED] = &r->finished, [KEY_COMMITS] = &r->commits, [KEY_PASSES] = &r->passes,
		[KEY_LAYER] = &r->layer, [KEY_ROWS] = &r->rows, [KEY_HOLD] = &r->hold, [KEY_TAKEN] = &r->taken,
	};
	switch (key) {
	case KEY_RUN:
		return read_run(m, r, e);
	case KEY_SOURCE:
	case KEY_TARGET:
		return read_place(m, key, key == KEY_SOURCE ? &r->source : &r->target, e);
	case KEY_OUTPUTS:
		return read_outputs(m, r, e);
	case KEY_SUM:
		return read_sum(m, r, e);
	case KEY_PATCHED:
		return read_patched(m, r, e);
	default:
		if (map_uint(m, key, key == KEY_FINISHED ? 1 : UINT64_MAX, number[key], e) < 0)
			return -1;
		if (key == KEY_VERSION && version != VERSION_NUMBER)
			return error_set(e, "is of version %ju, and this release knows version %d", (uintmax_t)version, VERSION_NUMBER);
		return 0;
	}
}

static int parse(struct run_record *r, struct wire_cursor *c, struct error *e)
{
	struct map m;
	const uint8_t *begin = c->p;
	if (map_open(&m, c, "the record", keys, e) < 0)
		return -1;
	int key;
	while ((key = map_next(&m, e)) >= 0)
		if (read_value(&m, key, r, e) < 0)
			return -1;
	if (key != MAP_END)
		return -1;
	if (m.seen != ((uint32_t)1 << KEY_COUNT) - 1)
		return error_set(e, "the record has no '%s'", keys[__builtin_ctz(~m.seen)]);
	struct wire_value sum;
	size_t len = (size_t)(c->p - begin);
	if (wire_next(c, &sum) < 0 || sum.type != WIRE_UINT || sum.number != checksum(begin, len) || c->left)
		return error_set(e, "is damaged: its checksum isn't that of its bytes");
	return 0;
}

int run_record_parse(struct run_record *r, const void *bytes, size_t len, const char *name, struct error *e)
{
	struct wire_cursor c = { bytes, len };
	*r = (struct run_record){ 0 };
	if (parse(r, &c, e) == 0)
		return 0;
	run_record_release(r);
	return error_in(e, "%s", name);
}

int run_record_read(struct run_record *r, const char *dir, struct error *e)
{
	char *path = mem_format("%s/record", dir);
	size_t len;
	char *bytes = NULL;
	int status = access(path, F_OK) < 0 && errno == ENOENT ? 0 : -1;
	if (status < 0)
		bytes = io_slurp(path, RECORD_LIMIT, &len, e);
	if (bytes && run_record_parse(r, bytes, len, path, e) == 0)
		status = 1;
	free(bytes);
	free(path);
	return status;
}

/* -------- writing */

static void pair(struct wire_buffer *b, int key, uint64_t value)
{
	wire_string(b, keys[key]);
	wire_uint(b, value);
}

static void pack_place(struct wire_buffer *b, const struct tms_place *p)
{
	wire_array(b, 4);
	wire_uint(b, p->byte);
	wire_uint(b, p->n_frames);
	wire_uint(b, p->n_rows);
	wire_uint(b, p->sum);
}

static void pack(struct wire_buffer *b, const struct run_record *r)
{
	wire_map(b, KEY_COUNT);
	pair(b, KEY_VERSION, VERSION_NUMBER);
	wire_string(b, keys[KEY_RUN]);
	wire_array(b, r->n_run);
	for (size_t i = 0; i < r->n_run; i++)
		wire_string(b, r->run[i]);
	pair(b, KEY_FINISHED, r->finished);
	pair(b, KEY_COMMITS, r->commits);
	pair(b, KEY_PASSES, r->passes);
	pair(b, KEY_LAYER, r->layer);
	pair(b, KEY_ROWS, r->rows);
	pair(b, KEY_HOLD, r->hold);
	pair(b, KEY_TAKEN, r->taken);
	wire_string(b, keys[KEY_SOURCE]);
	pack_place(b, &r->source);
	wire_string(b, keys[KEY_SUM]);
	wire_bin(b, r->sum, r->has_sum ? sizeof r->sum : 0);
	wire_string(b, keys[KEY_TARGET]);
	pack_place(b, &r->target);
	wire_string(b, keys[KEY_OUTPUTS]);
	wire_array(b, r->n_outputs);
	for (size_t i = 0; i < r->n_outputs; i++)
		pack_place(b, &r->outputs[i]);
	wire_string(b, keys[KEY_PATCHED]);
	wire_bin(b, r->patched, r->n_patched);
	wire_uint(b, checksum(b->p, b->len));
}

static int write_file(const char *path, const struct wire_buffer *b, struct error *e)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
	if (fd < 0)
		return error_errno(e, "%s", path);
	int status = io_write_all(fd, b->p, b->len, path, e);
	if (status == 0)
		status = io_sync(fd, path, e);
	if (close(fd) < 0 && status == 0)
		status = error_errno(e, "%s", path);
	return status;
}

int run_record_write(const struct run_record *r, const char *dir, struct error *e)
{
	struct wire_buffer b = { 0 };
	char *path = mem_format("%s/record", dir), *next = mem_format("%s/record.new", dir);
	pack(&b, r);
	int status = write_file(next, &b, e);
	if (status == 0 && rename(next, path) < 0)
		status = error_errno(e, "%s", path);
	if (status == 0)
		status = io_sync_directory(dir, e);
	wire_release(&b);
	free(path);
	free(next);
	return status;
}

int run_record_remove(const char *dir, struct error *e)
{
	char *path = mem_format("%s/record", dir), *next = mem_format("%s/record.new", dir);
	int status = 0;
	/* The record last: it says what else there is. */
	if ((unlink(next) < 0 && errno != ENOENT) || unlink(path) < 0)
		status = error_errno(e, "%s", path);
	free(path);
	free(next);
	return status;
}

/* -------- sentences */

char *run_record_model(const struct model *m)
{
	return mem_format("-m %s, fingerprint %s", m->name, m->fingerprint);
}

const char *run_record_own_model(const struct run_record *r)
{
	for (size_t i = 0; i < r->n_run; i++)
		if (strncmp(r->run[i], "-m ", 3) == 0)
			return r->run[i];
	return "";
}

const char *run_record_output(const struct run_record *r, size_t i)
{
	const char *text = r->run[i], *name = NULL;
	if (strncmp(text, "-o ", 3) == 0)
		name = text + 3;
	else if (strncmp(text, "--tap ", 6) == 0 && strchr(text, '='))
		name = strchr(text, '=') + 1;
	return name && *name == '/' ? name : NULL;
}
