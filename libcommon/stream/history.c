#include "history.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "option.h"
#include "wire.h"

#ifndef VERSION
#define VERSION "0"
#endif

/* `layers` stands last, so that two entries that differ in nothing else are the same bytes before it. */
static void pack_entry(struct wire_buffer *b, const struct tms_step *step, int from)
{
	size_t n;
	const char *const *options = option_history(&n);
	bool has_backend = step && step->backend, has_layers = step && step->from >= 0;
	wire_map(b, 2 + has_backend + (n > 0) + has_layers);
	wire_string(b, "program");
	wire_string(b, tool.name);
	wire_string(b, "version");
	wire_string(b, VERSION);
	if (has_backend) {
		wire_string(b, "backend");
		wire_string(b, step->backend);
	}
	if (n) {
		wire_string(b, "options");
		wire_array(b, n);
		for (size_t i = 0; i < n; i++)
			wire_string(b, options[i]);
	}
	if (has_layers) {
		wire_string(b, "layers");
		wire_array(b, 2);
		wire_uint(b, (uint64_t)from);
		wire_uint(b, (uint64_t)step->to);
	}
}

/* The i-th entry.  The history was checked when it was read, so that skipping can't fail. */
static struct wire_cursor entry(const struct tms_header *h, size_t i)
{
	struct wire_cursor c = { (const uint8_t *)h->history, h->history_len };
	const char *p = h->history;
	size_t len = 0;
	for (size_t k = 0; k <= i; k++)
		if (wire_skip(&c, &p, &len) < 0)
			return (struct wire_cursor){ NULL, 0 };
	return (struct wire_cursor){ (const uint8_t *)p, len };
}

/* The first layer of an entry, or -1. */
static int first_layer(struct wire_cursor c)
{
	struct wire_value v;
	const char *p;
	size_t len;
	if (wire_next(&c, &v) < 0)
		return -1;
	for (uint64_t pairs = v.n; pairs; pairs--) {
		if (wire_next(&c, &v) < 0)
			return -1;
		if (v.type == WIRE_STR && v.len == 6 && memcmp(v.p, "layers", 6) == 0) {
			if (wire_next(&c, &v) < 0 || v.type != WIRE_ARRAY || v.n != 2)
				return -1;
			if (wire_next(&c, &v) < 0 || v.type != WIRE_UINT || v.number > INT32_MAX)
				return -1;
			return (int)v.number;
		}
		if (wire_skip(&c, &p, &len) < 0)
			return -1;
	}
	return -1;
}

/* Whether the last entry is this step's, up to the layer where it begins; *from gets the layer where that one began. */
static bool goes_on(const struct tms_header *h, const struct tms_step *step, struct wire_cursor last, int *from)
{
	*from = first_layer(last);
	if (*from < 0 || !h->n_history || !step || step->from < 0)
		return false;
	struct tms_step before = { .backend = step->backend, .from = *from, .to = step->from };
	struct wire_buffer b = { 0 };
	pack_entry(&b, &before, *from);
	bool same = b.len == last.left && memcmp(b.p, last.p, b.len) == 0;
	wire_release(&b);
	return same;
}

void history_add(struct tms_header *h, const struct tms_step *step)
{
	struct wire_buffer b = { 0 };
	struct wire_cursor last = { NULL, 0 };
	int from;
	if (h->n_history)
		last = entry(h, h->n_history - 1);
	size_t keep = h->history_len;
	if (goes_on(h, step, last, &from)) {
		keep -= last.left;
		h->n_history--;
	} else {
		from = step ? step->from : -1;
	}
	wire_raw(&b, h->history, keep);
	pack_entry(&b, step, from);
	free(h->history);
	h->history = mem_slice(b.p, b.len);
	h->history_len = b.len;
	h->n_history++;
	wire_release(&b);
}

static bool entry_equal(const struct tms_header *a, const struct tms_header *b, size_t i)
{
	struct wire_cursor x = entry(a, i), y = entry(b, i);
	return x.left == y.left && memcmp(x.p, y.p, x.left) == 0;
}

static bool history_equal(const struct tms_header *a, const struct tms_header *b)
{
	return a->history_len == b->history_len &&
	       (!a->history_len || memcmp(a->history, b->history, a->history_len) == 0);
}

/* How many entries all begin with, and their bytes. */
static size_t in_common(const struct tms_header *const *from, size_t n, size_t *len)
{
	size_t shared = from[0]->n_history;
	for (size_t k = 1; k < n; k++) {
		if (from[k]->n_history < shared)
			shared = from[k]->n_history;
		for (size_t i = 0; i < shared; i++)
			if (!entry_equal(from[0], from[k], i))
				shared = i;
	}
	*len = 0;
	for (size_t i = 0; i < shared; i++)
		*len += entry(from[0], i).left;
	return shared;
}

void history_join(struct tms_header *to, const struct tms_header *const *from, size_t n)
{
	struct wire_buffer b = { 0 }, rests = { 0 };
	size_t len, n_rests = 0, shared = in_common(from, n, &len);
	for (size_t k = 0; k < n; k++) {
		bool seen = false;
		for (size_t i = 0; i < k && !seen; i++)
			seen = history_equal(from[i], from[k]);
		if (seen)
			continue;
		n_rests++;
		wire_array(&rests, from[k]->n_history - shared);
		wire_raw(&rests, from[k]->history + len, from[k]->history_len - len);
	}
	wire_raw(&b, from[0]->history, n_rests == 1 ? from[0]->history_len : len);
	to->n_history = from[0]->n_history;
	if (n_rests > 1) {
		wire_map(&b, 3);
		wire_string(&b, "program");
		wire_string(&b, tool.name);
		wire_string(&b, "version");
		wire_string(&b, VERSION);
		wire_string(&b, "inputs");
		wire_array(&b, n_rests);
		wire_raw(&b, rests.p, rests.len);
		to->n_history = shared + 1;
	}
	free(to->history);
	to->history = mem_slice(b.p, b.len);
	to->history_len = b.len;
	wire_release(&b);
	wire_release(&rests);
}
