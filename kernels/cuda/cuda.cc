/*
 * The CUDA back end's table.  Rows are f32.  One stream computes, in the order of the calls; rows come in and go out on two
 * more, weights on a fourth, so that all copies run beside the work.
 */
#include "device.h"

#include <algorithm>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum : size_t {
	ROW_TILE = 2048,
	EXPERT_TILE = 128,
	EXPERT_CHUNK = 4096,
	SLOT_LEAST = 256 << 10,
	SLOT_MOST = 32 << 20,
	PAGE = 4096
};
enum { TAKE_TRIES = 8 };

/* -------- opening */

/* Slots grow with the device, so that a small one is left room to work in. */
static size_t staging_slot(size_t memory)
{
	const size_t slot = memory / 128 / PAGE * PAGE;
	return slot < SLOT_LEAST ? static_cast<size_t>(SLOT_LEAST) : slot > SLOT_MOST ? static_cast<size_t>(SLOT_MOST) : slot;
}

/* Bytes of so much memory that the device's own buffers take. */
static size_t own_len(size_t memory)
{
	return 3 * RING_SLOTS * staging_slot(memory) + PRODUCT_WORKSPACE + LAUNCH_TABLE + LAUNCH_SCRATCH;
}

/* Whole MiB of memory that leave len bytes beside them. */
static size_t memory_for(size_t len)
{
	size_t mib = (len + own_len(0)) >> 20;
	while ((mib << 20) < len + own_len(mib << 20))
		mib += ((len + own_len(mib << 20) - (mib << 20)) >> 20) + 1;
	return mib;
}

/* wanted 0: all that is free but a sixteenth, for what the matrix library loads.  The other program of a pipe, which begins at
 * the same moment, may be the one that gets it: then it is asked anew what is free. */
static int take_memory(device *d, size_t wanted, error *e)
{
	const gpu_info *info = gpu_info_of(d->g);
	size_t len = wanted;
	for (int tries = wanted ? 1 : TAKE_TRIES; !d->base && tries > 0; tries--) {
		const size_t free = gpu_free(d->g);
		if (!wanted)
			len = free - free / 16;
		if (len > free)
			return error_set(e, "CUDA: %s has %zu MiB of memory free, and %zu are asked for: give less, or end what else runs on it",
			                 info->name, free >> 20, len >> 20);
		if (len >> 20 < memory_for(0))
			return error_set(e, "CUDA: %s: %zu MiB of memory are too little: --vram %zuM is the least", info->name, len >> 20,
			                 memory_for(0));
		d->base = gpu_take(d->g, len);
	}
	if (!d->base)
		return error_set(e, "CUDA: %s: %zu MiB of memory aren't to be had; give less", info->name, len >> 20);
	d->memory = arena_open(d->base, len);
	return 0;
}

static int open_streams(device *d, error *e)
{
	for (gpu_stream **s : { &d->compute, &d->in, &d->out, &d->weights })
		if (!(*s = gpu_stream_open(d->g)))
			return gpu_failed(d->g, e) ? -1 : error_set(e, "CUDA: no stream");
	laps_open(&d->laps, d->compute);
	for (gpu_event **v : { &d->came, &d->freed, &d->put })
		if (!(*v = gpu_event_open(d->g)))
			return gpu_failed(d->g, e) ? -1 : error_set(e, "CUDA: no event");
	return 0;
}

static int open_staging(device *d, error *e)
{
	const size_t slot = staging_slot(arena_len(d->memory));
	if (inlet_open(&d->rows_in, d->g, d->memory, d->compute, slot, e) < 0 ||
	    inlet_open(&d->weights_in, d->g, d->memory, d->weights, slot, e) < 0 ||
	    outlet_open(&d->rows_out, d->g, d->memory, d->compute, d->out, slot, e) < 0)
		return -1;
	d->workspace = arena_take(d->memory, PRODUCT_WORKSPACE);
	d->tables = { &d->rows_in, arena_take(d->memory, LAUNCH_TABLE) };
	d->launch = { d->compute, static_cast<unsigned>(gpu_info_of(d->g)->multiprocessors), arena_take(d->memory, LAUNCH_SCRATCH),
	              &d->tables };
	if (!d->workspace || !d->tables.device || !d->launch.scratch)
		return error_set(e, "CUDA: no memory for the device's own buffers");
	return 0;
}

static void cuda_close(device *d)
{
	if (!d)
		return;
	products_close(d->product);
	laps_close(&d->laps);
	window_close(&d->window, d->memory);
	outlet_close(&d->rows_out);
	inlet_close(&d->weights_in);
	inlet_close(&d->rows_in);
	for (gpu_event *v : { d->came, d->freed, d->put })
		gpu_event_close(v);
	for (gpu_stream *s : { d->compute, d->in, d->out, d->weights })
		gpu_stream_close(s);
	arena_close(d->memory);
	gpu_give(d->g, d->base);
	gpu_close(d->g);
	delete d;
}

