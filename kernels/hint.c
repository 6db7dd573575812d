#include "hint.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

/* A difference of less than LEAST of the values is rounding; what a mark leaves unexplained is below SMALL of the values
 * and a tenth of the difference. */
static const double LEAST = 1e-3, SMALL = 1e-2;

void hint_rows_release(struct hint_rows *h)
{
	free(h->a);
	free(h->b);
	*h = (struct hint_rows){ 0 };
}

void hint_rows_take(struct hint_rows *h, const void *a, enum dtype type_a, const void *b, enum dtype type_b,
                    size_t n_rows, size_t width, size_t heads, uint64_t position)
{
	size_t most = width ? HINT_VALUES / width : 0;
	most = most > HINT_ROWS ? HINT_ROWS : most;
	if (!most || (h->n && (h->width != width || h->heads != heads)))
		return;
	if (!h->a) {
		h->a = mem_zero(most * width, sizeof *h->a);
		h->b = mem_zero(most * width, sizeof *h->b);
	}
	h->width = width;
	h->heads = heads;
	for (size_t r = 0; r < n_rows && h->n < most; r++) {
		double *to_a = h->a + h->n * width, *to_b = h->b + h->n * width;
		dtype_convert(to_a, DTYPE_F64, (const char *)a + r * width * dtype_size(type_a), type_a, width);
		dtype_convert(to_b, DTYPE_F64, (const char *)b + r * width * dtype_size(type_b), type_b, width);
		if (memcmp(to_a, to_b, width * sizeof *to_a) != 0)
			h->position[h->n++] = position + r;
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
	if (!h->n || !f.finite || difference < LEAST)
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

/* Row i of a matrix in double. */
static void row_of(double *to, const void *p, enum dtype type, size_t i, size_t width)
{
	dtype_convert(to, DTYPE_F64, (const char *)p + i * width * dtype_size(type), type, width);
}

struct matrix {
	const void *p;
	enum dtype type;
};

static bool same_row(double *memory, struct matrix a, size_t i, struct matrix b, size_t k, size_t width)
{
	row_of(memory, a.p, a.type, i, width);
	row_of(memory + width, b.p, b.type, k, width);
	struct fit f = measure(memory, memory + width, width);
	return f.finite && f.dd < SMALL * SMALL * f.aa;
}

/* Row d/2 of each head of `half` is row 1 of `pairs`, and so on: the width of a head, or 0. */
static size_t permuted(double *memory, struct matrix half, struct matrix pairs, size_t n_rows, size_t width)
{
	for (size_t head = 4; head <= n_rows && head <= 1024; head += 2) {
		if (n_rows % head || !same_row(memory, half, head / 2, pairs, 1, width))
			continue;
		size_t i = 0;
		while (i < n_rows &&
		       same_row(memory, half, i, pairs, i / head * head + i % head % (head / 2) * 2 + i % head / (head / 2), width))
			i++;
		if (i == n_rows)
			return head;
	}
	return 0;
}

static char *permuted_hint(const void *a, enum dtype type_a, const void *b, enum dtype type_b, size_t n_rows, size_t width)
{
	double *memory = mem_zero(2 * width, sizeof *memory);
	struct matrix ma = { a, type_a }, mb = { b, type_b };
	size_t in_b = permuted(memory, ma, mb, n_rows, width), in_a = in_b ? 0 : permuted(memory, mb, ma, n_rows, width);
	free(memory);
	if (!in_a && !in_b)
		return NULL;
	return mem_format("the same rows in another order in heads of %zu: stored for half-split RoPE in %s, for interleaved "
	                  "in %s", in_a + in_b, in_b ? "A" : "B", in_b ? "B" : "A");
}

char *hint_of_weight(const char *name, const void *a, enum dtype type_a, const void *b, enum dtype type_b,
                     size_t n_rows, size_t width)
{
	struct hint_rows h = { 0 };
	hint_rows_take(&h, a, type_a, b, type_b, n_rows, width, 1, 0);
	struct fit f = measure(h.a ? h.a : (double[]){ 0 }, h.b ? h.b : (double[]){ 0 }, h.n * h.width);
	char *found = NULL;
	double c = h.n && f.finite && relative(&f) > LEAST ? factor_of(&f) : 0;
	size_t n = h.n * h.width, ones = 0;
	for (size_t i = 0; i < n; i++)
		ones += fabs(fabs(h.a[i] - h.b[i]) - 1) < SMALL;
	if (n && ones == n && (strstr(name, "norm") || strstr(name, "ln_")))
		found = mem_string("the weights differ by 1: stored less one in one and as they are in the other (norm + 1)");
	else if (c != 0)
		found = mem_format("B is %.6g times A", c);
	else if (n_rows > 1 && h.n)
		found = permuted_hint(a, type_a, b, type_b, n_rows, width);
	hint_rows_release(&h);
	return found;
}
