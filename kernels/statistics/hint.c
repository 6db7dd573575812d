#include "hint.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "io.h"
#include "memory.h"

/* What a mark leaves unexplained is below SMALL of the values and a tenth of the difference. */
static const double SMALL = 1e-2;

void hint_rows_release(struct hint_rows *h)
{
	free(h->a);
	free(h->b);
	*h = (struct hint_rows){ 0 };
}

/* Makes room for rows of that width.  How many there may be; 0: none, or rows of another width are kept already. */
static size_t room_for(struct hint_rows *h, size_t width, size_t heads)
{
	size_t most = width ? HINT_VALUES / width : 0;
	most = most > HINT_ROWS ? HINT_ROWS : most;
	if (!most || (h->n && (h->width != width || h->heads != heads)))
		return 0;
	if (!h->a) {
		h->a = mem_zero(most * width, sizeof *h->a);
		h->b = mem_zero(most * width, sizeof *h->b);
	}
	h->width = width;
	h->heads = heads;
	return most;
}

/* The row behind the last one has been filled: it is kept if it differs. */
static void keep(struct hint_rows *h, uint64_t position)
{
	if (memcmp(h->a + h->n * h->width, h->b + h->n * h->width, h->width * sizeof *h->a) != 0)
		h->position[h->n++] = position;
}

void hint_rows_take(struct hint_rows *h, const void *a, enum dtype type_a, const void *b, enum dtype type_b,
                    size_t n_rows, size_t width, size_t heads, uint64_t position)
{
	size_t most = room_for(h, width, heads);
	for (size_t r = 0; r < n_rows && h->n < most; r++) {
		const size_t at = h->n * width;
		dtype_convert(h->a + at, DTYPE_F64, (const char *)a + r * width * dtype_size(type_a), type_a, width);
		dtype_convert(h->b + at, DTYPE_F64, (const char *)b + r * width * dtype_size(type_b), type_b, width);
		keep(h, position + r);
	}
}

struct fit {
	double aa, bb, ab, dd;
	bool finite;
};

static struct fit measure(const double *a, const double *b, size_t n)
{
	struct fit f = { 0 };
	for (size_t i = 0; i < n; i++) {
		/* Masked scores are infinite in both. */
		if (!isfinite(a[i]) && !isfinite(b[i]))
			continue;
		f.aa += a[i] * a[i];
		f.bb += b[i] * b[i];
		f.ab += a[i] * b[i];
		f.dd += (a[i] - b[i]) * (a[i] - b[i]);
	}
	f.finite = isfinite(f.aa) && isfinite(f.bb) && f.aa > 0 && f.bb > 0;
	return f;
}

static double relative(const struct fit *f)
{
	return sqrt(f->dd / f->aa);
}

static bool explains(double rest, double difference)
{
	return rest < SMALL && rest < difference / 10;
}

/* c of B = c A; 0: it isn't. */
static double factor_of(const struct fit *f)
{
	double c = f->ab / f->aa, rest = f->bb - c * f->ab;
	return explains(sqrt((rest > 0 ? rest : 0) / f->bb), relative(f)) ? c : 0;
}

/* -------- norms */

static bool one_added(const struct hint_rows *h)
{
	for (size_t r = 0; r < h->n; r++) {
		struct fit f = measure(h->a + r * h->width, h->b + r * h->width, h->width);
		if (!f.finite || fabs(f.dd / (double)h->width - 1) > 0.05)
			return false;
	}
	return h->n > 0;
}

/* -------- rotary embedding */

enum pairs { PAIRS_HALF, PAIRS_NEXT, PAIRS_WHOLE };

/* How far the norms of the pairs of a and b are apart, as a part of the norms; whole: of the first dims of a head. */
static double norms_apart(const struct hint_rows *h, size_t dims, enum pairs kind)
{
	size_t head = h->width / h->heads, n = kind == PAIRS_WHOLE ? 1 : dims / 2;
	double apart = 0, all = 0;
	for (size_t i = 0; i < h->n * h->heads; i++) {
		const double *a = h->a + i * head, *b = h->b + i * head;
		for (size_t k = 0; k < n; k++) {
			double x = 0, y = 0;
			for (size_t j = 0; j < (kind == PAIRS_WHOLE ? dims : 2); j++) {
				size_t at = kind == PAIRS_WHOLE ? j : kind == PAIRS_HALF ? k + j * n : 2 * k + j;
				x += a[at] * a[at];
				y += b[at] * b[at];
			}
			apart += (sqrt(x) - sqrt(y)) * (sqrt(x) - sqrt(y));
			all += x;
		}
	}
	return all > 0 ? sqrt(apart / all) : INFINITY;
}

/* The first dimensions of a head up to the last that differs; those behind don't turn. */
static size_t turning(const struct hint_rows *h)
{
	size_t head = h->width / h->heads, last = 0;
	for (size_t i = 0; i < h->n * h->heads; i++)
		for (size_t k = last; k < head; k++)
			if (h->a[i * head + k] != h->b[i * head + k])
				last = k + 1;
	return last + last % 2;
}

