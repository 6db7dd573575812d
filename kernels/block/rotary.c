#include "rotary.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "memory.h"

static double default_frequency(double theta, size_t i, size_t dims)
{
	return 1 / pow(theta, 2 * (double)i / (double)dims);
}

static double llama3_frequency(const struct rotary *r, double f)
{
	double wave = 2 * M_PI / f;
	double original = (double)r->original_context;
	if (wave > original / r->low_freq_factor)
		return f / r->factor;
	if (wave < original / r->high_freq_factor)
		return f;
	double s = (original / wave - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor);
	return (1 - s) * f / r->factor + s * f;
}

static double yarn_scale(double factor, double m)
{
	return factor <= 1 ? 1 : 0.1 * m * log(factor) + 1;
}

/* The (real) pair index whose wave makes `rotations` turns over the original context. */
static double yarn_dimension(const struct rotary *r, double rotations)
{
	double turns = (double)r->original_context / (rotations * 2 * M_PI);
	return (double)r->dims * log(turns) / (2 * log(r->theta));
}

static void yarn_frequencies(const struct rotary *r, double *inverse)
{
	double low = yarn_dimension(r, r->beta_fast), high = yarn_dimension(r, r->beta_slow);
	if (r->truncate) {
		low = floor(low);
		high = ceil(high);
	}
	low = fmax(low, 0);
	high = fmin(high, (double)r->dims - 1);
	if (low == high)
		high += 0.001;
	for (size_t i = 0; i < r->dims / 2; i++) {
		double ramp = fmin(fmax(((double)i - low) / (high - low), 0), 1);
		double f = default_frequency(r->theta, i, r->dims);
		inverse[i] = f / r->factor * ramp + f * (1 - ramp);
	}
}

static double yarn_attention(const struct rotary *r)
{
	if (r->attention_factor)
		return r->attention_factor;
	if (r->mscale && r->mscale_all_dim)
		return yarn_scale(r->factor, r->mscale) / yarn_scale(r->factor, r->mscale_all_dim);
	return yarn_scale(r->factor, 1);
}

static double longrope_attention(const struct rotary *r)
{
	if (r->attention_factor)
		return r->attention_factor;
	return r->factor <= 1 ? 1 : sqrt(1 + log(r->factor) / log((double)r->original_context));
}

double rotary_frequencies(const struct rotary *r, size_t len, double *inverse)
{
	size_t pairs = r->dims / 2;
	double theta = r->theta;
	if (r->kind == ROTARY_YARN) {
		yarn_frequencies(r, inverse);
		return yarn_attention(r);
	}
	if (r->kind == ROTARY_DYNAMIC && len > r->context) {
		double stretch = r->factor * (double)len / (double)r->context - (r->factor - 1);
		theta *= pow(stretch, (double)r->dims / ((double)r->dims - 2));
	}
	const double *divisor = NULL;
	if (r->kind == ROTARY_LONGROPE)
		divisor = len > r->original_context ? r->long_factor : r->short_factor;
	for (size_t i = 0; i < pairs; i++) {
		inverse[i] = default_frequency(theta, i, r->dims);
		if (r->kind == ROTARY_LINEAR)
			inverse[i] /= r->factor;
		else if (r->kind == ROTARY_LLAMA3)
			inverse[i] = llama3_frequency(r, inverse[i]);
		else if (divisor)
			inverse[i] /= divisor[i];
	}
	return r->kind == ROTARY_LONGROPE ? longrope_attention(r) : 1;
}

/* Lengths that share their frequencies share a table. */
static size_t length_class(const struct rotary *r, size_t len)
{
	if (r->kind == ROTARY_DYNAMIC)
		return len > r->context ? len : 0;
	if (r->kind == ROTARY_LONGROPE)
		return len > r->original_context;
	return 0;
}

struct entry {
	size_t class, positions;
	void *cos, *sin;
	bool used;      /* since the last trim */
	struct entry *next;
};

