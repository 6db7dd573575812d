/* Rotary positions. */
#include "launches.h"
#include "quads.h"

#include <vector>

/* Of one row, (half) each. */
struct angles {
	const float *cos, *sin;
};

struct turning {
	angles first;           /* of the first row; those of the next follow */
	const angles *rows;     /* of each row; NULL: as `first` says */
	unsigned half, head_width, units;       /* units of four a head: pairs first, then what passes unturned */
	bool pairs, wide, in_place;
};

/* Four pairs, and their angles; or in `a` four that pass. */
struct four_pairs {
	quad a, b, cos, sin;
};

DEVICE four_pairs pairs_take(const turning &t, const float *x, size_t r, unsigned u)
{
	four_pairs p = {};
	const unsigned i = 4 * u, turned = (t.half + 3) / 4;
	if (u >= turned) {
		p.a = quad_take(x + 2 * t.half, i - 4 * turned, t.head_width - 2 * t.half, t.wide);
		return p;
	}
	const angles row = t.rows ? t.rows[r] : angles{ t.first.cos + r * t.half, t.first.sin + r * t.half };
	p.cos = quad_take(row.cos, i, t.half, t.wide);
	p.sin = quad_take(row.sin, i, t.half, t.wide);
	p.a = quad_take(x, t.pairs ? 2 * i : i, t.pairs ? 2 * t.half : t.half, t.wide);
	p.b = t.pairs ? quad_take(x, 2 * i + 4, 2 * t.half, t.wide) : quad_take(x + t.half, i, t.half, t.wide);
	return p;
}

/* a b c d, e f g h <-> the first of each pair, the second of each. */
DEVICE void unzip(four_pairs *p)
{
	const quad a = p->a, b = p->b;
	p->a = { { a.x[0], a.x[2], b.x[0], b.x[2] } };
	p->b = { { a.x[1], a.x[3], b.x[1], b.x[3] } };
}

DEVICE void zip(four_pairs *p)
{
	const quad a = p->a, b = p->b;
	p->a = { { a.x[0], b.x[0], a.x[1], b.x[1] } };
	p->b = { { a.x[2], b.x[2], a.x[3], b.x[3] } };
}

DEVICE void pairs_give(const turning &t, float *y, unsigned u, four_pairs p)
{
	const unsigned i = 4 * u, turned = (t.half + 3) / 4;
	if (u >= turned) {
		if (!t.in_place)
			quad_give(y + 2 * t.half, i - 4 * turned, t.head_width - 2 * t.half, t.wide, p.a);
		return;
	}
	if (t.pairs)
		unzip(&p);
	for (int j = 0; j < 4; j++) {
		const float a = p.a.x[j], b = p.b.x[j];
		p.a.x[j] = fmaf(a, p.cos.x[j], -(b * p.sin.x[j]));
		p.b.x[j] = fmaf(b, p.cos.x[j], a * p.sin.x[j]);
	}
	if (t.pairs) {
		zip(&p);
		quad_give(y, 2 * i, 2 * t.half, t.wide, p.a);
		quad_give(y, 2 * i + 4, 2 * t.half, t.wide, p.b);
	} else {
		quad_give(y, i, t.half, t.wide, p.a);
		quad_give(y + t.half, i, t.half, t.wide, p.b);
	}
}

static KERNEL void rotate(walk w, turning t, sheet to, sheet from)
{
	walk_rows<2>(w,
	          [=](size_t r, unsigned u) {
		          const float *x = reinterpret_cast<const float *>(from.p) + r * from.stride;
		          return pairs_take(t, x + u / t.units * t.head_width, r, u % t.units);
	          },
	          [=](size_t r, unsigned u, const four_pairs &p) {
		          float *y = reinterpret_cast<float *>(to.p) + r * to.stride;
		          pairs_give(t, y + u / t.units * t.head_width, u % t.units, p);
	          });
}

static angles angles_at(const rotation &t, size_t half)
{
	return { static_cast<const float *>(t.cos) + t.position * half, static_cast<const float *>(t.sin) + t.position * half };
}

static void rotate_rows(launch_context *c, const rotary *r, turning t, size_t head_width, rows from, rows to)
{
	const sheet x = sheet_of_rows(from), y = sheet_of_rows(to);
	const size_t half = r->dims / 2, rest = head_width - r->dims;
	t.half = static_cast<unsigned>(half);
	t.head_width = static_cast<unsigned>(head_width);
	t.units = static_cast<unsigned>((half + 3) / 4 + (rest + 3) / 4);
	t.pairs = r->pairing == ROTARY_PAIRS;
	t.wide &= x.wide && y.wide && head_width % 4 == 0 && half % 4 == 0;
	t.in_place = from.p == to.p;
	walk_launch(c, rotate, walk_of(from.n, from.width / head_width * t.units), t, y, x);
}

void cuda_rotate(launch_context *c, const rotary *r, size_t head_width, const rotation *parts, size_t n_parts,
                 rows from, rows to)
{
	const size_t half = r->dims / 2;
	turning t = {};
	t.first = angles_at(parts[0], half);
	t.wide = true;
	std::vector<angles> row;
	for (size_t i = 0; i < n_parts; i++) {
		const angles first = angles_at(parts[i], half);
		t.wide &= aligned(first.cos, 16) && aligned(first.sin, 16);
		for (size_t j = 0; n_parts > 1 && j < parts[i].n; j++)
			row.push_back({ first.cos + j * half, first.sin + j * half });
	}
	if (n_parts > 1)
		t.rows = static_cast<const angles *>(launch_table(c, row.data(), row.size() * sizeof row[0]));
	rotate_rows(c, r, t, head_width, from, to);
}
