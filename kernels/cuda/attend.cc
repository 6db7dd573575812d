/* Attention: the list of its work, made on the host a round at a time. */
#include "attend.h"

#include <new>

#include "launches.h"
#include "lanes.h"

namespace {

/* What a launch's table has room for. */
enum : unsigned { MOST_UNITS = 6000, MOST_STRIPS = 16000, MOST_TILES = 32000, MOST_BLOCKS = 4095 };
/* Query heads of a tile: more of them would leave it few positions, and waste rows where they don't divide it. */
enum : unsigned { MOST_HEADS = 16 };

struct attend_round {
	attend_unit unit[MOST_UNITS];
	attend_strip strip[MOST_STRIPS];
	attend_tile tile[MOST_TILES];
	unsigned n_units, n_strips, n_tiles;
	bool direct;            /* its units are not converted */
	size_t used;            /* of the scratch memory */
	unsigned before[MOST_BLOCKS + 2];       /* for the sorting */
	alignas(16) char table[LAUNCH_TABLE];
};

static_assert(sizeof(attend_round::unit) + sizeof(attend_round::strip) + sizeof(attend_round::tile) <= LAUNCH_TABLE, "a table");

struct planner {
	launch_context *c;
	attend_kernel kernel;
	attend_call call;
	attend_room room;
	attend_round *round;
};

/* Tiles by falling number of key blocks: the longest begin first, so that none runs on alone at the end. */
void sort_tiles(attend_round *r, attend_tile *to)
{
	const auto bin = [](const attend_tile &t) { return t.blocks < MOST_BLOCKS ? MOST_BLOCKS - t.blocks : 0; };
	memset(r->before, 0, sizeof r->before);
	for (unsigned i = 0; i < r->n_tiles; i++)
		r->before[bin(r->tile[i]) + 1]++;
	for (unsigned i = 1; i < MOST_BLOCKS + 2; i++)
		r->before[i] += r->before[i - 1];
	for (unsigned i = 0; i < r->n_tiles; i++)
		to[r->before[bin(r->tile[i])]++] = r->tile[i];
}

void run_round(planner *p)
{
	attend_round *r = p->round;
	const size_t strips_at = r->n_units * sizeof *r->unit, tiles_at = strips_at + r->n_strips * sizeof *r->strip;
	if (r->n_tiles) {
		memcpy(r->table, r->unit, strips_at);
		memcpy(r->table + strips_at, r->strip, tiles_at - strips_at);
		sort_tiles(r, reinterpret_cast<attend_tile *>(r->table + tiles_at));
		const size_t len = tiles_at + r->n_tiles * sizeof *r->tile;
		const char *table = static_cast<const char *>(launch_table(p->c, r->table, len));
		p->call.units = reinterpret_cast<const attend_unit *>(table);
		p->call.strips = reinterpret_cast<const attend_strip *>(table + strips_at);
		p->call.tiles = reinterpret_cast<const attend_tile *>(table + tiles_at);
		if (r->n_strips)
			p->kernel.convert(p->c->stream, &p->call, r->n_strips);
		(r->direct ? p->kernel.direct : p->kernel.converted)(p->c->stream, &p->call, r->n_tiles);
	}
	r->n_units = r->n_strips = r->n_tiles = 0;
	r->used = 0;
}

/* Into the round, or into a new one where this one is full or of the other kind. */
void add_unit(planner *p, attend_unit u)
{
	attend_round *r = p->round;
	const size_t strips = (u.end - u.begin + p->kernel.keys - 1) / p->kernel.keys;
	const size_t len = attend_packed_len(strips, p->kernel.width, p->kernel.keys);
	const bool direct = !p->kernel.convert || len > p->room.scratch_len || strips > MOST_STRIPS;
	const bool filled = !direct && (r->used + len > p->room.scratch_len || r->n_strips + strips > MOST_STRIPS);
	if (filled || r->n_units == MOST_UNITS || direct != r->direct)
		run_round(p);
	r->direct = direct;
	if (!direct) {
		u.packed = static_cast<char *>(p->c->scratch) + r->used;
		r->used += len;
		for (size_t i = 0; i < strips; i++)
			r->strip[r->n_strips++] = { r->n_units, static_cast<uint32_t>(u.begin + i * p->kernel.keys) };
	}
	r->unit[r->n_units++] = u;
}

/* The tiles of one segment's queries and the heads of one key/value head. */
void add_tiles(planner *p, const attend_unit &u)
{
	attend_round *r = p->round;
	add_unit(p, u);
	for (uint32_t query = 0; query < u.n; query += p->call.positions) {
		const uint32_t left = u.n - query, last = u.first + query + (left < p->call.positions ? left : p->call.positions) - 1;
		const uint32_t begin = attend_first_key(p->call.window, u.first + query) / p->kernel.keys;
		for (unsigned head = 0; head < p->call.shared; head += p->call.heads) {
			if (r->n_tiles == p->room.tiles) {
				run_round(p);
				add_unit(p, u);
			}
			r->tile[r->n_tiles++] = { r->n_units - 1, query, u.head + head, last / p->kernel.keys - begin + 1 };
		}
	}
}

void plan(planner *p, const attention *a, const segment *segments, size_t n_segments)
{
	for (size_t i = 0; i < n_segments; i++)
		for (size_t group = 0; group < a->n_kv_heads && segments[i].n; group++) {
			const segment *s = &segments[i];
			attend_unit u = {};
			u.k = static_cast<const float *>(s->k) + group * a->head_width;
			u.v = static_cast<const float *>(s->v) + group * a->head_width;
			u.begin = attend_first_key(p->call.window, s->first) / p->kernel.keys * p->kernel.keys;
			u.end = static_cast<uint32_t>(s->first + s->n);
			u.first = s->first;
			u.row = static_cast<uint32_t>(s->row);
			u.n = static_cast<uint32_t>(s->n);
			u.head = static_cast<uint32_t>(group * p->call.shared);
			add_tiles(p, u);
		}
	run_round(p);
}

bool kv_wide(const attention *a, const segment *segments, size_t n_segments)
{
	bool wide = a->head_width % 4 == 0;
	for (size_t i = 0; i < n_segments; i++)
		wide &= aligned(segments[i].k, 16) && aligned(segments[i].v, 16);
	return wide;
}

attend_call call_of(const attention *a, const segment *segments, size_t n_segments, rows q, rows out, operand packed)
{
	attend_call c = {};
	c.q = sheet_of_rows(q);
	c.q.wide &= a->head_width % 4 == 0;
	c.to = sheet_of_result(out, packed);
	c.pairs = a->head_width % 2 == 0 && c.to.stride % 2 == 0 && aligned(c.to.p, 4);
	c.kv_wide = kv_wide(a, segments, n_segments);
	c.kv_stride = static_cast<unsigned>(a->n_kv_heads * a->head_width);
	c.head_width = static_cast<unsigned>(a->head_width);
	c.shared = static_cast<unsigned>(a->n_heads / a->n_kv_heads);
	const unsigned chunks = (c.shared + MOST_HEADS - 1) / MOST_HEADS;
	c.heads = (c.shared + chunks - 1) / chunks;
	c.window = a->window < UINT32_MAX ? static_cast<uint32_t>(a->window) : 0;
	c.scale = static_cast<float>(a->scale);
	c.softcap = static_cast<float>(a->softcap);
	/* Not 0, which times a masked score, -inf, is NaN. */
	c.base = static_cast<float>(M_LOG2E * (a->softcap > 0 ? 1 : fmax(fabs(a->scale), 0x1p-100)));
	c.cap_base = static_cast<float>(2 * M_LOG2E * fabs(a->scale) / a->softcap);
	return c;
}

/* A multiprocessor has 160 KB of shared memory or more with compute capabilities 8.0, 8.7, 9.0, 10.x and 11.x; with 8.6, 8.9
 * and 12.x it has 100. */
bool roomy(const gpu_info *info)
{
	return info->major == 8 ? info->minor == 0 || info->minor == 7 : info->major < 12;
}

}

