/*
 * A stopwatch on a stream: how long the device works at each kind of operation, by its own clock.
 *
 * A lap is an event on the stream, after which everything is of that kind until the next lap.  Laps are resolved when their
 * events are wanted again, long after they happened, or at the end: nobody waits in between.
 */
#ifndef LAPS_H
#define LAPS_H

#include "gpu.h"

enum { LAPS_AHEAD = 4096 };

struct laps {
	gpu_stream *stream;
	gpu_event *event[LAPS_AHEAD];   /* opened when first wanted */
	enum timer kind[LAPS_AHEAD];
	uint64_t begun, counted;        /* laps; those whose time is in seconds */
	double seconds[TIMER_COUNT];
};

void laps_open(laps *l, gpu_stream *stream);
void laps_close(laps *l);

/* TIMER_COUNT: of no kind. */
void laps_begin(laps *l, enum timer kind);

/* Seconds by kind up to the latest lap. */
void laps_read(laps *l, double seconds[TIMER_COUNT]);

#endif
