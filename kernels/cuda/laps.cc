#include "laps.h"

#include <algorithm>

void laps_open(laps *l, gpu_stream *stream)
{
	*l = {};
	l->stream = stream;
}

void laps_close(laps *l)
{
	for (gpu_event *v : l->event)
		gpu_event_close(v);
}

/* The oldest lap, which ends where the next begins. */
static void count(laps *l)
{
	const size_t at = l->counted % LAPS_AHEAD, next = (l->counted + 1) % LAPS_AHEAD;
	l->counted++;
	if (l->kind[at] == TIMER_COUNT)
		return;
	gpu_event_wait(l->event[next]);
	l->seconds[l->kind[at]] += gpu_seconds(l->event[at], l->event[next]);
}

void laps_begin(laps *l, enum timer kind)
{
	if (l->begun && l->kind[(l->begun - 1) % LAPS_AHEAD] == kind)
		return;
	if (l->begun - l->counted == LAPS_AHEAD)
		count(l);
	const size_t at = l->begun % LAPS_AHEAD;
	if (!l->event[at])
		l->event[at] = gpu_timer_open(gpu_of(l->stream));
	if (!l->event[at])
		return; /* the device failed */
	gpu_record(l->event[at], l->stream);
	l->kind[at] = kind;
	l->begun++;
}

void laps_read(laps *l, double seconds[TIMER_COUNT])
{
	while (l->begun - l->counted > 1)
		count(l);
	std::copy_n(l->seconds, +TIMER_COUNT, seconds);
}