void attend_within(launch_context *c, const attention *a, const segment *segments, size_t n_segments, rows q, rows out,
                   operand packed, attend_room room)
{
	attend_round *round = new (std::nothrow) attend_round;
	if (!round) {
		gpu_fail(gpu_of(c->stream), "no memory for the list of attention's work");
		return;
	}
	round->n_units = round->n_strips = round->n_tiles = 0;
	round->used = 0;
	round->direct = false;
	planner p = {};
	p.c = c;
	p.kernel = packed.dtype == DTYPE_BF16 ? attend_bf16(a->head_width, room.shared)
	           : packed.dtype == DTYPE_F16 ? attend_f16(a->head_width, room.shared) : attend_f32(a->head_width);
	p.call = call_of(a, segments, n_segments, q, out, packed);
	p.call.positions = static_cast<unsigned>(p.kernel.rows / p.call.heads);
	p.room = room;
	p.round = round;
	plan(&p, a, segments, n_segments);
	delete round;
}

void cuda_attend(launch_context *c, const attention *a, const segment *segments, size_t n_segments, rows q, rows out,
                 operand packed)
{
	const attend_room room = { LAUNCH_SCRATCH, MOST_TILES, roomy(gpu_info_of(gpu_of(c->stream))) };
	attend_within(c, a, segments, n_segments, q, out, packed, room);
}