/* The first kernel.  A module without code for this device, or of a toolkit that is too new for its driver, shows now, when
 * `auto` can still take another back end. */
static int try_kernel(device *d, error *e)
{
	const rows one = { d->launch.scratch, 1, 1, 1 };
	gpu_fill(d->compute, one.p, sizeof(float));
	cuda_round(&d->launch, one, DTYPE_BF16);
	gpu_sync(d->compute);
	return gpu_failed(d->g, e) ? error_in(e, "CUDA: a first kernel doesn't run") : 0;
}

static int open_all(device *d, const device_choice *choice, error *e)
{
	d->g = gpu_open(choice->index, e);
	if (!d->g || take_memory(d, choice->memory, e) < 0 || open_streams(d, e) < 0 || open_staging(d, e) < 0 || try_kernel(d, e) < 0)
		return -1;
	d->product = products_open(d->g, d->workspace, e);
	if (!d->product)
		return -1;
	const gpu_info *info = gpu_info_of(d->g);
	snprintf(d->name, sizeof d->name, "sm_%d%d %s %d SMs %s", info->major, info->minor, info->name, info->multiprocessors,
	         products_library(d->product));
	return 0;
}

static device *cuda_open(workers *, const device_choice *choice, error *e)
{
	device *d = new device();
	if (open_all(d, choice, e) == 0)
		return d;
	cuda_close(d);
	return nullptr;
}

static const char *cuda_unit(const device *d)
{
	return d->name;
}

static bool cuda_failed(const device *d, error *e)
{
	return gpu_failed(d->g, e);
}

/* -------- memory */

static void *cuda_take(device *d, size_t len, const char *what, error *e)
{
	void *p = arena_take(d->memory, len);
	if (!p)
		error_set(e, "%s: needs %zu MiB of the device's memory, of which %zu are left (--vram says how much there is)", what,
		          (len >> 20) + 1, arena_left(d->memory) >> 20);
	return p;
}

/* Work that was asked for may still use it: whoever has it next comes after that, in the stream that computes or by `freed`. */
static void cuda_give(device *d, void *p)
{
	if (p)
		gpu_record(d->freed, d->compute);
	arena_give(d->memory, p);
}

static size_t cuda_spare(const device *d)
{
	return arena_left(d->memory);
}

static int cuda_check_room(const device *d, size_t len, const char *what, error *e)
{
	const size_t left = arena_left(d->memory);
	if (len <= left)
		return 0;
	const size_t others = arena_len(d->memory) - left - own_len(arena_len(d->memory));
	return error_set(e, "CUDA: %s: %s need %zu MiB of the device's memory, of which %zu are left: --vram %zuM would do",
	                 gpu_info_of(d->g)->name, what, (len >> 20) + 1, left >> 20, memory_for(len + others));
}

/* A quarter: the weights of two layers and long samples' keys are to fit beside a batch. */
static size_t cuda_batch_room(const device *d)
{
	return arena_len(d->memory) / 4;
}

static void *cuda_take_staging(device *d, size_t len, error *e)
{
	void *p = gpu_pin(d->g, len);
	const bool pinned = p != nullptr;
	if (!pinned && posix_memalign(&p, PAGE, len) != 0) {
		error_set(e, "%zu MiB of memory for weights aren't to be had", len >> 20);
		return nullptr;
	}
	d->staging.push_back({ static_cast<char *>(p), len, pinned, 0 });
	return p;
}

static void cuda_free_staging(device *d, void *p)
{
	const host_memory *m = host_memory_of(d, p);
	if (!m)
		return;
	if (m->pinned) {
		gpu_unpin(d->g, p);
	} else {
		gpu_sync(d->compute);
		free(p);
	}
	d->staging.erase(d->staging.begin() + (m - d->staging.data()));
}

static size_t cuda_window_len(const device *, size_t column_len, size_t keep)
{
	return window_len(column_len, keep);
}

static int cuda_open_window(device *d, size_t len, size_t column_len, error *e)
{
	return window_open(&d->window, d->g, d->memory, d->compute, len, column_len, e);
}

/* -------- copies */

static void cuda_upload(device *d, void *to, const void *from, size_t len)
{
	inlet_copy(&d->rows_in, static_cast<char *>(to), static_cast<const char *>(from), len);
}

/* Read from the pinned memory by a kernel: the device's copying unit may have megabytes of weights before it, for which what
 * computes is not to wait. */
