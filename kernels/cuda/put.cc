/* Weights on their way to the device: as bytes where the device wants them so, else turned and converted there. */
#include "device.h"

#include <algorithm>
#include <string.h>

extern "C" {
#include "view.h"
}

static bool is_pinned(device *d, const char *p)
{
	const host_memory *m = host_memory_of(d, p);
	return m && m->pinned;
}

/* The caller may use what it gave again: only memory that is pinned is read after the call that gave it. */
static void let_go(device *d, const void *from)
{
	if (!is_pinned(d, static_cast<const char *>(from)))
		return;
	gpu_record(d->put, d->weights);
	gpu_event_wait(d->put);
}

/* Part of a view: columns and inputs that its strides alone describe, and few enough to be staged. */
struct view_part {
	size_t column, n, input, k;
	size_t first;           /* its first element's place in the data */
};

/* How many steps of `stride` elements fit `room`, beside what one of them takes. */
static size_t steps_in(size_t room, size_t one, size_t stride, size_t most)
{
	const size_t steps = room > one && stride ? (room - one) / stride + 1 : 1;
	return std::min(steps, most);
}

static size_t span_of(const tensor_view *v, size_t n, size_t k)
{
	return (n - 1) * v->n_stride + (k - 1) * v->k_stride + 1;
}

/* The part that begins at (column, input).  What lies closer together is cut last. */
static view_part part_of(const tensor_view *v, size_t column, size_t input, size_t room)
{
	const size_t most = std::min(v->n - column, v->group - column % v->group), left = v->k - input;
	view_part p = { column, most, input, left,
	                v->first + column / v->group * v->group_stride + column % v->group * v->n_stride + input * v->k_stride };
	if (v->k_stride <= v->n_stride) {
		p.k = steps_in(room, 1, v->k_stride, left);
		p.n = input == 0 && p.k == v->k ? steps_in(room, span_of(v, 1, p.k), v->n_stride, most) : 1;
	} else {
		p.n = steps_in(room, 1, v->n_stride, most);
		p.k = steps_in(room, span_of(v, p.n, 1), v->k_stride, left);
	}
	return p;
}

/* The part's bytes, as they are or, of a type that the device doesn't read, as f32 end to end. */
static weight_piece stage_part(device *d, const tensor_view *v, const view_part *p)
{
	const enum dtype staged = crossing(v->dtype);
	const size_t size = dtype_size(staged);
	if (staged != v->dtype) {
		const ring_place place = inlet_room(&d->weights_in, p->n * p->k * size);
		view_read(place.host, staged, v, p->column, p->n, p->input, p->k);
		gpu_copy_in(d->weights, place.device, place.host, p->n * p->k * size);
		return { place.device, staged, p->n, p->k, 0, p->k, 1 };
	}
	const size_t len = span_of(v, p->n, p->k) * size;
	const ring_place place = inlet_room(&d->weights_in, len);
	const char *from = static_cast<const char *>(v->data) + p->first * size;
	const bool straight = is_pinned(d, from);
	if (!straight)
		memcpy(place.host, from, len);
	gpu_copy_in(d->weights, place.device, straight ? from : place.host, len);
	return { place.device, staged, p->n, p->k, 0, v->n_stride, v->k_stride };
}

static void put_part(device *d, weight *w, size_t column, const tensor_view *v, const view_part *p)
{
	const size_t stride = operand_stride(w->k);
	char *to = static_cast<char *>(w->data) + ((column + p->column) * stride + p->input) * dtype_size(w->dtype);
	const weight_piece piece = stage_part(d, v, p);
	cuda_weight(d->weights, to, w->dtype, stride, p->input + p->k == w->k ? stride - p->input : p->k, &piece);
}

/* Elements that may be between a part's first and last: what a slot holds of them, as they are or as f32. */
static size_t staging_room(const device *d, const tensor_view *v)
{
	return d->weights_in.r.slot_len / (dtype_size(v->dtype) > sizeof(float) ? dtype_size(v->dtype) : sizeof(float));
}

static void put_bytes(device *d, char *to, const char *from, size_t len)
{
	if (is_pinned(d, from))
		gpu_copy_in(d->weights, to, from, len);
	else
		inlet_copy(&d->weights_in, to, from, len);
}

static void put_parts(device *d, weight *w, size_t column, const tensor_view *v)
{
	view_part p;
	for (size_t c = 0; c < v->n; c += p.n)
		for (size_t i = 0; i < v->k; i += p.k) {
			p = part_of(v, c, i, staging_room(d, v));
			put_part(d, w, column, v, &p);
		}
}

/* A weight that lies in the host's memory, as the device would have it. */
static void put_on_host(const weight *w, size_t column, const tensor_view *v)
{
	const size_t size = dtype_size(w->dtype), column_len = operand_stride(w->k) * size, len = w->k * size;
	char *to = static_cast<char *>(w->data) + column * column_len;
	if (column_len == len) {
		view_read(to, w->dtype, v, 0, v->n, 0, v->k);
		return;
	}
	for (size_t c = 0; c < v->n; c++, to += column_len) {
		view_read(to, w->dtype, v, c, 1, 0, v->k);
		memset(to + len, 0, column_len - len);
	}
}

void cuda_weight_put(device *d, weight *w, size_t column, const tensor_view *view)
{
	tensor_view v = *view;
	const size_t stride = operand_stride(w->k), size = dtype_size(w->dtype);
	if (v.n == 0 || v.k == 0)
		return;
	if (host_memory *host = host_memory_of(d, w->data)) {
		host->puts++;
		put_on_host(w, column, view);
		return;
	}
	if (v.group == 1) {
		v.group = v.n;
		v.n_stride = v.group_stride;
	}
	const bool plain = v.dtype == w->dtype && v.k_stride == 1 && v.n_stride == v.k && v.k == stride && v.group >= v.n;
	gpu_stream_wait(d->weights, d->freed);
	const char *from = static_cast<const char *>(v.data) + v.first * dtype_size(v.dtype);
	if (plain)
		put_bytes(d, static_cast<char *>(w->data) + column * stride * size, from, v.n * stride * size);
	else
		put_parts(d, w, column, &v);
	let_go(d, from);
}

void cuda_vector_put(device *d, void *to, const tensor_view *view)
{
	const size_t most = d->weights_in.r.slot_len / sizeof(float);
	gpu_stream_wait(d->weights, d->freed);
	for (size_t at = 0, n; at < view->n; at += n) {
		n = std::min(view->n - at, most);
		const ring_place p = inlet_room(&d->weights_in, n * sizeof(float));
		view_read(p.host, DTYPE_F32, view, at, n, 0, 1);
		gpu_copy_in(d->weights, static_cast<float *>(to) + at, p.host, n * sizeof(float));
	}
}

void cuda_zero_put(device *d, void *to, size_t len)
{
	gpu_stream_wait(d->weights, d->freed);
	gpu_fill(d->weights, to, len);
}

void cuda_put_wait(device *d)
{
	gpu_sync(d->weights);
}
