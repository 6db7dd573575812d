#include "diff.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "forward.h"
#include "memory.h"

struct diff_item *diff_add(struct diff_list *l, const char *name)
{
	mem_grow((void **)&l->item, &l->capacity, l->n + 1, sizeof *l->item);
	struct diff_item *d = l->item[l->n++] = mem_zero(1, sizeof *d);
	d->name = mem_string(name);
	d->site = SITE_NONE;
	d->layer = -1;
	return d;
}

static void item_free(struct diff_item *d)
{
	comparison_release(&d->found);
	free(d->name);
	free(d->variant);
	free(d);
}

void diff_release(struct diff_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		item_free(l->item[i]);
	free(l->item);
	free(l->facts);
	free(l->hint);
	free(l->models);
	*l = (struct diff_list){ 0 };
}

static bool rows_differ(const struct diff_item *d)
{
	return d->only[0] || d->only[1] || d->other_tokens || d->other_labels;
}

enum diff_status diff_status(const struct diff_item *d)
{
	if (!d->there[1])
		return DIFF_MISSING_IN_B;
	if (!d->there[0])
		return DIFF_MISSING_IN_A;
	if (d->transposed)
		return DIFF_TRANSPOSED;
	if (d->types_differ)
		return DIFF_TYPE;
	if (d->shapes_differ)
		return DIFF_SHAPE;
	if (d->found.outside || rows_differ(d))
		return DIFF_DIFFERS;
	return d->found.identical == d->found.n ? DIFF_SAME : DIFF_CLOSE;
}

const char *diff_status_name(enum diff_status s)
{
	static const char *const names[] = {
		[DIFF_SAME] = "same", [DIFF_CLOSE] = "close", [DIFF_DIFFERS] = "differs", [DIFF_TRANSPOSED] = "transposed",
		[DIFF_SHAPE] = "shape", [DIFF_TYPE] = "type", [DIFF_MISSING_IN_B] = "only in A",
		[DIFF_MISSING_IN_A] = "only in B",
	};
	return names[s];
}

bool diff_is_different(const struct diff_item *d)
{
	return diff_status(d) > DIFF_CLOSE;
}

bool diff_any(const struct diff_list *l)
{
	return l->facts || diff_first(l);
}

char *diff_shape_hint(const struct diff_item *d)
{
	static const char *const words[] = { "q_proj", "k_proj", "v_proj", "o_proj", "qkv", "c_attn", "query_key_value" };
	bool heads = d->site >= SITE_Q && d->site <= SITE_ATTN_CTX;
	for (size_t i = 0; i < ARRAY_LEN(words) && d->site == SITE_NONE; i++)
		heads |= strstr(d->name, words[i]) != NULL;
	if (!heads || !d->shapes_differ)
		return NULL;
	return mem_format("%s is %s in A and %s in B: head count or head width", d->name, d->shape[0], d->shape[1]);
}

/* -------- orders */

static int by_text(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "");
}

static int by_forward(const void *a, const void *b)
{
	const struct diff_item *x = *(struct diff_item *const *)a, *y = *(struct diff_item *const *)b;
	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	int order = strcmp(x->name, y->name);
	return order ? order : by_text(x->variant, y->variant);
}

/* The larger first, NaN before all numbers, ties by the forward pass. */
static int falling(double a, double b, const void *x, const void *y)
{
	if (isnan(a) || isnan(b))
		return isnan(a) && isnan(b) ? by_forward(x, y) : isnan(a) ? -1 : 1;
	return a > b ? -1 : a < b ? 1 : by_forward(x, y);
}

#define BY(field, value) \
	static int by_##field(const void *x, const void *y) \
	{ \
		const struct comparison *a = &(*(struct diff_item *const *)x)->found; \
		const struct comparison *b = &(*(struct diff_item *const *)y)->found; \
		return falling(value(a), value(b), x, y); \
	}
#define MAX(c) ((c)->max)
#define DIFFER(c) ((double)((c)->n - (c)->identical))
#define COUNT(c) ((double)(c)->n)
#define AWAY(c) (1 - comparison_cosine(c))
BY(max, MAX)
BY(differ, DIFFER)
BY(n, COUNT)
BY(cosine, AWAY)
BY(rms, comparison_rms_difference)
BY(relative, comparison_relative)

static int by_name(const void *a, const void *b)
{
	int order = strcmp((*(struct diff_item *const *)a)->name, (*(struct diff_item *const *)b)->name);
	return order ? order : by_forward(a, b);
}

static void sort(struct diff_list *l, int (*by)(const void *, const void *))
{
	if (l->n)
		qsort(l->item, l->n, sizeof *l->item, by);
}

void diff_order(struct diff_list *l)
{
	sort(l, by_forward);
}

int diff_sort(struct diff_list *l, const char *field, struct error *e)
{
	static const struct {
		const char *name;
		int (*by)(const void *, const void *);
	} fields[] = {
		{ "forward", by_forward }, { "name", by_name }, { "cosine", by_cosine }, { "max", by_max }, { "rms", by_rms },
		{ "relative", by_relative }, { "differ", by_differ }, { "n", by_n },
	};
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		if (!strcmp(fields[i].name, field)) {
			sort(l, fields[i].by);
			return 0;
		}
	return error_set(e, "--sort %s: a field is forward, name, cosine, max, rms, relative, differ or n", field);
}

const struct diff_item *diff_first(const struct diff_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		if (diff_is_different(l->item[i]))
			return l->item[i];
	return NULL;
}

/* -------- layers joined */

static struct diff_item *find_joined(struct diff_item **item, size_t n, const struct diff_item *d, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(item[i]->name, name) && !by_text(item[i]->variant, d->variant))
			return item[i];
	return NULL;
}

/* What stands in one of them is told; where they disagree, "...". */
static void join_text(char *to, size_t to_len, const char *from)
{
	if (!*to)
		memcpy(to, from, to_len);
	else if (*from && strcmp(to, from) != 0)
		strcpy(to, "...");
}

/* A layer that only one of them has makes all of these layers rows that the other doesn't have. */
static void join(struct diff_item *to, struct diff_item *from)
{
	for (int side = 0; side < 2; side++) {
		join_text(to->type[side], sizeof to->type[side], from->type[side]);
		join_text(to->shape[side], sizeof to->shape[side], from->shape[side]);
		to->only[side] += from->only[side];
		to->shapes_differ |= to->there[side] != from->there[side];
		to->there[side] |= from->there[side];
	}
	to->opaque |= from->opaque;
	to->shapes_differ |= from->shapes_differ;
	to->types_differ |= from->types_differ;
	to->transposed |= from->transposed;
	to->other_tokens += from->other_tokens;
	to->other_labels += from->other_labels;
	comparison_add(&to->found, &from->found);
}

void diff_join_layers(struct diff_list *l)
{
	size_t n = 0;
	for (size_t i = 0; i < l->n; i++) {
		struct diff_item *d = l->item[i];
		char *name = d->site == SITE_NONE && !d->rows ? forward_pattern(d->name) : mem_string(d->name);
		struct diff_item *same = find_joined(l->item, n, d, name);
		if (same) {
			join(same, d);
			item_free(d);
			free(name);
			continue;
		}
		free(d->name);
		d->name = name;
		d->layer = -1;
		l->item[n++] = d;
	}
	l->n = n;
}