const void *launch_table(launch_context *c, const void *from, size_t len)
{
	const launch_tables *t = c->tables;
	for (size_t at = 0, n; at < len; at += n) {
		n = std::min(len - at, t->in->r.slot_len);
		const ring_place p = inlet_room(t->in, n);
		memcpy(p.host, static_cast<const char *>(from) + at, n);
		const size_t width = n / sizeof(float);
		cuda_copy(c, { static_cast<char *>(t->device) + at, 1, width, width }, { p.host, 1, width, width });
	}
	return t->device;
}

static void cuda_download(device *d, void *to, const void *from, size_t len)
{
	for (size_t at = 0, n; at < len; at += n) {
		n = std::min<size_t>(len - at, d->rows_out.r.slot_len);
		char *p = outlet_room(&d->rows_out, n, DTYPE_U8, DTYPE_U8, static_cast<char *>(to) + at);
		gpu_copy(d->compute, p, static_cast<const char *>(from) + at, n);
	}
	outlet_finish(&d->rows_out);
}

static void cuda_clear(device *d, void *p, size_t len)
{
	gpu_fill(d->compute, p, len);
}

static void cuda_wait(device *d)
{
	outlet_finish(&d->rows_out);
	gpu_sync(d->compute);
}

static uint64_t cuda_mark(device *d)
{
	return outlet_mark(&d->rows_out);
}

static void cuda_wait_for(device *d, uint64_t mark)
{
	outlet_arrive(&d->rows_out, mark);
}

static void cuda_lap(device *d, enum timer kind)
{
	laps_begin(&d->laps, kind);
}

static void cuda_lap_seconds(device *d, double seconds[TIMER_COUNT])
{
	laps_read(&d->laps, seconds);
}

static void load_rows(device *d, rows to, const void *from, enum dtype dtype)
{
	const enum dtype staged = crossing(dtype);
	const size_t size = dtype_size(staged);
	row_piece piece;
	for (size_t at = 0; next_row_piece(to, d->rows_in.r.slot_len / size, &at, &piece);) {
		const size_t n = piece.part.n * piece.part.width;
		const ring_place p = inlet_room(&d->rows_in, n * size);
		dtype_convert(p.host, staged, static_cast<const char *>(from) + piece.first * dtype_size(dtype), dtype, n);
		gpu_copy_in(d->in, p.device, p.host, n * size);
		gpu_record(d->came, d->in);
		gpu_stream_wait(d->compute, d->came);
		cuda_load(&d->launch, piece.part, p.device, staged);
	}
}

static void store_rows(device *d, void *to, enum dtype dtype, rows from)
{
	const enum dtype staged = crossing(dtype);
	row_piece piece;
	for (size_t at = 0; next_row_piece(from, d->rows_out.r.slot_len / dtype_size(staged), &at, &piece);) {
		char *p = outlet_room(&d->rows_out, piece.part.n * piece.part.width, staged, dtype,
		                      static_cast<char *>(to) + piece.first * dtype_size(dtype));
		cuda_store(&d->launch, p, staged, piece.part);
	}
}

/* Into pieces of the ring, of whole rows or of columns of one, where rows that continue are brought first. */
static void pool_rows(device *d, bool largest, const pooled_row *list, size_t n, const row_run *runs, rows from, double *to)
{
	const rows pooled = { from.p, n, from.width, 0 };
	row_piece piece;
	for (size_t at = 0; next_row_piece(pooled, d->rows_out.r.slot_len / sizeof(double), &at, &piece);) {
		const size_t first = piece.first / from.width, width = piece.part.width;
		double *host = to + piece.first;
		void *room = outlet_room(&d->rows_out, piece.part.n * width, DTYPE_F64, DTYPE_F64, host);
		double *p = static_cast<double *>(room);
		for (size_t i = 0; i < piece.part.n; i++)
			if (list[first + i].continues)
				cuda_upload(d, p + i * width, host + i * width, width * sizeof(double));
		cuda_pool(&d->launch, largest, list + first, piece.part.n, runs, { piece.part.p, from.n, width, from.stride }, p);
	}
}

static enum dtype cuda_operand_type(const device *, enum dtype stored)
{
	return crossing(stored);
}

static size_t operand_len(const device *, size_t n, size_t k, enum dtype type)
{
	return n * operand_stride(k) * dtype_size(type);
}

/* -------- the rest: each is a launching function */

static void pack(device *d, operand to, rows from)
{
	cuda_pack(&d->launch, to, from);
}

static void copy(device *d, rows to, rows from)
{
	cuda_copy(&d->launch, to, from);
}

/* A wider type holds every f32. */
static void round_rows(device *d, rows x, enum dtype dtype)
{
	cuda_round(&d->launch, x, crossing(dtype));
}