static char *rotary_hint(const struct hint_rows *h, double difference)
{
	size_t head = h->width / h->heads;
	for (size_t dims = turning(h); dims <= head; dims += 2) {
		double half = norms_apart(h, dims, PAIRS_HALF), next = norms_apart(h, dims, PAIRS_NEXT);
		if (dims && explains(half < next ? half : next, difference))
			return mem_format("the same pairs (%s) turn by other angles: RoPE base (rope_theta) or scaling",
			                  half < next ? "half-split" : "interleaved");
	}
	if (explains(norms_apart(h, head, PAIRS_WHOLE), difference))
		return mem_string("heads keep their norms, pairs don't: half-split RoPE in one, interleaved in the other");
	return NULL;
}

/* -------- soft caps */

static double capped(double x, double c)
{
	return c * tanh(x / c);
}

static double largest(const double *v, size_t n, size_t *at)
{
	double most = 0;
	for (size_t i = 0; i < n; i++)
		if (isfinite(v[i]) && fabs(v[i]) > most) {
			most = fabs(v[i]);
			*at = i;
		}
	return most;
}

/* c with c tanh(x / c) = y, for x > y > 0. */
static double solve_cap(double x, double y)
{
	double low = y, high = y * 1e6;
	for (int i = 0; i < 100; i++) {
		double c = sqrt(low * high);
		if (capped(x, c) < y)
			low = c;
		else
			high = c;
	}
	return low;
}

/* from, with its own cap c taken off (0: none), capped to be `to`: the cap, and in *rest how much that leaves. */
static double fit_cap(const double *from, const double *to, size_t n, double c, double *rest)
{
	size_t at = 0;
	*rest = INFINITY;
	double most = largest(from, n, &at);
	double x = c > 0 ? c * atanh(most / c) : most, y = fabs(to[at]);
	if (!(x > y * (1 + 1e-6)) || y == 0 || !isfinite(x))
		return 0;
	double cap = solve_cap(x, y), left = 0, all = 0;
	for (size_t i = 0; i < n; i++) {
		if (!isfinite(from[i]) || !isfinite(to[i]))
			continue;
		double v = capped(c > 0 ? c * atanh(from[i] / c) : from[i], cap) - to[i];
		left += v * v;
		all += to[i] * to[i];
	}
	*rest = sqrt(left / all);
	return cap;
}

/* So many values show a curve. */
static size_t cap_values(const struct hint_rows *h)
{
	return h->n * h->width < 16384 ? h->n * h->width : 16384;
}

/* Both capped: A's cap is somewhere above its largest value.  What the best pair of caps leaves. */
static double fit_both(const struct hint_rows *h, double *cap_a, double *cap_b)
{
	size_t n = cap_values(h), at = 0;
	double most = largest(h->a, n, &at), best = INFINITY;
	for (double above = 1e-4; above < 100; above *= 1.1) {
		double rest, c = most * (1 + above), cap = fit_cap(h->a, h->b, n, c, &rest);
		if (cap > 0 && rest < best) {
			best = rest;
			*cap_a = c;
			*cap_b = cap;
		}
	}
	return best;
}

static char *cap_hint(const struct hint_rows *h, double difference)
{
	size_t n = cap_values(h);
	double in_b, in_a, cap_a = 0, cap_b = 0;
	double b = fit_cap(h->a, h->b, n, 0, &in_b), a = fit_cap(h->b, h->a, n, 0, &in_a);
	double both = fit_both(h, &cap_a, &cap_b);
	/* Two caps fit whatever one does: they have to fit better. */
	if (explains(both, difference) && both < in_b / 3 && both < in_a / 3)
		return mem_format("both are capped, A near %.3g and B near %.3g: another soft cap", cap_a, cap_b);
	if (b > 0 && explains(in_b, difference))
		return mem_format("B is %.4g tanh(A / %.4g): a soft cap that A doesn't have", b, b);
	if (a > 0 && explains(in_a, difference))
		return mem_format("A is %.4g tanh(B / %.4g): a soft cap that B doesn't have", a, a);
	return NULL;
}

/* -------- sites */

static char *factor_hint(enum site s, double c, size_t width)
{
	double root = sqrt((double)width);
	if (s == SITE_EMBED || s == SITE_RESID_PRE) {
		const char *what = fabs(c / root - 1) < SMALL ? " = sqrt(width)" : fabs(c * root - 1) < SMALL ? " = 1 / sqrt(width)" : "";
		return mem_format("B is %.6g%s times A: embedding scale", c, what);
	}
	if (s == SITE_ATTN_SCORES)
		return mem_format("B is %.6g times A: the scale of attention (head width, query_pre_attn_scalar)", c);
	return mem_format("B is %.6g times A", c);
}

