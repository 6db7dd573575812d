/*
 * How long taps' streams will be, by the frames that go through: framed and described as taps themselves do it, with no row
 * read or written.  Exact but for the padding of frames whose rows take no multiple of 64 bytes.
 */
#ifndef TAP_LEN_H
#define TAP_LEN_H

#include "tap.h"

struct tap_len;

/* For taps_plan's taps, which stay the caller's; otherwise as taps_open.  Layers are those of the step.  work: the type that
 * rows are computed in.  NULL and e. */
struct tap_len *tap_len_open(struct taps *t, const struct tms_header *header, const struct tms_step *step, enum dtype dtype,
                             enum dtype work, struct error *e) MUST_CHECK;

/* A frame of the input, its rows not needed.  -1: the run would fail at it. */
int tap_len_add(struct tap_len *l, const struct frame *f, struct error *e) MUST_CHECK;

/* The streams: how many, what they were called on the command line, and their bytes. */
size_t tap_len_n(const struct tap_len *l);
const char *tap_len_target(const struct tap_len *l, size_t i);
uint64_t tap_len_bytes(const struct tap_len *l, size_t i);

/* The type of their rows (of expert_idx i32). */
enum dtype tap_len_dtype(const struct tap_len *l);

/* Bytes of the rows that taps of one layer hold at most at a time. */
uint64_t tap_len_held(const struct tap_len *l);

void tap_len_close(struct tap_len *l);

#endif
