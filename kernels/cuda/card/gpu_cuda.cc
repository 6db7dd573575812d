/* The runtime over cudart. */
#include <cuda_runtime.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <new>

#include "gpu.h"

struct gpu {
	int index;
	gpu_info info;
	std::atomic<bool> failed;
	std::mutex lock;        /* of said */
	char said[256];
};

struct gpu_stream {
	gpu *g;
	cudaStream_t stream;
};

struct gpu_event {
	gpu *g;
	cudaEvent_t event;
};

/* The device of the calling thread, for every call: workers and the loading thread come here. */
static bool enter(gpu *g)
{
	if (g->failed)
		return false;
	const cudaError_t r = cudaSetDevice(g->index);
	if (r != cudaSuccess)
		gpu_fail(g, cudaGetErrorString(r));
	return r == cudaSuccess;
}

static bool went_well(gpu *g, cudaError_t r)
{
	if (r != cudaSuccess)
		gpu_fail(g, cudaGetErrorString(r));
	return r == cudaSuccess;
}

static void info_of(int i, gpu_info *info)
{
	cudaDeviceProp p;
	*info = {};
	if (cudaGetDeviceProperties(&p, i) != cudaSuccess) {
		(void)cudaGetLastError();       /* or the first launch on another device is told of it */
		return;         /* compute capability 0.0: too old for gpu_check */
	}
	snprintf(info->name, sizeof info->name, "%s", p.name);
	info->major = p.major;
	info->minor = p.minor;
	info->multiprocessors = p.multiProcessorCount;
	info->memory = p.totalGlobalMem;
}

static int device_count(error *e)
{
	int n = 0;
	const cudaError_t r = cudaGetDeviceCount(&n);
	if (r == cudaSuccess || r == cudaErrorNoDevice)
		return r == cudaSuccess ? n : 0;
	if (r == cudaErrorInsufficientDriver)
		return error_set(e, "no CUDA driver, or one older than this module's CUDA %d.%d", CUDART_VERSION / 1000,
		                 CUDART_VERSION % 1000 / 10);
	return error_set(e, "CUDA: %s", cudaGetErrorString(r));
}

gpu *gpu_open(int index, error *e)
{
	const int n = device_count(e);
	if (n >= 0)
		index = gpu_choose(index, n, info_of, e);
	if (n < 0 || index < 0)
		return nullptr;
	gpu *g = new (std::nothrow) gpu();
	if (!g) {
		error_set(e, "no memory");
		return nullptr;
	}
	g->index = index;
	info_of(index, &g->info);
	(void)gpu_free(g);      /* the first call that needs a context */
	if (g->failed) {
		error_set(e, "cuda:%d: %s", index, g->said);
		delete g;
		return nullptr;
	}
	return g;
}

void gpu_close(gpu *g)
{
	delete g;
}

const gpu_info *gpu_info_of(const gpu *g)
{
	return &g->info;
}

size_t gpu_free(gpu *g)
{
	size_t free, total;
	return enter(g) && went_well(g, cudaMemGetInfo(&free, &total)) ? free : 0;
}

/* Running out is an answer, not a failure; the runtime remembers the error until it is asked for. */
void *gpu_take(gpu *g, size_t len)
{
	void *p = nullptr;
	if (!enter(g) || len == 0 || cudaMalloc(&p, len) == cudaSuccess)
		return p;
	(void)cudaGetLastError();
	return nullptr;
}

void gpu_give(gpu *g, void *p)
{
	if (p && enter(g))
		went_well(g, cudaFree(p));
}

void *gpu_pin(gpu *g, size_t len)
{
	void *p = nullptr;
	if (!enter(g) || len == 0 || cudaMallocHost(&p, len) == cudaSuccess)
		return p;
	(void)cudaGetLastError();
	return nullptr;
}