char *hint_of_rows(enum site s, const struct hint_rows *h)
{
	struct fit f = measure(h->a, h->b, h->n * h->width);
	double difference = relative(&f);
	char *found = NULL;
	if (!h->n || !f.finite || difference < HINT_LEAST)
		return NULL;
	if ((s == SITE_ATTN_NORM || s == SITE_MLP_NORM || s == SITE_FINAL_NORM) && one_added(h))
		return mem_string("rows differ by what was normed: the norm's weight with 1 added in one and not in the other "
		                  "(norm + 1)");
	if (factor_of(&f) != 0)
		return factor_hint(s, factor_of(&f), h->width);
	if (s == SITE_Q_ROT || s == SITE_K_ROT)
		found = rotary_hint(h, difference);
	if (s == SITE_ATTN_SCORES || s == SITE_LOGITS)
		found = cap_hint(h, difference);
	return found;
}

/* -------- weights */

/* Two matrices of one shape in files, and memory for a row of each. */
struct matrices {
	const struct compare_side *side[2];
	size_t n_rows, width;
	char *raw;              /* (width) of any type */
	double *row[2];         /* (width) */
	struct error *e;
	bool failed;            /* e says why */
};

/* Row i of a side in double. */
static void row_of(struct matrices *m, double *to, int side, size_t i)
{
	const struct compare_side *s = m->side[side];
	size_t len = m->width * dtype_size(s->type);
	if (!m->failed && io_read_at(s->fd, m->raw, len, s->offset + (uint64_t)i * len, s->name, m->e) < 0)
		m->failed = true;
	if (!m->failed)
		dtype_convert(to, DTYPE_F64, m->raw, s->type, m->width);
}

/* Whether row i of one side is row k of the other. */
static bool same_row(struct matrices *m, int side, size_t i, size_t k)
{
	row_of(m, m->row[0], side, i);
	row_of(m, m->row[1], !side, k);
	if (m->failed)
		return false;
	struct fit f = measure(m->row[0], m->row[1], m->width);
	return f.finite && f.dd < SMALL * SMALL * f.aa;
}

/* Row d/2 of each head of the side `half` is row 1 of the other, and so on: the width of a head, or 0. */
static size_t permuted(struct matrices *m, int half)
{
	for (size_t head = 4; head <= m->n_rows && head <= 1024; head += 2) {
		if (m->n_rows % head || !same_row(m, half, head / 2, 1))
			continue;
		size_t i = 0;
		while (i < m->n_rows &&
		       same_row(m, half, i, i / head * head + i % head % (head / 2) * 2 + i % head / (head / 2)))
			i++;
		if (i == m->n_rows)
			return head;
	}
	return 0;
}

static char *permuted_hint(struct matrices *m)
{
	size_t in_b = permuted(m, 0), in_a = in_b ? 0 : permuted(m, 1);
	if (!in_a && !in_b)
		return NULL;
	return mem_format("the same rows in another order in heads of %zu: stored for half-split RoPE in %s, for interleaved "
	                  "in %s", in_a + in_b, in_b ? "A" : "B", in_b ? "B" : "A");
}

static char *matrix_hint(struct matrices *m, const char *name, struct hint_rows *h)
{
	size_t most = room_for(h, m->width, 1), n, ones = 0;
	for (size_t r = 0; r < m->n_rows && h->n < most && !m->failed; r++) {
		row_of(m, h->a + h->n * h->width, 0, r);
		row_of(m, h->b + h->n * h->width, 1, r);
		keep(h, r);
	}
	if (m->failed || !h->n)
		return NULL;
	n = h->n * h->width;
	struct fit f = measure(h->a, h->b, n);
	double c = f.finite && relative(&f) > HINT_LEAST ? factor_of(&f) : 0;
	for (size_t i = 0; i < n; i++)
		ones += fabs(fabs(h->a[i] - h->b[i]) - 1) < SMALL;
	if (ones == n && (strstr(name, "norm") || strstr(name, "ln_")))
		return mem_string("the weights differ by 1: stored less one in one and as they are in the other (norm + 1)");
	if (c != 0)
		return mem_format("B is %.6g times A", c);
	return m->n_rows > 1 ? permuted_hint(m) : NULL;
}

int hint_of_weight(char **hint, const char *name, const struct compare_side *a, const struct compare_side *b, size_t n_rows,
                   size_t width, struct error *e)
{
	struct hint_rows h = { 0 };
	struct matrices m = { .side = { a, b }, .n_rows = n_rows, .width = width, .e = e };
	double *memory = mem_try(3 * width * sizeof *memory, name, e);
	*hint = NULL;
	if (!memory)
		return -1;
	m.row[0] = memory;
	m.row[1] = memory + width;
	m.raw = (char *)(memory + 2 * width);
	char *found = matrix_hint(&m, name, &h);
	hint_rows_release(&h);
	free(memory);
	if (m.failed) {
		free(found);
		return -1;
	}
	*hint = found;
	return 0;
}