struct rotary_tables {
	const struct rotary *r;
	const struct ops *ops;
	struct device *device;
	struct entry *entries;
};

struct rotary_tables *rotary_tables_open(const struct rotary *r, const struct ops *ops, struct device *d)
{
	struct rotary_tables *t = mem_zero(1, sizeof *t);
	t->r = r;
	t->ops = ops;
	t->device = d;
	return t;
}

static void entry_free(const struct rotary_tables *t, struct entry *entry)
{
	t->ops->give(t->device, entry->cos);
	t->ops->give(t->device, entry->sin);
	free(entry);
}

static void put(void *to, enum dtype work, size_t i, double value)
{
	if (work == DTYPE_F64)
		((double *)to)[i] = value;
	else
		((float *)to)[i] = (float)value;
}

static int entry_fill(struct entry *entry, const struct rotary_tables *t, size_t len, struct error *e)
{
	size_t pairs = t->r->dims / 2, bytes = entry->positions * pairs * dtype_size(t->ops->work);
	entry->cos = t->ops->take(t->device, bytes, "rotary table", e);
	entry->sin = entry->cos ? t->ops->take(t->device, bytes, "rotary table", e) : NULL;
	char *cosines = entry->sin ? mem_try(2 * bytes, "rotary table", e) : NULL;
	if (!cosines)
		return -1;
	char *sines = cosines + bytes;
	double *inverse = mem_zero(pairs, sizeof *inverse);
	double scale = rotary_frequencies(t->r, len, inverse);
	for (size_t p = 0; p < entry->positions; p++) {
		for (size_t i = 0; i < pairs; i++) {
			double angle = (double)p * inverse[i];
			put(cosines, t->ops->work, p * pairs + i, scale * cos(angle));
			put(sines, t->ops->work, p * pairs + i, scale * sin(angle));
		}
	}
	t->ops->upload(t->device, entry->cos, cosines, bytes);
	t->ops->upload(t->device, entry->sin, sines, bytes);
	free(inverse);
	free(cosines);
	return 0;
}

/* Rounded up, so that samples of rising length don't each make a table. */
static size_t table_positions(size_t positions)
{
	return positions < 512 ? 512 : positions + positions / 4;
}

/* A table that was too short stays until no batch uses it. */
size_t rotary_tables_len(const struct rotary *r, const struct ops *ops, size_t positions)
{
	size_t row_len = 2 * r->dims / 2 * dtype_size(ops->work), classes = r->kind == ROTARY_LONGROPE ? 2 : 1;
	return classes * (positions + table_positions(positions)) * row_len;
}

int rotary_tables_get(struct rotary_tables *t, size_t len, size_t positions, struct rotary_table *table, struct error *e)
{
	size_t class = length_class(t->r, len);
	struct entry *entry = t->entries;
	while (entry && (entry->class != class || entry->positions < positions))
		entry = entry->next;
	if (!entry) {
		entry = mem_zero(1, sizeof *entry);
		entry->class = class;
		entry->positions = table_positions(positions);
		if (entry_fill(entry, t, len, e) < 0) {
			entry_free(t, entry);
			return -1;
		}
		entry->next = t->entries;
		t->entries = entry;
	}
	entry->used = true;
	*table = (struct rotary_table){ entry->cos, entry->sin };
	return 0;
}

void rotary_tables_trim(struct rotary_tables *t)
{
	struct entry **at = &t->entries;
	while (*at) {
		struct entry *entry = *at;
		if (entry->used) {
			entry->used = false;
			at = &entry->next;
		} else {
			*at = entry->next;
			entry_free(t, entry);
		}
	}
}

void rotary_tables_close(struct rotary_tables *t)
{
	if (!t)
		return;
	while (t->entries) {
		struct entry *next = t->entries->next;
		entry_free(t, t->entries);
		t->entries = next;
	}
	free(t);
}