static void norm_rows(device *d, const model *m, const struct norm *n, size_t group, rows from, rows out, operand packed)
{
	cuda_norm(&d->launch, m, n, group, from, out, packed);
}

static void activate(device *d, enum activation act, rows gate, rows up, rows out, operand packed)
{
	cuda_activate(&d->launch, act, gate, up, out, packed);
}

static void add(device *d, rows into, rows from)
{
	cuda_add(&d->launch, into, from);
}

static void add_gated(device *d, rows into, rows from, rows gate)
{
	cuda_add_gated(&d->launch, into, from, gate);
}

static void scale(device *d, rows x, double factor)
{
	cuda_scale(&d->launch, x, static_cast<float>(factor));
}

static void softcap(device *d, rows x, double cap)
{
	cuda_softcap(&d->launch, x, static_cast<float>(cap));
}

static void rotate(device *d, const rotary *r, const void *cos, const void *sin, size_t head_width, size_t p0, rows from, rows to)
{
	const rotation all = { cos, sin, p0, from.n };
	cuda_rotate(&d->launch, r, head_width, &all, 1, from, to);
}

static void rotate_all(device *d, const rotary *r, size_t head_width, const rotation *parts, size_t n_parts, rows from,
                       rows to)
{
	cuda_rotate(&d->launch, r, head_width, parts, n_parts, from, to);
}

static void attend(device *d, const attention *a, const segment *segments, size_t n, rows q, rows out, operand packed)
{
	cuda_attend(&d->launch, a, segments, n, q, out, packed);
}

static void scores(device *d, const attention *a, const segment *s, rows q, size_t i0, size_t n, bool probs, void *x)
{
	cuda_scores(&d->launch, a, s, q, i0, n, probs, static_cast<float *>(x));
}

static void softmax(device *d, const attention *a, const segment *s, size_t i0, size_t n, void *x)
{
	cuda_softmax(&d->launch, a, s, i0, n, static_cast<float *>(x));
}

static void mix(device *d, const attention *a, const segment *s, const void *x, size_t i0, size_t n, rows out)
{
	cuda_mix(&d->launch, a, s, static_cast<const float *>(x), i0, n, out);
}

static void route(device *d, rows logits, bool renormalize, routing to)
{
	cuda_route(&d->launch, logits, renormalize, to);
}

static void gather(device *d, operand to, const operand *from, const uint32_t *list, size_t n)
{
	cuda_gather(&d->launch, to, from, list, n);
}

static void scatter(device *d, rows into, rows from, const uint32_t *list, const void *factor, size_t n)
{
	cuda_scatter(&d->launch, into, from, list, static_cast<const float *>(factor), n);
}

extern "C" const struct ops ops_cuda = {
	.name = "cuda",
	.work = DTYPE_F32,
	.host = false,
	.one_thread = true,
	.row_tile = ROW_TILE,
	.expert_tile = EXPERT_TILE,
	.expert_chunk = EXPERT_CHUNK,
	.head_most = ATTEND_WIDTH,
	.open = cuda_open,
	.close = cuda_close,
	.take = cuda_take,
	.give = cuda_give,
	.check_room = cuda_check_room,
	.spare = cuda_spare,
	.batch_room = cuda_batch_room,
	.take_staging = cuda_take_staging,
	.free_staging = cuda_free_staging,
	.window_len = cuda_window_len,
	.open_window = cuda_open_window,
	.upload = cuda_upload,
	.download = cuda_download,
	.clear = cuda_clear,
	.wait = cuda_wait,
	.mark = cuda_mark,
	.wait_for = cuda_wait_for,
	.lap = cuda_lap,
	.lap_seconds = cuda_lap_seconds,
	.failed = cuda_failed,
	.unit = cuda_unit,
	.operand_type = cuda_operand_type,
	.weight_len = operand_len,
	.weight_put = cuda_weight_put,
	.vector_put = cuda_vector_put,
	.zero_put = cuda_zero_put,
	.put_wait = cuda_put_wait,
	.operand_len = operand_len,
	.load = load_rows,
	.store = store_rows,
	.copy = copy,
	.pool = pool_rows,
	.round = round_rows,
	.pack = pack,
	.norm = norm_rows,
	.product = cuda_product,
	.finishes = nullptr,
	.product_add = cuda_product_add,
	.product_act = cuda_product_act,
	.activate = activate,
	.add = add,
	.add_gated = add_gated,
	.scale = scale,
	.softcap = softcap,
	.rotate = rotate,
	.rotate_all = rotate_all,
	.attend = attend,
	.scores = scores,
	.softmax = softmax,
	.mix = mix,
	.route = route,
	.gather = gather,
	.scatter = scatter,
};
