/*
 * A device's memory, streams and events: what the back end needs of a runtime.  card/gpu_cuda.cc gives it over cudart,
 * host/gpu_fake.cc on a machine without a device.
 *
 * Order.  Calls on one stream act one after another; between streams only events order.  Nothing but gpu_event_wait,
 * gpu_sync, gpu_give and gpu_unpin waits, and the device may begin as late as that: what an asynchronous call was
 * given, host memory too, is left alone until an event after it has been waited for.
 *
 * A call that fails makes the device failed; every later call does nothing, and gpu_failed tells the first reason.
 * Any thread may call; one stream's calls come from one thread at a time.
 */
#ifndef GPU_H
#define GPU_H

#include "ours.h"

struct gpu;
struct gpu_stream;
struct gpu_event;

struct gpu_info {
	char name[256];
	int major, minor;       /* compute capability */
	int multiprocessors;
	size_t memory;          /* bytes */
};

/*
 * Device `index` of those that the process may see; -1: the first that can be used.  NULL and e, which tells apart: no
 * driver, no device (or none of that index), too old a device, and whatever else the runtime says.
 */
gpu *gpu_open(int index, error *e) MUST_CHECK;
/* NULL is allowed.  Everything taken and opened has been given back and closed before. */
void gpu_close(gpu *g);
const gpu_info *gpu_info_of(const gpu *g);

/* Bytes of the device's memory that nobody has now; 0 if the device failed.  Other programs take and give them too. */
size_t gpu_free(gpu *g);
/* Device memory, 256-byte aligned, contents undefined; the host may not touch it.  NULL: none (no failure). */
void *gpu_take(gpu *g, size_t len);
void gpu_give(gpu *g, void *p);         /* waits for all streams; NULL is allowed */
/* Host memory that is copied fastest and without the caller waiting; kernels may read it.  NULL: none (no failure). */
void *gpu_pin(gpu *g, size_t len);
void gpu_unpin(gpu *g, void *p);        /* waits for all streams; NULL is allowed */

/* NULL: the device failed. */
gpu_stream *gpu_stream_open(gpu *g);
void gpu_stream_close(gpu_stream *s);   /* waits for it; NULL is allowed */
gpu_event *gpu_event_open(gpu *g);
gpu_event *gpu_timer_open(gpu *g);      /* an event that knows its moment */
void gpu_event_close(gpu_event *v);     /* NULL is allowed */

void gpu_copy_in(gpu_stream *s, void *device, const void *host, size_t len);
void gpu_copy_out(gpu_stream *s, void *host, const void *device, size_t len);
void gpu_copy(gpu_stream *s, void *to, const void *from, size_t len);   /* device to device */
void gpu_fill(gpu_stream *s, void *p, size_t len);                      /* zeros */

/* The event happens when what was asked of the stream so far is done.  Recording again moves it. */
void gpu_record(gpu_event *v, gpu_stream *s);
/* Until the event's latest record so far happens: the stream, or the caller, waits.  Never recorded: no wait. */
void gpu_stream_wait(gpu_stream *s, gpu_event *v);
void gpu_event_wait(gpu_event *v);
/* Between two timers' latest records, which have happened, by the device's clock. */
double gpu_seconds(gpu_event *from, gpu_event *to);
void gpu_sync(gpu_stream *s);           /* the caller waits for all of the stream */

bool gpu_failed(const gpu *g, error *e);
/* Makes the device failed, unless it is; for what uses it beside this header (a library's products). */
void gpu_fail(gpu *g, const char *what);
/* Makes the stream's device the calling thread's; false if it failed.  Before a call of the runtime beside this header. */
bool gpu_enter(gpu_stream *s);
gpu *gpu_of(const gpu_stream *s);
/* The runtime's own stream, for such a library; NULL on the fake one. */
void *gpu_stream_handle(const gpu_stream *s);

/* Whether a device can be used at all: 0, or -1 and e. */
int gpu_check(const gpu_info *info, int index, error *e) MUST_CHECK;
/* Which of n devices to open, for gpu_open: the index asked for or, for -1, the first that gpu_check likes.
 * info_of(i) fills the facts.  -1 and e without. */
int gpu_choose(int index, int n, void (*info_of)(int i, gpu_info *info), error *e) MUST_CHECK;

#endif