/* cudaFreeHost promises no wait. */
void gpu_unpin(gpu *g, void *p)
{
	if (p && enter(g) && went_well(g, cudaDeviceSynchronize()))
		went_well(g, cudaFreeHost(p));
}

gpu_stream *gpu_stream_open(gpu *g)
{
	cudaStream_t stream;
	if (!enter(g) || !went_well(g, cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking)))
		return nullptr;
	return new gpu_stream{ g, stream };
}

void gpu_stream_close(gpu_stream *s)
{
	if (!s)
		return;
	gpu_sync(s);
	if (enter(s->g))
		went_well(s->g, cudaStreamDestroy(s->stream));
	delete s;
}

static gpu_event *open_event(gpu *g, unsigned flags)
{
	cudaEvent_t event;
	if (!enter(g) || !went_well(g, cudaEventCreateWithFlags(&event, flags)))
		return nullptr;
	return new gpu_event{ g, event };
}

gpu_event *gpu_event_open(gpu *g)
{
	return open_event(g, cudaEventDisableTiming);
}

gpu_event *gpu_timer_open(gpu *g)
{
	return open_event(g, cudaEventDefault);
}

void gpu_event_close(gpu_event *v)
{
	if (!v)
		return;
	if (enter(v->g))
		went_well(v->g, cudaEventDestroy(v->event));
	delete v;
}

static void copy(gpu_stream *s, void *to, const void *from, size_t len, cudaMemcpyKind kind)
{
	if (enter(s->g) && len)
		went_well(s->g, cudaMemcpyAsync(to, from, len, kind, s->stream));
}

void gpu_copy_in(gpu_stream *s, void *device, const void *host, size_t len)
{
	copy(s, device, host, len, cudaMemcpyHostToDevice);
}

void gpu_copy_out(gpu_stream *s, void *host, const void *device, size_t len)
{
	copy(s, host, device, len, cudaMemcpyDeviceToHost);
}

void gpu_copy(gpu_stream *s, void *to, const void *from, size_t len)
{
	copy(s, to, from, len, cudaMemcpyDeviceToDevice);
}

void gpu_fill(gpu_stream *s, void *p, size_t len)
{
	if (enter(s->g) && len)
		went_well(s->g, cudaMemsetAsync(p, 0, len, s->stream));
}

void gpu_record(gpu_event *v, gpu_stream *s)
{
	if (enter(s->g))
		went_well(s->g, cudaEventRecord(v->event, s->stream));
}

void gpu_stream_wait(gpu_stream *s, gpu_event *v)
{
	if (enter(s->g))
		went_well(s->g, cudaStreamWaitEvent(s->stream, v->event, 0));
}

void gpu_event_wait(gpu_event *v)
{
	if (enter(v->g))
		went_well(v->g, cudaEventSynchronize(v->event));
}

double gpu_seconds(gpu_event *from, gpu_event *to)
{
	float milliseconds = 0;
	if (!enter(from->g) || !went_well(from->g, cudaEventElapsedTime(&milliseconds, from->event, to->event)))
		return 0;
	return 1e-3 * milliseconds;
}

void gpu_sync(gpu_stream *s)
{
	if (enter(s->g))
		went_well(s->g, cudaStreamSynchronize(s->stream));
}

bool gpu_failed(const gpu *g, error *e)
{
	if (!g->failed)
		return false;
	const std::lock_guard<std::mutex> l(const_cast<gpu *>(g)->lock);
	error_set(e, "cuda:%d: %s: %s", g->index, g->info.name, g->said);
	return true;
}

void gpu_fail(gpu *g, const char *what)
{
	const std::lock_guard<std::mutex> l(g->lock);
	if (!g->failed)
		snprintf(g->said, sizeof g->said, "%s", what);
	g->failed = true;
}

bool gpu_enter(gpu_stream *s)
{
	return enter(s->g);
}

gpu *gpu_of(const gpu_stream *s)
{
	return s->g;
}

void *gpu_stream_handle(const gpu_stream *s)
{
	return s->stream;
}
