#include "checkpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checksum.h"

/*
 * checkpoint MODEL [STAGING]: what is opened, then a line for each stacked weight and bias: layer (-1: outside), role,
 * bias, columns, inputs, and the checksum of its values in f32 as (experts, columns, inputs), put together from the pieces.
 */

struct role_values {
	float *value[2];                /* weight, bias */
	unsigned char *times[2];        /* how often each was put */
	size_t n, k, experts;
};

static int put(void *context, const struct part *p, struct error *e)
{
	struct role_values *r = (struct role_values *)context + p->role;
	const struct tensor_view *v = &p->view;
	size_t k = p->bias ? 1 : r->k;
	if (v->k != k || p->expert >= r->experts || p->column + v->n > r->n)
		return error_set(e, "%s: a piece outside its role", p->name);
	for (size_t c = 0; c < v->n; c++)
		for (size_t i = 0; i < k; i++) {
			size_t at = v->first + c / v->group * v->group_stride + c % v->group * v->n_stride + i * v->k_stride;
			size_t to = (p->expert * r->n + p->column + c) * k + i;
			dtype_convert(&r->value[p->bias][to], DTYPE_F32,
			              (const char *)v->data + at * dtype_size(v->dtype), v->dtype, 1);
			r->times[p->bias][to]++;
		}
	return 0;
}

static void prepare(struct role_values values[ROLE_COUNT], const struct model *m, const struct part *parts, size_t n)
{
	memset(values, 0, ROLE_COUNT * sizeof *values);
	for (size_t i = 0; i < n; i++) {
		enum role role = parts[i].role;
		struct role_values *r = &values[role];
		role_shape(m, role, &r->n, &r->k);
		r->experts = role == ROLE_EXPERT_GATE_UP || role == ROLE_EXPERT_DOWN ? m->n_experts : 1;
		size_t count = r->experts * r->n * (parts[i].bias ? 1 : r->k);
		if (!r->value[parts[i].bias]) {
			r->value[parts[i].bias] = calloc(count, sizeof(float));
			r->times[parts[i].bias] = calloc(count, 1);
		}
	}
}

static int print(struct role_values values[ROLE_COUNT], long layer, struct error *e)
{
	int bad = 0;
	for (int i = 0; i < 2 * ROLE_COUNT; i++) {
		struct role_values *r = &values[i / 2];
		float *value = r->value[i % 2];
		if (!value)
			continue;
		size_t k = i % 2 ? 1 : r->k, n = r->experts * r->n * k;
		for (size_t at = 0; at < n; at++)
			bad |= r->times[i % 2][at] != 1;
		printf("%ld %d %d %zu %zu %016" PRIx64 "\n", layer, i / 2, i % 2, r->experts * r->n, k,
		       checksum(value, n * sizeof *value));
		free(value);
		free(r->times[i % 2]);
	}
	return bad ? error_set(e, "layer %ld: not every value was put exactly once", layer) : 0;
}

static int print_layers(struct checkpoint *c, size_t staging_len, struct error *e)
{
	struct role_values values[ROLE_COUNT];
	const struct part *parts;
	void *staging = aligned_alloc(64, (staging_len + 63) / 64 * 64);
	int r = 0;
	for (size_t i = 0; i < checkpoint_model(c)->n_layers && r == 0; i++) {
		size_t n = checkpoint_layer_parts(c, i, &parts);
		prepare(values, checkpoint_model(c), parts, n);
		r = checkpoint_read_layer(c, i, staging, staging_len, put, values, e);
		struct error incomplete = { "" };
		if (print(values, (long)i, &incomplete) < 0 && r == 0)
			r = error_set(e, "%s", incomplete.text);
	}
	free(staging);
	return r;
}

static int print_outer(struct checkpoint *c, struct error *e)
{
	const struct part *parts;
	size_t n = checkpoint_outer_parts(c, &parts);
	for (size_t i = 0; i < n; i++) {
		const struct tensor_view *v = &parts[i].view;
		size_t count = v->n * v->k, size = dtype_size(v->dtype), half = v->n / 2;
		char *bytes = malloc(count * size);
		float *value = malloc(count * sizeof *value);
		int r = checkpoint_read_part(c, &parts[i], 0, half, bytes, e);
		if (r == 0)
			r = checkpoint_read_part(c, &parts[i], half, v->n - half, bytes + half * v->k * size, e);
		const void *map = r < 0 ? NULL : checkpoint_map(c, &parts[i], e);
		if (map && memcmp(map, bytes, count * size))
			r = error_set(e, "%s: the map differs", parts[i].name);
		dtype_convert(value, DTYPE_F32, bytes, v->dtype, count);
		printf("-1 %d %d %zu %zu %016" PRIx64 "\n", (int)parts[i].role, parts[i].bias, v->n, v->k,
		       checksum(value, count * sizeof *value));
		free(bytes);
		free(value);
		if (r < 0 || !map)
			return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct error e = { "" };
	struct checkpoint *c = checkpoint_open(argv[1], &e);
	int r = -1;
	if (c) {
		const struct model *m = checkpoint_model(c);
		printf("%s %s %s %s\n", m->name, m->family, dtype_name(m->dtype), m->fingerprint);
		r = print_outer(c, &e);
		if (r == 0)
			r = print_layers(c, argc > 2 ? strtoul(argv[2], NULL, 10) : checkpoint_staging_len(c), &e);
		checkpoint_close(c);
	}
	if (r < 0)
		printf("refused: %s\n", e.text);
	return 0;
}
